//! Next hops with their ready headers.

use std::net::IpAddr;

use border_gw_common::abi::{HEADER, NEXT_HOP_DSCP, NextHop, Owner, TAGGED, VXLAN_V4, VXLAN_V6};
use border_gw_common::net::MacAddr;

use crate::intent::{Intent, Tag, VirtualInterface, VpcAttachment, Vtep};
use crate::kernel::PortState;
use crate::tables::Identity;

/// `TPID` of an inner tag.
const TPID_8021Q: u16 = 0x8100;
/// TTL or hop limit of tunnel packets.
const OUTER_TTL: u8 = 64;
/// Bytes that the tunnel adds to an inner IP packet, over IPv4: inner Ethernet, VXLAN, UDP, IPv4.
const OVERHEAD_V4: u32 = 14 + 8 + 8 + 20;
/// The same over IPv6.
const OVERHEAD_V6: u32 = 14 + 8 + 8 + 40;

/// What a next hop leads to.
pub(super) struct Leads {
    pub(super) identity: Identity,
    pub(super) domain: u32,
    pub(super) owner: Owner,
    pub(super) port: u32,
    pub(super) connection: u32,
}

/// A VIF's tags as on the wire, and how many bytes they are.
pub(super) fn tags(tag: Tag) -> ([u8; 8], u16) {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&tag.tpid.to_be_bytes());
    bytes[2..4].copy_from_slice(&tag.outer.get().to_be_bytes());
    if let Some(inner) = tag.inner {
        bytes[4..6].copy_from_slice(&TPID_8021Q.to_be_bytes());
        bytes[6..].copy_from_slice(&inner.get().to_be_bytes());
    }
    (bytes, tag.len())
}

/// A header in the making.
struct Writer {
    bytes: [u8; HEADER],
    len: usize,
}

impl Writer {
    fn new() -> Self {
        Self { bytes: [0; HEADER], len: 0 }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

fn next_hop(leads: &Leads, port: &PortState, mtu: u16, encapsulation: u8, header: &Writer) -> NextHop {
    NextHop {
        identity: leads.identity,
        domain: leads.domain,
        owner: leads.owner,
        egress_ifindex: port.ifindex,
        port: leads.port,
        connection: leads.connection,
        mtu,
        encapsulation,
        header_len: header.len as u8,
        header: header.bytes,
        flags: 0,
        reserved: 0,
    }
}

/// Ethernet and the VIF's tags; the `EtherType` is patched by the program. The MTU is what the port carries now: one that came
/// back with a smaller MTU drops what is larger by name, instead of losing it in the driver.
pub(super) fn to_customer(vif: &VirtualInterface, port: &PortState, peer: MacAddr, leads: &Leads) -> NextHop {
    let (tags, tags_len) = tags(vif.tag);
    let mut header = Writer::new();
    header.put(&peer.0);
    header.put(&port.mac.0);
    header.put(&tags[..usize::from(tags_len)]);
    header.put(&[0, 0]);
    let flags = if vif.dscp.to_customer.is_empty() { 0 } else { NEXT_HOP_DSCP };
    NextHop { flags, ..next_hop(leads, port, line_mtu(vif, Some(port)), TAGGED, &header) }
}

/// What a VIF carries by its port, in bytes of IP.
pub(super) fn line_mtu(vif: &VirtualInterface, port: Option<&PortState>) -> u16 {
    let room = port.map(|port| port.mtu.saturating_sub(u32::from(vif.tag.len())));
    smaller(vif.mtu, room)
}

/// What an attachment carries by a fabric port, in bytes of IP.
pub(super) fn tunnel_mtu(intent: &Intent, vpc: &VpcAttachment, port: &PortState) -> u16 {
    let overhead = if intent.fabric.vtep.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 };
    smaller(vpc.mtu, Some(port.mtu.saturating_sub(overhead)))
}

fn smaller(declared: u16, room: Option<u32>) -> u16 {
    room.and_then(|room| u16::try_from(room).ok()).map_or(declared, |room| room.min(declared))
}

/// Outer Ethernet, IP, UDP, VXLAN and inner Ethernet; lengths, checksum, DSCP, source port and `EtherType` are patched.
pub(super) fn to_vtep(
    intent: &Intent,
    vpc: &VpcAttachment,
    vtep: &Vtep,
    port: &PortState,
    gateway: MacAddr,
    leads: &Leads,
) -> NextHop {
    let mut header = Writer::new();
    header.put(&gateway.0);
    header.put(&port.mac.0);
    let encapsulation = match (intent.fabric.vtep, vtep.address) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.put(&[0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, OUTER_TTL, 17, 0, 0]);
            header.put(&from.octets());
            header.put(&to.octets());
            VXLAN_V4
        }
        (from, to) => {
            header.put(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17, OUTER_TTL]);
            header.put(&v6(from));
            header.put(&v6(to));
            VXLAN_V6
        }
    };
    header.put(&[0, 0]);
    header.put(&intent.fabric.vxlan_port.to_be_bytes());
    header.put(&[0, 0, 0, 0]);
    // The flag I, the VNI (RFC 7348, section 5).
    header.put(&[0x08, 0, 0, 0]);
    header.put(&(vpc.vni.get() << 8).to_be_bytes());
    header.put(&vtep.mac.0);
    header.put(&vpc.router.mac.0);
    header.put(&[0, 0]);
    next_hop(leads, port, tunnel_mtu(intent, vpc, port), encapsulation, &header)
}

/// The 16 bytes of an IPv6 address; both VTEPs are of one family, which the intent guarantees.
fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
    }
}
