//! What the kernel side and the user side share: network types, map layouts, verdicts. `no_std`.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod net;
pub mod verdict;
