//! What the kernel side and the user side share: network types, map layouts, verdicts. `no_std`.
#![cfg_attr(not(test), no_std)]
#![expect(clippy::inline_always, reason = "one function a program is what the verifier follows best")]

pub mod abi;
pub mod loss;
pub mod net;
pub mod policer;
pub mod verdict;
