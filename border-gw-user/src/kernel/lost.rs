//! What carries nothing any more, and did before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Observed, line_of};
use crate::failover::Cause;
use crate::intent::{BorderGateway, Intent, VirtualInterface};

/// Ports and peers that died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Ports without carrier: name and interface index.
    pub ports: BTreeMap<String, u32>,
    /// Peers that BFD says are gone.
    pub bfd: BTreeSet<Peer>,
    /// Peers that do not answer.
    pub neighbors: BTreeSet<Peer>,
}

/// The peer of a family on a VIF.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Name of the border gateway.
    pub border_gateway: String,
    /// Name of the VIF.
    pub vif: String,
    /// Its address.
    pub address: IpAddr,
}

/// How a peer is.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerState {
    pub(super) bfd_down: bool,
    pub(super) answers: bool,
}

impl Lost {
    /// What was alive in `last` and is not in `now`.
    pub fn between(intent: &Intent, last: &Observed, now: &Observed) -> Self {
        let is_up = |port: &str| now.ports.get(port).is_some_and(|port| port.up);
        Self::find(intent, last, is_up, |_, vif, address| {
            let key = (vif.name.clone(), address);
            let (bfd_down, answers) = (now.bfd_down.contains(&key), now.neighbors.contains_key(&key));
            Some(PeerState { bfd_down, answers })
        })
    }

    /// The same of whatever tells how ports and peers are now; a peer of which nothing is told is as it was.
    pub(super) fn find(
        intent: &Intent,
        last: &Observed,
        is_up: impl Fn(&str) -> bool,
        mut now: impl FnMut(&BorderGateway, &VirtualInterface, IpAddr) -> Option<PeerState>,
    ) -> Self {
        let mut lost = Self::default();
        let died = last.ports.iter().filter(|(name, port)| port.up && !is_up(name));
        lost.ports.extend(died.map(|(name, port)| (name.clone(), port.ifindex)));
        for gateway in &intent.border_gateways {
            for vif in &gateway.virtual_interfaces {
                // What follows from a port that is down, or from an order, is no loss of its own.
                let port = line_of(intent, vif).and_then(|interface| last.ports.get_key_value(interface));
                let is_carried =
                    port.is_some_and(|(name, port)| port.up && !lost.ports.contains_key(name)) && vif.enabled;
                for address in vif.addresses.iter().map(|link| link.peer).filter(|_| is_carried) {
                    let Some(now) = now(gateway, vif, address) else { continue };
                    let key = (vif.name.clone(), address);
                    let peer =
                        || Peer { border_gateway: gateway.name.clone(), vif: vif.name.clone(), address };
                    if now.bfd_down && !last.bfd_down.contains(&key) {
                        lost.bfd.insert(peer());
                    }
                    if !now.answers && last.neighbors.contains_key(&key) {
                        lost.neighbors.insert(peer());
                    }
                }
            }
        }
        lost
    }

    /// Whether all is as it was.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Less what is known already.
    #[must_use]
    pub fn without(mut self, known: &Self) -> Self {
        self.ports.retain(|port, _| !known.ports.contains_key(port));
        self.bfd.retain(|peer| !known.bfd.contains(peer));
        self.neighbors.retain(|peer| !known.neighbors.contains(peer));
        self
    }

    /// And that.
    pub fn add(&mut self, more: &Self) {
        self.ports.extend(more.ports.clone());
        self.bfd.extend(more.bfd.iter().cloned());
        self.neighbors.extend(more.neighbors.iter().cloned());
    }

    /// Each loss.
    pub fn causes(&self) -> impl Iterator<Item = Cause> {
        let ports = self.ports.keys().map(|port| Cause::Port(port.clone()));
        let bfd = self.bfd.iter().map(|peer| Cause::Bfd(peer.vif.clone(), peer.address));
        let neighbors = self.neighbors.iter().map(|peer| Cause::Neighbor(peer.vif.clone(), peer.address));
        ports.chain(bfd).chain(neighbors)
    }
}
