//! From what is declared and what is seen to tables. Pure and deterministic: no clock, no socket, no file.

mod headers;
mod learned;
mod limits;
mod narrow;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use border_gw_common::abi::{
    ATTACHMENT_CLAMP_MSS, Address, Attachment, Connection, DSCP_MAPPED, DSCPS, Domain, HostPort,
    OWNER_ATTACHMENT, OWNER_LOCAL_ROUTER, OWNER_LOCAL_VIF, OWNER_NOBODY, OWNER_VIF, Owner, Port,
    SOURCE_FORBIDDEN, SOURCE_LINK, SOURCE_MARTIAN, SOURCE_OWN, SOURCE_PEER, SOURCE_ROUTED, Settings,
    TO_CUSTOMER, TO_VPC, VIF_CLAMP_MSS, VIF_DSCP_TO_VPC, VIF_ENABLED, VIF_TRANSIT, VIF_VALIDATE, Vif, VifKey,
    VtepKey, dscp_index,
};
use border_gw_common::net::{Be16, MacAddr};
use ipnet::IpNet;

use crate::intent::{BorderGateway, Intent, VirtualInterface, VpcAttachment, Vtep};
use crate::kernel::{Observed, PortState};
use crate::tables::{Identity, Members, Slots, Tables, Target, WayInfo, address, identity, name};
pub use narrow::too_narrow;

/// Compiles everything. What the kernel does not have yet (a port that is missing, a veth that is not made) is left out, but
/// for the records of VIFs and attachments.
pub fn compile(intent: &Intent, observed: &Observed, slots: &Slots) -> Tables {
    let mut compiler =
        Compiler { intent, observed, slots, ports: port_indexes(intent), tables: Tables::default() };
    compiler.server();
    for gateway in &intent.border_gateways {
        compiler.border_gateway(gateway);
    }
    compiler.tables
}

/// Index of each port's policer, by interface name.
fn port_indexes(intent: &Intent) -> BTreeMap<&str, u32> {
    let lines = intent.connections.iter().map(|connection| connection.interface.as_str());
    let all: BTreeSet<_> = lines.chain(intent.fabric.interfaces.iter().map(String::as_str)).collect();
    all.into_iter().zip(0..).collect()
}

struct Compiler<'a> {
    intent: &'a Intent,
    observed: &'a Observed,
    slots: &'a Slots,
    ports: BTreeMap<&'a str, u32>,
    tables: Tables,
}

/// One declared way of a route: its identity, and its next hop where it is alive.
type Way = Identity;

impl Compiler<'_> {
    fn server(&mut self) {
        let (vtep_version, vtep) = address(self.intent.fabric.vtep);
        self.tables.settings = Settings {
            vtep,
            vtep_version,
            vxlan_port: Be16::new(self.intent.fabric.vxlan_port),
            reserved: 0,
        };
        for (interface, index) in &self.ports {
            let Some(port) = self.observed.ports.get(*interface) else { continue };
            self.tables.devices.insert(port.ifindex);
            limits::port(&mut self.tables.policers, *index, port.speed);
            if self.intent.fabric.interfaces.iter().any(|fabric| fabric == interface) {
                self.tables.ports.insert(port.ifindex, Port { index: *index, mac: port.mac, reserved: 0 });
            }
        }
        for connection in &self.intent.connections {
            let slot = self.slots.connections[&connection.name];
            self.tables.connections.insert(slot, Connection { name: name(&connection.name) });
            limits::connection(&mut self.tables.policers, slot, &connection.caps);
        }
    }

    fn border_gateway(&mut self, gateway: &BorderGateway) {
        let domain = self.slots.domains[&gateway.name];
        self.tables.domains.insert(domain, Domain { name: name(&gateway.name) });
        for vif in &gateway.virtual_interfaces {
            self.vif(gateway, domain, vif);
        }
        for vpc in &gateway.vpc_attachments {
            self.attachment(gateway, domain, vpc);
        }
        for route in &gateway.routes {
            self.static_route(gateway, domain, route.prefix, &route.via);
        }
        self.learned(gateway, domain);
        self.forbidden_sources(gateway);
        // After the customers' routes: a VPC beats a VIF, and our own addresses beat both.
        for vpc in &gateway.vpc_attachments {
            self.vpc_routes(gateway, domain, vpc);
        }
    }

    fn vif(&mut self, gateway: &BorderGateway, domain: u32, vif: &VirtualInterface) {
        let index = self.slots.vifs[&vif.name];
        let owner = Owner::new(OWNER_VIF, index);
        limits::vif(&mut self.tables.policers, index, &vif.caps);
        self.dscp(dscp_index(index, TO_VPC), &vif.dscp.to_vpc);
        self.dscp(dscp_index(index, TO_CUSTOMER), &vif.dscp.to_customer);
        for link in &vif.addresses {
            let sources = self.tables.sources.entry(index).or_default();
            sources.insert(link.local.trunc(), SOURCE_LINK);
            sources.extend(ends(link.local).map(|end| (end, SOURCE_MARTIAN)));
            sources.insert(IpNet::from(link.peer), SOURCE_PEER);
            sources.insert(IpNet::from(link.local.addr()), SOURCE_OWN);
            let nobody = Target { owner: Owner::new(OWNER_NOBODY, index), group: None };
            ends(link.local).for_each(|end| self.route(domain, end, nobody));
            let own = Target { owner: Owner::new(OWNER_LOCAL_VIF, index), group: None };
            self.route(domain, IpNet::from(link.local.addr()), own);
            let way = self.way_to_peer(gateway, vif, link.peer);
            let group = self.group(gateway, domain, vec![way]);
            self.route(domain, IpNet::from(link.peer), Target { owner, group: Some(group) });
        }
        let port = self.line_port(vif).cloned();
        let veth = self.observed.vif_veths.get(&vif.name).copied();
        let (tags, tags_len) = headers::tags(vif.tag);
        let record = Vif {
            name: name(&vif.name),
            domain,
            flags: flag(vif.enabled, VIF_ENABLED)
                | flag(vif.source_validation, VIF_VALIDATE)
                | flag(gateway.transit, VIF_TRANSIT)
                | flag(gateway.mss_clamp, VIF_CLAMP_MSS)
                | flag(!vif.dscp.to_vpc.is_empty(), VIF_DSCP_TO_VPC),
            port_ifindex: port.as_ref().map_or(0, |port| port.ifindex),
            veth_ifindex: veth.unwrap_or(0),
            connection: self.slots.connections[&vif.connection],
            hash_mode: gateway.hash as u32,
            tags,
            tags_len,
            mac: port.as_ref().map(|port| port.mac).unwrap_or_default(),
            mtu: headers::line_mtu(vif, port.as_ref()),
            port: self.line_index(vif) as u16,
            error_v4: self.error_v4(vif.addresses.iter().map(|link| link.local.addr())),
            error_v6: error_v6(vif.addresses.iter().map(|link| link.local.addr())),
        };
        // The record stays while its port or veth is missing, and its counters with it; nothing leads to it then.
        self.tables.vifs.insert(index, record);
        let (Some(port), Some(veth)) = (port, veth) else { return };
        let key = VifKey {
            ifindex: port.ifindex,
            tpid: Be16::new(vif.tag.tpid),
            outer: vif.tag.outer.get(),
            inner: vif.tag.inner.map_or(0, |inner| inner.get()),
            reserved: 0,
        };
        self.tables.vif_by_tag.insert(key, index);
        self.tables.host_ports.insert(veth, HostPort { owner });
        self.tables.devices.insert(veth);
    }

    fn dscp(&mut self, index: u32, translated: &BTreeMap<u8, u8>) {
        if translated.is_empty() {
            return;
        }
        let mut table = [0; DSCPS];
        for (from, to) in translated {
            table[usize::from(*from)] = DSCP_MAPPED | to;
        }
        self.tables.dscp.insert(index, table);
    }

    fn line_port(&self, vif: &VirtualInterface) -> Option<&PortState> {
        let connection = self.intent.connection(&vif.connection)?;
        self.observed.ports.get(&connection.interface)
    }

    /// Index of the policer of a VIF's port.
    fn line_index(&self, vif: &VirtualInterface) -> u32 {
        let connection = self.intent.connection(&vif.connection);
        connection.map_or(0, |connection| self.ports[connection.interface.as_str()])
    }

    /// The way to a peer; a next hop where the port is up, the VIF enabled and the neighbour known.
    fn way_to_peer(&mut self, gateway: &BorderGateway, vif: &VirtualInterface, peer: IpAddr) -> Way {
        let way = way_to_peer(&gateway.name, &vif.name, peer);
        let known = self.observed.neighbors.get(&(vif.name.clone(), peer));
        let Some(connection) = self.intent.connection(&vif.connection) else { return way };
        let info = WayInfo {
            domain: self.slots.domains[&gateway.name],
            owner: Owner::new(OWNER_VIF, self.slots.vifs[&vif.name]),
            name: vif.name.clone(),
            address: peer,
            gateway: None,
            interface: Some(connection.interface.clone()),
            mac: known.copied(),
        };
        self.tables.ways.insert(way, info);
        if self.observed.bfd_down.contains(&(vif.name.clone(), peer)) {
            return way;
        }
        let port = self.line_port(vif).filter(|port| port.up);
        let (Some(mac), Some(port), true) = (known, port, vif.enabled) else { return way };
        let next_hop = headers::to_customer(
            vif,
            port,
            *mac,
            &headers::Leads {
                identity: way,
                domain: self.slots.domains[&gateway.name],
                owner: Owner::new(OWNER_VIF, self.slots.vifs[&vif.name]),
                port: self.ports[connection.interface.as_str()],
                connection: self.slots.connections[&vif.connection],
            },
        );
        self.tables.next_hops.insert(way, next_hop);
        way
    }

    fn attachment(&mut self, gateway: &BorderGateway, domain: u32, vpc: &VpcAttachment) {
        let index = self.slots.attachments[&vpc.name];
        limits::attachment(&mut self.tables.policers, index);
        let places = vpc.hosts.iter().flat_map(|host| &host.vteps).chain(&vpc.vteps);
        for vtep in places {
            let (version, address) = address(vtep.address);
            self.tables.vteps.insert(VtepKey { attachment: index, version, address });
        }
        let veth = self.observed.attachment_veths.get(&vpc.name).copied();
        let record = Attachment {
            name: name(&vpc.name),
            domain,
            veth_ifindex: veth.unwrap_or(0),
            vni: vpc.vni.get(),
            hash_mode: gateway.hash as u32,
            router_mac: vpc.router.mac,
            mtu: self.vpc_mtu(vpc),
            flags: flag(gateway.mss_clamp, ATTACHMENT_CLAMP_MSS),
            error_v4: self.error_v4(vpc.router.addresses.iter().copied()),
            error_v6: error_v6(vpc.router.addresses.iter().copied()),
        };
        // As with a VIF: the record stays while its veth is missing.
        self.tables.attachments.insert(index, record);
        let Some(veth) = veth else { return };
        self.tables.attachment_by_vni.insert(vpc.vni.get(), index);
        self.tables.host_ports.insert(veth, HostPort { owner: Owner::new(OWNER_ATTACHMENT, index) });
        self.tables.devices.insert(veth);
    }

    /// What fits into a VPC by every fabric port.
    fn vpc_mtu(&self, vpc: &VpcAttachment) -> u16 {
        let ports = self.intent.fabric.interfaces.iter().filter_map(|name| self.observed.ports.get(name));
        ports.map(|port| headers::tunnel_mtu(self.intent, vpc, port)).min().unwrap_or(vpc.mtu)
    }

    /// From where errors about IPv4 packets come: an address of the object, or what identifies the server.
    fn error_v4(&self, mut own: impl Iterator<Item = IpAddr>) -> Address {
        let own = own.find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        address(IpAddr::V4(own.unwrap_or(self.intent.gateway.router_id))).1
    }

    fn vpc_routes(&mut self, gateway: &BorderGateway, domain: u32, vpc: &VpcAttachment) {
        let index = self.slots.attachments[&vpc.name];
        let owner = Owner::new(OWNER_ATTACHMENT, index);
        // Many hosts live in few places: one group a set of VTEPs, each with the host's MAC address there.
        let mut groups: BTreeMap<Vec<(IpAddr, MacAddr)>, Identity> = BTreeMap::new();
        let cidrs = vpc.cidrs.iter().map(|cidr| (*cidr, &vpc.vteps));
        for (prefix, vteps) in cidrs.chain(vpc.hosts.iter().map(|host| (host.prefix, &host.vteps))) {
            let place: Vec<_> = vteps.iter().map(|vtep| (vtep.address, vtep.mac)).collect();
            let group = if let Some(group) = groups.get(&place) {
                *group
            } else {
                let ways = vteps.iter().flat_map(|vtep| self.ways_to_vtep(gateway, vpc, vtep)).collect();
                *groups.entry(place).or_insert(self.group(gateway, domain, ways))
            };
            self.route(domain, prefix, Target { owner, group: Some(group) });
        }
        for router in &vpc.router.addresses {
            let own = Target { owner: Owner::new(OWNER_LOCAL_ROUTER, index), group: None };
            self.route(domain, IpNet::from(*router), own);
        }
    }

    /// The ways to a VTEP, one an underlay path; one that is dead where the underlay has none.
    fn ways_to_vtep(&mut self, gateway: &BorderGateway, vpc: &VpcAttachment, vtep: &Vtep) -> Vec<Way> {
        let (to, host) = (vtep.address.to_string(), vtep.mac.to_string());
        let info = WayInfo {
            domain: self.slots.domains[&gateway.name],
            owner: Owner::new(OWNER_ATTACHMENT, self.slots.attachments[&vpc.name]),
            name: vpc.name.clone(),
            address: vtep.address,
            gateway: None,
            interface: None,
            mac: None,
        };
        let Some(paths) = self.observed.underlay.get(&vtep.address).filter(|paths| !paths.is_empty()) else {
            let way = identity(["vtep", &gateway.name, &vpc.name, &to, &host]);
            self.tables.ways.insert(way, info);
            return vec![way];
        };
        let mut ways = Vec::new();
        for path in paths {
            let via = path.next_hop.to_string();
            let way = identity(["vtep", &gateway.name, &vpc.name, &to, &host, &path.interface, &via]);
            ways.push(way);
            let over_path = WayInfo {
                gateway: Some(path.next_hop).filter(|next_hop| *next_hop != vtep.address),
                interface: Some(path.interface.clone()),
                mac: path.mac,
                ..info.clone()
            };
            self.tables.ways.insert(way, over_path);
            let port = self.observed.ports.get(&path.interface).filter(|port| port.up);
            let (Some(port), Some(mac)) = (port, path.mac) else { continue };
            let next_hop = headers::to_vtep(
                self.intent,
                vpc,
                vtep,
                port,
                mac,
                &headers::Leads {
                    identity: way,
                    domain: info.domain,
                    owner: info.owner,
                    port: self.ports[path.interface.as_str()],
                    connection: 0,
                },
            );
            self.tables.next_hops.insert(way, next_hop);
        }
        ways
    }

    fn static_route(&mut self, gateway: &BorderGateway, domain: u32, prefix: IpNet, via: &[String]) {
        let mut ways = Vec::new();
        let mut first = None;
        for vif in gateway.virtual_interfaces.iter().filter(|vif| via.contains(&vif.name)) {
            let index = self.slots.vifs[&vif.name];
            self.tables.sources.entry(index).or_default().entry(prefix).or_insert(SOURCE_ROUTED);
            let peer = vif.addresses.iter().map(|link| link.peer).find(|peer| same_family(prefix, *peer));
            let Some(peer) = peer else { continue };
            ways.push(self.way_to_peer(gateway, vif, peer));
            first = first.or(Some(index));
        }
        let Some(first) = first else { return };
        let group = self.group(gateway, domain, ways);
        self.route(domain, prefix, Target { owner: Owner::new(OWNER_VIF, first), group: Some(group) });
    }

    /// What belongs to VPCs and to links: no route toward a customer and no source lies inside.
    fn inside_networks(gateway: &BorderGateway) -> BTreeSet<IpNet> {
        let cidrs = gateway.vpc_attachments.iter().flat_map(|vpc| vpc.cidrs.iter().copied());
        let links = gateway.virtual_interfaces.iter().flat_map(|vif| &vif.addresses);
        cidrs.chain(links.map(|link| link.local.trunc())).collect()
    }

    /// A route toward a customer may cover VPCs and other lines, and a VIF without validation covers everything: none of their
    /// addresses becomes a source by that. (A route inside a CIDR or a link subnet is refused with the document.)
    fn forbidden_sources(&mut self, gateway: &BorderGateway) {
        let forbidden = Self::inside_networks(gateway);
        for vif in &gateway.virtual_interfaces {
            let sources = self.tables.sources.entry(self.slots.vifs[&vif.name]).or_default();
            let covered: Vec<IpNet> = if vif.source_validation {
                let routed = sources.iter().filter(|(_, class)| **class == SOURCE_ROUTED);
                // Prefixes are in the order of their addresses: those that one covers follow it without a gap.
                let inside = |prefix: IpNet| {
                    forbidden.range(prefix..).copied().take_while(move |net| prefix.contains(net))
                };
                routed.flat_map(|(prefix, _)| inside(*prefix)).collect()
            } else {
                forbidden.iter().copied().collect()
            };
            for prefix in covered {
                // The VIF's own link subnet has its class.
                sources.entry(prefix).or_insert(SOURCE_FORBIDDEN);
            }
        }
    }

    /// The group of these ways; the same ways make the same group, dead or alive.
    fn group(&mut self, gateway: &BorderGateway, domain: u32, mut ways: Vec<Way>) -> Identity {
        ways.sort_unstable();
        ways.dedup();
        let names: Vec<_> = ways.iter().map(|way| way.to_string()).collect();
        let parts = ["group", &gateway.name].into_iter().chain(names.iter().map(String::as_str));
        let id = identity(parts);
        let mut live: Vec<Way> =
            ways.iter().copied().filter(|way| self.tables.next_hops.contains_key(way)).collect();
        // A line that is drained carries what no other can.
        if live.iter().any(|way| !self.is_drained(*way)) {
            live.retain(|way| !self.is_drained(*way));
        }
        self.tables.groups.insert(id, Members { domain, live, declared: ways });
        id
    }

    fn is_drained(&self, way: Way) -> bool {
        !self.intent.drained.is_empty()
            && self.tables.ways.get(&way).is_some_and(|way| self.intent.drained.contains_key(&way.name))
    }

    fn route(&mut self, domain: u32, prefix: IpNet, target: Target) {
        self.tables.routes.entry(domain).or_default().insert(prefix, target);
    }
}

/// The identity of the next hop that leads to a peer.
pub fn way_to_peer(gateway: &str, vif: &str, peer: IpAddr) -> Identity {
    identity(["vif", gateway, vif, &peer.to_string()])
}

/// From where errors about IPv6 packets come: zeros without an address of that family.
fn error_v6(mut own: impl Iterator<Item = IpAddr>) -> Address {
    let own = own.find_map(|address| match address {
        IpAddr::V6(address) => Some(address.octets()),
        IpAddr::V4(_) => None,
    });
    own.unwrap_or_default()
}

/// The addresses of a link subnet that stand for no single host: IPv4 network and broadcast (RFC 1812, section 4.2.3.1), and the
/// subnet-router anycast address of IPv6 (RFC 4291, section 2.6.1). None where both addresses are hosts' (RFC 3021, RFC 6164).
fn ends(link: IpNet) -> impl Iterator<Item = IpNet> {
    let ends: Vec<IpAddr> = match link {
        IpNet::V4(link) if link.prefix_len() < 31 => vec![link.network().into(), link.broadcast().into()],
        IpNet::V6(link) if link.prefix_len() < 127 => vec![link.network().into()],
        _ => Vec::new(),
    };
    ends.into_iter().map(IpNet::from)
}

fn flag(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}

fn same_family(prefix: IpNet, address: IpAddr) -> bool {
    prefix.addr().is_ipv4() == address.is_ipv4()
}
