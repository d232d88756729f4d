//! What the model knows of a server: names, prefixes, addresses. No index, no table, nothing compiled.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use border_gw::intent::{BorderGateway, Intent, Routing, VirtualInterface, VpcAttachment};
use border_gw::kernel::{Observed, PortState};
use border_gw_common::abi::HashMode;
use border_gw_common::net::MacAddr;
use ipnet::IpNet;

/// Bytes that a tunnel adds to an IP packet: inner Ethernet, VXLAN, UDP, and IPv4 or IPv6 (RFC 7348, section 5).
const OVERHEAD: (u32, u32) = (50, 70);

/// A server.
#[derive(Debug)]
pub struct World {
    /// Our tunnel address.
    pub vtep: IpAddr,
    /// UDP port of VXLAN.
    pub vxlan_port: u16,
    /// Ethernet addresses of fabric ports, by index.
    pub fabric: BTreeMap<u32, MacAddr>,
    /// Routing domains.
    pub gateways: Vec<Gateway>,
}

/// A routing domain.
#[derive(Debug)]
pub struct Gateway {
    /// Its place in the list.
    pub number: usize,
    /// Whether virtual interfaces reach one another.
    pub transit: bool,
    /// What tells a flow from another.
    pub hash: HashMode,
    /// Whether the MSS of TCP is held to what fits.
    pub mss_clamp: bool,
    /// Virtual interfaces.
    pub vifs: Vec<Vif>,
    /// VPC attachments.
    pub vpcs: Vec<Vpc>,
    /// All routes, in no order.
    pub routes: Vec<Route>,
}

/// A virtual interface.
#[derive(Debug)]
pub struct Vif {
    /// Its name.
    pub name: String,
    /// Name of its connection.
    pub connection: String,
    /// Administratively up.
    pub enabled: bool,
    /// Whether sources are validated.
    pub validates: bool,
    /// Outer TPID and identifier, and the inner identifier.
    pub tag: (u16, u16, Option<u16>),
    /// Index and Ethernet address of its port, where both the port and the veth are there.
    pub port: Option<(u32, MacAddr)>,
    /// The outer end of its veth.
    pub veth: u32,
    /// Largest IP packet.
    pub mtu: u16,
    /// Its own address, its subnet and its peer, of each family.
    pub links: Vec<Link>,
    /// Prefixes accepted from it, static or learned.
    pub accepted: Vec<IpNet>,
    /// DSCP toward VPCs.
    pub dscp_to_vpc: BTreeMap<u8, u8>,
    /// From where errors about IPv4 packets come.
    pub error_v4: Ipv4Addr,
}

/// An address on a line.
#[derive(Debug)]
pub struct Link {
    /// Ours.
    pub own: IpAddr,
    /// The link subnet.
    pub subnet: IpNet,
    /// The customer's router.
    pub peer: IpAddr,
}

/// A VPC attachment.
#[derive(Debug)]
pub struct Vpc {
    /// Its name.
    pub name: String,
    /// VXLAN network identifier.
    pub vni: u32,
    /// The outer end of its veth; without one the attachment is closed.
    pub veth: Option<u32>,
    /// Ethernet address of the VPC's router.
    pub router_mac: MacAddr,
    /// Addresses of the VPC's router.
    pub routers: Vec<IpAddr>,
    /// Address ranges.
    pub cidrs: Vec<IpNet>,
    /// From where tunnel packets may come.
    pub vteps: Vec<IpAddr>,
    /// Largest IP packet by every fabric port.
    pub mtu: u16,
    /// From where errors about IPv4 packets come.
    pub error_v4: Ipv4Addr,
}

/// A route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Destination.
    pub prefix: IpNet,
    /// Where it leads.
    pub to: To,
    /// Of routes to the same prefix the lowest is the best.
    pub rank: u8,
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub enum To {
    /// Our own address on the virtual interface with this place in the list.
    Own(usize),
    /// The router of the attachment with this place in the list.
    Router(usize),
    /// An address that stands for no single host.
    Nobody,
    /// Customers.
    Lines(Vec<OnLine>),
    /// A VPC, by its place in the list.
    Vpc(usize, Vec<Tunnel>),
}

/// A live way to a customer's router.
#[derive(Clone, Debug)]
pub struct OnLine {
    /// Place in the list of virtual interfaces.
    pub vif: usize,
    /// Index of the port.
    pub ifindex: u32,
    /// Ethernet addresses of the neighbour and of the port.
    pub macs: (MacAddr, MacAddr),
    /// Largest IP packet.
    pub mtu: u16,
    /// DSCP toward the customer.
    pub dscp: BTreeMap<u8, u8>,
}

/// A live way to a VTEP.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Index of the port.
    pub ifindex: u32,
    /// Ethernet addresses of the underlay's next hop and of the port.
    pub macs: (MacAddr, MacAddr),
    /// The VTEP.
    pub vtep: IpAddr,
    /// Inner destination.
    pub inner: MacAddr,
    /// Largest inner IP packet.
    pub mtu: u16,
}

impl World {
    /// Reads what is declared and what is seen.
    pub fn new(intent: &Intent, observed: &Observed) -> Self {
        let fabric = intent.fabric.interfaces.iter().filter_map(|name| observed.ports.get(name));
        let reader = Reader { intent, observed };
        Self {
            vtep: intent.fabric.vtep,
            vxlan_port: intent.fabric.vxlan_port,
            fabric: fabric.map(|port| (port.ifindex, port.mac)).collect(),
            gateways: (0..intent.border_gateways.len()).map(|number| reader.gateway(number)).collect(),
        }
    }
}

impl Gateway {
    /// The best route: the longest prefix, then the best of those.
    pub fn route(&self, address: IpAddr) -> Option<&Route> {
        let covering = self.routes.iter().filter(|route| route.prefix.contains(&address));
        covering.min_by_key(|route| (u8::MAX - route.prefix.prefix_len(), route.rank))
    }

    /// CIDRs and link subnets: what no customer may announce or speak from.
    pub fn networks(&self) -> impl Iterator<Item = &IpNet> {
        let links = self.vifs.iter().flat_map(|vif| vif.links.iter().map(|link| &link.subnet));
        self.vpcs.iter().flat_map(|vpc| &vpc.cidrs).chain(links)
    }
}

/// The addresses of a link subnet that no host has (RFC 1812, section 4.2.3.1; RFC 4291, section 2.6.1), but where there are two
/// alone (RFC 3021, RFC 6164).
pub fn ends(subnet: IpNet) -> Vec<IpAddr> {
    match subnet {
        IpNet::V4(net) if net.prefix_len() < 31 => vec![net.network().into(), net.broadcast().into()],
        IpNet::V6(net) if net.prefix_len() < 127 => vec![net.network().into()],
        _ => Vec::new(),
    }
}

struct Reader<'a> {
    intent: &'a Intent,
    observed: &'a Observed,
}

impl Reader<'_> {
    fn gateway(&self, number: usize) -> Gateway {
        let gateway = &self.intent.border_gateways[number];
        let learned = super::learned::taken(gateway, self.observed);
        let vifs = gateway.virtual_interfaces.iter().map(|vif| {
            let mut accepted = learned.sources.get(&vif.name).cloned().unwrap_or_default();
            let fixed = gateway.routes.iter().filter(|route| route.via.contains(&vif.name));
            accepted.extend(fixed.map(|route| route.prefix));
            self.vif(vif, accepted)
        });
        let mut read = Gateway {
            number,
            transit: gateway.transit,
            hash: gateway.hash,
            mss_clamp: gateway.mss_clamp,
            vifs: vifs.collect(),
            vpcs: gateway.vpc_attachments.iter().map(|vpc| self.vpc(vpc)).collect(),
            routes: Vec::new(),
        };
        read.routes = self.routes(gateway, &read);
        for (prefix, hops) in learned.routes {
            let ways = hops.iter().filter_map(|(vif, peer)| self.on_line(gateway, *vif, *peer));
            read.routes.push(Route { prefix, to: self.lines(gateway, ways.collect()), rank: 3 });
        }
        read
    }

    fn port(&self, vif: &VirtualInterface) -> Option<&PortState> {
        self.observed.ports.get(&self.intent.connection(&vif.connection)?.interface)
    }

    fn vif(&self, vif: &VirtualInterface, accepted: Vec<IpNet>) -> Vif {
        let veth = self.observed.vif_veths.get(&vif.name).copied();
        let port = self.port(vif);
        let link = |link: &border_gw::intent::LinkAddress| Link {
            own: link.local.addr(),
            subnet: link.local.trunc(),
            peer: link.peer,
        };
        Vif {
            name: vif.name.clone(),
            connection: vif.connection.clone(),
            enabled: vif.enabled,
            validates: vif.source_validation,
            tag: (vif.tag.tpid, vif.tag.outer.get(), vif.tag.inner.map(|inner| inner.get())),
            port: port.filter(|_| veth.is_some()).map(|port| (port.ifindex, port.mac)),
            veth: veth.unwrap_or(0),
            mtu: line_mtu(vif, port),
            links: vif.addresses.iter().map(link).collect(),
            accepted,
            dscp_to_vpc: vif.dscp.to_vpc.clone(),
            error_v4: self.error_v4(vif.addresses.iter().map(|link| link.local.addr())),
        }
    }

    fn vpc(&self, vpc: &VpcAttachment) -> Vpc {
        let places = vpc.hosts.iter().flat_map(|host| &host.vteps).chain(&vpc.vteps);
        let ports = self.intent.fabric.interfaces.iter().filter_map(|name| self.observed.ports.get(name));
        Vpc {
            name: vpc.name.clone(),
            vni: vpc.vni.get(),
            veth: self.observed.attachment_veths.get(&vpc.name).copied(),
            router_mac: vpc.router.mac,
            routers: vpc.router.addresses.clone(),
            cidrs: vpc.cidrs.clone(),
            vteps: places.map(|vtep| vtep.address).collect(),
            mtu: ports.map(|port| self.tunnel_mtu(vpc, port)).min().unwrap_or(vpc.mtu),
            error_v4: self.error_v4(vpc.router.addresses.iter().copied()),
        }
    }

    /// Its own IPv4 address, or what identifies the server.
    fn error_v4(&self, mut own: impl Iterator<Item = IpAddr>) -> Ipv4Addr {
        let own = own.find_map(|address| if let IpAddr::V4(v4) = address { Some(v4) } else { None });
        own.unwrap_or(self.intent.gateway.router_id)
    }

    fn tunnel_mtu(&self, vpc: &VpcAttachment, port: &PortState) -> u16 {
        let overhead = if self.intent.fabric.vtep.is_ipv4() { OVERHEAD.0 } else { OVERHEAD.1 };
        u32::from(vpc.mtu).min(port.mtu.saturating_sub(overhead)) as u16
    }

    fn routes(&self, gateway: &BorderGateway, read: &Gateway) -> Vec<Route> {
        let host = |address: IpAddr, to, rank| Route { prefix: IpNet::from(address), to, rank };
        let mut routes = Vec::new();
        for (place, vif) in read.vifs.iter().enumerate() {
            for link in &vif.links {
                routes.push(host(link.own, To::Own(place), 0));
                routes.extend(ends(link.subnet).into_iter().map(|end| host(end, To::Nobody, 0)));
                let ways = self.on_line(gateway, place, link.peer).into_iter().collect();
                routes.push(host(link.peer, self.lines(gateway, ways), 1));
            }
        }
        for (place, (declared, vpc)) in gateway.vpc_attachments.iter().zip(&read.vpcs).enumerate() {
            routes.extend(vpc.routers.iter().map(|router| host(*router, To::Router(place), 0)));
            let cidrs = declared.cidrs.iter().map(|cidr| (*cidr, &declared.vteps));
            let hosts = declared.hosts.iter().map(|host| (host.prefix, &host.vteps));
            for (prefix, vteps) in cidrs.chain(hosts) {
                let ways = vteps.iter().flat_map(|vtep| self.tunnels(declared, vtep)).collect();
                routes.push(Route { prefix, to: To::Vpc(place, ways), rank: 1 });
            }
        }
        for route in &gateway.routes {
            let vifs = gateway.virtual_interfaces.iter().enumerate();
            let ways = vifs.filter(|(_, vif)| route.via.contains(&vif.name)).filter_map(|(place, vif)| {
                let same = |peer: &IpAddr| peer.is_ipv4() == route.prefix.addr().is_ipv4();
                let peer = vif.addresses.iter().map(|link| link.peer).find(same)?;
                self.on_line(gateway, place, peer)
            });
            routes.push(Route { prefix: route.prefix, to: self.lines(gateway, ways.collect()), rank: 2 });
        }
        routes
    }

    /// Lines that are being drained are used only where no other is alive.
    fn lines(&self, gateway: &BorderGateway, mut ways: Vec<OnLine>) -> To {
        let stays = |way: &OnLine| {
            let name = &gateway.virtual_interfaces[way.vif].name;
            !self.intent.drained.contains_key(name)
        };
        if ways.iter().any(stays) {
            ways.retain(stays);
        }
        To::Lines(ways)
    }

    /// The way to a peer, where it is alive: enabled, with a port that is up, a neighbour that answers, and BFD that does not object.
    fn on_line(&self, gateway: &BorderGateway, place: usize, peer: IpAddr) -> Option<OnLine> {
        let vif = &gateway.virtual_interfaces[place];
        let key = (vif.name.clone(), peer);
        let port = self.port(vif).filter(|port| port.up && vif.enabled)?;
        let neighbor = self.observed.neighbors.get(&key)?;
        (!self.observed.bfd_down.contains(&key)).then(|| OnLine {
            vif: place,
            ifindex: port.ifindex,
            macs: (*neighbor, port.mac),
            mtu: line_mtu(vif, Some(port)),
            dscp: vif.dscp.to_customer.clone(),
        })
    }

    /// The live ways to a VTEP: one an underlay path.
    fn tunnels(&self, vpc: &VpcAttachment, vtep: &border_gw::intent::Vtep) -> Vec<Tunnel> {
        let paths = self.observed.underlay.get(&vtep.address).into_iter().flatten();
        let live = paths.filter_map(|path| {
            let port = self.observed.ports.get(&path.interface).filter(|port| port.up)?;
            Some(Tunnel {
                ifindex: port.ifindex,
                macs: (path.mac?, port.mac),
                vtep: vtep.address,
                inner: vtep.mac,
                mtu: self.tunnel_mtu(vpc, port),
            })
        });
        live.collect()
    }
}

/// The VIF's, or what its port leaves beside the tags.
fn line_mtu(vif: &VirtualInterface, port: Option<&PortState>) -> u16 {
    let tags = if vif.tag.inner.is_some() { 8 } else { 4 };
    port.map_or(vif.mtu, |port| u32::from(vif.mtu).min(port.mtu.saturating_sub(tags)) as u16)
}

/// Whether anything is learned from a virtual interface.
pub(super) fn speaks(gateway: &BorderGateway, vif: &VirtualInterface) -> bool {
    vif.bgp.is_some() || gateway.routing == Routing::External
}
