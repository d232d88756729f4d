//! VPC attachments: routers, tunnel ends and hosts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{default_route, not_a_host};
use super::fabrics;
use crate::intent::diagnostic::{At, Place, Report};
use crate::intent::document::{BorderGateway, Document, Router, VpcAttachment, Vtep};

/// Members of an equal-cost group: four of a group's buckets each.
pub(super) const MAX_MEMBERS: usize = border_gw_common::abi::BUCKETS / 4;

/// Checks every attachment.
pub(super) fn check(report: &mut Report, document: &Document) {
    let own = fabrics(document).next().and_then(|fabric| fabric.vtep);
    for gateway in &document.border_gateways {
        let cidrs = Cidrs::new(gateway);
        for (index, attachment) in gateway.vpc_attachments.iter().enumerate() {
            router(report, attachment, &cidrs, index);
            vteps(report, attachment, own);
            hosts(report, attachment, &cidrs, index, own);
        }
    }
}

/// All CIDRs of a border gateway, for longest-prefix matches.
struct Cidrs {
    owners: HashMap<IpNet, (usize, Place)>,
    /// Prefix lengths in use, IPv4 and IPv6.
    lengths: [BTreeSet<u8>; 2],
}

impl Cidrs {
    fn new(gateway: &BorderGateway) -> Self {
        let mut cidrs = Self { owners: HashMap::new(), lengths: Default::default() };
        for (index, attachment) in gateway.vpc_attachments.iter().enumerate() {
            for cidr in &attachment.cidrs {
                cidrs.owners.entry(cidr.value).or_insert((index, cidr.at));
                cidrs.lengths[usize::from(cidr.value.addr().is_ipv6())].insert(cidr.value.prefix_len());
            }
        }
        cidrs
    }

    /// The longest CIDR that holds a prefix, and whose it is.
    fn longest(&self, prefix: IpNet) -> Option<(IpNet, usize, Place)> {
        let lengths = &self.lengths[usize::from(prefix.addr().is_ipv6())];
        lengths.range(..=prefix.prefix_len()).rev().find_map(|length| {
            let cidr = IpNet::new(prefix.addr(), *length).ok()?.trunc();
            self.owners.get(&cidr).map(|(owner, at)| (cidr, *owner, *at))
        })
    }

    /// Reports a prefix that is not the attachment's own.
    fn check_owner(&self, report: &mut Report, what: &str, prefix: At<IpNet>, index: usize) {
        match self.longest(prefix.value) {
            Some((_, owner, _)) if owner == index => {}
            Some((cidr, _, at)) => {
                let message =
                    format!("{what} lies in {cidr}, which is another attachment's: at {}", report.show(at));
                report.error(prefix.at, message).suggest("it has to be in a CIDR of its own attachment");
            }
            None => {
                let message = format!("{what} is in none of the attachment's CIDRs");
                report.error(prefix.at, message).suggest("add the CIDR to `cidrs`, or correct the address");
            }
        }
    }
}

/// The router's addresses belong to its VPC.
fn router(report: &mut Report, attachment: &VpcAttachment, cidrs: &Cidrs, index: usize) {
    let Some(router) = &attachment.router else { return };
    router_mac(report, attachment, router);
    let mut seen = HashSet::new();
    for address in &router.addresses {
        let holding = attachment.cidrs.iter().filter(|cidr| cidr.value.contains(&address.value));
        if let Some(cidr) =
            holding.max_by_key(|cidr| cidr.value.prefix_len()).filter(|_| address.value.is_ipv4())
            && let Some(what) = not_a_host(cidr.value, address.value)
        {
            let message = format!("the router's address {} is the {what} of {}", address.value, cidr.value);
            report.error(address.at, message).suggest("write the address of one host, such as the first");
        }
        if !seen.insert(address.value) {
            report.error(address.at, format!("{} is there twice", address.value)).suggest("remove one");
        }
        let prefix = At { value: IpNet::from(address.value), at: address.at };
        if let Some(cidr) = attachment.cidrs.iter().find(|cidr| cidr.value == prefix.value) {
            let message = format!("{} is all that the CIDR {} has", address.value, cidr.value);
            report.error(address.at, message).suggest("the router needs an address beside those of hosts");
        }
        if attachment.has_all_cidrs {
            cidrs.check_owner(report, &format!("the router's address {}", address.value), prefix, index);
        }
    }
}

/// The router is a station of its own: a frame from it to its own address is for nobody.
fn router_mac(report: &mut Report, attachment: &VpcAttachment, router: &Router) {
    let Some(mac) = router.mac else { return };
    let vteps = attachment.vteps.iter().filter_map(|vtep| vtep.mac);
    for other in attachment.host_mac.into_iter().chain(vteps).filter(|other| other.value == mac.value) {
        let message =
            format!("{} is the MAC address of the VPC's router: at {}", other.value, report.show(mac.at));
        report.error(other.at, message).suggest("write the address that the hosts' side of the tunnel has");
    }
}

/// Tunnel ends are reachable over our underlay, each is there once, and each has an inner MAC address.
fn vteps(report: &mut Report, attachment: &VpcAttachment, own: Option<At<IpAddr>>) {
    for vtep in attachment.vteps.iter().filter(|vtep| !vtep.has_mac && !attachment.has_host_mac) {
        let message = format!("the inner MAC address of VTEP {} is not known", vtep.address.value);
        let help = format!("write {{address: {}, mac: \"..\"}}, or add `host_mac`", vtep.address.value);
        report.error(vtep.address.at, message).suggest(help);
    }
    ends(report, &attachment.vteps, own);
}

/// What holds for tunnel ends of attachments and of hosts.
fn ends(report: &mut Report, vteps: &[Vtep], own: Option<At<IpAddr>>) {
    for (index, vtep) in vteps.iter().enumerate() {
        let address = vtep.address;
        if vteps[..index].iter().any(|other| other.address.value == address.value) {
            report.error(address.at, format!("VTEP {} is there twice", address.value)).suggest("remove one");
        }
        if index == MAX_MEMBERS {
            let message = format!("{} VTEPs for one prefix", vteps.len());
            report.error(address.at, message).suggest(format!("at most {MAX_MEMBERS} are equal"));
        }
        let Some(own) = own else { continue };
        if own.value == address.value {
            let message = format!("{} is our own tunnel address: at {}", address.value, report.show(own.at));
            report.error(address.at, message).suggest("write the address of a hypervisor");
        } else if own.value.is_ipv4() != address.value.is_ipv4() {
            let message =
                format!("VTEP {} and our tunnel address {} are of two families", address.value, own.value);
            report.error(address.at, message).suggest("all tunnel ends are IPv4, or all are IPv6");
        }
    }
}

/// Hosts are more specific than the CIDRs, and each is there once.
fn hosts(
    report: &mut Report,
    attachment: &VpcAttachment,
    cidrs: &Cidrs,
    index: usize,
    own: Option<At<IpAddr>>,
) {
    let declared: HashSet<IpAddr> = attachment.vteps.iter().map(|vtep| vtep.address.value).collect();
    let routers: HashSet<IpNet> = attachment
        .router
        .iter()
        .flat_map(|router| &router.addresses)
        .map(|address| IpNet::from(address.value))
        .collect();
    let mut seen: HashMap<IpNet, Place> = HashMap::with_capacity(attachment.hosts.len());
    for host in &attachment.hosts {
        let prefix = host.prefix;
        if let Some(first) = seen.insert(prefix.value, prefix.at) {
            let message =
                format!("the host {} is there twice: first at {}", prefix.value, report.show(first));
            report.error(prefix.at, message).suggest("name all of its VTEPs in one entry");
        }
        if default_route(report, &prefix) {
            continue;
        }
        if routers.contains(&prefix.value) {
            report
                .error(prefix.at, format!("{} is the address of the VPC's router", prefix.value.addr()))
                .suggest("the gateway answers for the router; leave it out");
        } else if let Some(cidr) = attachment.cidrs.iter().find(|cidr| cidr.value == prefix.value) {
            let message = format!("the host {} is a whole CIDR: at {}", prefix.value, report.show(cidr.at));
            report.error(prefix.at, message).suggest("a CIDR lives at the `vteps` of the attachment");
        } else if attachment.has_all_cidrs {
            cidrs.check_owner(report, &format!("the host {}", prefix.value), prefix, index);
        }
        ends(report, &host.vteps, own);
        for vtep in &host.vteps {
            // What is wrong with a declared VTEP was reported there.
            let address = vtep.address.value;
            if !vtep.has_mac && !attachment.has_host_mac && !declared.contains(&address) {
                let message = format!("the inner MAC address of VTEP {address} is not known");
                let help = "add it to the attachment's `vteps` with a `mac`, or add `host_mac`";
                report.error(vtep.address.at, message).suggest(help);
            }
        }
    }
}
