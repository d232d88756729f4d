//! What came out, read again by `etherparse` and compared field by field.

use std::net::IpAddr;

use border_gw_common::net::MacAddr;
use etherparse::{
    Ethernet2Header, Icmpv4Slice, Icmpv6Slice, Ipv4Header, Ipv6Header, SingleVlanHeader, UdpHeader,
};

use super::case::Told;
use super::datagram::Datagram;
use super::wire::{address, octets};
use super::world::Underlay;

/// An Ethernet frame.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
    /// `TPID` and VLAN identifier of each tag.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) ether_type: u16,
    pub(crate) payload: &'a [u8],
}

/// Reads an Ethernet frame with all of its tags.
pub(crate) fn frame(bytes: &[u8]) -> Seen<'_> {
    let (ethernet, mut payload) = Ethernet2Header::from_slice(bytes).unwrap();
    let mut tags = Vec::new();
    let mut ether_type = ethernet.ether_type;
    while matches!(ether_type.0, 0x8100 | 0x88a8) {
        let (tag, rest) = SingleVlanHeader::from_slice(payload).unwrap();
        tags.push((ether_type.0, tag.vlan_id.value()));
        ether_type = tag.ether_type;
        payload = rest;
    }
    let (to, from) = (MacAddr(ethernet.destination), MacAddr(ethernet.source));
    Seen { to, from, tags, ether_type: ether_type.0, payload }
}

/// The tags in bytes, as [`Seen::tags`] has them.
pub(crate) fn tag_list(bytes: &[u8]) -> Vec<(u16, u16)> {
    let word = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
    bytes.chunks(4).map(|tag| (word(tag), word(&tag[2..]))).collect()
}

/// Compares an IP packet with the one that was sent, whose hop limit may have changed to `ttl`, and nothing else.
pub(crate) fn assert_same(got: &[u8], sent: &Datagram, ttl: u8) {
    let want = sent.clone().ttl(ttl).bytes();
    if sent.source.is_ipv4() {
        let (got_header, got_rest) = Ipv4Header::from_slice(got).unwrap();
        let (want_header, want_rest) = Ipv4Header::from_slice(&want).unwrap();
        assert_eq!(got_header.header_checksum, got_header.calc_header_checksum(), "header checksum");
        assert_eq!(got_header, want_header);
        assert_eq!(got_rest, want_rest, "payload, and no padding");
    } else {
        let (got_header, got_rest) = Ipv6Header::from_slice(got).unwrap();
        let (want_header, want_rest) = Ipv6Header::from_slice(&want).unwrap();
        assert_eq!(got_header, want_header);
        assert_eq!(got_rest, want_rest, "payload, and no padding");
    }
}

/// A VXLAN packet.
pub(crate) struct SeenTunnel<'a> {
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) traffic_class: u8,
    pub(crate) udp_source: u16,
    pub(crate) vni: u32,
    pub(crate) inner: &'a [u8],
}

/// Reads a VXLAN packet, in which all that does not depend on the packet inside must be right.
pub(crate) fn tunnel(underlay: Underlay, bytes: &[u8]) -> SeenTunnel<'_> {
    let ethernet = frame(bytes);
    assert_eq!(ethernet.tags, [], "no tags on the fabric");
    let (source, destination, traffic_class, payload) = match underlay {
        Underlay::V4 => {
            assert_eq!(ethernet.ether_type, 0x0800);
            let (ip, payload) = Ipv4Header::from_slice(ethernet.payload).unwrap();
            assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "outer checksum");
            assert_eq!(usize::from(ip.total_len), ethernet.payload.len(), "outer length, and no padding");
            assert_eq!((ip.time_to_live, ip.protocol.0, ip.header_len()), (64, 17, 20));
            assert!(ip.dont_fragment && !ip.more_fragments && ip.fragment_offset.value() == 0);
            let class = ip.dscp.value() << 2 | ip.ecn.value();
            (IpAddr::from(ip.source), IpAddr::from(ip.destination), class, payload)
        }
        Underlay::V6 => {
            assert_eq!(ethernet.ether_type, 0x86dd);
            let (ip, payload) = Ipv6Header::from_slice(ethernet.payload).unwrap();
            assert_eq!(usize::from(ip.payload_length), payload.len(), "outer length, and no padding");
            assert_eq!((ip.hop_limit, ip.next_header.0), (64, 17));
            (IpAddr::from(ip.source), IpAddr::from(ip.destination), ip.traffic_class, payload)
        }
    };
    let (udp, vxlan) = UdpHeader::from_slice(payload).unwrap();
    assert_eq!(udp.destination_port, 4789);
    assert_eq!(usize::from(udp.length), payload.len(), "UDP length");
    assert_eq!(udp.checksum, 0, "UDP checksum");
    assert_eq!(vxlan[..4], [8, 0, 0, 0], "VXLAN flags");
    assert_eq!(vxlan[7], 0, "reserved");
    SeenTunnel {
        to: ethernet.to,
        from: ethernet.from,
        source,
        destination,
        traffic_class,
        udp_source: udp.source_port,
        vni: u32::from_be_bytes([0, vxlan[4], vxlan[5], vxlan[6]]),
        inner: &vxlan[8..],
    }
}

/// Compares an ICMP error with what should be told; its traffic class.
pub(crate) fn assert_error(frame: &Seen<'_>, told: &Told) -> u8 {
    let (source, destination, class, message) = if told.about.source.is_ipv4() {
        assert_eq!(frame.ether_type, 0x0800);
        let (ip, message) = Ipv4Header::from_slice(frame.payload).unwrap();
        assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "header checksum");
        assert_eq!(usize::from(ip.total_len), frame.payload.len(), "length, and no padding");
        assert_eq!((ip.time_to_live, ip.protocol.0, ip.header_len()), (64, 1, 20));
        assert!(!ip.more_fragments && ip.fragment_offset.value() == 0, "in one piece");
        (
            IpAddr::from(ip.source),
            IpAddr::from(ip.destination),
            ip.dscp.value() << 2 | ip.ecn.value(),
            message,
        )
    } else {
        assert_eq!(frame.ether_type, 0x86dd);
        let (ip, message) = Ipv6Header::from_slice(frame.payload).unwrap();
        assert_eq!(usize::from(ip.payload_length), message.len(), "length, and no padding");
        assert_eq!((ip.hop_limit, ip.next_header.0), (64, 58));
        (IpAddr::from(ip.source), IpAddr::from(ip.destination), ip.traffic_class, message)
    };
    assert_address(source, told.from);
    assert_eq!(destination, told.about.source, "to the sender");
    // Internetwork control in IPv4 (RFC 1812, section 4.3.2.5), and never capable of ECN.
    assert_eq!(class, if source.is_ipv4() { 0xc0 } else { 0 });
    assert_eq!((message[0], message[1]), told.message, "type and code");
    assert_eq!(message[4..6], [0, 0], "unused");
    assert_eq!(message[6..8], told.mtu.to_be_bytes(), "MTU");
    let sum = if source.is_ipv4() {
        Icmpv4Slice::from_slice(message).unwrap().header().icmp_type.calc_checksum(&message[8..])
    } else {
        let (IpAddr::V6(from), IpAddr::V6(to)) = (source, destination) else { unreachable!("of one family") };
        let header = Icmpv6Slice::from_slice(message).unwrap().header();
        header.icmp_type.calc_checksum(from.octets(), to.octets(), &message[8..]).unwrap()
    };
    assert_eq!(message[2..4], sum.to_be_bytes(), "checksum");
    // As much as fits into 576 bytes (RFC 1812, section 4.3.2.3), or 1280 (RFC 4443, section 2.4 (c)).
    let about = told.about.bytes();
    let most = if source.is_ipv4() { 576 - 28 } else { 1280 - 48 };
    assert_eq!(message.len() - 8, about.len().min(most), "bytes of the packet");
    assert!(message[8..] == about[..message.len() - 8], "the packet as it came");
    class
}

/// Compares an address with its text.
pub(crate) fn assert_address(got: IpAddr, want: &str) {
    let (_, want) = address(want);
    let got = octets(got);
    assert_eq!(got, want[..got.len()]);
}
