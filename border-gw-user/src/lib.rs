//! The user side of border-gw: from documents and netlink to BPF maps, and from counters to metrics.
//!
//! Imports go one way: `intent, kernel -> compile -> tables -> reconcile -> dataplane`.

pub mod compile;
pub mod dataplane;
pub mod intent;
pub mod kernel;
pub mod reconcile;
pub mod state;
pub mod tables;
