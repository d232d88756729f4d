//! Neighbour discovery (RFC 4861): solicitations and advertisements read, solicitations answered.

use std::net::{IpAddr, Ipv6Addr};

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use super::ip::{ICMP_V6, Packet};
use super::sum::{checksum, with_pseudo_header};
use super::write::{ethernet, octets};

/// `ICMPv6` type of a solicitation.
pub(super) const SOLICITATION: u8 = 135;
/// `ICMPv6` type of an advertisement.
pub(super) const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// From a router, in answer to a solicitation, instead of what was known before (RFC 4861, section 4.4).
const FLAGS: (u8, u8, u8) = (0x80, 0x40, 0x20);
/// To whom a solicitation from nobody is answered (section 7.2.4): `ff02::1`, and its Ethernet group.
const ALL_NODES: (Ipv6Addr, MacAddr) =
    (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), MacAddr([0x33, 0x33, 0, 0, 0, 1]));

/// What a valid solicitation or advertisement is about (RFC 4861, sections 7.1.1 and 7.1.2): in one piece (RFC 6980), without
/// extension headers (decision 1), never forwarded.
///
/// The design is silent: neither the checksum nor the lengths of options are looked at, which RFC 4861 asks for. What is answered
/// depends on neither, and what is handed to the kernel is looked at there.
pub(super) fn target(packet: &Packet) -> Result<IpAddr, DropReason> {
    let message = packet.message();
    let target =
        message.get(8..24).and_then(|bytes| bytes.first_chunk::<16>()).map(|bytes| Ipv6Addr::from(*bytes));
    let valid = packet.extensions.is_empty() && packet.ttl == 255 && message.get(1) == Some(&0);
    let target = target.filter(|target| valid && !target.is_multicast());
    target.map(IpAddr::from).ok_or(DropReason::NeighborMalformed)
}

/// What a valid solicitation asks for: from nobody it goes to a solicited-node group, and does not say where nobody is.
pub(super) fn solicited(packet: &Packet) -> Result<IpAddr, DropReason> {
    let target = target(packet)?;
    if packet.source.is_unspecified() {
        let says_where = packet.message().get(24) == Some(&SOURCE_LINK_LAYER_ADDRESS);
        if !is_solicited_node(packet.destination) || says_where {
            return Err(DropReason::NeighborMalformed);
        }
    }
    Ok(target)
}

fn is_solicited_node(address: IpAddr) -> bool {
    octets(address)[..13] == [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]
}

/// The advertisement that answers a solicitation which came from this Ethernet address.
pub(super) fn advertisement(
    packet: &Packet,
    target: IpAddr,
    macs: (MacAddr, MacAddr),
    tags: &[u8],
) -> Vec<u8> {
    let (asker, own) = macs;
    let from_nobody = packet.source.is_unspecified();
    let (to, to_mac) =
        if from_nobody { (IpAddr::from(ALL_NODES.0), ALL_NODES.1) } else { (packet.source, asker) };
    let solicited = if from_nobody { 0 } else { FLAGS.1 };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, FLAGS.0 | solicited | FLAGS.2, 0, 0, 0];
    message.extend(octets(target));
    message.extend([TARGET_LINK_LAYER_ADDRESS, 1]);
    message.extend(own.0);
    let sum = checksum(&with_pseudo_header(target, to, ICMP_V6, &message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    // The flow label is that of the question: the design is silent.
    let asked = &packet.bytes;
    let mut bytes = vec![0x60, asked[1] & 0xf, asked[2], asked[3], 0, message.len() as u8, ICMP_V6, 255];
    bytes.extend(octets(target));
    bytes.extend(octets(to));
    bytes.extend(message);
    ethernet((to_mac, own), tags, 0x86dd, &bytes)
}
