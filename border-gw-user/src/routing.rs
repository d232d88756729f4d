//! The routing daemon: its configuration, its process, its state.
//!
//! One BIRD 2 a border gateway runs in the border gateway's network namespace, and goes on when the gateway's daemon ends.

pub mod conf;
pub mod refusal;
pub mod status;
#[cfg(test)]
mod tests;

pub use self::conf::Drain;
pub use self::refusal::Refusal;
pub use self::status::{BfdState, BfdStatus, BgpState, FamilyStatus, RefusedRoute, SessionStatus};
