//! A part of a route table: any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| border_gw::fuzzing::netlink(bytes));
