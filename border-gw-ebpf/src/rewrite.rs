//! Changes to a frame on its way: hop count, tags, tunnel headers.

use border_gw_common::abi::{NextHop, TAGGED, V4, VXLAN_V4, VXLAN_V6, Vif};
use border_gw_common::verdict::DropReason;

use crate::checksum;
use crate::headers::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ip, be16};
use crate::packet::Packet;

/// Bytes of UDP, VXLAN and inner Ethernet.
const UDP_VXLAN_ETHERNET: usize = 8 + 8 + 14;

/// Takes one from the TTL or hop limit, and mends the IPv4 checksum.
#[inline(always)]
pub fn decrement_ttl<P: Packet>(packet: &mut P, ip: &Ip) -> Result<(), DropReason> {
    if ip.version == V4 {
        let header = packet.window::<20>(ip.at).ok_or(DropReason::Truncated)?;
        let old = be16(header, 8);
        let new = old - 0x0100;
        let sum = checksum::update(be16(header, 10), old, new);
        header[8] = (new >> 8) as u8;
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        let header = packet.window::<8>(ip.at).ok_or(DropReason::Truncated)?;
        header[7] -= 1;
    }
    Ok(())
}

/// Carries a mark that the underlay made in the outer ECN field over to the packet inside (RFC 6040, section 4.2).
#[inline(always)]
pub fn combine_ecn<P: Packet>(packet: &mut P, ip: &mut Ip, outer: u8) -> Result<(), DropReason> {
    const NOT_ECT: u8 = 0b00;
    const ECT_1: u8 = 0b01;
    const ECT_0: u8 = 0b10;
    const CE: u8 = 0b11;
    let ecn = match (ip.traffic_class & CE, outer) {
        (NOT_ECT, CE) => return Err(DropReason::Congestion),
        (ECT_0 | ECT_1, CE) => CE,
        (ECT_0, ECT_1) => ECT_1,
        _ => return Ok(()),
    };
    write_traffic_class(packet, ip, ip.traffic_class & !CE | ecn)
}

/// Writes DSCP and ECN, and mends the IPv4 checksum.
#[inline(always)]
pub fn write_traffic_class<P: Packet>(
    packet: &mut P,
    ip: &mut Ip,
    traffic_class: u8,
) -> Result<(), DropReason> {
    ip.traffic_class = traffic_class;
    let header = packet.window::<20>(ip.at).ok_or(DropReason::Truncated)?;
    if ip.version == V4 {
        let old = be16(header, 0);
        header[1] = traffic_class;
        let sum = checksum::update(be16(header, 10), old, be16(header, 0));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        header[0] = header[0] & 0xf0 | traffic_class >> 4;
        header[1] = traffic_class << 4 | header[1] & 0xf;
    }
    Ok(())
}

/// Puts the next hop's header in front of the IP packet, in place of everything that stands there now. What stands
/// behind the packet (Ethernet padding, or more) is cut.
#[inline(always)]
pub fn replace_header<P: Packet>(
    packet: &mut P,
    ip: &Ip,
    next_hop: &NextHop,
    hash: u32,
) -> Result<(), DropReason> {
    let end = ip.at + ip.len;
    if packet.len() > end && !packet.resize(end) {
        return Err(DropReason::Headroom);
    }
    if !packet.move_front(i32::from(next_hop.header_len) - ip.at as i32) {
        return Err(DropReason::Headroom);
    }
    let ether_type = if ip.version == V4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 }.to_be_bytes();
    match (next_hop.encapsulation, next_hop.header_len) {
        (TAGGED, 18) => copy::<18, P>(packet, next_hop, ether_type)?,
        (TAGGED, 22) => copy::<22, P>(packet, next_hop, ether_type)?,
        (VXLAN_V4, 64) => {
            copy::<64, P>(packet, next_hop, ether_type)?;
            patch_v4(packet, ip, hash)?;
        }
        (VXLAN_V6, 84) => {
            copy::<84, P>(packet, next_hop, ether_type)?;
            patch_v6(packet, ip, hash)?;
        }
        // Not a reason that the sender is told: the frame is no longer what came.
        _ => return Err(DropReason::NoEgress),
    }
    Ok(())
}

/// Moves the `N` bytes that stand `by` bytes into the frame to its front; `N` is even.
#[inline(always)]
pub fn move_header<const N: usize, P: Packet>(packet: &mut P, by: usize) -> Result<(), DropReason> {
    for at in (0..N).step_by(2) {
        // Word by word: a copy of all of it does not fit on the stack.
        let word = *packet.window::<2>(by + at).ok_or(DropReason::Truncated)?;
        *packet.window::<2>(at).ok_or(DropReason::Truncated)? = word;
    }
    Ok(())
}

#[inline(always)]
fn copy<const N: usize, P: Packet>(
    packet: &mut P,
    next_hop: &NextHop,
    ether_type: [u8; 2],
) -> Result<(), DropReason> {
    let front = packet.window::<N>(0).ok_or(DropReason::Truncated)?;
    front.copy_from_slice(&next_hop.header[..N]);
    front[N - 2..].copy_from_slice(&ether_type);
    Ok(())
}

/// UDP source port of a flow (RFC 7348, section 5: from the dynamic range).
#[inline(always)]
fn source_port(hash: u32) -> [u8; 2] {
    (0xc000 | (hash >> 16) as u16 & 0x3fff).to_be_bytes()
}

/// Lengths, DSCP and ECN (RFC 6040, section 4.1: normal mode copies both), checksum and source port of the outer IPv4.
#[inline(always)]
fn patch_v4<P: Packet>(packet: &mut P, ip: &Ip, hash: u32) -> Result<(), DropReason> {
    let outer = packet.window::<28>(14).ok_or(DropReason::Truncated)?;
    let udp_len = ip.len + UDP_VXLAN_ETHERNET;
    outer[1] = ip.traffic_class;
    outer[2..4].copy_from_slice(&((udp_len + 20) as u16).to_be_bytes());
    outer[20..22].copy_from_slice(&source_port(hash));
    outer[24..26].copy_from_slice(&(udp_len as u16).to_be_bytes());
    write_ipv4_checksum(outer)
}

/// Sums the 20 bytes of an IPv4 header in front of `bytes` again.
#[inline(always)]
pub fn write_ipv4_checksum<const N: usize>(bytes: &mut [u8; N]) -> Result<(), DropReason> {
    bytes[10..12].copy_from_slice(&[0, 0]);
    let header = bytes.first_chunk::<20>().ok_or(DropReason::Truncated)?;
    let sum = !checksum::fold(checksum::sum(header));
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// The same for the outer IPv6, and a flow label (RFC 6438). Its UDP checksum stays zero (RFC 6935).
#[inline(always)]
fn patch_v6<P: Packet>(packet: &mut P, ip: &Ip, hash: u32) -> Result<(), DropReason> {
    let outer = packet.window::<48>(14).ok_or(DropReason::Truncated)?;
    let udp_len = ((ip.len + UDP_VXLAN_ETHERNET) as u16).to_be_bytes();
    outer[0] = 0x60 | ip.traffic_class >> 4;
    outer[1] = ip.traffic_class << 4;
    outer[2..4].copy_from_slice(&(hash as u16).to_be_bytes());
    outer[4..6].copy_from_slice(&udp_len);
    outer[40..42].copy_from_slice(&source_port(hash));
    outer[44..46].copy_from_slice(&udp_len);
    Ok(())
}

/// Takes the tags off a frame whose payload starts at `payload`.
#[inline(always)]
pub fn untag<P: Packet>(packet: &mut P, payload: usize) -> Result<(), DropReason> {
    let tags = payload - 14;
    let addresses = *packet.window::<12>(0).ok_or(DropReason::Truncated)?;
    if !packet.move_front(-(tags as i32)) {
        return Err(DropReason::Headroom);
    }
    // What follows the last tag, the EtherType, is now at its place.
    *packet.window::<12>(0).ok_or(DropReason::Truncated)? = addresses;
    Ok(())
}

/// Puts a VIF's tags on.
#[inline(always)]
pub fn tag<P: Packet>(packet: &mut P, vif: &Vif) -> Result<(), DropReason> {
    let addresses = *packet.window::<12>(0).ok_or(DropReason::Truncated)?;
    if !packet.move_front(i32::from(vif.tags_len)) {
        return Err(DropReason::Headroom);
    }
    *packet.window::<12>(0).ok_or(DropReason::Truncated)? = addresses;
    if vif.tags_len == 8 {
        packet.window::<8>(12).ok_or(DropReason::Truncated)?.copy_from_slice(&vif.tags);
    } else {
        packet.window::<4>(12).ok_or(DropReason::Truncated)?.copy_from_slice(&vif.tags[..4]);
    }
    Ok(())
}
