//! The document as it is written: every value read and placed, nothing compared with anything else yet.
//!
//! A field that could not be read was reported and is absent; an absent field is never reported again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use border_gw_common::abi::HashMode;
use border_gw_common::net::{MacAddr, Vni};
use ipnet::IpNet;

use super::diagnostic::{At, Place, Report};
use super::record::{Record, scalar};
use super::tree::{Node, Value};
use super::{Bfd, Community, ConnectionKind, Dscp, Routing, Tag, XdpMode, bandwidth, bgp, dscp, values};

/// Where the API is served unless the document says so.
pub const DEFAULT_CONTROL: &str = "/run/border-gw/control.sock";
/// The port that IANA gave to VXLAN (RFC 7348, section 8).
const DEFAULT_VXLAN_PORT: u16 = 4789;
/// Ethernet's MTU.
pub(super) const DEFAULT_MTU: u16 = 1500;

/// All files, merged.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Whether a file could not be read: what seems to be missing may be there.
    pub(super) is_incomplete: bool,
    /// `include`, not followed yet.
    pub(super) includes: Vec<At<String>>,
    /// `gateway`; more than one is an error.
    pub(super) gateways: Vec<At<Option<Gateway>>>,
    /// `fabric`; more than one is an error.
    pub(super) fabrics: Vec<At<Option<Fabric>>>,
    pub(super) connections: Vec<Connection>,
    pub(super) border_gateways: Vec<BorderGateway>,
}

#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) name: Option<At<String>>,
    pub(super) router_id: Option<At<Ipv4Addr>>,
    pub(super) metrics: Option<At<SocketAddr>>,
    /// None if it is there and could not be read.
    pub(super) control: Option<PathBuf>,
    pub(super) xdp_mode: XdpMode,
}

#[derive(Debug)]
pub(super) struct Fabric {
    pub(super) interfaces: Vec<At<String>>,
    pub(super) vtep: Option<At<IpAddr>>,
    pub(super) vxlan_port: u16,
}

/// A value for each direction.
#[derive(Debug)]
pub(super) struct Directions<T> {
    pub(super) to_vpc: Option<At<T>>,
    pub(super) to_customer: Option<At<T>>,
    /// Whether something is there that could not be read.
    pub(super) is_broken: bool,
}

impl<T> Default for Directions<T> {
    fn default() -> Self {
        Self { to_vpc: None, to_customer: None, is_broken: false }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) name: Option<At<String>>,
    pub(super) interface: Option<At<String>>,
    pub(super) kind: Option<At<ConnectionKind>>,
    pub(super) bandwidth: Directions<u64>,
}

#[derive(Debug)]
pub(super) struct BorderGateway {
    pub(super) at: Place,
    pub(super) name: Option<At<String>>,
    pub(super) asn: Option<At<u32>>,
    pub(super) transit: bool,
    pub(super) hash: HashMode,
    pub(super) mss_clamp: bool,
    pub(super) routing: Routing,
    pub(super) advertise: Vec<At<IpNet>>,
    pub(super) communities: Vec<Community>,
    pub(super) virtual_interfaces: Vec<VirtualInterface>,
    pub(super) vpc_attachments: Vec<VpcAttachment>,
    pub(super) routes: Vec<Route>,
}

#[derive(Debug)]
pub(super) struct VirtualInterface {
    pub(super) name: Option<At<String>>,
    pub(super) connection: Option<At<String>>,
    pub(super) tag: Option<At<Tag>>,
    pub(super) enabled: bool,
    pub(super) mtu: At<u16>,
    pub(super) bandwidth: Directions<u64>,
    pub(super) burst: Directions<u64>,
    pub(super) source_validation: bool,
    pub(super) dscp: Dscp,
    pub(super) addresses: Vec<LinkAddress>,
    pub(super) bgp: Option<bgp::Document>,
    pub(super) bfd: Option<At<Bfd>>,
}

#[derive(Debug)]
pub(super) struct LinkAddress {
    pub(super) local: Option<At<IpNet>>,
    pub(super) peer: Option<At<IpAddr>>,
}

#[derive(Debug)]
pub(super) struct VpcAttachment {
    pub(super) name: Option<At<String>>,
    pub(super) vni: Option<At<Vni>>,
    pub(super) cidrs: Vec<At<IpNet>>,
    /// Whether all CIDRs could be read, and there is one.
    pub(super) has_all_cidrs: bool,
    pub(super) router: Option<Router>,
    pub(super) host_mac: Option<At<MacAddr>>,
    /// Whether `host_mac` is there, good or not.
    pub(super) has_host_mac: bool,
    pub(super) vteps: Vec<Vtep>,
    pub(super) mtu: At<u16>,
    pub(super) hosts: Vec<Host>,
    /// `hosts_file`, not read yet.
    pub(super) hosts_file: Option<At<String>>,
}

#[derive(Debug)]
pub(super) struct Router {
    pub(super) mac: Option<At<MacAddr>>,
    pub(super) addresses: Vec<At<IpAddr>>,
}

#[derive(Debug)]
pub(super) struct Vtep {
    pub(super) address: At<IpAddr>,
    pub(super) mac: Option<At<MacAddr>>,
    /// Whether `mac` is there, good or not.
    pub(super) has_mac: bool,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) prefix: At<IpNet>,
    pub(super) vteps: Vec<Vtep>,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) prefix: Option<At<IpNet>>,
    pub(super) via: Vec<At<String>>,
}

impl Document {
    /// Adds what a file says.
    pub(super) fn add(&mut self, report: &mut Report, node: &Node) {
        const KEYS: [&str; 5] = ["include", "gateway", "fabric", "connections", "border_gateways"];
        if node.value == Value::Null {
            return;
        }
        let Some(record) = Record::new(report, node, "the configuration", &[], &KEYS) else { return };
        self.includes.extend(
            record.list(report, "include", |report, node| scalar(report, node, "a pattern", values::path)),
        );
        if let Some(node) = record.get("gateway") {
            self.gateways.push(At { value: gateway(report, node), at: node.at });
        }
        if let Some(node) = record.get("fabric") {
            self.fabrics.push(At { value: fabric(report, node), at: node.at });
        }
        self.connections.extend(record.list(report, "connections", connection));
        self.border_gateways.extend(record.list(report, "border_gateways", border_gateway));
    }
}

fn gateway(report: &mut Report, node: &Node) -> Option<Gateway> {
    let optional = ["metrics", "control", "xdp_mode"];
    let record = Record::new(report, node, "the gateway", &["name", "router_id"], &optional)?;
    Some(Gateway {
        name: record.scalar(report, "name", values::name),
        router_id: record.scalar(report, "router_id", values::router_id),
        metrics: record.scalar(report, "metrics", values::socket),
        control: match record.key("control") {
            None => Some(DEFAULT_CONTROL.into()),
            Some(_) => record.scalar(report, "control", values::control).map(|control| control.value),
        },
        xdp_mode: record
            .scalar(report, "xdp_mode", values::xdp_mode)
            .map(|mode| mode.value)
            .unwrap_or_default(),
    })
}

fn fabric(report: &mut Report, node: &Node) -> Option<Fabric> {
    let record = Record::new(report, node, "the fabric", &["interfaces", "vtep"], &["vxlan_port"])?;
    Some(Fabric {
        interfaces: record.filled_list(report, "interfaces", |report, node| {
            scalar(report, node, "an interface", values::interface)
        }),
        vtep: record.scalar(report, "vtep", values::address),
        vxlan_port: record
            .scalar(report, "vxlan_port", values::port)
            .map_or(DEFAULT_VXLAN_PORT, |port| port.value),
    })
}

fn connection(report: &mut Report, node: &Node) -> Option<Connection> {
    let required = ["name", "interface", "kind"];
    let record = Record::new(report, node, "a connection", &required, &["bandwidth"])?;
    Some(Connection {
        name: record.scalar(report, "name", values::name),
        interface: record.scalar(report, "interface", values::interface),
        kind: record.scalar(report, "kind", values::kind),
        bandwidth: directions(report, &record, "bandwidth", bandwidth::rate),
    })
}

/// A scalar for both directions, or a mapping by direction.
fn directions<T: Copy>(
    report: &mut Report,
    record: &Record<'_>,
    key: &str,
    read: impl Fn(&str) -> values::Read<T>,
) -> Directions<T> {
    let Some(node) = record.get(key) else { return Directions::default() };
    let before = report.count();
    let what = format!("`{key}`");
    let (to_vpc, to_customer) = if matches!(node.value, Value::Map(_)) {
        let record = Record::new(report, node, &what, &[], &["to_vpc", "to_customer"]);
        let mut get = |key| record.as_ref().and_then(|record| record.scalar(report, key, &read));
        (get("to_vpc"), get("to_customer"))
    } else {
        let both = scalar(report, node, &what, read);
        (both, both)
    };
    Directions { to_vpc, to_customer, is_broken: report.count() > before }
}

fn border_gateway(report: &mut Report, node: &Node) -> Option<BorderGateway> {
    let optional = [
        "transit",
        "hash",
        "mss_clamp",
        "routing",
        "advertise",
        "communities",
        "virtual_interfaces",
        "vpc_attachments",
        "routes",
    ];
    let record = Record::new(report, node, "a border gateway", &["name", "asn"], &optional)?;
    Some(BorderGateway {
        at: node.at,
        name: record.scalar(report, "name", values::name),
        asn: record.scalar(report, "asn", values::asn),
        transit: record.scalar(report, "transit", values::boolean).is_some_and(|transit| transit.value),
        hash: record.scalar(report, "hash", values::hash).map(|hash| hash.value).unwrap_or_default(),
        mss_clamp: record.scalar(report, "mss_clamp", values::boolean).is_none_or(|clamp| clamp.value),
        routing: record
            .scalar(report, "routing", values::routing)
            .map(|routing| routing.value)
            .unwrap_or_default(),
        advertise: record.list(report, "advertise", |report, node| {
            scalar(report, node, "a prefix to announce", values::prefix)
        }),
        communities: communities(report, &record),
        virtual_interfaces: record.list(report, "virtual_interfaces", virtual_interface),
        vpc_attachments: record.list(report, "vpc_attachments", vpc_attachment),
        routes: record.list(report, "routes", route),
    })
}

fn communities(report: &mut Report, record: &Record<'_>) -> Vec<Community> {
    let all = record
        .list(report, "communities", |report, node| scalar(report, node, "a community", bgp::community));
    all.into_iter().map(|community| community.value).collect()
}

fn virtual_interface(report: &mut Report, node: &Node) -> Option<VirtualInterface> {
    let required = ["name", "connection", "vlan", "addresses"];
    let optional = ["enabled", "mtu", "bandwidth", "burst", "source_validation", "dscp", "bgp", "bfd"];
    let record = Record::new(report, node, "a virtual interface", &required, &optional)?;
    Some(VirtualInterface {
        name: record.scalar(report, "name", values::name),
        connection: record.scalar(report, "connection", values::name),
        tag: record.get("vlan").and_then(|node| tag(report, node)),
        enabled: record.scalar(report, "enabled", values::boolean).is_none_or(|enabled| enabled.value),
        mtu: mtu(report, &record),
        bandwidth: directions(report, &record, "bandwidth", bandwidth::rate),
        burst: directions(report, &record, "burst", bandwidth::burst),
        source_validation: record
            .scalar(report, "source_validation", values::source_validation)
            .is_none_or(|validation| validation.value),
        dscp: dscp::dscp(report, &record),
        addresses: record.filled_list(report, "addresses", link_address),
        bgp: record.get("bgp").and_then(|node| bgp::bgp(report, node)),
        bfd: record.get("bfd").and_then(|node| Some(At { value: bgp::bfd(report, node)?, at: node.at })),
    })
}

fn mtu(report: &mut Report, record: &Record<'_>) -> At<u16> {
    record.scalar(report, "mtu", values::mtu).unwrap_or(At { value: DEFAULT_MTU, at: record.at })
}

fn tag(report: &mut Report, node: &Node) -> Option<At<Tag>> {
    if !matches!(node.value, Value::Map(_)) {
        let outer = scalar(report, node, "`vlan`", values::vlan)?;
        return Some(At { value: Tag { outer: outer.value, inner: None, tpid: 0x8100 }, at: node.at });
    }
    let record = Record::new(report, node, "`vlan`", &["outer"], &["inner", "tpid"])?;
    let outer = record.scalar(report, "outer", values::vlan);
    let inner = record.scalar(report, "inner", values::vlan);
    let tpid = record.scalar(report, "tpid", values::tpid);
    let default = if inner.is_some() { 0x88a8 } else { 0x8100 };
    let value = Tag {
        outer: outer?.value,
        inner: inner.map(|inner| inner.value),
        tpid: tpid.map_or(default, |tpid| tpid.value),
    };
    Some(At { value, at: node.at })
}

fn link_address(report: &mut Report, node: &Node) -> Option<LinkAddress> {
    let record = Record::new(report, node, "a link address", &["local", "peer"], &[])?;
    Some(LinkAddress {
        local: record.scalar(report, "local", values::local),
        peer: record.scalar(report, "peer", values::address),
    })
}

fn vpc_attachment(report: &mut Report, node: &Node) -> Option<VpcAttachment> {
    let required = ["name", "vni", "cidrs", "router", "vteps"];
    let optional = ["host_mac", "mtu", "hosts", "hosts_file"];
    let record = Record::new(report, node, "a VPC attachment", &required, &optional)?;
    let before = report.count();
    let cidrs =
        record.filled_list(report, "cidrs", |report, node| scalar(report, node, "a CIDR", values::prefix));
    Some(VpcAttachment {
        has_all_cidrs: report.count() == before && !cidrs.is_empty(),
        cidrs,
        name: record.scalar(report, "name", values::name),
        vni: record.scalar(report, "vni", values::vni),
        router: record.get("router").and_then(|node| router(report, node)),
        host_mac: record.scalar(report, "host_mac", values::mac),
        has_host_mac: record.key("host_mac").is_some(),
        vteps: record.filled_list(report, "vteps", vtep),
        mtu: mtu(report, &record),
        hosts: record.list(report, "hosts", host),
        hosts_file: record.scalar(report, "hosts_file", values::path),
    })
}

fn router(report: &mut Report, node: &Node) -> Option<Router> {
    let record = Record::new(report, node, "a VPC's router", &["mac", "addresses"], &[])?;
    Some(Router {
        mac: record.scalar(report, "mac", values::mac),
        addresses: record.filled_list(report, "addresses", |report, node| {
            scalar(report, node, "an address", values::address)
        }),
    })
}

fn vtep(report: &mut Report, node: &Node) -> Option<Vtep> {
    if !matches!(node.value, Value::Map(_)) {
        let address = scalar(report, node, "a VTEP", values::address)?;
        return Some(Vtep { address, mac: None, has_mac: false });
    }
    let record = Record::new(report, node, "a VTEP", &["address"], &["mac"])?;
    let address = record.scalar(report, "address", values::address);
    let mac = record.scalar(report, "mac", values::mac);
    Some(Vtep { address: address?, mac, has_mac: record.key("mac").is_some() })
}

fn host(report: &mut Report, node: &Node) -> Option<Host> {
    let record = Record::new(report, node, "a host", &["prefix", "vteps"], &[])?;
    let prefix = record.scalar(report, "prefix", values::prefix);
    let vteps = record.filled_list(report, "vteps", vtep);
    Some(Host { prefix: prefix?, vteps })
}

fn route(report: &mut Report, node: &Node) -> Option<Route> {
    let record = Record::new(report, node, "a static route", &["prefix", "via"], &[])?;
    Some(Route {
        prefix: record.scalar(report, "prefix", values::prefix),
        via: record.filled_list(report, "via", |report, node| scalar(report, node, "a name", values::name)),
    })
}
