//! Frames as they are written: Ethernet, tags, tunnels.

use std::net::IpAddr;

use border_gw_common::net::MacAddr;

use super::sum::checksum;
use super::world::Vif;

/// A frame that is to come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where the UDP source port of its tunnel stands: zeros here, and any dynamic port there (RFC 7348, section 5).
    pub port_at: Option<usize>,
    /// Where the lower 16 bits of the flow label of its tunnel stand: zeros here, and any number there (RFC 6438).
    pub label_at: Option<usize>,
}

impl From<Vec<u8>> for Written {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, port_at: None, label_at: None }
    }
}

/// The ends of a tunnel: Ethernet destination and source, VTEPs from and to, UDP port, VNI.
pub(super) struct Ends {
    pub(super) macs: (MacAddr, MacAddr),
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) port: u16,
    pub(super) vni: u32,
}

/// The bytes of an address.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The `EtherType` of an IP packet.
pub(super) fn ether_type(packet: &[u8]) -> u16 {
    if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }
}

/// Destination, source, whatever tags, type, payload.
pub(super) fn ethernet(macs: (MacAddr, MacAddr), tags: &[u8], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&macs.0.0, &macs.1.0, tags, &ether_type.to_be_bytes(), payload].concat()
}

/// The tags of a virtual interface, with priority 0 (IEEE 802.1Q); the inner one always has `TPID` 0x8100.
pub(super) fn tags(vif: &Vif) -> Vec<u8> {
    let (tpid, outer, inner) = vif.tag;
    let mut bytes = [tpid.to_be_bytes(), outer.to_be_bytes()].concat();
    if let Some(inner) = inner {
        bytes.extend([0x81, 0x00]);
        bytes.extend(inner.to_be_bytes());
    }
    bytes
}

/// An inner frame in VXLAN (RFC 7348, section 5). `class` is that of the outer packet.
pub(super) fn tunnel(ends: &Ends, class: u8, inner: &[u8]) -> Written {
    let udp_len = (16 + inner.len()) as u16;
    let mut outer = match (ends.from, ends.to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // Atomic, so that the identification means nothing (RFC 6864).
            let mut header = vec![0x45, class];
            header.extend((20 + udp_len).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
            header.extend([from.octets(), to.octets()].concat());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        }
        (from, to) => {
            let mut header = (0x6000_0000 | u32::from(class) << 20).to_be_bytes().to_vec();
            header.extend(udp_len.to_be_bytes());
            header.extend([17, 64]);
            header.extend([octets(from), octets(to)].concat());
            header
        }
    };
    let kind = ether_type(&outer);
    let port_at = 14 + outer.len();
    outer.extend([0, 0]);
    outer.extend(ends.port.to_be_bytes());
    outer.extend(udp_len.to_be_bytes());
    // Without a checksum, over IPv6 as well (RFC 6935).
    outer.extend([0, 0]);
    outer.extend([0x08, 0, 0, 0]);
    outer.extend((ends.vni << 8).to_be_bytes());
    outer.extend(inner);
    let label_at = ends.from.is_ipv6().then_some(16);
    Written { bytes: ethernet(ends.macs, &[], kind, &outer), port_at: Some(port_at), label_at }
}
