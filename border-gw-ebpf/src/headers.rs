//! Views of Ethernet and IP headers: read once, checked once.

use border_gw_common::abi::{Address, V4, V6};
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use crate::checksum;
use crate::packet::{MAX_OFFSET, Packet};

/// `EtherType` of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// `EtherType` of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// `EtherType` of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The smallest `EtherType`; a smaller number is the length of an 802.2 frame (IEEE 802.3, clause 3.2.6).
pub const ETHERTYPE_MIN: u16 = 0x0600;
/// `EtherType` of the slow protocols, LACP among them.
pub const ETHERTYPE_SLOW: u16 = 0x8809;
/// `EtherType` of port access control (EAPOL).
pub const ETHERTYPE_EAPOL: u16 = 0x888e;
/// `EtherType` of LLDP.
pub const ETHERTYPE_LLDP: u16 = 0x88cc;
/// `EtherType` of connectivity fault management.
pub const ETHERTYPE_CFM: u16 = 0x8902;
/// `TPID` of an 802.1Q tag.
pub const TPID_8021Q: u16 = 0x8100;
/// `TPID` of an 802.1ad service tag.
pub const TPID_8021AD: u16 = 0x88a8;

/// ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// `ICMPv6`.
pub const PROTOCOL_ICMPV6: u8 = 58;

/// Bytes of an untagged Ethernet header.
pub const ETHERNET: usize = 14;

/// An Ethernet header with its tags.
#[derive(Clone, Copy)]
pub struct Frame {
    /// To.
    pub destination: MacAddr,
    /// From.
    pub source: MacAddr,
    /// `TPID` of the outer tag, 0 without one.
    pub tpid: u16,
    /// VLAN identifier of the outer tag.
    pub outer: u16,
    /// VLAN identifier of the inner tag, 0 without one.
    pub inner: u16,
    /// What follows.
    pub ether_type: u16,
    /// Where it follows.
    pub payload: usize,
}

/// Reads an Ethernet header with up to two tags.
#[inline(always)]
pub fn frame<P: Packet>(packet: &mut P) -> Result<Frame, DropReason> {
    let header = packet.window::<ETHERNET>(0).ok_or(DropReason::Truncated)?;
    let mut frame = Frame {
        destination: mac(header, 0),
        source: mac(header, 6),
        tpid: 0,
        outer: 0,
        inner: 0,
        ether_type: be16(header, 12),
        payload: ETHERNET,
    };
    if is_tag(frame.ether_type) {
        frame.tpid = frame.ether_type;
        let tag = packet.window::<4>(14).ok_or(DropReason::Truncated)?;
        frame.outer = be16(tag, 0) & 0xfff;
        frame.ether_type = be16(tag, 2);
        frame.payload = 18;
        // Behind a service tag or a tag: only 802.1Q is a second tag.
        if frame.ether_type == TPID_8021Q {
            let tag = packet.window::<4>(18).ok_or(DropReason::Truncated)?;
            frame.inner = be16(tag, 0) & 0xfff;
            frame.ether_type = be16(tag, 2);
            frame.payload = 22;
            if frame.inner == 0 {
                return Err(DropReason::UnknownVlan);
            }
        }
    }
    Ok(frame)
}

#[inline(always)]
fn is_tag(ether_type: u16) -> bool {
    ether_type == TPID_8021Q || ether_type == TPID_8021AD
}

/// What the path needs of an IP packet.
#[derive(Clone, Copy)]
pub struct Ip {
    /// 4 or 6.
    pub version: u32,
    /// Where the header starts, in the frame.
    pub at: usize,
    /// Where the transport header starts, in the frame.
    pub transport: usize,
    /// Bytes of the packet, header included.
    pub len: usize,
    /// Transport protocol.
    pub protocol: u8,
    /// The protocol by which a flow is told: in all fragments of a datagram the same.
    pub flow_protocol: u8,
    /// Type of service, or traffic class.
    pub traffic_class: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Any fragment of a datagram.
    pub fragment: bool,
    /// A fragment that does not hold the transport header.
    pub later_fragment: bool,
    /// From.
    pub source: Address,
    /// To.
    pub destination: Address,
}

/// Reads the IP packet at `at`; nothing of it may lie beyond `end`.
#[inline(always)]
pub fn ip<P: Packet>(packet: &mut P, ether_type: u16, at: usize, end: usize) -> Result<Ip, DropReason> {
    if ether_type == ETHERTYPE_IPV4 {
        ipv4(packet, at, end)
    } else if ether_type == ETHERTYPE_IPV6 {
        ipv6(packet, at, end)
    } else {
        Err(DropReason::EtherType)
    }
}

#[inline(always)]
fn ipv4<P: Packet>(packet: &mut P, at: usize, end: usize) -> Result<Ip, DropReason> {
    let header = packet.window::<20>(at).ok_or(DropReason::Truncated)?;
    if header[0] >> 4 != 4 {
        return Err(DropReason::IpVersion);
    }
    let header_len = usize::from(header[0] & 0xf) * 4;
    let len = usize::from(be16(header, 2));
    let fragment = be16(header, 6);
    let mut total = checksum::sum(header);
    let mut ip = Ip {
        version: V4,
        at,
        transport: at + header_len,
        len,
        protocol: header[9],
        flow_protocol: header[9],
        traffic_class: header[1],
        ttl: header[8],
        fragment: is_fragment(fragment),
        later_fragment: fragment & FRAGMENT_OFFSET != 0,
        source: [0; 16],
        destination: [0; 16],
    };
    ip.source[..4].copy_from_slice(&header[12..16]);
    ip.destination[..4].copy_from_slice(&header[16..20]);
    if header_len < 20 || header_len > len {
        return Err(DropReason::IpHeaderLength);
    }
    if at + len > end {
        return Err(DropReason::IpTotalLength);
    }
    for word in 5..15 {
        if word * 4 >= header_len {
            break;
        }
        total += checksum::sum(packet.window::<4>(at + word * 4).ok_or(DropReason::Truncated)?);
    }
    if checksum::fold(total) != 0xffff {
        return Err(DropReason::IpChecksum);
    }
    if header_len > 20 {
        packet.check_options(at, header_len)?;
    }
    Ok(ip)
}

/// Whether flags and offset of an IPv4 header say: more fragments, or an offset (RFC 791, section 3.1).
#[inline(always)]
pub fn is_fragment(flags_and_offset: u16) -> bool {
    flags_and_offset & 0x3fff != 0
}

/// The offset in what [`is_fragment`] looks at, in units of eight bytes.
pub const FRAGMENT_OFFSET: u16 = 0x1fff;
/// The offset in an IPv6 fragment header (RFC 8200, section 4.5).
pub const FRAGMENT_OFFSET_V6: u16 = 0xfff8;
/// Next header: an IPv6 fragment header.
pub const EXTENSION_FRAGMENT: u8 = 44;

/// Extension headers that are followed; more are refused.
pub const MAX_EXTENSIONS: usize = 6;

#[inline(always)]
fn ipv6<P: Packet>(packet: &mut P, at: usize, end: usize) -> Result<Ip, DropReason> {
    let header = packet.window::<40>(at).ok_or(DropReason::Truncated)?;
    if header[0] >> 4 != 6 {
        return Err(DropReason::IpVersion);
    }
    let mut ip = Ip {
        version: V6,
        at,
        transport: at + 40,
        len: 40 + usize::from(be16(header, 4)),
        protocol: header[6],
        flow_protocol: header[6],
        traffic_class: header[0] << 4 | header[1] >> 4,
        ttl: header[7],
        fragment: false,
        later_fragment: false,
        source: [0; 16],
        destination: [0; 16],
    };
    ip.source.copy_from_slice(&header[8..24]);
    ip.destination.copy_from_slice(&header[24..40]);
    if at + ip.len > end {
        return Err(DropReason::IpTotalLength);
    }
    for _ in 0..=MAX_EXTENSIONS {
        if !extension(packet, &mut ip)? {
            return if ip.transport > at + ip.len { Err(DropReason::IpTotalLength) } else { Ok(ip) };
        }
    }
    Err(DropReason::ExtensionHeaders)
}

/// Why there is no window at the transport header, or at the next extension header: extension headers reach deeper than is looked,
/// or the frame ends.
#[inline(always)]
pub fn out_of_sight(ip: &Ip) -> DropReason {
    let is_there = ip.transport < ip.at + ip.len;
    if is_there && ip.transport > MAX_OFFSET { DropReason::ExtensionHeaders } else { DropReason::Truncated }
}

/// Steps over one extension header (RFC 8200, section 4); false when the transport header is reached.
#[inline(always)]
fn extension<P: Packet>(packet: &mut P, ip: &mut Ip) -> Result<bool, DropReason> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    if ip.later_fragment
        || !matches!(ip.protocol, HOP_BY_HOP | ROUTING | EXTENSION_FRAGMENT | AUTHENTICATION | DESTINATION)
    {
        return Ok(false);
    }
    let header = packet.window::<4>(ip.transport).ok_or_else(|| out_of_sight(ip))?;
    // What follows a fragment header stands in the first fragment alone, but its number in every one.
    if !ip.fragment {
        ip.flow_protocol = header[0];
    }
    let step = match ip.protocol {
        EXTENSION_FRAGMENT => {
            ip.fragment = true;
            ip.later_fragment = be16(header, 2) & FRAGMENT_OFFSET_V6 != 0;
            8
        }
        AUTHENTICATION => (usize::from(header[1]) + 2) * 4,
        // Type 0 is a way around every check of sources and destinations (RFC 5095).
        ROUTING if header[2] == 0 => return Err(DropReason::SourceRoute),
        _ => (usize::from(header[1]) + 1) * 8,
    };
    ip.protocol = header[0];
    ip.transport += step;
    Ok(true)
}

/// A MAC address in a header.
#[inline(always)]
pub fn mac<const N: usize>(bytes: &[u8; N], at: usize) -> MacAddr {
    MacAddr([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4], bytes[at + 5]])
}

/// A 16-bit number in a header.
#[inline(always)]
pub fn be16<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// A 32-bit number in a header.
#[inline(always)]
pub fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
