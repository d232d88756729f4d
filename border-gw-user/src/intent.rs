//! What the operator declares, validated: a value of these types is sound, and nothing in it is checked again.
//!
//! `intent/` reads documents into it.

mod bandwidth;
mod bgp;
mod build;
mod diagnostic;
mod document;
mod dscp;
mod file;
mod hosts;
mod read;
mod record;
mod routing;
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod validate;
mod values;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use border_gw_common::abi::HashMode;
use border_gw_common::net::{MacAddr, VlanId, Vni};
use ipnet::IpNet;

pub use self::bandwidth::{MAX_BURST, MAX_RATE, MIN_RATE, default_burst};
use self::diagnostic::Place;
pub use self::diagnostic::{Diagnostic, Errors};
pub use self::document::DEFAULT_CONTROL;
pub use self::routing::{Accept, Bfd, Bgp, Community, Drain, MAX_LEARNED_GROUPS, Password, Routing, Secret};
pub use self::sources::{Places, Sources};
pub(crate) use self::values::{v4, v6};

/// Reads a configuration file, everything that it names, and checks all of it.
///
/// # Errors
///
/// [`Errors`] holds all that is wrong, not only the first of it.
pub fn load(path: &Path) -> Result<Intent, Errors> {
    let (mut report, document) = read::read(path);
    validate::check(&mut report, &document);
    if report.count() > 0 {
        return Err(report.finish());
    }
    let sources = report.sources();
    build::build(document, sources).ok_or_else(|| {
        // Whatever is absent was reported, so this is a defect of the program, not of the document.
        report.error(Place { file: 0, line: 0, column: 0 }, "a value is absent, and no rule said so");
        report.finish()
    })
}

/// The control socket that a configuration names, whatever else is wrong with it; none if that cannot be told.
pub fn control(path: &Path) -> Option<PathBuf> {
    let (_report, document) = read::read(path);
    match &document.gateways[..] {
        [gateway] => gateway.value.as_ref()?.control.clone(),
        _ => None,
    }
}

/// A time as the configuration writes it, such as `300ms` or `10m`.
///
/// # Errors
///
/// What is wrong with it, and what would be right.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    values::duration(text).map_err(|wrong| format!("{}: {}", wrong.message, wrong.help))
}

/// A whole server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The server itself.
    pub gateway: Gateway,
    /// The side of the VPCs.
    pub fabric: Fabric,
    /// Lines, by order of the document.
    pub connections: Vec<Connection>,
    /// Routing domains, by order of the document.
    pub border_gateways: Vec<BorderGateway>,
    /// What it was read from, and where more of it may appear.
    pub sources: Sources,
    /// Virtual interfaces that are being taken out of service, by command: no document says so.
    pub drained: BTreeMap<String, Drain>,
}

/// The server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Names the pin directory and the namespaces.
    pub name: String,
    /// An IPv4 address that identifies the server.
    pub router_id: Ipv4Addr,
    /// Where `/metrics` is served.
    pub metrics: Option<SocketAddr>,
    /// Unix socket of the read-only API.
    pub control: PathBuf,
    /// How the programs are attached.
    pub xdp_mode: XdpMode,
}

/// How XDP programs are attached to ports and veths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    #[default]
    Native,
    /// In the kernel's generic hook, after the socket buffer is made: slow, works everywhere.
    Skb,
}

impl XdpMode {
    /// As in the configuration, and as value of the metric's label `mode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Skb => "skb",
        }
    }
}

/// The side of the VPCs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fabric {
    /// Ports on which VXLAN is spoken.
    pub interfaces: Vec<String>,
    /// Our tunnel address.
    pub vtep: IpAddr,
    /// UDP port of VXLAN.
    pub vxlan_port: u16,
}

/// A bandwidth limit of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Bits of IP packets a second.
    pub rate: u64,
    /// Depth of the bucket, in bytes of IP packets.
    pub burst: u64,
}

/// Limits by direction; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// From the customer to VPCs.
    pub to_vpc: Option<Cap>,
    /// From VPCs to the customer.
    pub to_customer: Option<Cap>,
}

/// Kind of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionKind {
    /// Owns its interface.
    Dedicated,
    /// Shares an interface with others.
    Hosted,
    /// Shares an interface with others, behind a partner's network.
    Partner,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Unique on the server.
    pub name: String,
    /// The port.
    pub interface: String,
    /// Whether the port is its own.
    pub kind: ConnectionKind,
    /// Over all of its virtual interfaces.
    pub caps: Caps,
}

/// A routing domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BorderGateway {
    /// Unique on the server.
    pub name: String,
    /// Our autonomous system.
    pub asn: u32,
    /// Whether VIFs may reach one another.
    pub transit: bool,
    /// How a flow is told from another.
    pub hash: HashMode,
    /// Whether the MSS of TCP connections is held to what fits.
    pub mss_clamp: bool,
    /// Who speaks routing protocols.
    pub routing: Routing,
    /// Prefixes that are announced to customers beside the CIDRs of the attachments.
    pub advertise: Vec<IpNet>,
    /// Communities of all that is announced.
    pub communities: Vec<Community>,
    /// Virtual interfaces.
    pub virtual_interfaces: Vec<VirtualInterface>,
    /// VPCs.
    pub vpc_attachments: Vec<VpcAttachment>,
    /// Static routes toward customers.
    pub routes: Vec<StaticRoute>,
}

/// The tag or tags of a virtual interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Identifier of the outer, or only, tag.
    pub outer: VlanId,
    /// Identifier of the inner tag (always with `TPID` 0x8100).
    pub inner: Option<VlanId>,
    /// `TPID` of the outer tag: 0x8100, or 0x88a8 (default with an inner tag).
    pub tpid: u16,
}

impl Tag {
    /// Bytes that it adds to a frame.
    #[expect(clippy::len_without_is_empty, reason = "a tag is never empty")]
    pub const fn len(self) -> u16 {
        if self.inner.is_some() { 8 } else { 4 }
    }
}

/// One of a VIF's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAddress {
    /// Ours, with the length of the link subnet.
    pub local: IpNet,
    /// The customer's router, in the same subnet.
    pub peer: IpAddr,
}

/// Code points that become others, by direction; those that are absent are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dscp {
    /// From the customer to VPCs.
    pub to_vpc: BTreeMap<u8, u8>,
    /// From VPCs to the customer.
    pub to_customer: BTreeMap<u8, u8>,
}

/// A virtual interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualInterface {
    /// Unique on the server.
    pub name: String,
    /// Name of its connection.
    pub connection: String,
    /// Its tag or tags.
    pub tag: Tag,
    /// Administratively up.
    pub enabled: bool,
    /// Largest IP packet on the line, in bytes.
    pub mtu: u16,
    /// Bandwidth.
    pub caps: Caps,
    /// Whether sources are checked (RFC 3704, feasible path).
    pub source_validation: bool,
    /// DSCP that are translated.
    pub dscp: Dscp,
    /// Link addresses, at least one and at most one of each family.
    pub addresses: Vec<LinkAddress>,
    /// BGP with the peers; without it there are static routes only.
    pub bgp: Option<Bgp>,
    /// BFD with the peers.
    pub bfd: Option<Bfd>,
}

/// A tunnel end of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vtep {
    /// Underlay address.
    pub address: IpAddr,
    /// Inner destination MAC address of what is sent there: its own, or the attachment's `host_mac`.
    pub mac: MacAddr,
}

/// The router that the hosts of a VPC see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its addresses, inside the attachment's CIDRs.
    pub addresses: Vec<IpAddr>,
}

/// A prefix that lives at VTEPs of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoute {
    /// Inside the attachment's CIDRs.
    pub prefix: IpNet,
    /// Where it lives: equal-cost.
    pub vteps: Vec<Vtep>,
}

/// A VPC joined to a border gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpcAttachment {
    /// Unique on the server.
    pub name: String,
    /// Unique on the server.
    pub vni: Vni,
    /// The VPC's address ranges.
    pub cidrs: Vec<IpNet>,
    /// The VPC's router.
    pub router: Router,
    /// Where the CIDRs live: equal-cost.
    pub vteps: Vec<Vtep>,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// More specific places, from `hosts` and `hosts_file`.
    pub hosts: Vec<HostRoute>,
}

/// A static route toward customers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticRoute {
    /// Destination.
    pub prefix: IpNet,
    /// Names of virtual interfaces of the same border gateway: the peer of the prefix's family on each.
    pub via: Vec<String>,
}

impl Intent {
    /// The connection with this name; a VIF's is always there.
    pub fn connection(&self, name: &str) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.name == name)
    }
}
