//! The tables: what is installed in the kernel, what is wanted there, and the operations between the two.

pub mod buckets;
pub mod cut;
pub mod installed;
pub mod plan;
pub mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use border_gw_common::abi::{
    Address, Attachment, Connection, Domain, Dscp, HostPort, NAME, Name, NextHop, Owner, Policer, Port,
    Settings, SourceClass, V4, V6, Vif, VifKey, VtepKey,
};
use border_gw_common::net::MacAddr;
use ipnet::IpNet;

pub use installed::Installed;
pub use plan::{Op, plan};
pub use slots::Slots;

/// A number that tells a group or a next hop again, whatever its index: a hash of what it is.
pub type Identity = u64;

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// What the destination belongs to.
    pub owner: Owner,
    /// The group; none for what is local.
    pub group: Option<Identity>,
}

/// A group as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Slot of the border gateway.
    pub domain: u32,
    /// Next hops that are alive, in ascending order.
    pub live: Vec<Identity>,
    /// All of them.
    pub declared: Vec<Identity>,
}

/// A next hop for people, dead or alive. No map holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayInfo {
    /// Slot of the border gateway.
    pub domain: u32,
    /// VIF or attachment.
    pub owner: Owner,
    /// Its name.
    pub name: String,
    /// The peer, or the VTEP.
    pub address: IpAddr,
    /// The underlay's next hop toward a VTEP; none where it is on-link, or the underlay has no path.
    pub gateway: Option<IpAddr>,
    /// Port that it leaves by; none where the underlay has no path.
    pub interface: Option<String>,
    /// Ethernet address of the peer, or of the underlay's next hop; none while it is unknown.
    pub mac: Option<MacAddr>,
}

/// Everything that the BPF maps are to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// What all programs know.
    pub settings: Settings,
    /// Line and fabric ports by interface index.
    pub ports: BTreeMap<u32, Port>,
    /// Veths by index of the outer end.
    pub host_ports: BTreeMap<u32, HostPort>,
    /// Interfaces to which frames may be redirected.
    pub devices: BTreeSet<u32>,
    /// VIF indexes by tag.
    pub vif_by_tag: BTreeMap<VifKey, u32>,
    /// VIFs by index.
    pub vifs: BTreeMap<u32, Vif>,
    /// Attachment indexes by VNI.
    pub attachment_by_vni: BTreeMap<u32, u32>,
    /// Attachments by index.
    pub attachments: BTreeMap<u32, Attachment>,
    /// Allowed VTEPs.
    pub vteps: BTreeSet<VtepKey>,
    /// Border gateways by slot.
    pub domains: BTreeMap<u32, Domain>,
    /// Connections by index.
    pub connections: BTreeMap<u32, Connection>,
    /// Routes by slot of the border gateway.
    pub routes: BTreeMap<u32, BTreeMap<IpNet, Target>>,
    /// Sources by VIF index.
    pub sources: BTreeMap<u32, BTreeMap<IpNet, SourceClass>>,
    /// Groups.
    pub groups: BTreeMap<Identity, Members>,
    /// Next hops that are alive.
    pub next_hops: BTreeMap<Identity, NextHop>,
    /// Tables of DSCP by `dscp_index`; one that is absent keeps all.
    pub dscp: BTreeMap<u32, Dscp>,
    /// Policers by index; one that is absent has no limit.
    pub policers: BTreeMap<u32, Policer>,
    /// Learned routes and sources for which there is no room: more than one border gateway, or one VIF, may have.
    pub left_out: usize,
    /// What the members of groups are, also the dead ones: for people, in no map.
    pub ways: BTreeMap<Identity, WayInfo>,
}

/// A name as a map holds it.
pub fn name(text: &str) -> Name {
    let mut name = [0; NAME];
    let len = text.len().min(NAME);
    name[..len].copy_from_slice(&text.as_bytes()[..len]);
    name
}

/// A name out of a map; empty where the record is.
pub fn text(name: &Name) -> String {
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(NAME);
    String::from_utf8_lossy(&name[..len]).into_owned()
}

/// An address as the maps hold it: its version, and 16 bytes.
pub fn address(ip: IpAddr) -> (u32, Address) {
    match ip {
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            (V4, bytes)
        }
        IpAddr::V6(ip) => (V6, ip.octets()),
    }
}

/// An address out of a map.
pub fn ip(version: u32, address: &Address) -> IpAddr {
    if version == V4 {
        IpAddr::from([address[0], address[1], address[2], address[3]])
    } else {
        IpAddr::from(*address)
    }
}

/// Hash of texts, the same in every build (FNV-1a, 64 bits). Each text is closed by a zero byte.
pub fn identity<'a>(parts: impl IntoIterator<Item = &'a str>) -> Identity {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    // 0 is the identity of an empty record.
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_come_back() {
        assert_eq!(text(&name("vif-a")), "vif-a");
        for address_text in ["10.1.0.1", "fd00::1"] {
            let address_in: IpAddr = address_text.parse().unwrap();
            let (version, bytes) = address(address_in);
            assert_eq!(ip(version, &bytes), address_in);
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(identity(["ab", "c"]), identity(["a", "bc"]));
    }
}
