//! A dataplane in memory, for tests of everything above it.

use std::collections::{BTreeMap, BTreeSet};

use border_gw_common::abi::{Entry, Owner, Tally, TooBig, Traffic, owner_scope, retired_scope};
use border_gw_common::loss::{Losses, RETIRED};

use super::{Dataplane, Error, counters, losses};
use crate::intent::XdpMode;
use crate::tables::{Identity, Installed, Op};

/// Holds what it is told.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Contents of the tables.
    pub installed: Installed,
    /// Where programs run.
    pub attached: BTreeSet<(u32, Entry)>,
    /// What was counted, by scope.
    pub tallies: BTreeMap<u32, Tally>,
    /// Packets received, by program.
    pub received: BTreeMap<Entry, u64>,
    /// Traffic of VIFs and attachments.
    pub traffic: BTreeMap<Owner, Traffic>,
    /// Packets larger than the MTU of a next hop.
    pub too_big: BTreeMap<Identity, TooBig>,
    /// Packets lost after the verdict, by interface index.
    pub losses: BTreeMap<u32, Losses>,
    /// Every operation, in order.
    pub log: Vec<Op>,
}

impl Dataplane for Memory {
    fn read(&self) -> Result<Installed, Error> {
        Ok(self.installed.clone())
    }

    fn apply(&mut self, op: &Op) -> Result<(), Error> {
        self.installed.apply(op);
        if let Op::Retire(owner) = op {
            let (scope, entry) = owner_scope(*owner);
            self.traffic.remove(owner);
            if let Some(counted) = self.tallies.remove(&scope) {
                let retired = self.tallies.entry(retired_scope(entry)).or_insert(counters::NO_TALLY);
                counters::add(retired, &counted);
            }
        }
        if let Op::Device(ifindex, false) = op
            && let Some(lost) = self.losses.remove(ifindex)
        {
            losses::add(self.losses.entry(RETIRED).or_default(), &lost);
        }
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
