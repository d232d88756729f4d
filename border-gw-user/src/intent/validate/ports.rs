//! Ports: who may share one, and which tags are taken on it.

use std::collections::{BTreeMap, HashMap};

use super::fabrics;
use crate::intent::ConnectionKind;
use crate::intent::diagnostic::{At, Place, Report};
use crate::intent::document::{Connection, Document};

/// Checks interfaces and tags.
pub(super) fn check(report: &mut Report, document: &Document) {
    fabric(report, document);
    dedicated(report, &document.connections);
    tags(report, document);
}

/// A port is a fabric port once, and then no line.
fn fabric(report: &mut Report, document: &Document) {
    let mut ports: HashMap<&str, Place> = HashMap::new();
    for interface in fabrics(document).flat_map(|fabric| &fabric.interfaces) {
        if let Some(first) = ports.insert(&interface.value, interface.at) {
            let message = format!("{} is there twice: first at {}", interface.value, report.show(first));
            report.error(interface.at, message).suggest("remove one");
        }
    }
    for interface in document.connections.iter().filter_map(|connection| connection.interface.as_ref()) {
        if let Some(fabric) = ports.get(interface.value.as_str()) {
            let at = report.show(*fabric);
            let message = format!("{} is a fabric port, too: at {at}", interface.value);
            report
                .error(interface.at, message)
                .suggest("an interface is a line or a fabric port, never both");
        }
    }
}

/// A dedicated connection has its interface to itself.
fn dedicated(report: &mut Report, connections: &[Connection]) {
    let mut ports: HashMap<&str, Vec<(&At<String>, &Connection)>> = HashMap::new();
    for connection in connections {
        let Some(interface) = &connection.interface else { continue };
        ports.entry(&interface.value).or_default().push((interface, connection));
    }
    let is_dedicated =
        |connection: &Connection| connection.kind.is_some_and(|kind| kind.value == ConnectionKind::Dedicated);
    for sharers in ports.values() {
        let Some((owned, owner)) = sharers.iter().find(|(_, connection)| is_dedicated(connection)) else {
            continue;
        };
        for (interface, connection) in sharers {
            if std::ptr::eq(*connection, *owner) {
                continue;
            }
            let owner = owner.name.as_ref().map_or("another connection", |name| name.value.as_str());
            let message = format!(
                "{} belongs to the dedicated connection `{owner}` at {}",
                interface.value,
                report.show(owned.at)
            );
            let help = "use another interface, or make both connections `hosted` or `partner`";
            report.error(interface.at, message).suggest(help);
        }
    }
}

/// A tag, or a pair of tags, has one owner on a port.
fn tags(report: &mut Report, document: &Document) {
    let ports: HashMap<&str, &str> = document
        .connections
        .iter()
        .filter_map(|connection| {
            Some((connection.name.as_ref()?.value.as_str(), connection.interface.as_ref()?.value.as_str()))
        })
        .collect();
    let mut seen = BTreeMap::new();
    for vif in document.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces) {
        let (Some(tag), Some(connection)) = (&vif.tag, &vif.connection) else { continue };
        let Some(port) = ports.get(connection.value.as_str()) else { continue };
        if let Some(first) = seen.get(&(port, tag.value)) {
            let tags = match tag.value.inner {
                Some(inner) => format!("tags {}.{} are", tag.value.outer.get(), inner.get()),
                None => format!("tag {} is", tag.value.outer.get()),
            };
            let message = format!("{tags} taken on {port}: at {}", report.show(*first));
            report.error(tag.at, message).suggest("each virtual interface of a port has a tag of its own");
        } else {
            seen.insert((port, tag.value), tag.at);
        }
    }
}
