//! Neighbour discovery (RFC 4861): solicitations and advertisements read, solicitations answered.

use std::net::{IpAddr, Ipv6Addr};

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use super::ip::{ICMP_V6, Packet};
use super::sum::{checksum, sum, with_pseudo_header};
use super::write::{ethernet, octets};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
/// From a router, in answer to a solicitation, instead of what was known before (RFC 4861, section 4.4).
const FLAGS: (u8, u8, u8) = (0x80, 0x40, 0x20);
/// To whom a solicitation from nobody is answered (section 7.2.4): `ff02::1`, and its Ethernet group.
const ALL_NODES: (Ipv6Addr, MacAddr) =
    (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), MacAddr([0x33, 0x33, 0, 0, 0, 1]));

/// A message that is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbor {
    /// Who has this address?
    Solicitation(IpAddr),
    /// This address is here.
    Advertisement(IpAddr),
}

/// Reads a message; none for anything else.
pub(super) fn read(packet: &Packet) -> Result<Option<Neighbor>, DropReason> {
    let kind = packet.icmp_type().filter(|_| !packet.is_v4());
    let Some(kind @ (SOLICITATION | ADVERTISEMENT)) = kind else { return Ok(None) };
    let valid = is_plain(packet).then(|| target(packet)).flatten();
    let target = valid.filter(|target| is_valid(packet, kind, *target)).ok_or(DropReason::NeighborMalformed)?;
    let target = IpAddr::V6(target);
    Ok(Some(if kind == SOLICITATION { Neighbor::Solicitation(target) } else { Neighbor::Advertisement(target) }))
}

/// In one piece (RFC 6980), without extension headers (decision 1), never forwarded.
fn is_plain(packet: &Packet) -> bool {
    packet.extensions.is_empty() && packet.ttl == 255
}

fn target(packet: &Packet) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(*packet.message().get(8..24)?.first_chunk::<16>()?))
}

/// RFC 4861, sections 7.1.1 and 7.1.2.
fn is_valid(packet: &Packet, kind: u8, target: Ipv6Addr) -> bool {
    let message = packet.message();
    let whole = with_pseudo_header(packet.source, packet.destination, ICMP_V6, message);
    let IpAddr::V6(destination) = packet.destination else { return false };
    let Some(options) = options(&message[24..]) else { return false };
    let from_nobody = packet.source.is_unspecified();
    let fits = if kind == SOLICITATION {
        !from_nobody
            || is_solicited_node(destination) && !options.iter().any(|(kind, _)| *kind == SOURCE_LINK_LAYER_ADDRESS)
    } else {
        !(destination.is_multicast() && message[4] & FLAGS.1 != 0)
    };
    sum(&whole) == 0xffff && message[1] == 0 && !target.is_multicast() && fits
}

fn is_solicited_node(address: Ipv6Addr) -> bool {
    address.octets()[..13] == [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]
}

/// Number and content of each option; none where one has no length or ends beyond the message.
fn options(mut bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut options = Vec::new();
    while let [kind, rest @ ..] = bytes {
        let len = usize::from(*rest.first()?) * 8;
        options.push((*kind, bytes.get(2..len)?));
        bytes = &bytes[len..];
    }
    Some(options)
}

/// The advertisement that answers a solicitation which came from this Ethernet address.
pub(super) fn advertisement(packet: &Packet, target: IpAddr, macs: (MacAddr, MacAddr), tags: &[u8]) -> Vec<u8> {
    let (asker, own) = macs;
    let from_nobody = packet.source.is_unspecified();
    let (to, to_mac) = if from_nobody { (IpAddr::from(ALL_NODES.0), ALL_NODES.1) } else { (packet.source, asker) };
    let solicited = if from_nobody { 0 } else { FLAGS.1 };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, FLAGS.0 | solicited | FLAGS.2, 0, 0, 0];
    message.extend(octets(target));
    message.extend([TARGET_LINK_LAYER_ADDRESS, 1]);
    message.extend(own.0);
    let sum = checksum(&with_pseudo_header(target, to, ICMP_V6, &message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = vec![0x60, 0, 0, 0, 0, message.len() as u8, ICMP_V6, 255];
    bytes.extend(octets(target));
    bytes.extend(octets(to));
    bytes.extend(message);
    ethernet((to_mac, own), tags, 0x86dd, &bytes)
}
