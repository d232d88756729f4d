//! One border gateway's namespace: its veths, addresses, routes and neighbours, made like the intent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use border_gw_common::net::MacAddr;
use futures::TryStreamExt as _;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, RouteNextHopBuilder};
use tokio::sync::Notify;

use super::ethtool::Ethtool;
use super::netlink::{Link, Neighbor, Netlink};
use super::{KernelError, netns};
use crate::intent::{BorderGateway, StaticRoute};

/// Number of our routes in the kernel's tables (`ip route show proto 186`).
const PROTOCOL: u8 = 186;

/// A veth that is to exist.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Name of the VIF or attachment: altname of the inner end.
    pub(super) name: String,
    /// `vif` or `vpc`.
    pub(super) prefix: &'static str,
    pub(super) mac: MacAddr,
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
    inner: BTreeMap<String, u32>,
    neighbors: BTreeMap<(u32, IpAddr), Neighbor>,
}

/// Name of the outer end of an object's veth: at most 15 bytes, the same after a restart.
pub(super) fn outer_name(object: &str) -> String {
    format!("bgw{:012x}", crate::tables::identity([object]) & 0xffff_ffff_ffff)
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
        let netlink = Netlink::open(Some(&name), nudge)?;
        Ok(Self {
            name,
            netlink,
            ethtool: Arc::new(ethtool),
            inner: BTreeMap::new(),
            neighbors: BTreeMap::new(),
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
        let mut links = self.netlink.links().await?;
        let outer: BTreeMap<String, Link> =
            outside.links().await?.into_iter().map(|link| (link.name.clone(), link)).collect();
        self.remove_others(&mut links, &outer, wanted).await?;
        self.inner.clear();
        let mut numbers: BTreeSet<u32> = links.iter().filter_map(|link| number(&link.name)).collect();
        for veth in wanted {
            let found = links.iter().find(|link| link.altnames.contains(&veth.name));
            let link = match found {
                Some(link) => link.clone(),
                None => self.create(outside, veth, &mut numbers).await?,
            };
            self.inner.insert(veth.name.clone(), link.index);
            self.settle(&link, veth).await?;
        }
        self.static_routes(gateway, wanted).await?;
        self.netlink.mark_dirty();
        Ok(())
    }

    /// Removes veths that are declared no more, and those that lost their other end or their name in a crash.
    async fn remove_others(
        &self,
        links: &mut Vec<Link>,
        outer: &BTreeMap<String, Link>,
        wanted: &[Wanted],
    ) -> Result<(), KernelError> {
        let is_whole = |link: &Link| {
            let veth = wanted.iter().find(|veth| link.altnames.contains(&veth.name));
            let other = veth.and_then(|veth| outer.get(&outer_name(&veth.name)));
            other.is_some_and(|other| link.peer == Some(other.index))
        };
        let gone: Vec<_> =
            links.iter().filter(|link| number(&link.name).is_some() && !is_whole(link)).cloned().collect();
        for link in gone {
            let what = format!("remove interface `{}` from `{}`", link.name, self.name);
            self.netlink.handle.link().del(link.index).execute().await.map_err(KernelError::netlink(what))?;
            links.retain(|other| other.index != link.index);
        }
        Ok(())
    }

    /// Makes a veth: one end here, the other in the daemon's namespace.
    async fn create(
        &self,
        outside: &Netlink,
        veth: &Wanted,
        numbers: &mut BTreeSet<u32>,
    ) -> Result<Link, KernelError> {
        let number = (1..).find(|number| !numbers.contains(number)).unwrap_or(1);
        numbers.insert(number);
        let inner_name = format!("{}{number}", veth.prefix);
        let outer_name = outer_name(&veth.name);
        let what =
            format!("make the veth of `{}` ({outer_name} and {inner_name} in `{}`)", veth.name, self.name);
        let place =
            std::fs::File::open(netns::path(&self.name)).map_err(KernelError::system(what.clone()))?;
        let inner = LinkMessageBuilder::<LinkUnspec>::new()
            .name(inner_name.clone())
            .address(veth.mac.0.to_vec())
            .mtu(u32::from(veth.mtu))
            .setns_by_fd(place.as_raw_fd())
            .build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(outer_name.clone())
            .mtu(u32::from(veth.mtu))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
            .build();
        // What an earlier run left half-made stands in the way.
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
        let message = LinkUnspec::new_with_index(link.index)
            .address(veth.mac.0.to_vec())
            .mtu(u32::from(veth.mtu))
            .arp(veth.arp)
            .up()
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
        self.addresses(link, veth).await?;
        for route in &veth.routes {
            self.route(direct_route(*route, link.index)).await?;
        }
        let name = &link.name;
        let probe =
            ["ipv4", "ipv6"].map(|family| (format!("{family}/neigh/{name}/interval_probe_time_ms"), "1000"));
        netns::sysctls(&self.name, probe.into())
    }

    async fn addresses(&self, link: &Link, veth: &Wanted) -> Result<(), KernelError> {
        let what = format!("set the addresses of `{}` in `{}`", veth.name, self.name);
        let request = self.netlink.handle.address().get().set_link_index_filter(link.index);
        let present =
            request.execute().try_collect::<Vec<_>>().await.map_err(KernelError::netlink(what.clone()))?;
        for message in present {
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            let link_local = matches!(address, Some(IpAddr::V6(address)) if address.is_unicast_link_local());
            let wanted = veth
                .addresses
                .iter()
                .any(|net| Some(net.addr()) == address && net.prefix_len() == message.header.prefix_len);
            if !wanted && !link_local {
                let del = self.netlink.handle.address().del(message).execute().await;
                del.map_err(KernelError::netlink(what.clone()))?;
            }
        }
        for net in &veth.addresses {
            let mut request =
                self.netlink.handle.address().add(link.index, net.addr(), net.prefix_len()).replace();
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
            ours.extend(all.into_iter().filter(|route| u8::from(route.header.protocol) == PROTOCOL));
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
                let index = *self.inner.get(&vif.name)?;
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

    /// The neighbour of an object, where it can be sent to. Reads the table again only when something happened.
    pub(super) async fn refresh(&mut self) -> Result<(), KernelError> {
        if self.netlink.take_dirty() {
            match self.netlink.neighbors().await {
                Ok(neighbors) => self.neighbors = neighbors,
                Err(error) => {
                    self.netlink.mark_dirty();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Lets the kernel resolve a peer, at once and from then on.
    pub(super) async fn resolve(&self, object: &str, peer: IpAddr) -> Result<(), KernelError> {
        match self.inner.get(object) {
            Some(index) => self.netlink.manage_neighbor(*index, peer).await,
            None => Ok(()),
        }
    }

    /// The Ethernet address of a neighbour on an object's interface, where it answers.
    pub(super) fn neighbor(&self, object: &str, address: IpAddr) -> Option<MacAddr> {
        let index = *self.inner.get(object)?;
        self.neighbors.get(&(index, address))?.mac
    }
}

/// A route into an interface.
fn direct_route(prefix: IpNet, index: u32) -> RouteMessage {
    match prefix {
        IpNet::V4(net) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
            .destination_prefix(net.addr(), net.prefix_len())
            .output_interface(index)
            .scope(RouteScope::Link)
            .protocol(RouteProtocol::from(PROTOCOL))
            .build(),
        IpNet::V6(net) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
            .destination_prefix(net.addr(), net.prefix_len())
            .output_interface(index)
            .protocol(RouteProtocol::from(PROTOCOL))
            .build(),
    }
}

fn destination(message: &RouteMessage) -> Option<IpNet> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    IpNet::new(address, message.header.destination_prefix_length).ok()
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
        let name = outer_name("a-virtual-interface-with-a-name-of-some-length");
        assert_eq!(name.len(), 15);
        assert_eq!(name, outer_name("a-virtual-interface-with-a-name-of-some-length"));
        assert_ne!(name, outer_name("vif-a"));
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
