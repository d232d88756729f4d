//! A dataplane in memory, for tests of everything above it.

use std::collections::{BTreeMap, BTreeSet};

use border_gw_common::abi::Entry;

use super::{Dataplane, Error};
use crate::intent::XdpMode;
use crate::tables::{Installed, Op};

/// Holds what it is told.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Contents of the tables.
    pub installed: Installed,
    /// Where programs run.
    pub attached: BTreeSet<(u32, Entry)>,
    /// Every operation, in order.
    pub log: Vec<Op>,
}

impl Dataplane for Memory {
    fn read(&self) -> Result<Installed, Error> {
        Ok(self.installed.clone())
    }

    fn apply(&mut self, op: &Op) -> Result<(), Error> {
        self.installed.apply(op);
        self.log.push(op.clone());
        Ok(())
    }

    fn attach(&mut self, wanted: &[(u32, Entry)]) -> Result<(), Error> {
        self.attached = wanted.iter().copied().collect();
        Ok(())
    }

    fn modes(&self) -> BTreeMap<u32, XdpMode> {
        self.attached.iter().map(|(ifindex, _)| (*ifindex, XdpMode::Native)).collect()
    }
}
