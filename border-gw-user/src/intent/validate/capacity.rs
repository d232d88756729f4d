//! Capacity: MTUs, bursts, and what the tables can hold.

use std::collections::{HashMap, HashSet};

use border_gw_common::abi;

use super::attachments::MAX_MEMBERS;
use super::fabrics;
use crate::intent::diagnostic::{At, Place, Report};
use crate::intent::document::{BorderGateway, Document, Host, VirtualInterface, VpcAttachment, Vtep};
use crate::intent::{MAX_LEARNED_GROUPS, Routing};

/// Smallest MTU of a link that carries IPv6 (RFC 8200, section 5).
const MIN_MTU_V6: u16 = 1280;

/// Checks MTUs, bursts and counts.
pub(super) fn check(report: &mut Report, document: &Document, whole: Place) {
    for gateway in &document.border_gateways {
        for vif in &gateway.virtual_interfaces {
            let is_v6 = vif
                .addresses
                .iter()
                .filter_map(|address| address.local)
                .any(|local| local.value.addr().is_ipv6());
            mtu(report, vif.mtu, is_v6);
            bursts(report, vif);
        }
        for attachment in &gateway.vpc_attachments {
            let is_v6 = attachment.cidrs.iter().any(|cidr| cidr.value.addr().is_ipv6());
            mtu(report, attachment.mtu, is_v6);
        }
        members(report, gateway);
    }
    counts(report, document, whole);
}

fn mtu(report: &mut Report, mtu: At<u16>, is_v6: bool) {
    if is_v6 && mtu.value < MIN_MTU_V6 {
        let message = format!("the MTU {} is too small for IPv6", mtu.value);
        report.error(mtu.at, message).suggest(format!("write at least {MIN_MTU_V6}"));
    }
}

/// A burst belongs to a rate, and a packet of the largest size fits into it.
fn bursts(report: &mut Report, vif: &VirtualInterface) {
    let (bandwidth, burst) = (&vif.bandwidth, &vif.burst);
    // One value for both directions is good if either has a rate; it is judged once.
    let is_one = burst.to_vpc == burst.to_customer;
    let has_rate = [bandwidth.to_vpc.is_some(), bandwidth.to_customer.is_some()];
    let judged = if is_one {
        vec![(burst.to_vpc, has_rate[0] || has_rate[1])]
    } else {
        vec![(burst.to_vpc, has_rate[0]), (burst.to_customer, has_rate[1])]
    };
    for (burst, has_rate) in judged {
        let Some(burst) = burst else { continue };
        if !has_rate && !bandwidth.is_broken {
            report
                .error(burst.at, "a burst without a bandwidth limits nothing")
                .suggest("add `bandwidth`, or remove `burst`");
        }
        if burst.value < u64::from(vif.mtu.value) {
            let message =
                format!("a burst of {} bytes holds no packet of {} bytes", burst.value, vif.mtu.value);
            let help =
                format!("write at least {}B, two packets, or leave it out", 2 * u32::from(vif.mtu.value));
            report.error(burst.at, message).suggest(help);
        }
    }
}

/// A static route has at most as many members as a group shares its buckets among.
fn members(report: &mut Report, gateway: &BorderGateway) {
    for name in gateway.routes.iter().filter_map(|route| route.via.get(MAX_MEMBERS)) {
        report
            .error(name.at, "too many virtual interfaces for one route")
            .suggest(format!("at most {MAX_MEMBERS} are equal"));
    }
}

/// What the tables of the kernel can hold.
fn counts(report: &mut Report, document: &Document, whole: Place) {
    let gateways = &document.border_gateways;
    let attachments = || gateways.iter().flat_map(|gateway| &gateway.vpc_attachments);
    let vifs = || gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces);
    let fabric = fabrics(document).flat_map(|fabric| &fabric.interfaces);
    let lines = document.connections.iter().filter_map(|connection| connection.interface.as_ref());
    let ports: HashSet<&str> = fabric.chain(lines).map(|interface| interface.value.as_str()).collect();
    let links = vifs().map(|vif| vif.addresses.len()).sum::<usize>();
    let ways: Vec<Ways> = attachments().map(ways).collect();
    let routes = gateways.iter().map(|gateway| gateway.routes.len()).sum::<usize>();
    let rows = [
        ("connections", document.connections.len(), abi::MAX_CONNECTIONS),
        ("border gateways", gateways.len(), abi::MAX_DOMAINS),
        ("virtual interfaces", vifs().count(), abi::MAX_VIFS),
        ("VPC attachments", attachments().count(), abi::MAX_ATTACHMENTS),
        ("line and fabric ports", ports.len(), abi::MAX_PORTS),
        ("pairs of attachment and VTEP", ways.iter().map(|ways| ways.vteps).sum(), abi::MAX_VTEPS),
        // The first of both tables means none.
        ("next hops", ways.iter().map(|ways| ways.next_hops).sum::<usize>() + links, abi::MAX_NEXT_HOPS - 1),
        (
            "next-hop groups",
            ways.iter().map(|ways| ways.groups).sum::<usize>()
                + links
                + routes
                + gateways.iter().map(learned_groups).sum::<usize>(),
            abi::MAX_GROUPS - 1,
        ),
    ];
    for (what, count, most) in rows {
        too_many(report, whole, what, count, most);
    }
    for gateway in gateways {
        let prefixes = |attachment: &VpcAttachment| {
            let addresses = attachment.router.as_ref().map_or(0, |router| router.addresses.len());
            attachment.cidrs.len() + attachment.hosts.len() + addresses
        };
        let learned: usize = gateway.virtual_interfaces.iter().map(learned_prefixes).sum();
        let count =
            gateway.vpc_attachments.iter().map(prefixes).sum::<usize>() + gateway.routes.len() + learned;
        too_many(report, gateway.at, "routes in one border gateway", count, abi::MAX_ROUTES);
        let named =
            gateway.virtual_interfaces.iter().filter_map(|vif| Some((&vif.name.as_ref()?.value, vif)));
        let mut sources: HashMap<&str, usize> =
            named.map(|(name, vif)| (name.as_str(), learned_prefixes(vif))).collect();
        for name in gateway.routes.iter().flat_map(|route| &route.via) {
            *sources.entry(&name.value).or_default() += 1;
        }
        if let Some(count) = sources.values().max() {
            too_many(report, gateway.at, "routes by one virtual interface", *count, abi::MAX_SOURCES);
        }
    }
}

/// Most prefixes that are taken from a virtual interface.
fn learned_prefixes(vif: &VirtualInterface) -> usize {
    let Some(bgp) = &vif.bgp else { return 0 };
    // Where there is no address of IPv4, IPv6 carries both families.
    let has_v4 = vif.addresses.iter().filter_map(|address| address.peer).any(|peer| peer.value.is_ipv4());
    let families = if has_v4 { vif.addresses.len() } else { 2 };
    bgp.max_prefixes as usize * families
}

/// Most groups of several lines that learned routes make: one for each set of lines and family, up to a limit.
fn learned_groups(gateway: &BorderGateway) -> usize {
    let is_external = gateway.routing == Routing::External;
    let speak = gateway.virtual_interfaces.iter().filter(|vif| is_external || vif.bgp.is_some()).count();
    let sets = (1_usize << speak.min(16)) - speak.min(16) - 1;
    (2 * sets).min(MAX_LEARNED_GROUPS)
}

fn too_many(report: &mut Report, at: Place, what: &str, count: usize, most: u32) {
    if count > most as usize {
        report.error(at, format!("{count} {what}")).suggest(format!("one server holds at most {most}"));
    }
}

/// What an attachment takes of the tables.
struct Ways {
    vteps: usize,
    next_hops: usize,
    groups: usize,
}

fn ways(attachment: &VpcAttachment) -> Ways {
    let lists = || {
        let hosts = attachment.hosts.iter().map(|host: &Host| host.vteps.as_slice());
        std::iter::once(attachment.vteps.as_slice()).chain(hosts)
    };
    let end = |vtep: &Vtep| (vtep.address.value, vtep.mac.map(|mac| mac.value));
    let vteps: HashSet<_> = lists().flatten().map(|vtep| vtep.address.value).collect();
    let next_hops: HashSet<_> = lists().flatten().map(end).collect();
    let groups: HashSet<Vec<_>> = lists()
        .map(|list| {
            let mut ends: Vec<_> = list.iter().map(end).collect();
            ends.sort_unstable();
            ends
        })
        .collect();
    Ways { vteps: vteps.len(), next_hops: next_hops.len(), groups: groups.len() }
}
