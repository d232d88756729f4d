//! The packet path, pure: no clocks, no maps, no unsafe. The same code runs in the kernel and in tests on the host.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
