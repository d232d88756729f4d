//! Line and fabric ports made fit for the programs: offloads, and frames for groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use log::warn;
use rtnetlink::LinkUnspec;

use super::KernelError;
use super::domain::refuse;
use super::ethtool::Ethtool;
use super::netlink::{Link, Netlink};
use crate::intent::Intent;

/// Offloads of line ports: a tag that the device takes off, or filters, is one that the program never sees.
const LINE_FEATURES: [(&str, bool); 6] = [
    ("rx-vlan-hw-parse", false),
    ("rx-vlan-filter", false),
    ("rx-vlan-stag-hw-parse", false),
    ("rx-vlan-stag-filter", false),
    ("rx-lro", false),
    ("rx-gro-hw", false),
];
/// Offloads of fabric ports.
const FABRIC_FEATURES: [(&str, bool); 2] = [("rx-lro", false), ("rx-gro-hw", false)];

/// Line and fabric ports of an intent, each once.
pub(super) fn names(intent: &Intent) -> BTreeSet<String> {
    let lines = intent.connections.iter().map(|connection| connection.interface.clone());
    lines.chain(intent.fabric.interfaces.iter().cloned()).collect()
}

/// Lets a line port receive the frames of all groups, or no longer.
async fn all_multicast(link: &Link, netlink: &Netlink, on: bool) -> Result<(), KernelError> {
    let message = LinkUnspec::new_with_index(link.index).allmulticast(on).build();
    let set = netlink.handle.link().set(message).execute().await;
    set.map_err(KernelError::netlink(format!("switch allmulticast of `{}`", link.name)))
}

/// Gives a line port back. Offloads stay off: what they were before is not known.
pub(super) async fn release(link: &Link, netlink: &Netlink) -> Result<(), KernelError> {
    all_multicast(link, netlink, false).await
}

/// Which ports are fit. A device that comes back is another one, and is prepared again before it is used.
#[derive(Default)]
pub(super) struct Ports {
    fit: BTreeMap<String, u32>,
    /// Why a port is not, for one line in the log.
    refused: BTreeMap<String, String>,
}

impl Ports {
    /// Prepares a port, unless this device is fit already.
    pub(super) async fn prepare(
        &mut self,
        intent: &Intent,
        link: &Link,
        netlink: &Netlink,
        ethtool: &Arc<Ethtool>,
    ) -> Result<(), KernelError> {
        if self.fit.get(&link.name) == Some(&link.index) {
            return Ok(());
        }
        let name = &link.name;
        let fabric = intent.fabric.interfaces.contains(name);
        let features: &[_] = if fabric { &FABRIC_FEATURES } else { &LINE_FEATURES };
        let left = ethtool.switch(name, features);
        refuse(name, left.map_err(KernelError::system(format!("switch offloads of `{name}`")))?)?;
        if !fabric {
            all_multicast(link, netlink, true).await?;
        }
        self.fit.insert(name.clone(), link.index);
        self.refused.remove(name);
        Ok(())
    }

    /// The same while the daemon runs: a port that cannot be prepared is left out, and the log says so once.
    pub(super) async fn is_fit(
        &mut self,
        intent: &Intent,
        link: &Link,
        netlink: &Netlink,
        ethtool: &Arc<Ethtool>,
    ) -> bool {
        let Err(error) = self.prepare(intent, link, netlink, ethtool).await else { return true };
        let why = error.to_string();
        if self.refused.get(&link.name) != Some(&why) {
            warn!("interface `{}` is not used: {why}", link.name);
            self.refused.insert(link.name.clone(), why);
        }
        false
    }

    /// Prepares all of them again when they are next asked for.
    pub(super) fn forget(&mut self) {
        self.fit.clear();
    }
}
