//! One border gateway's namespace: its veths, addresses, routes and neighbours, made like the intent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Instant;

use border_gw_common::net::MacAddr;
use futures::TryStreamExt as _;
use ipnet::IpNet;
use log::warn;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth};
use netlink_packet_route::route::{RouteFlags, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, RouteNextHopBuilder};
use tokio::sync::Notify;

use super::ethtool::Ethtool;
use super::events::Changes;
use super::learned::{BFD_TABLE, Interface, Learned, SEEN_TABLE, SOURCES_TABLE, Tables, destination};
use super::netlink::{Link, Neighbor, Netlink, PROTOCOL};
use super::routes::Dump;
use super::{KernelError, netns};
use crate::intent::{BorderGateway, Routing, StaticRoute, VirtualInterface};

/// A veth that is to exist.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Name of the VIF or attachment: altname of the inner end.
    pub(super) name: String,
    /// Name of the outer end.
    pub(super) outer: String,
    /// `vif` or `vpc`.
    pub(super) prefix: &'static str,
    /// None while the port is missing, whose address it has.
    pub(super) mac: Option<MacAddr>,
    pub(super) mtu: u16,
    pub(super) addresses: Vec<IpNet>,
    /// Resolves neighbours.
    pub(super) arp: bool,
    /// Routes straight into it.
    pub(super) routes: Vec<IpNet>,
}

/// A namespace and its socket.
pub(super) struct Namespace {
    name: String,
    netlink: Netlink,
    ethtool: Arc<Ethtool>,
    /// Inner ends by name of the VIF or attachment.
    inner: BTreeMap<String, Inner>,
    /// The same veths as they are to be.
    wanted: BTreeMap<String, Wanted>,
    neighbors: BTreeMap<(u32, IpAddr), Neighbor>,
    tables: Tables,
    /// Peers whose BFD session was seen up; no two of a border gateway have the same address.
    bfd_seen: BTreeSet<IpAddr>,
    /// The same as [`SEEN_TABLE`] has it.
    bfd_written: BTreeSet<IpAddr>,
    /// Wakes the loop when a table that rests may be read.
    nudge: Arc<Notify>,
}

/// The inner end of a veth.
#[derive(Clone, Copy, Debug)]
struct Inner {
    index: u32,
    /// N of `vifN` or `vpcN`.
    number: u32,
}

/// Name of the outer end of an object's veth: at most 15 bytes, the same after a restart, another in each gateway.
pub(crate) fn outer_name(gateway: &str, object: &str) -> String {
    format!("bgw{:012x}", crate::tables::identity([gateway, object]) & 0xffff_ffff_ffff)
}

/// Offloads of the end that the kernel sends on: what XDP receives must be whole, with its checksum; what XDP sends must
/// find GRO (veth drops frames redirected to a peer that has neither GRO nor XDP).
const INNER_FEATURES: [(&str, bool); 5] = [
    ("tx-checksum-ip-generic", false),
    ("tx-generic-segmentation", false),
    ("tx-tcp-segmentation", false),
    ("tx-vlan-hw-insert", false),
    ("rx-gro", true),
];

impl Namespace {
    /// Makes the namespace, unless it is there, and opens a socket in it.
    pub(super) fn open(name: String, nudge: Arc<Notify>) -> Result<Self, KernelError> {
        netns::ensure(&name)?;
        netns::sysctls(&name, sysctls())?;
        let ethtool = netns::inside(&name, Ethtool::open)
            .map_err(KernelError::system(format!("open a socket in network namespace `{name}`")))?;
        let netlink = Netlink::open(Some(&name), Arc::clone(&nudge))?;
        let mut tables = Tables::new(Dump::open(&name)?, Instant::now());
        let noted = tables.routes(SEEN_TABLE)?;
        let noted = noted.iter().filter(|route| {
            u8::from(route.header.protocol) == PROTOCOL && route.header.kind == RouteType::BlackHole
        });
        let seen: BTreeSet<IpAddr> = noted.filter_map(destination).map(|peer| peer.addr()).collect();
        Ok(Self {
            name,
            netlink,
            ethtool: Arc::new(ethtool),
            inner: BTreeMap::new(),
            wanted: BTreeMap::new(),
            neighbors: BTreeMap::new(),
            tables,
            bfd_seen: seen.clone(),
            bfd_written: seen,
            nudge,
        })
    }

    /// Makes veths, addresses, routes and neighbours those of the border gateway.
    pub(super) async fn ensure(
        &mut self,
        outside: &Netlink,
        gateway: &BorderGateway,
        wanted: &[Wanted],
    ) -> Result<(), KernelError> {
        let set_up = self.netlink.handle.link().set(LinkUnspec::new_with_index(1).up().build());
        set_up.execute().await.map_err(KernelError::netlink(format!("set lo up in `{}`", self.name)))?;
        let links = self.netlink.links().await?;
        let outer = outside.links_by_name().await?;
        let (whole, others): (Vec<Link>, Vec<Link>) = links
            .into_iter()
            .filter(|link| number(&link.name).is_some())
            .partition(|link| is_whole(link, &outer, wanted));
        // Those that are known stay known until all are made: a failure on the way takes nobody's routes away.
        let mut all_inner = BTreeMap::new();
        let mut numbers: BTreeSet<u32> =
            whole.iter().chain(&others).filter_map(|link| number(&link.name)).collect();
        for veth in wanted {
            let found = whole.iter().find(|link| link.altnames.contains(&veth.name));
            let link = if let Some(link) = found {
                link.clone()
            } else {
                let link = self.create(outside, veth, &mut numbers, &others).await?;
                self.forget_sources(&link).await?;
                link
            };
            let inner = Inner { index: link.index, number: number(&link.name).unwrap_or_default() };
            all_inner.insert(veth.name.clone(), inner);
            self.settle(&link, veth).await?;
            self.wanted.insert(veth.name.clone(), veth.clone());
        }
        self.inner = all_inner;
        self.tables.read_soon();
        self.static_routes(gateway, wanted).await?;
        for link in &others {
            self.remove(link).await?;
        }
        let ours: BTreeSet<(u32, IpAddr)> = gateway
            .virtual_interfaces
            .iter()
            .flat_map(|vif| vif.addresses.iter().map(move |link| (&vif.name, link.peer)))
            .filter_map(|(vif, peer)| Some((self.inner.get(vif)?.index, peer)))
            .collect();
        self.netlink.forget_neighbors(|index, address| ours.contains(&(index, address))).await?;
        self.netlink.mark(Changes::everything());
        Ok(())
    }

    /// Removes what was learned from whoever had an interface of this number before: it makes nobody else a source.
    async fn forget_sources(&mut self, link: &Link) -> Result<(), KernelError> {
        let Some(number) = number(&link.name) else { return Ok(()) };
        for route in self.tables.routes(SOURCES_TABLE + number)? {
            let what = format!("remove a route of table {} from `{}`", SOURCES_TABLE + number, self.name);
            let removed = self.netlink.handle.route().del(route).execute().await;
            removed.map_err(KernelError::netlink(what))?;
        }
        Ok(())
    }

    /// Removes one of our interfaces; it may be gone by now, with its other end.
    async fn remove(&self, link: &Link) -> Result<(), KernelError> {
        if self.netlink.links().await?.iter().all(|other| other.index != link.index) {
            return Ok(());
        }
        let what = format!("remove interface `{}` from `{}`", link.name, self.name);
        self.netlink.handle.link().del(link.index).execute().await.map_err(KernelError::netlink(what))
    }

    /// Makes a veth: one end here, the other in the daemon's namespace. `others` are interfaces that will be removed.
    async fn create(
        &self,
        outside: &Netlink,
        veth: &Wanted,
        numbers: &mut BTreeSet<u32>,
        others: &[Link],
    ) -> Result<Link, KernelError> {
        let number = (1..=u32::MAX).find(|number| !numbers.contains(number)).unwrap_or(1);
        numbers.insert(number);
        let inner_name = format!("{}{number}", veth.prefix);
        let outer_name = veth.outer.clone();
        let what =
            format!("make the veth of `{}` ({outer_name} and {inner_name} in `{}`)", veth.name, self.name);
        let place =
            std::fs::File::open(netns::path(&self.name)).map_err(KernelError::system(what.clone()))?;
        let inner = LinkMessageBuilder::<LinkUnspec>::new()
            .name(inner_name.clone())
            .mtu(u32::from(veth.mtu))
            .setns_by_fd(place.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(outer_name.clone())
            .mtu(u32::from(veth.mtu))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
            .build();
        // What an earlier run left half-made, or another border gateway had, stands in the way.
        for stale in others.iter().filter(|link| link.altnames.contains(&veth.name)) {
            self.remove(stale).await?;
        }
        if let Some(stale) = outside.links().await?.into_iter().find(|link| link.name == outer_name) {
            let del = outside.handle.link().del(stale.index).execute().await;
            del.map_err(KernelError::netlink(what.clone()))?;
        }
        outside.handle.link().add(pair).execute().await.map_err(KernelError::netlink(what.clone()))?;
        let links = self.netlink.links().await?;
        let link = links.into_iter().find(|link| link.name == inner_name);
        let link =
            link.ok_or_else(|| KernelError::system(what.clone())(std::io::ErrorKind::NotFound.into()))?;
        let altname = self.netlink.handle.link().property_add(link.index).alt_ifname(&[&veth.name]);
        altname.execute().await.map_err(KernelError::netlink(what))?;
        Ok(link)
    }

    /// MAC, MTU, offloads, addresses, routes and neighbours of one veth's inner end.
    async fn settle(&self, link: &Link, veth: &Wanted) -> Result<(), KernelError> {
        let what = format!("set up interface `{}` (`{}`) in `{}`", link.name, veth.name, self.name);
        let message = LinkUnspec::new_with_index(link.index).mtu(u32::from(veth.mtu)).arp(veth.arp).up();
        // Also the same address, set again, makes the kernel forget the neighbours: a daemon that adopts would cut every line.
        let message = match veth.mac.filter(|mac| *mac != link.mac) {
            Some(mac) => message.address(mac.0.to_vec()),
            None => message,
        }
        .build();
        self.netlink
            .handle
            .link()
            .set(message)
            .execute()
            .await
            .map_err(KernelError::netlink(what.clone()))?;
        let left = self.ethtool.switch(&link.name, &INNER_FEATURES).map_err(KernelError::system(what))?;
        refuse(&link.name, left)?;
        self.addresses(link.index, veth).await?;
        for route in &veth.routes {
            self.route(direct_route(*route, link.index)).await?;
        }
        let name = &link.name;
        let probe =
            ["ipv4", "ipv6"].map(|family| (format!("{family}/neigh/{name}/interval_probe_time_ms"), "1000"));
        netns::sysctls(&self.name, probe.into())
    }

    /// The declared addresses, and the link-local one of the Ethernet address, which the kernel keeps as it first was.
    async fn addresses(&self, index: u32, veth: &Wanted) -> Result<(), KernelError> {
        let what = format!("set the addresses of `{}` in `{}`", veth.name, self.name);
        let link_local = veth.mac.and_then(|mac| IpNet::new(IpAddr::from(mac.link_local()), 64).ok());
        let wanted: Vec<IpNet> = veth.addresses.iter().copied().chain(link_local).collect();
        let request = self.netlink.handle.address().get().set_link_index_filter(index);
        let present =
            request.execute().try_collect::<Vec<_>>().await.map_err(KernelError::netlink(what.clone()))?;
        for message in present {
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            let is_wanted = wanted
                .iter()
                .any(|net| Some(net.addr()) == address && net.prefix_len() == message.header.prefix_len);
            if !is_wanted {
                let del = self.netlink.handle.address().del(message).execute().await;
                del.map_err(KernelError::netlink(what.clone()))?;
            }
        }
        for net in wanted {
            let mut request =
                self.netlink.handle.address().add(index, net.addr(), net.prefix_len()).replace();
            request.message_mut().attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            request.execute().await.map_err(KernelError::netlink(what.clone()))?;
        }
        Ok(())
    }

    async fn route(&self, message: RouteMessage) -> Result<(), KernelError> {
        let what = format!("add a route in `{}`", self.name);
        self.netlink.handle.route().add(message).replace().execute().await.map_err(KernelError::netlink(what))
    }

    /// The declared routes, for what the gateway itself says; those that are declared no more are removed.
    async fn static_routes(&self, gateway: &BorderGateway, wanted: &[Wanted]) -> Result<(), KernelError> {
        let direct = wanted.iter().flat_map(|veth| &veth.routes).copied();
        let keep: BTreeSet<IpNet> = gateway.routes.iter().map(|route| route.prefix).chain(direct).collect();
        for message in self.our_routes().await? {
            let destination = destination(&message);
            if destination.is_some_and(|prefix| !keep.contains(&prefix)) {
                let what = format!("remove a route from `{}`", self.name);
                self.netlink
                    .handle
                    .route()
                    .del(message)
                    .execute()
                    .await
                    .map_err(KernelError::netlink(what))?;
            }
        }
        for route in &gateway.routes {
            if let Some(message) = self.static_route(gateway, route) {
                self.route(message).await?;
            }
        }
        Ok(())
    }

    async fn our_routes(&self) -> Result<Vec<RouteMessage>, KernelError> {
        let mut ours = Vec::new();
        let v4 = RouteMessageBuilder::<std::net::Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<std::net::Ipv6Addr>::new().build();
        for family in [v4, v6] {
            let all = self.netlink.handle.route().get(family).execute().try_collect::<Vec<_>>().await;
            let all = all.map_err(KernelError::netlink(format!("list routes of `{}`", self.name)))?;
            let is_static = |route: &RouteMessage| {
                u8::from(route.header.protocol) == PROTOCOL && u32::from(route.header.table) != SEEN_TABLE
            };
            ours.extend(all.into_iter().filter(is_static));
        }
        Ok(ours)
    }

    fn static_route(&self, gateway: &BorderGateway, route: &StaticRoute) -> Option<RouteMessage> {
        let hops: Vec<_> = gateway
            .virtual_interfaces
            .iter()
            .filter(|vif| route.via.contains(&vif.name))
            .filter_map(|vif| {
                let mut peers = vif.addresses.iter().map(|link| link.peer);
                let peer = peers.find(|peer| peer.is_ipv4() == route.prefix.addr().is_ipv4())?;
                let index = self.inner.get(&vif.name)?.index;
                let hop = if peer.is_ipv4() {
                    RouteNextHopBuilder::new_ipv4()
                } else {
                    RouteNextHopBuilder::new_ipv6()
                };
                Some(hop.interface(index).via(peer).ok()?.onlink().build())
            })
            .collect();
        if hops.is_empty() {
            return None;
        }
        Some(match route.prefix {
            IpNet::V4(net) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .destination_prefix(net.addr(), net.prefix_len())
                .protocol(RouteProtocol::from(PROTOCOL))
                .multipath(hops)
                .build(),
            IpNet::V6(net) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .destination_prefix(net.addr(), net.prefix_len())
                .protocol(RouteProtocol::from(PROTOCOL))
                .multipath(hops)
                .build(),
        })
    }

    /// Reads again what changed and is quickly read: neighbours, and whose BFD session is up. Says whether anything did.
    pub(super) async fn glance(&mut self) -> Result<bool, KernelError> {
        let changes = self.netlink.take_changes();
        let neighbors = changes.neighbors();
        let any = neighbors || changes.table(BFD_TABLE);
        self.tables.mark(changes);
        if neighbors {
            match self.netlink.neighbors().await {
                Ok(neighbors) => self.neighbors = neighbors,
                Err(error) => {
                    self.netlink.mark(Changes::everything());
                    return Err(error);
                }
            }
        }
        self.tables.refresh_bfd()?;
        Ok(any)
    }

    /// Reads again all that changed.
    pub(super) async fn refresh(&mut self, gateway: &BorderGateway) -> Result<(), KernelError> {
        self.glance().await?;
        self.remember_bfd(gateway).await;
        let interfaces = gateway.virtual_interfaces.iter().filter_map(|vif| {
            let inner = self.inner.get(&vif.name)?;
            Some((inner.index, Interface { vif: vif.name.as_str().into(), number: inner.number }))
        });
        let interfaces = interfaces.collect();
        let external = gateway.routing == Routing::External;
        let changes_now = |table| self.netlink.has_changed(table);
        if let Some(wait) = self.tables.refresh(&interfaces, external, &changes_now)? {
            let nudge = Arc::clone(&self.nudge);
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                nudge.notify_one();
            });
        }
        Ok(())
    }

    /// What routing daemons wrote here.
    pub(super) fn learned(&self) -> Arc<Learned> {
        Arc::clone(self.tables.learned())
    }

    /// N of the interface `vifN` of each VIF.
    pub(super) fn numbers(&self) -> BTreeMap<String, u32> {
        self.inner.iter().map(|(name, inner)| (name.clone(), inner.number)).collect()
    }

    /// Whether BFD says that nothing gets to a peer. Where BGP knows the peer as well, its session has been up before: until
    /// then it may be that the peer does not speak BFD (RFC 5882, section 4.2).
    pub(super) fn is_bfd_down(&mut self, vif: &VirtualInterface, peer: IpAddr) -> bool {
        let Some(inner) = self.inner.get(&vif.name) else { return false };
        if self.tables.is_bfd_up(inner.index, peer) {
            if self.bfd_seen.insert(peer) {
                self.nudge.notify_one();
            }
            return false;
        }
        vif.bfd.is_some() && (vif.bgp.is_none() || self.bfd_seen.contains(&peer))
    }

    /// Writes down whose BFD was up: a daemon that starts while a line is cut must not take it for one without BFD.
    async fn remember_bfd(&mut self, gateway: &BorderGateway) {
        let with_bfd = gateway.virtual_interfaces.iter().filter(|vif| vif.bfd.is_some());
        let peers: BTreeSet<IpAddr> = with_bfd.flat_map(|vif| &vif.addresses).map(|link| link.peer).collect();
        self.bfd_seen.retain(|peer| peers.contains(peer));
        let new: Vec<_> = self.bfd_seen.difference(&self.bfd_written).copied().collect();
        let old: Vec<_> = self.bfd_written.difference(&self.bfd_seen).copied().collect();
        // A note that cannot be written, or is not there any more, is no reason to stop.
        for peer in new {
            if let Err(error) = self.route(seen(peer)).await {
                warn!("a daemon that starts will not know that BFD with {peer} was up: {error}");
            }
        }
        for peer in old {
            self.netlink.handle.route().del(seen(peer)).execute().await.ok();
        }
        self.bfd_written.clone_from(&self.bfd_seen);
    }

    /// BGP came up without BFD: the peer speaks it no more.
    pub(super) fn forget_bfd(&mut self, peer: IpAddr) {
        self.bfd_seen.remove(&peer);
    }

    /// Gives a VIF's inner end another Ethernet address; true when it had a different one.
    pub(super) async fn follow_mac(&mut self, vif: &str, mac: MacAddr) -> Result<bool, KernelError> {
        let (Some(Inner { index, .. }), Some(veth)) = (self.inner.get(vif).copied(), self.wanted.get(vif))
        else {
            return Ok(false);
        };
        if veth.mac == Some(mac) {
            return Ok(false);
        }
        let veth = Wanted { mac: Some(mac), ..veth.clone() };
        let message = LinkUnspec::new_with_index(index).address(mac.0.to_vec()).build();
        let set = self.netlink.handle.link().set(message).execute().await;
        set.map_err(KernelError::netlink(format!("set the Ethernet address of `{vif}` in `{}`", self.name)))?;
        self.addresses(index, &veth).await?;
        self.wanted.insert(vif.to_owned(), veth);
        Ok(true)
    }

    /// Lets the kernel resolve a peer, at once and from then on.
    pub(super) async fn resolve(&self, object: &str, peer: IpAddr) -> Result<(), KernelError> {
        match self.inner.get(object) {
            Some(inner) => self.netlink.manage_neighbor(inner.index, peer).await,
            None => Ok(()),
        }
    }

    /// The Ethernet address of a neighbour on an object's interface, where it answers.
    pub(super) fn neighbor(&self, object: &str, address: IpAddr) -> Option<MacAddr> {
        let index = self.inner.get(object)?.index;
        self.neighbors.get(&(index, address))?.mac
    }
}

/// What stands in [`SEEN_TABLE`] for a peer.
fn seen(peer: IpAddr) -> RouteMessage {
    let length = if peer.is_ipv4() { 32 } else { 128 };
    let route = RouteMessageBuilder::<IpAddr>::new().destination_prefix(peer, length);
    let mut message = match route {
        Ok(route) => route.protocol(RouteProtocol::from(PROTOCOL)).table_id(SEEN_TABLE).build(),
        Err(_length) => RouteMessage::default(),
    };
    message.header.kind = RouteType::BlackHole;
    message
}

/// Whether a veth is declared, and has its other end: one that lost it, or its name in a crash, is made again.
fn is_whole(link: &Link, outer: &BTreeMap<String, Link>, wanted: &[Wanted]) -> bool {
    let veth = wanted.iter().find(|veth| link.altnames.contains(&veth.name));
    let other = veth.and_then(|veth| outer.get(&veth.outer));
    other.is_some_and(|other| link.peer == Some(other.index))
}

/// A route into an interface without ARP. It goes by one next hop that exists nowhere: without it the kernel would make a
/// neighbour entry for every host that it answers, in a table that the whole machine shares.
fn direct_route(prefix: IpNet, index: u32) -> RouteMessage {
    const NOWHERE_V4: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 255, 254);
    const NOWHERE_V6: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfffe);
    let mut message = match prefix {
        IpNet::V4(net) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
            .destination_prefix(net.addr(), net.prefix_len())
            .output_interface(index)
            .gateway(NOWHERE_V4)
            .protocol(RouteProtocol::from(PROTOCOL))
            .build(),
        IpNet::V6(net) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
            .destination_prefix(net.addr(), net.prefix_len())
            .output_interface(index)
            .gateway(NOWHERE_V6)
            .protocol(RouteProtocol::from(PROTOCOL))
            .build(),
    };
    message.header.flags |= RouteFlags::Onlink;
    message
}

/// An error about a feature that could not be switched.
pub(super) fn refuse(interface: &str, left: Option<(&'static str, bool)>) -> Result<(), KernelError> {
    match left {
        None => Ok(()),
        Some((feature, wanted)) => Err(KernelError::Offload {
            interface: interface.to_owned(),
            feature,
            state: if wanted { "off" } else { "on" },
        }),
    }
}

/// The number of one of our inner ends.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("vif").or_else(|| name.strip_prefix("vpc"))?.parse().ok()
}

/// A namespace would inherit the host's settings; a router advertisement would install a default route and an address.
fn sysctls() -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    for scope in ["all", "default"] {
        for (name, value) in [
            ("accept_ra", "0"),
            ("autoconf", "0"),
            ("accept_redirects", "0"),
            ("accept_dad", "0"),
            ("dad_transmits", "0"),
            ("forwarding", "0"),
            ("addr_gen_mode", "0"),
            ("disable_ipv6", "0"),
        ] {
            all.push((format!("ipv6/conf/{scope}/{name}"), value));
        }
        for (name, value) in [
            ("arp_ignore", "1"),
            ("rp_filter", "0"),
            ("forwarding", "0"),
            ("accept_redirects", "0"),
            ("send_redirects", "0"),
        ] {
            all.push((format!("ipv4/conf/{scope}/{name}"), value));
        }
    }
    all.push(("ipv4/ip_forward".to_owned(), "0"));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_name_fits_and_stays() {
        let name = outer_name("bgw", "a-virtual-interface-with-a-name-of-some-length");
        assert_eq!(name.len(), 15);
        assert_eq!(name, outer_name("bgw", "a-virtual-interface-with-a-name-of-some-length"));
        assert_ne!(name, outer_name("bgw", "vif-a"));
        assert_ne!(outer_name("one", "vif-a"), outer_name("two", "vif-a"));
    }

    #[test]
    fn only_our_interfaces_have_numbers() {
        assert_eq!(number("vif12"), Some(12));
        assert_eq!(number("vpc3"), Some(3));
        for other in ["lo", "vif", "vifa", "eth0", "bird0"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
