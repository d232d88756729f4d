//! The packet path, pure: no clocks, no maps, no unsafe. The same code runs in the kernel and in tests on the host.
//!
//! Everything is `inline(always)`: the verifier follows one program, and lengths that it knows stay known.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![expect(clippy::inline_always, reason = "one function a program is what the verifier follows best")]

pub mod answer;
pub mod checksum;
pub mod dscp;
pub mod error;
pub mod fabric;
pub mod flow;
pub mod forward;
pub mod headers;
pub mod host;
pub mod icmp;
pub mod line;
pub mod mss;
pub mod options;
pub mod packet;
pub use border_gw_common::policer;
pub mod rewrite;
pub mod screen;
pub mod tables;

use border_gw_common::verdict::Verdict;

/// What became of a packet, and which counters it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Index of the counter record: the program itself, a VIF, or an attachment.
    pub scope: u32,
    /// What to do.
    pub verdict: Verdict,
}
