//! Names: each once, and each that is referred to is there.

use std::collections::{HashMap, HashSet};

use crate::intent::diagnostic::{At, Place, Report};
use crate::intent::document::{BorderGateway, Document, LinkAddress, VirtualInterface};

/// Checks sections, names, references and VNIs.
pub(super) fn check(report: &mut Report, document: &Document, whole: Place) {
    once(report, "gateway", &document.gateways);
    once(report, "fabric", &document.fabrics);
    unique(report, document);
    kernel_names(report, document);
    vnis(report, document);
    if document.is_incomplete {
        return;
    }
    for (name, is_missing) in
        [("gateway", document.gateways.is_empty()), ("fabric", document.fabrics.is_empty())]
    {
        if is_missing {
            report.error(whole, format!("`{name}` is missing")).suggest(format!("add a section `{name}`"));
        }
    }
    let connections: HashSet<&str> = document
        .connections
        .iter()
        .filter_map(|connection| Some(connection.name.as_ref()?.value.as_str()))
        .collect();
    for gateway in &document.border_gateways {
        for name in gateway.virtual_interfaces.iter().filter_map(|vif| vif.connection.as_ref()) {
            if !connections.contains(name.value.as_str()) {
                let message = format!("there is no connection `{}`", name.value);
                report.error(name.at, message).suggest(known("connection", connections.iter().copied()));
            }
        }
        via(report, gateway);
    }
}

/// A section that may be there once over all files.
fn once<T>(report: &mut Report, name: &str, sections: &[At<T>]) {
    let Some((first, others)) = sections.split_first() else { return };
    for other in others {
        let message = format!("`{name}` is defined twice: first at {}", report.show(first.at));
        report.error(other.at, message).suggest("keep one of them");
    }
}

/// Connections, border gateways, virtual interfaces and attachments share one name space.
fn unique(report: &mut Report, document: &Document) {
    let connections = document.connections.iter().map(|connection| ("a connection", &connection.name));
    let inside = document.border_gateways.iter().flat_map(|gateway| {
        let vifs = gateway.virtual_interfaces.iter().map(|vif| ("a virtual interface", &vif.name));
        let attachments =
            gateway.vpc_attachments.iter().map(|attachment| ("a VPC attachment", &attachment.name));
        std::iter::once(("a border gateway", &gateway.name)).chain(vifs).chain(attachments)
    });
    let mut seen: HashMap<&str, (&str, Place)> = HashMap::new();
    for (kind, name) in connections.chain(inside) {
        let Some(name) = name else { continue };
        if let Some((first_kind, first)) = seen.get(name.value.as_str()) {
            let first = report.show(*first);
            let message =
                format!("the name `{}` is defined twice: first as {first_kind} at {first}", name.value);
            report
                .error(name.at, message)
                .suggest(format!("give {kind} a name that nothing else on this server has"));
        } else {
            seen.insert(&name.value, (kind, name.at));
        }
    }
}

/// The namespace of a border gateway has `lo`, and gives its interfaces the names `vifN` and `vpcN`; names of the document are
/// further names of the same interfaces, and the kernel has each name once.
fn kernel_names(report: &mut Report, document: &Document) {
    let is_numbered = |name: &str, kind: &str| {
        name.strip_prefix(kind)
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let names = document.border_gateways.iter().flat_map(|gateway| {
        let vifs = gateway.virtual_interfaces.iter().map(|vif| &vif.name);
        vifs.chain(gateway.vpc_attachments.iter().map(|attachment| &attachment.name))
    });
    for name in names.flatten() {
        let text = name.value.as_str();
        if text == "lo" || is_numbered(text, "vif") || is_numbered(text, "vpc") {
            let other = text.find(|c: char| c.is_ascii_digit()).map_or_else(
                || format!("{text}-1"),
                |digits| format!("{}-{}", &text[..digits], &text[digits..]),
            );
            report
                .error(name.at, format!("the gateway's kernel interfaces have names like `{text}`"))
                .suggest(format!("choose another, such as `{other}`"));
        }
    }
}

fn vnis(report: &mut Report, document: &Document) {
    let mut seen: HashMap<u32, Place> = HashMap::new();
    let attachments = document.border_gateways.iter().flat_map(|gateway| &gateway.vpc_attachments);
    for vni in attachments.filter_map(|attachment| attachment.vni.as_ref()) {
        if let Some(first) = seen.get(&vni.value.get()) {
            let message = format!("VNI {} is used twice: first at {}", vni.value.get(), report.show(*first));
            report.error(vni.at, message).suggest("a VNI belongs to one attachment");
        } else {
            seen.insert(vni.value.get(), vni.at);
        }
    }
}

/// Static routes name virtual interfaces of the same border gateway.
fn via(report: &mut Report, gateway: &BorderGateway) {
    let vifs: HashMap<&str, _> = gateway
        .virtual_interfaces
        .iter()
        .filter_map(|vif| Some((vif.name.as_ref()?.value.as_str(), vif)))
        .collect();
    for route in &gateway.routes {
        let mut seen = HashSet::new();
        for name in &route.via {
            let Some(vif) = vifs.get(name.value.as_str()) else {
                let message =
                    format!("there is no virtual interface `{}` in this border gateway", name.value);
                report.error(name.at, message).suggest(known("virtual interface", vifs.keys().copied()));
                continue;
            };
            if !seen.insert(name.value.as_str()) {
                report.error(name.at, format!("`{}` is there twice", name.value)).suggest("remove one");
            }
            let Some(prefix) = &route.prefix else { continue };
            let is_v4 = prefix.value.addr().is_ipv4();
            let family = if is_v4 { "IPv4" } else { "IPv6" };
            let reaches = |vif: &VirtualInterface| {
                let fits = |address: &LinkAddress| match (address.local, address.peer) {
                    // What could not be read may be the one.
                    (None, None) => true,
                    (local, peer) => {
                        local.is_some_and(|local| local.value.addr().is_ipv4() == is_v4)
                            || peer.is_some_and(|peer| peer.value.is_ipv4() == is_v4)
                    }
                };
                vif.addresses.iter().any(fits)
            };
            if !vif.addresses.is_empty() && !reaches(vif) {
                let message = format!("`{}` has no {family} peer to send {} to", name.value, prefix.value);
                report.error(name.at, message).suggest(format!("add an {family} entry to its `addresses`"));
            }
        }
    }
}

/// The names that there are, if they are few.
fn known<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    match names.len() {
        0 => format!("declare a {what} first"),
        1..=SHOWN => format!("there is {}", names.join(", ")),
        more => format!("there are {more}, such as {}", names[..SHOWN].join(", ")),
    }
}
