//! The testbed: namespaces, customers, VPC hosts, and a gateway between them.

pub mod config;
pub mod daemon;
pub mod metrics;
pub mod netns;
pub mod shim;
pub mod testbed;
