//! What BIRD says: any text.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| border_gw::fuzzing::bird(text));
