//! Bytes on the wire: addresses, Ethernet, tags, tunnels, and a checksum of its own.

use std::net::IpAddr;

use border_gw_common::abi::{Address, Settings, V4, V6};
use border_gw_common::net::MacAddr;

/// IP version and address, in the form of the tables.
pub(crate) fn address(text: &str) -> (u32, Address) {
    match text.parse().expect(text) {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            (V4, bytes)
        }
        IpAddr::V6(address) => (V6, address.octets()),
    }
}

/// The bytes of an address as they stand in a header.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The Internet checksum of RFC 1071, as its text has it.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u64 = 0;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The checksum of a transport message with its pseudo-header (RFC 8200, section 8.1; the same sum for IPv4).
pub(crate) fn transport_checksum(source: IpAddr, destination: IpAddr, protocol: u8, message: &[u8]) -> u16 {
    let mut bytes = [octets(source), octets(destination)].concat();
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes.extend(message);
    checksum(&bytes)
}

/// The `EtherType` of an IP packet, by its version.
pub(crate) fn ether_type(packet: &[u8]) -> u16 {
    if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd }
}

/// An Ethernet frame.
pub(crate) fn ethernet(
    destination: MacAddr,
    source: MacAddr,
    tags: &[u8],
    ether_type: u16,
    payload: &[u8],
) -> Vec<u8> {
    [&destination.0, &source.0, tags, &ether_type.to_be_bytes(), payload].concat()
}

/// An inner frame in VXLAN, from a VTEP to the gateway.
pub(crate) fn tunnel(
    macs: (MacAddr, MacAddr),
    settings: &Settings,
    vtep: &str,
    vni: u32,
    inner: &[u8],
) -> Vec<u8> {
    let udp_len = (inner.len() + 16) as u16;
    let mut packet = outer_ip(settings, vtep, udp_len);
    packet.extend(0xd00d_u16.to_be_bytes());
    packet.extend(settings.vxlan_port.bytes());
    packet.extend(udp_len.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend([8, 0, 0, 0]);
    packet.extend((vni << 8).to_be_bytes());
    packet.extend(inner);
    ethernet(macs.0, macs.1, &[], ether_type(&packet), &packet)
}

fn outer_ip(settings: &Settings, vtep: &str, udp_len: u16) -> Vec<u8> {
    let (version, source) = address(vtep);
    if version == V4 {
        let mut header = vec![0x45, 0];
        header.extend((udp_len + 20).to_be_bytes());
        header.extend([0x12, 0x34, 0x40, 0, 63, 17, 0, 0]);
        header.extend(&source[..4]);
        header.extend(&settings.vtep[..4]);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    } else {
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(udp_len.to_be_bytes());
        header.extend([17, 63]);
        header.extend(source);
        header.extend(settings.vtep);
        header
    }
}

/// An ARP packet for Ethernet and IPv4.
pub(crate) fn arp(operation: u16, sender: (MacAddr, &str), target: (MacAddr, &str)) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4];
    packet.extend(operation.to_be_bytes());
    for (mac, ip) in [sender, target] {
        packet.extend(mac.0);
        packet.extend(&address(ip).1[..4]);
    }
    packet
}

/// The bytes, with those at `at` changed to `to`.
pub(crate) fn set(mut bytes: Vec<u8>, at: usize, to: &[u8]) -> Vec<u8> {
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

/// The frame, padded with `pad` bytes that must not come out at the other side.
pub(crate) fn padded(mut bytes: Vec<u8>, pad: usize) -> Vec<u8> {
    bytes.resize(bytes.len() + pad, 0xee);
    bytes
}
