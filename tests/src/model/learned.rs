//! What is taken of the routes that customers announce (docs/reference.md, what is refused).

use std::collections::BTreeMap;
use std::net::IpAddr;

use border_gw::intent::{BorderGateway, Routing, VirtualInterface};
use border_gw::kernel::Observed;
use ipnet::IpNet;

use super::world::speaks;

/// What no host is in: refusal number 2 of the reference.
const NOBODY: [&str; 7] =
    ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/16", "fe80::/10", "ff00::/8"];
/// A default route, or a part of one, is shorter: refusal number 1.
const DEFAULT_ROUTE: u8 = 8;

/// Routes and sources that are taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Prefixes, each with the virtual interfaces (by place) and peers that it leads to.
    pub(super) routes: Vec<(IpNet, Vec<(usize, IpAddr)>)>,
    /// What each virtual interface may speak from, by its name.
    pub(super) sources: BTreeMap<String, Vec<IpNet>>,
}

/// What is taken of all that was learned.
pub(super) fn taken(gateway: &BorderGateway, observed: &Observed) -> Taken {
    let Some(learned) = observed.learned.get(&gateway.name) else { return Taken::default() };
    let mut taken = Taken::default();
    for (name, prefixes) in &learned.sources {
        let vif = gateway.virtual_interfaces.iter().find(|vif| vif.name == *name);
        let Some(vif) = vif.filter(|vif| speaks(gateway, vif)) else { continue };
        let good = prefixes.iter().filter(|prefix| !is_refused(gateway, vif, **prefix));
        taken.sources.insert(name.clone(), good.copied().collect());
    }
    for (prefix, hops) in &learned.routes {
        let vifs = gateway.virtual_interfaces.iter().enumerate();
        let named: Vec<_> = vifs.filter(|(_, vif)| hops.iter().any(|hop| *hop.vif == *vif.name)).collect();
        if named.iter().any(|(_, vif)| is_refused(gateway, vif, *prefix)) {
            continue;
        }
        let ways = named.iter().filter(|(_, vif)| speaks(gateway, vif)).flat_map(|(place, vif)| {
            let of_vif = hops.iter().filter(|hop| *hop.vif == *vif.name);
            of_vif.filter_map(|hop| {
                let peers = vif.addresses.iter().map(|link| link.peer);
                Some((*place, peers.into_iter().find(|peer| peer.is_ipv4() == hop.is_v4)?))
            })
        });
        let ways: Vec<_> = ways.collect();
        if !ways.is_empty() {
            taken.routes.push((*prefix, ways));
        }
    }
    taken
}

fn is_refused(gateway: &BorderGateway, vif: &VirtualInterface, prefix: IpNet) -> bool {
    if prefix.prefix_len() < DEFAULT_ROUTE {
        let accepted = vif.bgp.as_ref().is_some_and(|bgp| bgp.accept.default_route);
        return !accepted && gateway.routing != Routing::External;
    }
    let nobody = NOBODY.iter().filter_map(|net| net.parse::<IpNet>().ok());
    let cidrs = gateway.vpc_attachments.iter().flat_map(|vpc| vpc.cidrs.iter().copied());
    let links =
        gateway.virtual_interfaces.iter().flat_map(|vif| vif.addresses.iter().map(|l| l.local.trunc()));
    nobody.chain(cidrs).chain(links).any(|net| net.contains(&prefix))
}
