//! ARP and neighbour discovery for the gateway's own addresses, answered in place: no neighbour entry is ever made by
//! somebody who only asks.

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use crate::checksum;
use crate::headers::{self, Ip, be16};
use crate::packet::Packet;
use crate::screen::{NEIGHBOR_ADVERTISEMENT, Reach, reach, screen_mac};

/// Bytes of an ARP packet for Ethernet and IPv4.
pub const ARP: usize = 28;
/// ARP operation: request.
const REQUEST: u16 = 1;
/// ARP operation: reply.
const REPLY: u16 = 2;

/// What the path needs of an ARP packet.
#[derive(Clone, Copy)]
pub struct Arp {
    /// A request, else a reply.
    pub request: bool,
    /// Sender's IPv4 address.
    pub sender: [u8; 4],
    /// Target's IPv4 address.
    pub target: [u8; 4],
}

/// Reads an ARP packet for Ethernet and IPv4 (RFC 826).
#[inline(always)]
pub fn arp<P: Packet>(packet: &mut P, at: usize) -> Result<Arp, DropReason> {
    let bytes = packet.window::<ARP>(at).ok_or(DropReason::Truncated)?;
    let operation = be16(bytes, 6);
    if bytes[..6] != [0, 1, 0x08, 0x00, 6, 4] || operation != REQUEST && operation != REPLY {
        return Err(DropReason::ArpMalformed);
    }
    // The reply goes to whom the packet names, which need not be whom the frame names.
    screen_mac(headers::mac(bytes, 8))?;
    Ok(Arp {
        request: operation == REQUEST,
        sender: [bytes[14], bytes[15], bytes[16], bytes[17]],
        target: [bytes[24], bytes[25], bytes[26], bytes[27]],
    })
}

/// Makes the request at `at`, in the Ethernet frame at `ethernet`, a reply that says: the target is at `mac`.
#[inline(always)]
pub fn arp_reply<P: Packet>(
    packet: &mut P,
    ethernet: usize,
    at: usize,
    mac: MacAddr,
) -> Result<(), DropReason> {
    let bytes = packet.window::<ARP>(at).ok_or(DropReason::Truncated)?;
    let mut asker = [0; 10];
    asker.copy_from_slice(&bytes[8..18]);
    bytes[7] = REPLY as u8;
    bytes.copy_within(24..28, 14);
    bytes[8..14].copy_from_slice(&mac.0);
    bytes[18..28].copy_from_slice(&asker);
    let mut to = [0; 6];
    to.copy_from_slice(&asker[..6]);
    address_frame(packet, ethernet, MacAddr(to), mac)
}

/// Sends an Ethernet frame back to where it came from.
#[inline(always)]
pub fn return_frame<P: Packet>(packet: &mut P, at: usize, from: MacAddr) -> Result<(), DropReason> {
    let asker = headers::mac(packet.window::<12>(at).ok_or(DropReason::Truncated)?, 6);
    address_frame(packet, at, asker, from)
}

/// Writes the addresses of an Ethernet header.
#[inline(always)]
pub fn address_frame<P: Packet>(
    packet: &mut P,
    at: usize,
    to: MacAddr,
    from: MacAddr,
) -> Result<(), DropReason> {
    let addresses = packet.window::<12>(at).ok_or(DropReason::Truncated)?;
    addresses[..6].copy_from_slice(&to.0);
    addresses[6..].copy_from_slice(&from.0);
    Ok(())
}

/// Bytes of a neighbour solicitation or advertisement without options.
const NEIGHBOR_MESSAGE: usize = 24;
/// Option of a solicitation: where the asker is (RFC 4861, section 4.6.1).
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
/// Bytes of a neighbour advertisement with the target's link-layer address.
const ADVERTISEMENT: usize = 32;

/// The target of a neighbour solicitation or advertisement that has what RFC 4861, sections 7.1.1 and 7.1.2, ask of both,
/// but for the checksum: all that a damaged question can get is an answer about the address that it names, and the kernel
/// sums an advertisement itself.
#[inline(always)]
pub fn neighbor_target<P: Packet>(packet: &mut P, ip: &Ip) -> Result<[u8; 16], DropReason> {
    let len = ip.at + ip.len - ip.transport;
    // An answer has no extension headers; a message that has some is rare enough to be refused, before the kernel has to
    // say what it thinks of them. A fragment has one, too, and is invalid anyway (RFC 6980, section 5).
    if len < NEIGHBOR_MESSAGE || ip.transport != ip.at + 40 {
        return Err(DropReason::NeighborMalformed);
    }
    let bytes = packet.window::<NEIGHBOR_MESSAGE>(ip.transport).ok_or(DropReason::Truncated)?;
    let mut target = [0; 16];
    target.copy_from_slice(&bytes[8..24]);
    // What came over a router has a hop limit below 255, and is no neighbour's.
    if ip.ttl != 255 || bytes[1] != 0 || target[0] == 0xff {
        return Err(DropReason::NeighborMalformed);
    }
    Ok(target)
}

/// The target of a neighbour solicitation that RFC 4861, section 7.1.1, calls valid.
#[inline(always)]
pub fn solicited<P: Packet>(packet: &mut P, ip: &Ip) -> Result<[u8; 16], DropReason> {
    let target = neighbor_target(packet, ip)?;
    let from_nobody = reach(ip.version, &ip.source) == Reach::Unspecified;
    // An asker without an address asks the solicited-node group (ff02::1:ff00:0/104), and has nothing to announce.
    let to_group = ip.destination[..13] == [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff];
    if from_nobody && !to_group {
        return Err(DropReason::NeighborMalformed);
    }
    // Linux sends one option along when it has no address: a nonce (RFC 7527).
    if from_nobody && ip.at + ip.len > ip.transport + NEIGHBOR_MESSAGE {
        let option = packet.window::<2>(ip.transport + NEIGHBOR_MESSAGE).ok_or(DropReason::Truncated)?;
        if option[0] == SOURCE_LINK_LAYER_ADDRESS {
            return Err(DropReason::NeighborMalformed);
        }
    }
    Ok(target)
}

/// Makes the solicitation for `target`, in the Ethernet frame at `ethernet`, an advertisement that says: it is at `mac`.
/// Returns the bytes that the frame grew (or, negative, shrank).
#[inline(always)]
pub fn advertise<P: Packet>(
    packet: &mut P,
    ethernet: usize,
    ip: &Ip,
    target: &[u8; 16],
    mac: MacAddr,
) -> Result<i32, DropReason> {
    let before = packet.len();
    let after = ip.transport + ADVERTISEMENT;
    if before != after && !packet.resize(after) {
        return Err(DropReason::Headroom);
    }
    let to_all = reach(ip.version, &ip.source) == Reach::Unspecified;
    let mut to = ip.source;
    if to_all {
        to = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        address_frame(packet, ethernet, MacAddr([0x33, 0x33, 0, 0, 0, 1]), mac)?;
    } else {
        return_frame(packet, ethernet, mac)?;
    }
    let header = packet.window::<40>(ip.at).ok_or(DropReason::Truncated)?;
    // The traffic class of the question is not that of the answer, least of all a mark of congestion.
    (header[0], header[1]) = (0x60, header[1] & 0xf);
    header[4..6].copy_from_slice(&(ADVERTISEMENT as u16).to_be_bytes());
    header[7] = 255;
    header[8..24].copy_from_slice(target);
    header[24..40].copy_from_slice(&to);
    let icmp = packet.window::<ADVERTISEMENT>(ip.transport).ok_or(DropReason::Truncated)?;
    // Router, override, and solicited unless nobody in particular asked (RFC 4861, section 7.2.4).
    icmp[..8].copy_from_slice(&[NEIGHBOR_ADVERTISEMENT, 0, 0, 0, if to_all { 0xa0 } else { 0xe0 }, 0, 0, 0]);
    icmp[8..24].copy_from_slice(target);
    // Option: target link-layer address, one unit of eight bytes.
    icmp[24..26].copy_from_slice(&[2, 1]);
    icmp[26..32].copy_from_slice(&mac.0);
    let pseudo = checksum::sum(target) + checksum::sum(&to) + ADVERTISEMENT as u32 + u32::from(ip.protocol);
    let sum = !checksum::fold(pseudo + checksum::sum(icmp));
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(after as i32 - before as i32)
}
