//! The kernel side: what is to exist in Linux, and what is seen there.

mod carrier;
mod domain;
mod error;
mod ethtool;
mod events;
mod learned;
mod lost;
mod netlink;
pub(crate) mod netns;
mod ports;
mod preflight;
mod routes;
mod underlay;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use border_gw_common::net::MacAddr;
use ipnet::IpNet;
use rtnetlink::LinkUnspec;
use tokio::sync::Notify;

use crate::intent::{BorderGateway, Intent, VirtualInterface, VpcAttachment};
pub(crate) use domain::outer_name;
use domain::{Namespace, Wanted, refuse};
pub use error::KernelError;
use ethtool::Ethtool;
use events::Changes;
#[cfg(feature = "fuzzing")]
pub(crate) use learned::fuzz;
pub use learned::{BFD_TABLE, Hop, Learned, SOURCES_TABLE};
use lost::PeerState;
pub use lost::{Lost, Peer};
use netlink::{Link, Netlink};
use ports::Ports;
pub(crate) use preflight::SMALLEST_MTU;
pub use preflight::{Missing, preflight};

/// What the kernel says, as far as the tables depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Line and fabric ports, by interface name; one that does not exist is absent.
    pub ports: BTreeMap<String, PortState>,
    /// Index of the outer end of each VIF's veth, by VIF name.
    pub vif_veths: BTreeMap<String, u32>,
    /// Index of the outer end of each attachment's veth, by attachment name.
    pub attachment_veths: BTreeMap<String, u32>,
    /// Usable neighbours of VIFs: (VIF name, address) to Ethernet address. A failed one is absent.
    pub neighbors: BTreeMap<(String, IpAddr), MacAddr>,
    /// Ways to each VTEP over fabric ports, from the kernel's routes. A VTEP without a way is absent.
    pub underlay: BTreeMap<IpAddr, Vec<UnderlayPath>>,
    /// What routing daemons wrote into the namespaces, by name of the border gateway.
    pub learned: BTreeMap<String, Arc<Learned>>,
    /// Peers that BFD says are gone: (VIF name, address).
    pub bfd_down: BTreeSet<(String, IpAddr)>,
}

/// A line or fabric port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortState {
    /// Interface index.
    pub ifindex: u32,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Up, and with carrier.
    pub up: bool,
    /// Largest IP packet, in bytes (an 802.1Q tag counts to the packet).
    pub mtu: u32,
    /// Link speed in bits a second, where a physical device reports one.
    pub speed: Option<u64>,
}

/// One way to a VTEP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnderlayPath {
    /// Fabric port.
    pub interface: String,
    /// The gateway, or the VTEP itself where it is on-link.
    pub next_hop: IpAddr,
    /// Its Ethernet address; none while it is unknown or failed.
    pub mac: Option<MacAddr>,
}

/// Offloads of the outer ends of veths.
const OUTER_FEATURES: [(&str, bool); 2] = [("tx-vlan-hw-insert", false), ("rx-gro", true)];

/// Namespaces, interfaces and neighbours of one gateway.
pub struct Kernel {
    outside: Netlink,
    ethtool: Arc<Ethtool>,
    nudge: Arc<Notify>,
    carrier: carrier::Watch,
    ports: Ports,
    namespaces: BTreeMap<String, Namespace>,
    /// Neighbours of the underlay that the kernel was asked to manage.
    managed: BTreeSet<(u32, IpAddr)>,
    /// VIFs whose peers the kernel was asked to manage, since their line was last up.
    resolving: BTreeSet<String>,
}

pub(crate) fn namespace_name(intent: &Intent, gateway: &BorderGateway) -> String {
    format!("{}.{}", intent.gateway.name, gateway.name)
}

impl Kernel {
    /// Opens sockets; nothing is changed.
    pub fn open(intent: &Intent) -> Result<Self, KernelError> {
        let nudge = Arc::new(Notify::new());
        let ethtool = Ethtool::open().map_err(KernelError::system("open a socket"))?;
        let outside = Netlink::open(None, Arc::clone(&nudge))?;
        let carrier = carrier::Watch::new(ports::names(intent), Arc::clone(&nudge))?;
        Ok(Self {
            outside,
            ethtool: Arc::new(ethtool),
            nudge,
            carrier,
            ports: Ports::default(),
            namespaces: BTreeMap::new(),
            managed: BTreeSet::new(),
            resolving: BTreeSet::new(),
        })
    }

    /// Makes namespaces, veths, addresses, routes and offloads those of the intent; may be repeated at any time. What is
    /// declared no more goes last: a failure leaves as much as can be.
    pub async fn ensure(&mut self, intent: &Intent) -> Result<(), KernelError> {
        let links = self.outside.links_by_name().await?;
        self.ports.forget();
        for link in ports::names(intent).iter().filter_map(|name| links.get(name)) {
            self.ports.prepare(intent, link, &self.outside, &self.ethtool).await?;
        }
        if self.carrier.ports() != &ports::names(intent) {
            self.carrier = carrier::Watch::new(ports::names(intent), Arc::clone(&self.nudge))?;
        }
        // Addresses may have changed: peers are asked for again.
        self.resolving.clear();
        for gateway in &intent.border_gateways {
            self.ensure_namespace(intent, gateway, &links).await?;
        }
        let wanted: BTreeSet<String> =
            intent.border_gateways.iter().map(|gateway| namespace_name(intent, gateway)).collect();
        for gone in netns::of_gateway(&intent.gateway.name).into_iter().filter(|name| !wanted.contains(name))
        {
            self.namespaces.remove(&gone);
            netns::remove(&gone)?;
        }
        self.outside.mark(Changes::everything());
        Ok(())
    }

    async fn ensure_namespace(
        &mut self,
        intent: &Intent,
        gateway: &BorderGateway,
        links: &BTreeMap<String, Link>,
    ) -> Result<(), KernelError> {
        let name = namespace_name(intent, gateway);
        // A namespace that somebody removed is made again.
        if !netns::path(&name).exists() {
            self.namespaces.remove(&name);
        }
        if !self.namespaces.contains_key(&name) {
            let namespace = Namespace::open(name.clone(), Arc::clone(&self.nudge))?;
            self.namespaces.insert(name.clone(), namespace);
        }
        let Some(namespace) = self.namespaces.get_mut(&name) else { return Ok(()) };
        let veths = veths(intent, gateway, links);
        namespace.ensure(&self.outside, gateway, &veths).await?;
        for veth in &veths {
            let outer = &veth.outer;
            let left = self.ethtool.switch(outer, &OUTER_FEATURES);
            refuse(outer, left.map_err(KernelError::system(format!("switch offloads of `{outer}`")))?)?;
            let link = LinkUnspec::new_with_name(outer).mtu(u32::from(veth.mtu)).build();
            let set = self.outside.handle.link().set(link).execute().await;
            set.map_err(KernelError::netlink(format!("set the MTU of `{outer}`")))?;
        }
        Ok(())
    }

    /// Looks at everything the tables depend on.
    pub async fn observe(&mut self, intent: &Intent) -> Result<Observed, KernelError> {
        self.outside.take_changes();
        let links = self.outside.links_by_name().await?;
        let mut observed = Observed::default();
        for interface in ports::names(intent) {
            let Some(link) = links.get(&interface) else { continue };
            if !self.ports.is_fit(intent, link, &self.outside, &self.ethtool).await {
                continue;
            }
            let state = PortState {
                ifindex: link.index,
                mac: link.mac,
                up: self.ethtool.is_up(&interface),
                mtu: link.mtu,
                speed: self.ethtool.speed(&interface),
            };
            observed.ports.insert(interface, state);
        }
        let outer = |object: &str| {
            links.get(&outer_name(&intent.gateway.name, object)).map(|link| (object.to_owned(), link.index))
        };
        for gateway in &intent.border_gateways {
            observed.vif_veths.extend(gateway.virtual_interfaces.iter().filter_map(|vif| outer(&vif.name)));
            observed
                .attachment_veths
                .extend(gateway.vpc_attachments.iter().filter_map(|vpc| outer(&vpc.name)));
            let Some(namespace) = self.namespaces.get_mut(&namespace_name(intent, gateway)) else { continue };
            namespace.refresh(gateway).await?;
            observed.learned.insert(gateway.name.clone(), namespace.learned());
            for vif in &gateway.virtual_interfaces {
                for link in &vif.addresses {
                    if namespace.is_bfd_down(vif, link.peer) {
                        observed.bfd_down.insert((vif.name.clone(), link.peer));
                    }
                    if let Some(mac) = namespace.neighbor(&vif.name, link.peer) {
                        observed.neighbors.insert((vif.name.clone(), link.peer), mac);
                    }
                }
            }
        }
        observed.underlay = self.underlay(intent, &observed).await?;
        Ok(observed)
    }

    /// What was alive in `last` and is not any more, as far as that can be told quickly.
    pub async fn lost(&mut self, intent: &Intent, last: &Observed) -> Result<Lost, KernelError> {
        let mut changed = BTreeSet::new();
        for (name, namespace) in &mut self.namespaces {
            if namespace.glance().await? {
                changed.insert(name.clone());
            }
        }
        let is_up = |port: &str| self.ethtool.is_up(port);
        Ok(Lost::find(intent, last, is_up, |gateway, vif, peer| {
            let name = namespace_name(intent, gateway);
            let namespace = self.namespaces.get_mut(&name).filter(|_| changed.contains(&name))?;
            let answers = namespace.neighbor(&vif.name, peer).is_some();
            Some(PeerState { bfd_down: namespace.is_bfd_down(vif, peer), answers })
        }))
    }

    /// BGP with a peer came up, and BFD did not: its silence counts no more.
    pub fn forget_bfd(&mut self, intent: &Intent, vif: &str, peer: IpAddr) {
        let of = |gateway: &&BorderGateway| gateway.virtual_interfaces.iter().any(|it| it.name == vif);
        if let Some(gateway) = intent.border_gateways.iter().find(of)
            && let Some(namespace) = self.namespaces.get_mut(&namespace_name(intent, gateway))
        {
            namespace.forget_bfd(peer);
        }
        self.nudge.notify_one();
    }

    /// N of the interface `vifN` of each VIF, by border gateway.
    pub fn numbers(&self, intent: &Intent) -> BTreeMap<String, BTreeMap<String, u32>> {
        let all = intent.border_gateways.iter().filter_map(|gateway| {
            let namespace = self.namespaces.get(&namespace_name(intent, gateway))?;
            Some((gateway.name.clone(), namespace.numbers()))
        });
        all.collect()
    }

    /// Whether every veth is there: somebody may have removed one.
    pub fn is_whole(&self, intent: &Intent, observed: &Observed) -> bool {
        intent.border_gateways.iter().all(|gateway| {
            gateway.virtual_interfaces.iter().all(|vif| observed.vif_veths.contains_key(&vif.name))
                && gateway.vpc_attachments.iter().all(|vpc| observed.attachment_veths.contains_key(&vpc.name))
        })
    }

    /// Ways to VTEPs over fabric ports, with what is known of the neighbours on them.
    async fn underlay(
        &mut self,
        intent: &Intent,
        observed: &Observed,
    ) -> Result<BTreeMap<IpAddr, Vec<UnderlayPath>>, KernelError> {
        let vpcs = intent.border_gateways.iter().flat_map(|gateway| &gateway.vpc_attachments);
        let places = vpcs.flat_map(|vpc| vpc.hosts.iter().flat_map(|host| &host.vteps).chain(&vpc.vteps));
        let vteps: BTreeSet<IpAddr> = places.map(|vtep| vtep.address).collect();
        let neighbors = self.outside.neighbors().await?;
        self.managed.retain(|key| neighbors.get(key).is_some_and(|neighbor| neighbor.managed));
        let ports: BTreeMap<u32, &String> = intent
            .fabric
            .interfaces
            .iter()
            .filter_map(|name| Some((observed.ports.get(name)?.ifindex, name)))
            .collect();
        let mut underlay = BTreeMap::new();
        for (vtep, ways) in underlay::all(&self.outside, vteps.into_iter()).await? {
            let paths: Vec<_> = ways
                .into_iter()
                .filter_map(|(index, next_hop)| {
                    let interface = (*ports.get(&index)?).clone();
                    let mac = neighbors.get(&(index, next_hop)).and_then(|neighbor| neighbor.mac);
                    Some(UnderlayPath { interface, next_hop, mac })
                })
                .collect();
            if !paths.is_empty() {
                underlay.insert(vtep, paths);
            }
        }
        Ok(underlay)
    }

    /// What follows from what was seen, after the tables were written: veths go down and up with their port, and the
    /// kernel keeps the neighbours of the underlay resolved.
    pub async fn follow(&mut self, intent: &Intent, observed: &Observed) -> Result<(), KernelError> {
        let links = self.outside.links_by_name().await?;
        for gateway in &intent.border_gateways {
            for vif in &gateway.virtual_interfaces {
                let port = line_of(intent, vif).and_then(|interface| observed.ports.get(interface));
                let up = vif.enabled && port.is_some_and(|port| port.up);
                self.set_up(links.get(&outer_name(&intent.gateway.name, &vif.name)), up).await?;
                if let Some(port) = port {
                    self.follow_mac(intent, gateway, vif, port.mac).await?;
                }
                self.resolve_peers(intent, gateway, vif, up).await?;
            }
            for vpc in &gateway.vpc_attachments {
                self.set_up(links.get(&outer_name(&intent.gateway.name, &vpc.name)), true).await?;
            }
        }
        self.manage_underlay(observed).await
    }

    /// Lets the kernel keep the neighbours of the underlay resolved: those that are there, and no others.
    async fn manage_underlay(&mut self, observed: &Observed) -> Result<(), KernelError> {
        let mut wanted = BTreeSet::new();
        for path in observed.underlay.values().flatten() {
            let Some(port) = observed.ports.get(&path.interface) else { continue };
            wanted.insert((port.ifindex, path.next_hop));
            if port.up && !self.managed.contains(&(port.ifindex, path.next_hop)) {
                self.outside.manage_neighbor(port.ifindex, path.next_hop).await?;
                self.managed.insert((port.ifindex, path.next_hop));
            }
        }
        if self.managed.iter().any(|key| !wanted.contains(key)) {
            let fabric: BTreeSet<u32> = wanted.iter().map(|(index, _)| *index).collect();
            let keep = |index, address| !fabric.contains(&index) || wanted.contains(&(index, address));
            self.outside.forget_neighbors(keep).await?;
            self.managed.retain(|key| wanted.contains(key));
        }
        Ok(())
    }

    /// The kernel announces a VIF with the address of its port, whatever that is by now.
    async fn follow_mac(
        &mut self,
        intent: &Intent,
        gateway: &BorderGateway,
        vif: &VirtualInterface,
        mac: MacAddr,
    ) -> Result<(), KernelError> {
        if let Some(namespace) = self.namespaces.get_mut(&namespace_name(intent, gateway))
            && namespace.follow_mac(&vif.name, mac).await?
        {
            // Its neighbours went with the old address.
            self.resolving.remove(&vif.name);
        }
        Ok(())
    }

    /// Asks for the peers of a VIF each time its line comes up, when an answer can arrive: a question that nobody hears
    /// is repeated seconds later only.
    async fn resolve_peers(
        &mut self,
        intent: &Intent,
        gateway: &BorderGateway,
        vif: &VirtualInterface,
        up: bool,
    ) -> Result<(), KernelError> {
        if !up {
            self.resolving.remove(&vif.name);
        } else if !self.resolving.contains(&vif.name)
            && let Some(namespace) = self.namespaces.get(&namespace_name(intent, gateway))
        {
            for link in &vif.addresses {
                namespace.resolve(&vif.name, link.peer).await?;
            }
            self.resolving.insert(vif.name.clone());
        }
        Ok(())
    }

    async fn set_up(&self, link: Option<&Link>, up: bool) -> Result<(), KernelError> {
        let Some(link) = link.filter(|link| link.admin_up != up) else { return Ok(()) };
        let message = LinkUnspec::new_with_index(link.index);
        let message = if up { message.up() } else { message.down() }.build();
        let set = self.outside.handle.link().set(message).execute().await;
        set.map_err(KernelError::netlink(format!("set `{}` {}", link.name, if up { "up" } else { "down" })))
    }

    /// Waits until something happened that may change what [`Kernel::observe`] sees.
    pub async fn changed(&self) {
        self.nudge.notified().await;
    }

    /// Removes every namespace of a gateway, and with them the veths; and the neighbours that it had managed.
    pub async fn purge(intent: &Intent) -> Result<(), KernelError> {
        let outside = Netlink::open(None, Arc::default())?;
        let links = outside.links_by_name().await?;
        let vifs = intent.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces);
        let vpcs = intent.border_gateways.iter().flat_map(|gateway| &gateway.vpc_attachments);
        let objects = vifs.map(|vif| &vif.name).chain(vpcs.map(|vpc| &vpc.name));
        // The namespaces take them along, but only some time later.
        for link in objects.filter_map(|name| links.get(&outer_name(&intent.gateway.name, name))) {
            let what = format!("remove interface `{}`", link.name);
            outside.handle.link().del(link.index).execute().await.map_err(KernelError::netlink(what))?;
        }
        netns::of_gateway(&intent.gateway.name).iter().try_for_each(|name| netns::remove(name))?;
        let fabric: BTreeSet<u32> =
            intent.fabric.interfaces.iter().filter_map(|name| Some(links.get(name)?.index)).collect();
        outside.forget_neighbors(|index, _| !fabric.contains(&index)).await?;
        let lines = intent.connections.iter().filter_map(|connection| links.get(&connection.interface));
        for line in lines {
            ports::release(line, &outside).await?;
        }
        Ok(())
    }
}

/// The line port of a VIF.
fn line_of<'a>(intent: &'a Intent, vif: &VirtualInterface) -> Option<&'a str> {
    intent.connection(&vif.connection).map(|connection| connection.interface.as_str())
}

/// The MTU of an attachment's interface: the gateway's own packets are to fit through every fabric port. A smaller one than IPv6
/// knows would take its addresses off.
fn vpc_mtu(intent: &Intent, vpc: &VpcAttachment, links: &BTreeMap<String, Link>) -> u16 {
    let ports = intent.fabric.interfaces.iter().filter_map(|name| links.get(name));
    let room = ports.map(|port| port.mtu.saturating_sub(preflight::tunnel(intent))).min();
    let room = room.and_then(|room| u16::try_from(room.max(SMALLEST_MTU)).ok());
    room.map_or(vpc.mtu, |room| room.min(vpc.mtu))
}

/// The veths that a border gateway is to have.
fn veths(intent: &Intent, gateway: &BorderGateway, links: &BTreeMap<String, Link>) -> Vec<Wanted> {
    let vifs = gateway.virtual_interfaces.iter().map(|vif| Wanted {
        name: vif.name.clone(),
        outer: outer_name(&intent.gateway.name, &vif.name),
        prefix: "vif",
        mac: line_of(intent, vif).and_then(|interface| links.get(interface)).map(|link| link.mac),
        mtu: vif.mtu,
        addresses: vif.addresses.iter().map(|link| link.local).collect(),
        arp: true,
        routes: Vec::new(),
    });
    let vpcs = gateway.vpc_attachments.iter().map(|vpc| Wanted {
        name: vpc.name.clone(),
        outer: outer_name(&intent.gateway.name, &vpc.name),
        prefix: "vpc",
        mac: Some(vpc.router.mac),
        mtu: vpc_mtu(intent, vpc, links),
        addresses: vpc.router.addresses.iter().map(|address| IpNet::from(*address)).collect(),
        arp: false,
        routes: vpc.cidrs.clone(),
    });
    vifs.chain(vpcs).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_gateways_own_packets_fit_through_every_fabric_port() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml");
        let mut intent = crate::intent::load(&example).unwrap();
        let port = |name: &str, mtu| Link {
            index: 1,
            name: name.into(),
            altnames: Vec::new(),
            mac: MacAddr::default(),
            mtu,
            admin_up: true,
            peer: None,
        };
        // A sentence, the MTUs of both fabric ports, whether they carry IPv4, the attachment's MTU, and that of its interface.
        for (sentence, mtus, v4, declared, want) in [
            ("room for all", [1600, 1550], true, 1500, 1500),
            ("less than declared", [1600, 1500], true, 1500, 1450),
            ("IPv6 takes more", [1500, 1600], false, 1500, 1430),
            ("jumbo frames", [9216, 9000], true, 9000, 8950),
            ("less than IPv6 knows", [1600, 1300], true, 1500, 1280),
            ("declared even smaller", [1600, 1300], true, 600, 600),
            ("more than any packet", [65_600, 70_000], true, 1500, 1500),
        ] {
            let links = ["ens2f0", "ens2f1"].into_iter().zip(mtus);
            let links = links.map(|(name, mtu)| (name.to_owned(), port(name, mtu))).collect();
            intent.fabric.vtep = if v4 { [192, 0, 2, 10].into() } else { IpAddr::V6(1_u128.into()) };
            intent.border_gateways[0].vpc_attachments[0].mtu = declared;
            let veths = veths(&intent, &intent.border_gateways[0], &links);
            let vpc = veths.iter().find(|veth| veth.name == "vpc-1").unwrap();
            assert_eq!(vpc.mtu, want, "{sentence}");
        }
    }
}
