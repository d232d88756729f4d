//! What `border-gw check` prints: the tables that a configuration makes where every port is up and every neighbour answers.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;

use border_gw_common::abi::{
    HashMode, OWNER_ATTACHMENT, OWNER_LOCAL_ROUTER, Owner, SOURCE_FORBIDDEN, SOURCE_LINK, SOURCE_MARTIAN,
    SOURCE_OWN, SOURCE_PEER, SOURCE_ROUTED, SourceClass,
};
use border_gw_common::net::MacAddr;
use ipnet::IpNet;

use crate::compile::compile;
use crate::intent::{
    BorderGateway, Cap, Caps, Connection, ConnectionKind, Intent, VirtualInterface, VpcAttachment, Vtep,
};
use crate::kernel::{Observed, PortState, UnderlayPath};
use crate::tables::slots::Full;
use crate::tables::{Identity, Installed, Slots, Tables, Target, text};

/// MTU of a port that has room for everything.
const ROOMY: u32 = 9_216;
/// Ethernet address of everything that answers: it is in no table that is printed.
const SOMEBODY: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// A configuration with its tables.
pub struct Compiled<'a> {
    intent: &'a Intent,
    slots: Slots,
    tables: Tables,
}

impl<'a> Compiled<'a> {
    /// Compiles it for a machine on which nothing is wrong.
    ///
    /// # Errors
    ///
    /// [`Full`] where the maps have no room.
    pub fn new(intent: &'a Intent) -> Result<Self, Full> {
        let slots = Slots::assign(&Installed::default(), intent)?;
        let tables = compile(intent, &ideal(intent), &slots);
        Ok(Self { intent, slots, tables })
    }
}

/// A machine on which nothing is wrong: every port is up, every neighbour answers, and every VTEP is on the first fabric port's
/// link.
pub fn ideal(intent: &Intent) -> Observed {
    let lines = intent.connections.iter().map(|connection| &connection.interface);
    let ports = lines.chain(&intent.fabric.interfaces).zip(1..).map(|(interface, ifindex)| {
        let port = PortState { ifindex, mac: SOMEBODY, up: true, mtu: ROOMY, speed: None };
        (interface.clone(), port)
    });
    let vifs = || intent.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces);
    let vpcs = || intent.border_gateways.iter().flat_map(|gateway| &gateway.vpc_attachments);
    let peers = vifs().flat_map(|vif| vif.addresses.iter().map(|link| (vif.name.clone(), link.peer)));
    let vteps = vpcs().flat_map(|vpc| vpc.vteps.iter().chain(vpc.hosts.iter().flat_map(|host| &host.vteps)));
    let path = |vtep: &Vtep| UnderlayPath {
        interface: intent.fabric.interfaces.first().cloned().unwrap_or_default(),
        next_hop: vtep.address,
        mac: Some(SOMEBODY),
    };
    Observed {
        ports: ports.collect(),
        vif_veths: vifs().map(|vif| vif.name.clone()).zip(10_000..).collect(),
        attachment_veths: vpcs().map(|vpc| vpc.name.clone()).zip(20_000..).collect(),
        neighbors: peers.map(|peer| (peer, SOMEBODY)).collect(),
        underlay: vteps.map(|vtep| (vtep.address, vec![path(vtep)])).collect(),
        ..Observed::default()
    }
}

/// Writes the tables, and what is worth knowing about them on this machine.
pub fn write(out: &mut dyn Write, compiled: &Compiled<'_>, notes: &[String]) -> io::Result<()> {
    write_server(out, compiled.intent)?;
    for connection in &compiled.intent.connections {
        write_connection(out, connection)?;
    }
    for gateway in &compiled.intent.border_gateways {
        write_border_gateway(out, compiled, gateway)?;
    }
    notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))
}

fn write_server(out: &mut dyn Write, intent: &Intent) -> io::Result<()> {
    let (gateway, fabric) = (&intent.gateway, &intent.fabric);
    writeln!(
        out,
        "gateway {}: router ID {}, VTEP {} port {} on {}, XDP {}",
        gateway.name,
        gateway.router_id,
        fabric.vtep,
        fabric.vxlan_port,
        fabric.interfaces.join(", "),
        gateway.xdp_mode.name()
    )
}

fn write_connection(out: &mut dyn Write, connection: &Connection) -> io::Result<()> {
    let kind = match connection.kind {
        ConnectionKind::Dedicated => "dedicated",
        ConnectionKind::Hosted => "hosted",
        ConnectionKind::Partner => "partner",
    };
    writeln!(out, "connection {}: {} ({kind})", connection.name, connection.interface)?;
    write_caps(out, "  ", &connection.caps)
}

fn write_caps(out: &mut dyn Write, indent: &str, caps: &Caps) -> io::Result<()> {
    writeln!(out, "{indent}to_vpc {}, to_customer {}", limit(caps.to_vpc), limit(caps.to_customer))
}

fn write_border_gateway(
    out: &mut dyn Write,
    compiled: &Compiled<'_>,
    gateway: &BorderGateway,
) -> io::Result<()> {
    let hash = match gateway.hash {
        HashMode::FiveTuple => "5-tuple",
        HashMode::ThreeTuple => "3-tuple",
        HashMode::L3 => "l3",
    };
    let transit = if gateway.transit { "on" } else { "off" };
    let clamp = if gateway.mss_clamp { "on" } else { "off" };
    writeln!(
        out,
        "border gateway {}: AS {}, transit {transit}, hash {hash}, MSS clamp {clamp}",
        gateway.name, gateway.asn
    )?;
    for vif in &gateway.virtual_interfaces {
        write_vif(out, compiled, vif)?;
    }
    for vpc in &gateway.vpc_attachments {
        write_attachment(out, vpc)?;
    }
    write_routes(out, compiled, gateway)
}

fn write_vif(out: &mut dyn Write, compiled: &Compiled<'_>, vif: &VirtualInterface) -> io::Result<()> {
    let port = compiled.intent.connection(&vif.connection).map_or("", |connection| &connection.interface);
    let inner = vif.tag.inner.map_or_else(String::new, |inner| format!(".{}", inner.get()));
    writeln!(
        out,
        "  virtual interface {}: {} on {port}, TPID {:#06x}, VLAN {}{inner}, MTU {}, {}, source validation {}",
        vif.name,
        vif.connection,
        vif.tag.tpid,
        vif.tag.outer.get(),
        vif.mtu,
        if vif.enabled { "enabled" } else { "disabled" },
        if vif.source_validation { "feasible" } else { "off" },
    )?;
    for link in &vif.addresses {
        writeln!(out, "    address {}, peer {}", link.local, link.peer)?;
    }
    write_caps(out, "    ", &vif.caps)?;
    for (direction, table) in [("to_vpc", &vif.dscp.to_vpc), ("to_customer", &vif.dscp.to_customer)] {
        if !table.is_empty() {
            let pairs: Vec<_> = table.iter().map(|(from, to)| format!("{from} -> {to}")).collect();
            writeln!(out, "    DSCP {direction}: {}, others kept", pairs.join(", "))?;
        }
    }
    let sources = compiled.slots.vifs.get(&vif.name).and_then(|slot| compiled.tables.sources.get(slot));
    let mut sources = sources.into_iter().flatten();
    sources.try_for_each(|(prefix, class)| writeln!(out, "    source {prefix}: {}", source(*class)))?;
    if vif.source_validation { Ok(()) } else { writeln!(out, "    source any other: accepted") }
}

/// What a source class means.
fn source(class: SourceClass) -> &'static str {
    match class {
        SOURCE_PEER => "the peer",
        SOURCE_LINK => "link subnet",
        SOURCE_ROUTED => "routed",
        SOURCE_OWN => "our own, refused",
        SOURCE_FORBIDDEN => "somebody else's, refused",
        SOURCE_MARTIAN => "no host's, refused",
        _ => "unknown",
    }
}

fn write_attachment(out: &mut dyn Write, vpc: &VpcAttachment) -> io::Result<()> {
    writeln!(
        out,
        "  VPC attachment {}: VNI {}, MTU {}, router {} at {}",
        vpc.name,
        vpc.vni.get(),
        vpc.mtu,
        vpc.router.mac,
        list(&vpc.router.addresses)
    )?;
    let places = vpc.cidrs.iter().map(|cidr| ("CIDR", cidr, &vpc.vteps));
    let hosts = vpc.hosts.iter().map(|host| ("host", &host.prefix, &host.vteps));
    for (kind, prefix, vteps) in places.chain(hosts) {
        let vteps: Vec<_> = vteps.iter().map(|vtep| format!("{} ({})", vtep.address, vtep.mac)).collect();
        writeln!(out, "    {kind} {prefix} at {}", vteps.join(", "))?;
    }
    Ok(())
}

fn list(items: &[impl fmt::Display]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

fn write_routes(out: &mut dyn Write, compiled: &Compiled<'_>, gateway: &BorderGateway) -> io::Result<()> {
    let routes = compiled.slots.domains.get(&gateway.name).and_then(|slot| compiled.tables.routes.get(slot));
    // Many hosts live in few places.
    let mut known: BTreeMap<Identity, String> = BTreeMap::new();
    for (prefix, target) in routes.into_iter().flatten() {
        write_route(out, compiled, &mut known, *prefix, target)?;
    }
    Ok(())
}

fn write_route(
    out: &mut dyn Write,
    compiled: &Compiled<'_>,
    known: &mut BTreeMap<Identity, String>,
    prefix: IpNet,
    target: &Target,
) -> io::Result<()> {
    if target.owner.is_nobody() {
        return writeln!(out, "  route {prefix} -> no host's, dropped");
    }
    let Some(group) = target.group else {
        return writeln!(out, "  route {prefix} -> local to {}", owner(&compiled.tables, target.owner));
    };
    let members = known.entry(group).or_insert_with(|| members(&compiled.tables, group));
    writeln!(out, "  route {prefix} -> {members}")
}

fn owner(tables: &Tables, owner: Owner) -> String {
    match owner.kind() {
        OWNER_ATTACHMENT | OWNER_LOCAL_ROUTER => {
            tables.attachments.get(&owner.index()).map(|vpc| text(&vpc.name))
        }
        _ => tables.vifs.get(&owner.index()).map(|vif| text(&vif.name)),
    }
    .unwrap_or_default()
}

/// The members of a group by owner and address. A disabled virtual interface is one that carries nothing.
fn members(tables: &Tables, group: Identity) -> String {
    let declared = tables.groups.get(&group).into_iter().flat_map(|members| &members.declared);
    let mut members: Vec<(&str, IpAddr, bool)> = declared
        .filter_map(|way| {
            let info = tables.ways.get(way)?;
            Some((info.name.as_str(), info.address, tables.next_hops.contains_key(way)))
        })
        .collect();
    members.sort_unstable();
    // Two hosts behind one VTEP are two groups, and a host's place is not named twice.
    members.dedup();
    let shown: Vec<_> = members
        .iter()
        .map(|(name, address, live)| format!("{name} {address}{}", if *live { "" } else { " (disabled)" }))
        .collect();
    shown.join(", ")
}

fn limit(cap: Option<Cap>) -> String {
    cap.map_or_else(|| "no limit".to_owned(), |cap| format!("{} (burst {} B)", bits(cap.rate), cap.burst))
}

/// A rate in bits a second, for people.
fn bits(rate: u64) -> String {
    match rate {
        0..1_000 => format!("{rate} bps"),
        1_000..1_000_000 => format!("{} kbps", rate as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{} Mbps", rate as f64 / 1e6),
        _ => format!("{} Gbps", rate as f64 / 1e9),
    }
}
