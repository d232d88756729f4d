//! The kernel side: what is to exist in Linux, and what is seen there.

mod carrier;
mod domain;
mod error;
mod ethtool;
mod netlink;
mod netns;
mod underlay;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use border_gw_common::net::MacAddr;
use ipnet::IpNet;
use rtnetlink::LinkUnspec;
use tokio::sync::Notify;

use crate::intent::{BorderGateway, Intent, VirtualInterface};
use domain::{Namespace, Wanted, outer_name, refuse};
pub use error::KernelError;
use ethtool::Ethtool;
use netlink::{Link, Netlink};

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

/// Oldest kernel: `bpf_xdp_get_buff_len` came with 5.18, managed neighbours with 5.16.
const OLDEST: (u32, u32) = (5, 18);
/// Bytes of tunnel headers, and of the smallest MTU that IPv6 knows (RFC 8200, section 5).
const SMALLEST_FABRIC_MTU: (u32, u32) = (1280 + 50, 1280 + 70);

/// Offloads of line ports: a tag that the device takes off, or filters, is one that the program never sees.
const LINE_FEATURES: [(&str, bool); 6] = [
    ("rx-vlan-hw-parse", false),
    ("rx-vlan-filter", false),
    ("rx-vlan-stag-hw-parse", false),
    ("rx-vlan-stag-filter", false),
    ("rx-lro", false),
    ("rx-gro-hw", false),
];
/// Offloads of fabric ports.
const FABRIC_FEATURES: [(&str, bool); 2] = [("rx-lro", false), ("rx-gro-hw", false)];
/// Offloads of the outer ends of veths.
const OUTER_FEATURES: [(&str, bool); 2] = [("tx-vlan-hw-insert", false), ("rx-gro", true)];

/// Namespaces, interfaces and neighbours of one gateway.
pub struct Kernel {
    outside: Netlink,
    ethtool: Arc<Ethtool>,
    nudge: Arc<Notify>,
    namespaces: BTreeMap<String, Namespace>,
    /// Neighbours of the underlay that the kernel was asked to manage.
    managed: BTreeSet<(u32, IpAddr)>,
    /// VIFs whose peers the kernel was asked to manage, since their line was last up.
    resolving: BTreeSet<String>,
}

fn namespace_name(intent: &Intent, gateway: &BorderGateway) -> String {
    format!("{}.{}", intent.gateway.name, gateway.name)
}

/// Line and fabric ports, each once.
fn port_names(intent: &Intent) -> BTreeSet<String> {
    let lines = intent.connections.iter().map(|connection| connection.interface.clone());
    lines.chain(intent.fabric.interfaces.iter().cloned()).collect()
}

impl Kernel {
    /// Opens sockets; nothing is changed.
    pub fn open(intent: &Intent) -> Result<Self, KernelError> {
        let nudge = Arc::new(Notify::new());
        let ethtool = Ethtool::open().map_err(KernelError::system("open a socket"))?;
        let outside = Netlink::open(None, Arc::clone(&nudge))?;
        carrier::watch(port_names(intent).into_iter().collect(), &nudge)?;
        Ok(Self {
            outside,
            ethtool: Arc::new(ethtool),
            nudge,
            namespaces: BTreeMap::new(),
            managed: BTreeSet::new(),
            resolving: BTreeSet::new(),
        })
    }

    /// Whether this kernel and these ports can carry the intent; changes nothing.
    pub async fn preflight(&self, intent: &Intent) -> Result<(), KernelError> {
        require_kernel()?;
        let links: BTreeMap<String, Link> =
            self.outside.links().await?.into_iter().map(|link| (link.name.clone(), link)).collect();
        let find = |interface: &str, role: String| {
            links
                .get(interface)
                .ok_or_else(|| KernelError::NoInterface { interface: interface.to_owned(), role })
        };
        for connection in &intent.connections {
            find(&connection.interface, format!("line of connection `{}`", connection.name))?;
        }
        let needed = if intent.fabric.vtep.is_ipv4() { SMALLEST_FABRIC_MTU.0 } else { SMALLEST_FABRIC_MTU.1 };
        for interface in &intent.fabric.interfaces {
            let link = find(interface, "fabric port".to_owned())?;
            if link.mtu < needed {
                return Err(KernelError::FabricMtu { interface: interface.clone(), mtu: link.mtu, needed });
            }
        }
        for vif in intent.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces) {
            let Some(link) = line_of(intent, vif).and_then(|interface| links.get(interface)) else {
                continue;
            };
            let needed = u32::from(vif.mtu) + u32::from(vif.tag.len());
            if link.mtu < needed {
                return Err(KernelError::PortMtu {
                    interface: link.name.clone(),
                    mtu: link.mtu,
                    vif: vif.name.clone(),
                    vif_mtu: vif.mtu,
                    tags: vif.tag.len(),
                    needed,
                });
            }
        }
        Ok(())
    }

    /// Makes namespaces, veths, addresses, routes and offloads those of the intent; may be repeated at any time.
    pub async fn ensure(&mut self, intent: &Intent) -> Result<(), KernelError> {
        let links: BTreeMap<String, Link> =
            self.outside.links().await?.into_iter().map(|link| (link.name.clone(), link)).collect();
        self.ensure_ports(intent, &links).await?;
        // Addresses may have changed: peers are asked for again.
        self.resolving.clear();
        let wanted: BTreeSet<String> =
            intent.border_gateways.iter().map(|gateway| namespace_name(intent, gateway)).collect();
        for gone in netns::of_gateway(&intent.gateway.name).into_iter().filter(|name| !wanted.contains(name))
        {
            self.namespaces.remove(&gone);
            netns::remove(&gone)?;
        }
        for gateway in &intent.border_gateways {
            let name = namespace_name(intent, gateway);
            if !self.namespaces.contains_key(&name) {
                let namespace = Namespace::open(name.clone(), Arc::clone(&self.nudge))?;
                self.namespaces.insert(name.clone(), namespace);
            }
            let Some(namespace) = self.namespaces.get_mut(&name) else { continue };
            let veths = veths(intent, gateway, &links);
            namespace.ensure(&self.outside, gateway, &veths).await?;
            for veth in &veths {
                let outer = outer_name(&veth.name);
                let left = self.ethtool.switch(&outer, &OUTER_FEATURES);
                let left = left.map_err(KernelError::system(format!("switch offloads of `{outer}`")))?;
                refuse(&outer, left)?;
                let link = LinkUnspec::new_with_name(&outer).mtu(u32::from(veth.mtu)).build();
                let set = self.outside.handle.link().set(link).execute().await;
                set.map_err(KernelError::netlink(format!("set the MTU of `{outer}`")))?;
            }
        }
        self.outside.mark_dirty();
        Ok(())
    }

    async fn ensure_ports(&self, intent: &Intent, links: &BTreeMap<String, Link>) -> Result<(), KernelError> {
        for interface in port_names(intent) {
            let Some(link) = links.get(&interface) else { continue };
            let fabric = intent.fabric.interfaces.contains(&interface);
            let features: &[_] = if fabric { &FABRIC_FEATURES } else { &LINE_FEATURES };
            let left = self.ethtool.switch(&interface, features);
            let left = left.map_err(KernelError::system(format!("switch offloads of `{interface}`")))?;
            refuse(&interface, left)?;
            if !fabric {
                let message = LinkUnspec::new_with_index(link.index).allmulticast(true).build();
                let set = self.outside.handle.link().set(message).execute().await;
                set.map_err(KernelError::netlink(format!("turn on allmulticast of `{interface}`")))?;
            }
        }
        Ok(())
    }

    /// Looks at everything the tables depend on.
    pub async fn observe(&mut self, intent: &Intent) -> Result<Observed, KernelError> {
        self.outside.take_dirty();
        let links: BTreeMap<String, Link> =
            self.outside.links().await?.into_iter().map(|link| (link.name.clone(), link)).collect();
        let mut observed = Observed::default();
        for interface in port_names(intent) {
            let Some(link) = links.get(&interface) else { continue };
            let state = PortState {
                ifindex: link.index,
                mac: link.mac,
                up: self.ethtool.is_up(&interface),
                mtu: link.mtu,
                speed: self.ethtool.speed(&interface),
            };
            observed.ports.insert(interface, state);
        }
        let outer = |object: &str| links.get(&outer_name(object)).map(|link| (object.to_owned(), link.index));
        for gateway in &intent.border_gateways {
            observed.vif_veths.extend(gateway.virtual_interfaces.iter().filter_map(|vif| outer(&vif.name)));
            observed
                .attachment_veths
                .extend(gateway.vpc_attachments.iter().filter_map(|vpc| outer(&vpc.name)));
            let Some(namespace) = self.namespaces.get_mut(&namespace_name(intent, gateway)) else { continue };
            namespace.refresh().await?;
            for vif in &gateway.virtual_interfaces {
                for link in &vif.addresses {
                    if let Some(mac) = namespace.neighbor(&vif.name, link.peer) {
                        observed.neighbors.insert((vif.name.clone(), link.peer), mac);
                    }
                }
            }
        }
        observed.underlay = self.underlay(intent, &observed).await?;
        Ok(observed)
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
        let links: BTreeMap<String, Link> =
            self.outside.links().await?.into_iter().map(|link| (link.name.clone(), link)).collect();
        for gateway in &intent.border_gateways {
            for vif in &gateway.virtual_interfaces {
                let port = line_of(intent, vif).and_then(|interface| observed.ports.get(interface));
                let up = vif.enabled && port.is_some_and(|port| port.up);
                self.set_up(links.get(&outer_name(&vif.name)), up).await?;
                self.resolve_peers(intent, gateway, vif, up).await?;
            }
            for vpc in &gateway.vpc_attachments {
                self.set_up(links.get(&outer_name(&vpc.name)), true).await?;
            }
        }
        for path in observed.underlay.values().flatten() {
            let Some(port) = observed.ports.get(&path.interface).filter(|port| port.up) else { continue };
            if !self.managed.contains(&(port.ifindex, path.next_hop)) {
                self.outside.manage_neighbor(port.ifindex, path.next_hop).await?;
                self.managed.insert((port.ifindex, path.next_hop));
            }
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

    /// Removes every namespace of a gateway, and with them the veths.
    pub fn purge(gateway: &str) -> Result<(), KernelError> {
        netns::of_gateway(gateway).iter().try_for_each(|name| netns::remove(name))
    }
}

/// The line port of a VIF.
fn line_of<'a>(intent: &'a Intent, vif: &VirtualInterface) -> Option<&'a str> {
    intent.connection(&vif.connection).map(|connection| connection.interface.as_str())
}

/// The veths that a border gateway is to have.
fn veths(intent: &Intent, gateway: &BorderGateway, links: &BTreeMap<String, Link>) -> Vec<Wanted> {
    let vifs = gateway.virtual_interfaces.iter().map(|vif| Wanted {
        name: vif.name.clone(),
        prefix: "vif",
        mac: line_of(intent, vif)
            .and_then(|interface| links.get(interface))
            .map(|link| link.mac)
            .unwrap_or_default(),
        mtu: vif.mtu,
        addresses: vif.addresses.iter().map(|link| link.local).collect(),
        arp: true,
        routes: Vec::new(),
    });
    let vpcs = gateway.vpc_attachments.iter().map(|vpc| Wanted {
        name: vpc.name.clone(),
        prefix: "vpc",
        mac: vpc.router.mac,
        mtu: vpc.mtu,
        addresses: vpc.router.addresses.iter().map(|address| IpNet::from(*address)).collect(),
        arp: false,
        routes: vpc.cidrs.clone(),
    });
    vifs.chain(vpcs).collect()
}

fn require_kernel() -> Result<(), KernelError> {
    let name = nix::sys::utsname::uname()
        .map_err(|errno| KernelError::system("read the kernel's release")(errno.into()))?;
    let found = name.release().to_string_lossy().into_owned();
    let mut numbers = found.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST { Err(KernelError::OldKernel { found }) } else { Ok(()) }
}
