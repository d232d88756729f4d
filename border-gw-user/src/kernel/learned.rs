//! What routing daemons wrote into a border gateway's namespace, read from the kernel's tables.
//!
//! The main table leads packets to customers. Table 1000 + N holds all that was accepted from the VIF of interface `vifN`,
//! best or not, for its source validation. Table 200 holds one route to each peer, there while its BFD session is up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType, RouteVia,
};

use super::KernelError;
use super::events::Changes;
use super::netlink::PROTOCOL;
use super::routes::Dump;

/// The kernel's main table (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;
/// Table of the routes that are there while BFD is up; below 256, so that an event's header names it.
pub const BFD_TABLE: u32 = 200;
/// Table of what this gateway remembers: a blackhole to each peer whose BFD was seen up, which the next daemon finds.
pub(super) const SEEN_TABLE: u32 = 201;
/// Table of what was accepted from the VIF of interface `vifN`, less N.
pub const SOURCES_TABLE: u32 = 1000;

/// Where a learned route leads: to the peer of a family on a VIF.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// Name of the VIF.
    pub vif: Arc<str>,
    /// Whether the next hop is IPv4; an IPv4 route may have one of IPv6 (RFC 8950).
    pub is_v4: bool,
}

/// Routes of one border gateway. Their next hops are VIFs: what is behind a peer's own links does not matter here, and a peer
/// that announces somebody else on its link as next hop (RFC 4271, section 5.1.3) still gets the packets itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// From the main table, equal-cost, in ascending order.
    pub routes: BTreeMap<IpNet, Arc<[Hop]>>,
    /// What was accepted from each VIF, by its name.
    pub sources: BTreeMap<String, BTreeSet<IpNet>>,
}

/// An interface of the namespace, by index.
pub(super) struct Interface {
    pub(super) vif: Arc<str>,
    /// N of `vifN`.
    pub(super) number: u32,
}

/// Reads tables again when they changed, but not all the time.
pub(super) struct Tables {
    dump: Dump,
    changes: Changes,
    learned: Arc<Learned>,
    /// Peers with a route in the table of BFD.
    bfd_up: BTreeSet<(u32, IpAddr)>,
    /// When the next reading may start.
    next: Instant,
}

/// A reading takes at most one part in this many of the time, so that a flood of routes is absorbed in a few readings.
const SHARE: u32 = 4;

impl Tables {
    pub(super) fn new(dump: Dump, now: Instant) -> Self {
        Self {
            dump,
            changes: Changes::everything(),
            learned: Arc::default(),
            bfd_up: BTreeSet::new(),
            next: now,
        }
    }

    pub(super) fn learned(&self) -> &Arc<Learned> {
        &self.learned
    }

    /// Whether a peer on an interface has its BFD session up.
    pub(super) fn is_bfd_up(&self, index: u32, peer: IpAddr) -> bool {
        self.bfd_up.contains(&(index, peer))
    }

    /// To be read again.
    pub(super) fn mark(&mut self, changes: Changes) {
        self.changes.add(changes);
    }

    /// Everything is read at the next refresh: interfaces changed.
    pub(super) fn read_soon(&mut self) {
        self.changes.add(Changes::everything());
        self.next = Instant::now();
    }

    /// All routes of a table, as they are.
    pub(super) fn routes(&mut self, table: u32) -> Result<Vec<RouteMessage>, KernelError> {
        self.dump.table(table, &mut |all: &mut Vec<_>, route| all.push(route.clone()))
    }

    /// Reads the table of BFD, which is small, if it changed.
    pub(super) fn refresh_bfd(&mut self) -> Result<(), KernelError> {
        if !self.changes.take_table(BFD_TABLE) {
            return Ok(());
        }
        let up = self.dump.table(BFD_TABLE, &mut |up: &mut BTreeSet<_>, route| {
            if let (Some(prefix), Some(hop)) = (destination(route), next_hops(route).first()) {
                up.insert((hop.0, prefix.addr()));
            }
        });
        self.bfd_up = up.inspect_err(|_| self.changes.add(Changes::of_table(BFD_TABLE)))?;
        Ok(())
    }

    /// Reads the other tables that changed. Says how long to wait before the rest of it can be read. `changes_now` tells whether a
    /// table changed since it was asked what changed.
    pub(super) fn refresh(
        &mut self,
        interfaces: &BTreeMap<u32, Interface>,
        external: bool,
        changes_now: &dyn Fn(u32) -> bool,
    ) -> Result<Option<Duration>, KernelError> {
        self.refresh_bfd()?;
        if !self.changes.any_table() {
            return Ok(None);
        }
        let started = Instant::now();
        if started < self.next {
            return Ok(Some(self.next - started));
        }
        let changes = std::mem::take(&mut self.changes);
        match self.read(&changes, interfaces, external, changes_now) {
            Ok(learned) => {
                if *self.learned != learned {
                    self.learned = Arc::new(learned);
                }
                let took = started.elapsed();
                self.next = started + took * SHARE;
                Ok(None)
            }
            Err(error) => {
                self.changes.add(changes);
                Err(error)
            }
        }
    }

    /// The kernel may leave out IPv6 routes that were there all the time when their table changes under a dump, without a word
    /// (`fib6_dump_table` in `net/ipv6/ip6_fib.c` skips by number): what such a dump lacks stays until a dump that nothing disturbed.
    fn read(
        &mut self,
        changes: &Changes,
        interfaces: &BTreeMap<u32, Interface>,
        external: bool,
        changes_now: &dyn Fn(u32) -> bool,
    ) -> Result<Learned, KernelError> {
        let mut learned = Learned { routes: BTreeMap::new(), sources: self.learned.sources.clone() };
        let names: BTreeSet<&str> = interfaces.values().map(|interface| &*interface.vif).collect();
        learned.sources.retain(|vif, _| names.contains(vif.as_str()));
        if changes.table(MAIN) {
            learned.routes = self.main(interfaces)?;
            if changes_now(MAIN) {
                let known = self.learned.routes.iter().filter(|(prefix, hops)| {
                    is_v6(prefix) && hops.iter().all(|hop| names.contains(&*hop.vif))
                });
                for (prefix, hops) in known {
                    learned.routes.entry(*prefix).or_insert_with(|| Arc::clone(hops));
                }
            }
        } else {
            learned.routes.clone_from(&self.learned.routes);
        }
        for interface in interfaces.values() {
            let table = SOURCES_TABLE + interface.number;
            if changes.table(table) {
                let mut sources = self.dump.table(table, &mut |sources: &mut BTreeSet<_>, route| {
                    sources.extend(destination(route));
                })?;
                if changes_now(table) {
                    let known = self.learned.sources.get(&*interface.vif);
                    sources.extend(known.into_iter().flatten().copied().filter(is_v6));
                }
                learned.sources.insert(interface.vif.to_string(), sources);
            }
        }
        if external {
            // Nobody writes those tables: what the main one sends to a VIF may come from it.
            learned.sources = sources_of(&learned.routes);
        }
        learned.sources.retain(|_, sources| !sources.is_empty());
        Ok(learned)
    }

    fn main(
        &mut self,
        interfaces: &BTreeMap<u32, Interface>,
    ) -> Result<BTreeMap<IpNet, Arc<[Hop]>>, KernelError> {
        // Many routes lead the same way.
        let mut interned: BTreeSet<Arc<[Hop]>> = BTreeSet::new();
        let routes = self.dump.table(MAIN, &mut |routes: &mut BTreeMap<_, (u32, _)>, route| {
            // Routes of a type of service are none for all packets.
            if !is_learned(route) || route.header.tos != 0 {
                return;
            }
            let hops = next_hops(route).into_iter().filter_map(|(index, gateway)| {
                Some(Hop { vif: Arc::clone(&interfaces.get(&index)?.vif), is_v4: gateway?.is_ipv4() })
            });
            let hops: BTreeSet<Hop> = hops.collect();
            let Some(prefix) = destination(route).filter(|_| !hops.is_empty()) else { return };
            let hops: Arc<[Hop]> = hops.into_iter().collect();
            let known = interned.get(&hops).cloned();
            let hops = known.unwrap_or_else(|| {
                interned.insert(Arc::clone(&hops));
                hops
            });
            // Of several routes to a prefix the kernel follows the one of the lowest metric.
            let metric = metric(route);
            if routes.get(&prefix).is_none_or(|(lowest, _)| metric < *lowest) {
                routes.insert(prefix, (metric, hops));
            }
        })?;
        Ok(routes.into_iter().map(|(prefix, (_, hops))| (prefix, hops)).collect())
    }
}

/// Reads what a kernel could have sent as a part of a table; for fuzzers.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    let sequence = bytes.get(8..12).and_then(|word| Some(u32::from_ne_bytes(word.try_into().ok()?)));
    let read = super::routes::read(bytes, sequence.unwrap_or(0), &mut |route| {
        let prefix = destination(route);
        assert!(prefix.is_none_or(|prefix| u32::from(prefix.prefix_len()) <= 128));
        std::hint::black_box((is_learned(route), next_hops(route), metric(route)));
    });
    drop(read);
}

fn metric(message: &RouteMessage) -> u32 {
    let metric = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    metric.unwrap_or(0)
}

fn is_v6(prefix: &IpNet) -> bool {
    prefix.addr().is_ipv6()
}

fn sources_of(routes: &BTreeMap<IpNet, Arc<[Hop]>>) -> BTreeMap<String, BTreeSet<IpNet>> {
    let mut sources: BTreeMap<String, BTreeSet<IpNet>> = BTreeMap::new();
    for (prefix, hops) in routes {
        for hop in &**hops {
            sources.entry(hop.vif.to_string()).or_default().insert(*prefix);
        }
    }
    sources
}

/// Whether a daemon made it: not the kernel, not this gateway, and no router advertisement.
fn is_learned(message: &RouteMessage) -> bool {
    let protocol = message.header.protocol;
    message.header.kind == RouteType::Unicast
        && u8::from(protocol) != PROTOCOL
        && !matches!(
            protocol,
            RouteProtocol::Kernel | RouteProtocol::Ra | RouteProtocol::Boot | RouteProtocol::IcmpRedirect
        )
}

/// Interface index and gateway of each next hop.
fn next_hops(message: &RouteMessage) -> Vec<(u32, Option<IpAddr>)> {
    let multipath = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    if let Some(hops) = multipath {
        return hops.iter().map(|hop| (hop.interface_index, gateway(&hop.attributes))).collect();
    }
    let index = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    });
    index.map(|index| (index, gateway(&message.attributes))).into_iter().collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

/// Destination; a default route has no such attribute.
pub(super) fn destination(message: &RouteMessage) -> Option<IpNet> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    let length = message.header.destination_prefix_length;
    let address = match (address, message.header.address_family) {
        (Some(address), _) => address,
        (None, netlink_packet_route::AddressFamily::Inet) if length == 0 => IpAddr::V4([0; 4].into()),
        (None, netlink_packet_route::AddressFamily::Inet6) if length == 0 => IpAddr::V6([0; 16].into()),
        _ => return None,
    };
    IpNet::new(address, length).ok()
}
