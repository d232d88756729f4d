//! The kernel's packet path, as the daemon sees it: maps to fill, programs to attach, counters to read.

pub mod bpf;
mod btf;
mod contents;
pub mod counters;
mod devices;
pub mod error;
mod links;
mod losses;
pub mod memory;
mod mode;
pub mod pins;
mod syscalls;

use std::collections::BTreeMap;

use border_gw_common::abi::Entry;

use crate::intent::XdpMode;
use crate::tables::{Installed, Op};
pub use error::Error;

/// Where tables are installed.
pub trait Dataplane {
    /// Reads everything back.
    fn read(&self) -> Result<Installed, Error>;

    /// Carries one operation out.
    fn apply(&mut self, op: &Op) -> Result<(), Error>;

    /// Makes exactly these programs run on these interfaces, keeping what runs already.
    fn attach(&mut self, wanted: &[(u32, Entry)]) -> Result<(), Error>;

    /// How the programs run, by interface index.
    fn modes(&self) -> BTreeMap<u32, XdpMode>;
}
