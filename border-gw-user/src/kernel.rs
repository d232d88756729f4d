//! The kernel side: what is to exist in Linux, and what is seen there. Types here; netlink in `kernel/`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use border_gw_common::net::MacAddr;

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
