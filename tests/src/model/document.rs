//! An intent as a configuration file, for what was generated or made smaller.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use border_gw::intent::{
    BorderGateway, Cap, Caps, Connection, ConnectionKind, Intent, Routing, VirtualInterface, VpcAttachment,
    Vtep,
};
use border_gw_common::abi::HashMode;

/// The text; whatever is not said by it has its default.
pub fn write(intent: &Intent) -> String {
    let mut text = String::new();
    let gateway = &intent.gateway;
    line(&mut text, 0, &format!("gateway: {{name: {}, router_id: {}}}", gateway.name, gateway.router_id));
    let fabric = &intent.fabric;
    let interfaces = fabric.interfaces.join(", ");
    let (vtep, port) = (fabric.vtep, fabric.vxlan_port);
    line(
        &mut text,
        0,
        &format!("fabric: {{interfaces: [{interfaces}], vtep: \"{vtep}\", vxlan_port: {port}}}"),
    );
    line(&mut text, 0, "connections:");
    intent.connections.iter().for_each(|each| connection(&mut text, each));
    line(&mut text, 0, "border_gateways:");
    intent.border_gateways.iter().for_each(|each| border_gateway(&mut text, each));
    text
}

fn line(text: &mut String, depth: usize, what: &str) {
    // Writing to a text never fails.
    let _always = writeln!(text, "{:1$}{what}", "", depth * 2);
}

fn connection(text: &mut String, connection: &Connection) {
    let kind = match connection.kind {
        ConnectionKind::Dedicated => "dedicated",
        ConnectionKind::Hosted => "hosted",
        ConnectionKind::Partner => "partner",
    };
    let caps = bandwidth(&connection.caps).map_or(String::new(), |caps| format!(", bandwidth: {caps}"));
    let (name, interface) = (&connection.name, &connection.interface);
    line(text, 1, &format!("- {{name: {name}, interface: {interface}, kind: {kind}{caps}}}"));
}

fn bandwidth(caps: &Caps) -> Option<String> {
    by_direction(caps, |cap| format!("{}bps", cap.rate))
}

fn by_direction(caps: &Caps, write: impl Fn(&Cap) -> String) -> Option<String> {
    let both = [("to_vpc", caps.to_vpc), ("to_customer", caps.to_customer)];
    let said = both.iter().filter_map(|(key, cap)| Some(format!("{key}: {}", write(cap.as_ref()?))));
    let said: Vec<_> = said.collect();
    (!said.is_empty()).then(|| format!("{{{}}}", said.join(", ")))
}

fn border_gateway(text: &mut String, gateway: &BorderGateway) {
    line(text, 1, &format!("- name: {}", gateway.name));
    let hash = match gateway.hash {
        HashMode::FiveTuple => "5-tuple",
        HashMode::ThreeTuple => "3-tuple",
        HashMode::L3 => "l3",
    };
    let routing = if gateway.routing == Routing::External { "external" } else { "bird" };
    let (asn, transit, clamp) = (gateway.asn, gateway.transit, gateway.mss_clamp);
    line(text, 2, &format!("asn: {asn}"));
    line(text, 2, &format!("transit: {transit}"));
    line(text, 2, &format!("hash: {hash}"));
    line(text, 2, &format!("mss_clamp: {clamp}"));
    line(text, 2, &format!("routing: {routing}"));
    list(text, 2, "virtual_interfaces", &gateway.virtual_interfaces, virtual_interface);
    list(text, 2, "vpc_attachments", &gateway.vpc_attachments, vpc_attachment);
    list(text, 2, "routes", &gateway.routes, |text, route| {
        line(text, 3, &format!("- {{prefix: \"{}\", via: [{}]}}", route.prefix, route.via.join(", ")));
    });
}

/// A key without a value is an error: an empty list is not there.
fn list<T>(text: &mut String, depth: usize, key: &str, all: &[T], write: impl Fn(&mut String, &T)) {
    if !all.is_empty() {
        line(text, depth, &format!("{key}:"));
        for each in all {
            write(text, each);
        }
    }
}

fn virtual_interface(text: &mut String, vif: &VirtualInterface) {
    let validation = if vif.source_validation { "feasible" } else { "off" };
    line(text, 3, &format!("- name: {}", vif.name));
    line(text, 4, &format!("connection: {}", vif.connection));
    let inner = vif.tag.inner.map_or(String::new(), |inner| format!(", inner: {}", inner.get()));
    line(text, 4, &format!("vlan: {{outer: {}{inner}, tpid: {:#06x}}}", vif.tag.outer.get(), vif.tag.tpid));
    line(text, 4, &format!("enabled: {}", vif.enabled));
    line(text, 4, &format!("mtu: {}", vif.mtu));
    line(text, 4, &format!("source_validation: {validation}"));
    if let Some(caps) = bandwidth(&vif.caps) {
        line(text, 4, &format!("bandwidth: {caps}"));
        let burst = by_direction(&vif.caps, |cap| format!("{}B", cap.burst)).unwrap_or_default();
        line(text, 4, &format!("burst: {burst}"));
    }
    let both = [("to_vpc", &vif.dscp.to_vpc), ("to_customer", &vif.dscp.to_customer)];
    let dscp =
        both.iter().filter(|(_, map)| !map.is_empty()).map(|(key, map)| format!("{key}: {}", mapping(map)));
    let dscp: Vec<_> = dscp.collect();
    if !dscp.is_empty() {
        line(text, 4, &format!("dscp: {{{}}}", dscp.join(", ")));
    }
    line(text, 4, "addresses:");
    for link in &vif.addresses {
        line(text, 5, &format!("- {{local: \"{}\", peer: \"{}\"}}", link.local, link.peer));
    }
    if let Some(bgp) = &vif.bgp {
        let accept = if bgp.accept.default_route { ", accept: [default_route]" } else { "" };
        line(text, 4, &format!("bgp: {{asn: {}{accept}}}", bgp.asn));
    }
}

fn mapping(map: &BTreeMap<u8, u8>) -> String {
    let pairs: Vec<_> = map.iter().map(|(from, to)| format!("{from}: {to}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn vpc_attachment(text: &mut String, vpc: &VpcAttachment) {
    line(text, 3, &format!("- name: {}", vpc.name));
    line(text, 4, &format!("vni: {}", vpc.vni.get()));
    let cidrs: Vec<_> = vpc.cidrs.iter().map(|cidr| format!("\"{cidr}\"")).collect();
    line(text, 4, &format!("cidrs: [{}]", cidrs.join(", ")));
    let routers: Vec<_> = vpc.router.addresses.iter().map(|address| format!("\"{address}\"")).collect();
    line(text, 4, &format!("router: {{mac: \"{}\", addresses: [{}]}}", vpc.router.mac, routers.join(", ")));
    line(text, 4, &format!("vteps: [{}]", vteps(&vpc.vteps)));
    line(text, 4, &format!("mtu: {}", vpc.mtu));
    list(text, 4, "hosts", &vpc.hosts, |text, host| {
        line(text, 5, &format!("- {{prefix: \"{}\", vteps: [{}]}}", host.prefix, vteps(&host.vteps)));
    });
}

fn vteps(all: &[Vtep]) -> String {
    let one = |vtep: &Vtep| {
        let address: IpAddr = vtep.address;
        format!("{{address: \"{address}\", mac: \"{}\"}}", vtep.mac)
    };
    all.iter().map(one).collect::<Vec<_>>().join(", ")
}
