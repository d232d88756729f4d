//! What came out, read again by `etherparse` and compared field by field.

use std::net::IpAddr;

use border_gw_common::net::MacAddr;
use etherparse::{Ethernet2Header, Ipv4Header, Ipv6Header, SingleVlanHeader, UdpHeader};

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

/// Compares an address with its text.
pub(crate) fn assert_address(got: IpAddr, want: &str) {
    let (_, want) = address(want);
    let got = octets(got);
    assert_eq!(got, want[..got.len()]);
}
