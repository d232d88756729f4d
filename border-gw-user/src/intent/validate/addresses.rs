//! Addresses of one border gateway: links, CIDRs, and static routes that keep out of both.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::intent::diagnostic::{At, Place, Report};
use crate::intent::document::{BorderGateway, LinkAddress, VirtualInterface};
use crate::intent::values;

/// Shortest CIDR, IPv4 and IPv6: the largest block that anybody has is a /8 (10.0.0.0/8, `fd00::/8`), with room for IPv4
/// blocks side by side. What is shorter is a part of the Internet, and not a VPC.
const SHORTEST_CIDR: [u8; 2] = [4, 8];
/// What the CIDRs of a border gateway may hold together, as the length of one prefix, IPv4 and IPv6. Of IPv6 `2000::/3` is in
/// use (RFC 4291), so that a /4 is half of all addresses there, as a /1 is of IPv4's.
const DEFAULT_ROUTE: [u8; 2] = [1, 4];

/// Checks links, CIDRs and routes.
pub(super) fn check(report: &mut Report, gateway: &BorderGateway) {
    let mut links: Vec<At<IpNet>> = Vec::new();
    for vif in &gateway.virtual_interfaces {
        families(report, vif);
        for address in &vif.addresses {
            link(report, address);
            let Some(local) = address.local else { continue };
            let subnet = At { value: local.value.trunc(), at: local.at };
            for other in links.iter().filter(|other| overlap(other.value, subnet.value)) {
                let message = format!(
                    "the link subnet {} overlaps {} at {}",
                    subnet.value,
                    other.value,
                    report.show(other.at)
                );
                report
                    .error(local.at, message)
                    .suggest("each link of a border gateway has a subnet of its own");
            }
            links.push(subnet);
        }
    }
    let cidrs = cidrs(report, gateway);
    together(report, gateway.at, &cidrs);
    for subnet in &links {
        for cidr in cidrs.iter().filter(|cidr| overlap(cidr.value, subnet.value)) {
            let message = format!(
                "the link subnet {} overlaps the CIDR {} at {}",
                subnet.value,
                cidr.value,
                report.show(cidr.at)
            );
            report.error(subnet.at, message).suggest("use a link subnet that no attached VPC has");
        }
    }
    routes(report, gateway, &links, &cidrs);
}

/// One of two prefixes holds the other.
fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// A virtual interface has at most one address of each family: routes go to "the peer" of theirs.
fn families(report: &mut Report, vif: &VirtualInterface) {
    let mut seen: HashMap<bool, Place> = HashMap::new();
    for local in vif.addresses.iter().filter_map(|address| address.local) {
        let is_v4 = local.value.addr().is_ipv4();
        let Some(first) = seen.insert(is_v4, local.at) else { continue };
        let family = if is_v4 { "IPv4" } else { "IPv6" };
        let message =
            format!("a second {family} address on this virtual interface: first at {}", report.show(first));
        report.error(local.at, message).suggest("declare one address of each family");
    }
}

/// Our address and the peer's are two hosts of one subnet.
fn link(report: &mut Report, address: &LinkAddress) {
    if let Some(local) = address.local {
        let most = local.value.max_prefix_len() - 1;
        if local.value.prefix_len() > most {
            let message = format!("{} leaves no room for a peer", local.value);
            report.error(local.at, message).suggest(format!("the longest prefix of a link is /{most}"));
            return;
        }
        if let Some(what) = not_a_host(local.value, local.value.addr()) {
            let message = format!("{} is the {what} of its subnet", local.value.addr());
            report.error(local.at, message).suggest(hosts_of(local.value));
        }
    }
    let (Some(local), Some(peer)) = (address.local, address.peer) else { return };
    let subnet = local.value.trunc();
    if !subnet.contains(&peer.value) {
        let message = format!("the peer {} is outside the link subnet {subnet}", peer.value);
        report.error(peer.at, message).suggest(hosts_of(subnet));
    } else if peer.value == local.value.addr() {
        let message = format!("the peer {} is our own address", peer.value);
        report.error(peer.at, message).suggest("`peer` is the customer's router, `local` the gateway");
    } else if let Some(what) = not_a_host(subnet, peer.value) {
        report
            .error(peer.at, format!("{} is the {what} of its subnet", peer.value))
            .suggest(hosts_of(subnet));
    }
}

/// What an address is, if it cannot be a host of its subnet.
pub(super) fn not_a_host(subnet: IpNet, address: IpAddr) -> Option<&'static str> {
    // Two addresses are two hosts (RFC 3021, RFC 6164).
    if subnet.prefix_len() >= subnet.max_prefix_len() - 1 {
        return None;
    }
    match subnet {
        IpNet::V4(_) if address == subnet.network() => Some("network address"),
        IpNet::V4(_) if address == subnet.broadcast() => Some("broadcast address"),
        IpNet::V6(_) if address == subnet.network() => Some("subnet-router anycast address (RFC 4291)"),
        _ => None,
    }
}

/// The hosts that a subnet has.
fn hosts_of(subnet: IpNet) -> String {
    let subnet = subnet.trunc();
    let short = subnet.prefix_len() < subnet.max_prefix_len() - 1;
    let (first, last) = match (subnet.network(), subnet.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) if short => {
            let (first, last) = (u32::from(first) + 1, u32::from(last) - 1);
            (IpAddr::V4(first.into()), IpAddr::V4(last.into()))
        }
        (IpAddr::V6(first), last) if short => (IpAddr::V6((u128::from(first) + 1).into()), last),
        both => both,
    };
    format!("the hosts of {subnet} are {first} to {last}")
}

/// CIDRs of all attachments; no two are equal, none is a default route.
fn cidrs(report: &mut Report, gateway: &BorderGateway) -> Vec<At<IpNet>> {
    let mut seen: HashMap<IpNet, Place> = HashMap::new();
    let mut cidrs = Vec::new();
    for cidr in gateway.vpc_attachments.iter().flat_map(|attachment| &attachment.cidrs) {
        if default_route(report, cidr) {
            continue;
        }
        if let Some((special, what)) = values::holds_special(cidr.value) {
            let message = format!("{} holds {special}, which is {what}", cidr.value);
            report.error(cidr.at, message).suggest("name the address ranges that the VPC has");
        }
        if let Some(first) = seen.get(&cidr.value) {
            let message = format!("the CIDR {} is there twice: first at {}", cidr.value, report.show(*first));
            report.error(cidr.at, message).suggest("a CIDR belongs to one attachment of a border gateway");
        } else {
            seen.insert(cidr.value, cidr.at);
            cidrs.push(*cidr);
        }
    }
    cidrs
}

/// What a customer's packets to anywhere would need.
const NO_EXIT: &str = "a VPC is no exit for customers: name the address ranges that the VPC has";

/// Reports a default route into a VPC, whole or in large parts.
pub(super) fn default_route(report: &mut Report, prefix: &At<IpNet>) -> bool {
    let shortest = SHORTEST_CIDR[usize::from(prefix.value.addr().is_ipv6())];
    match prefix.value.prefix_len() {
        0..=1 => report.error(prefix.at, format!("{} is a default route into a VPC", prefix.value)),
        length if length < shortest => report.error(
            prefix.at,
            format!("{} is a part of a default route into a VPC: shorter than /{shortest}", prefix.value),
        ),
        _ => return false,
    }
    .suggest(NO_EXIT);
    true
}

/// Reports CIDRs of a border gateway that are a default route together.
fn together(report: &mut Report, at: Place, cidrs: &[At<IpNet>]) {
    let nets: Vec<IpNet> = cidrs.iter().map(|cidr| cidr.value).collect();
    for (family, limit, is_v6) in [("IPv4", DEFAULT_ROUTE[0], false), ("IPv6", DEFAULT_ROUTE[1], true)] {
        let mine: Vec<IpNet> = nets.iter().filter(|net| net.addr().is_ipv6() == is_v6).copied().collect();
        // In units of the longest prefix: none is shorter than SHORTEST_CIDR, so that the sum is no overflow.
        let held: u128 = IpNet::aggregate(&mine)
            .iter()
            .map(|net| 1_u128 << (net.max_prefix_len() - net.prefix_len()))
            .sum();
        let bits = if is_v6 { 128 } else { 32 };
        if held >= 1_u128 << (bits - limit) {
            let message = format!(
                "the {family} CIDRs of all VPCs of this border gateway are a default route together: as many addresses as a \
                 /{limit} has, or more"
            );
            report.error(at, message).suggest(NO_EXIT);
        }
    }
}

/// Static routes toward customers keep out of VPCs and links, and each is there once.
fn routes(report: &mut Report, gateway: &BorderGateway, links: &[At<IpNet>], cidrs: &[At<IpNet>]) {
    let mut seen: HashMap<IpNet, Place> = HashMap::new();
    for prefix in gateway.routes.iter().filter_map(|route| route.prefix) {
        if let Some(first) = seen.insert(prefix.value, prefix.at) {
            let message = format!("{} is routed twice: first at {}", prefix.value, report.show(first));
            report.error(prefix.at, message).suggest("name all virtual interfaces in one `via`");
        }
        let inside = |nets: &[At<IpNet>]| nets.iter().find(|net| net.value.contains(&prefix.value)).copied();
        if let Some(cidr) = inside(cidrs) {
            let message = format!(
                "the route {} lies in the CIDR {} at {}",
                prefix.value,
                cidr.value,
                report.show(cidr.at)
            );
            report
                .error(prefix.at, message)
                .suggest("a route toward a customer must not take hosts from a VPC");
        }
        if let Some(link) = inside(links) {
            let message = format!(
                "the route {} lies in the link subnet {} at {}",
                prefix.value,
                link.value,
                report.show(link.at)
            );
            report.error(prefix.at, message).suggest("a link subnet is reached without a route");
        }
    }
}
