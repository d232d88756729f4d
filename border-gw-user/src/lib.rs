//! The user side of border-gw: from documents and netlink to BPF maps, and from counters to metrics.
//!
//! Imports go one way: `intent, kernel -> compile -> tables -> reconcile -> dataplane`.

pub mod cli;
pub mod compile;
pub mod control;
pub mod dataplane;
pub mod failover;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod health;
pub mod intent;
pub mod kernel;
pub mod maintenance;
pub mod metrics;
pub mod probe;
pub mod reconcile;
pub mod routing;
pub mod state;
pub mod tables;
pub mod view;
