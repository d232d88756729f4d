//! The testbed: namespaces, customers, VPC hosts, and a gateway between them.

pub mod caps;
pub mod config;
pub mod customers;
pub mod daemon;
pub mod datagrams;
pub mod failover;
pub mod figures;
pub mod frames;
pub mod masses;
pub mod metrics;
pub mod model;
pub mod netns;
pub mod peer;
pub mod privileges;
pub mod proof;
pub mod shim;
pub mod stop;
pub mod testbed;
pub mod verifier;
