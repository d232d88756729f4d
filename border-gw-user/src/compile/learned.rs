//! Learned routes: what a routing daemon wrote, less what no customer may say, whatever the daemon's filters let through.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use border_gw_common::abi::{MAX_ROUTES, MAX_SOURCES, OWNER_VIF, Owner, SOURCE_ROUTED};
use ipnet::IpNet;

use super::{Compiler, Way};
use crate::intent::{BorderGateway, MAX_LEARNED_GROUPS, Routing, VirtualInterface};
use crate::kernel::Hop;
use crate::routing::refusal::NEVER;
use crate::tables::{Identity, Target};

/// A prefix that is shorter is a default route, or a part of one: the largest blocks that anybody has are /8s.
const DEFAULT_ROUTE: u8 = 8;

impl Compiler<'_> {
    /// Routes and sources that were learned.
    pub(super) fn learned(&mut self, gateway: &BorderGateway, domain: u32) {
        let observed = self.observed;
        let Some(learned) = observed.learned.get(&gateway.name) else { return };
        let refused = Refused::of(gateway);
        let vifs: BTreeMap<&str, &VirtualInterface> =
            gateway.virtual_interfaces.iter().map(|vif| (vif.name.as_str(), vif)).collect();
        for (vif, prefixes) in &learned.sources {
            let Some(vif) = vifs.get(vif.as_str()).filter(|vif| speaks(gateway, vif)) else { continue };
            let sources = self.tables.sources.entry(self.slots.vifs[&vif.name]).or_default();
            let mut left = (MAX_SOURCES as usize).saturating_sub(sources.len());
            for prefix in prefixes.iter().filter(|prefix| !refused.is_refused(**prefix, vif)) {
                if left == 0 {
                    self.tables.left_out += 1;
                    continue;
                }
                left -= 1;
                sources.entry(*prefix).or_insert(SOURCE_ROUTED);
            }
        }
        // Many routes lead the same way.
        let mut groups: BTreeMap<&Arc<[Hop]>, Option<(Owner, Identity)>> = BTreeMap::new();
        let mut several = 0;
        let mut left =
            (MAX_ROUTES as usize).saturating_sub(self.tables.routes.get(&domain).map_or(0, BTreeMap::len));
        for (prefix, hops) in &learned.routes {
            let is_static = self.tables.routes.get(&domain).is_some_and(|routes| routes.contains_key(prefix));
            let taken = hops.iter().filter_map(|hop| vifs.get(&*hop.vif).copied());
            if is_static || taken.into_iter().any(|vif| refused.is_refused(*prefix, vif)) {
                continue;
            }
            if left == 0 {
                self.tables.left_out += 1;
                continue;
            }
            left -= 1;
            let target = *groups
                .entry(hops)
                .or_insert_with(|| self.way_of(gateway, domain, &vifs, hops, &mut several));
            if let Some((owner, group)) = target {
                self.route(domain, *prefix, Target { owner, group: Some(group) });
            }
        }
    }

    /// The group of equal-cost hops, and the VIF that it belongs to; none where no hop is a peer of ours.
    fn way_of(
        &mut self,
        gateway: &BorderGateway,
        domain: u32,
        vifs: &BTreeMap<&str, &VirtualInterface>,
        hops: &[Hop],
        several: &mut usize,
    ) -> Option<(Owner, Identity)> {
        let mut peers = hops.iter().filter_map(|hop| {
            let vif = *vifs.get(&*hop.vif)?;
            let peer = vif.addresses.iter().map(|link| link.peer).find(|peer| peer.is_ipv4() == hop.is_v4)?;
            speaks(gateway, vif).then_some((vif, peer))
        });
        let first = peers.next()?;
        let mut all: Vec<(&VirtualInterface, IpAddr)> = std::iter::once(first).chain(peers).collect();
        if all.len() > 1 {
            if *several < MAX_LEARNED_GROUPS {
                *several += 1;
            } else {
                all.truncate(1);
            }
        }
        let ways: Vec<Way> = all.iter().map(|(vif, peer)| self.way_to_peer(gateway, vif, *peer)).collect();
        let owner = Owner::new(OWNER_VIF, self.slots.vifs[&first.0.name]);
        Some((owner, self.group(gateway, domain, ways)))
    }
}

/// Whether anything is learned from a VIF.
fn speaks(gateway: &BorderGateway, vif: &VirtualInterface) -> bool {
    vif.bgp.is_some() || gateway.routing == Routing::External
}

/// Prefixes that are never learned.
struct Refused {
    /// CIDRs and link subnets: what lies inside would take hosts from a VPC or a link.
    networks: HashSet<IpNet>,
    /// Their lengths, by family.
    lengths: [BTreeSet<u8>; 2],
    /// Whether the operator's own daemon decides about default routes.
    external: bool,
}

impl Refused {
    fn of(gateway: &BorderGateway) -> Self {
        let networks = Compiler::inside_networks(gateway);
        let lengths = [true, false].map(|is_v4| {
            let family = networks.iter().filter(|net| net.addr().is_ipv4() == is_v4);
            family.map(IpNet::prefix_len).collect()
        });
        let external = gateway.routing == Routing::External;
        Self { networks: networks.into_iter().collect(), lengths, external }
    }

    fn is_refused(&self, prefix: IpNet, vif: &VirtualInterface) -> bool {
        if NEVER.iter().any(|never| never.contains(&prefix)) {
            return true;
        }
        if prefix.prefix_len() < DEFAULT_ROUTE {
            let asked = vif.bgp.as_ref().is_some_and(|bgp| bgp.accept.default_route);
            return !asked && !self.external;
        }
        let lengths = &self.lengths[usize::from(!prefix.addr().is_ipv4())];
        lengths.range(..=prefix.prefix_len()).any(|length| {
            let covering = IpNet::new(prefix.addr(), *length).map(|net| net.trunc());
            covering.is_ok_and(|net| self.networks.contains(&net))
        })
    }
}
