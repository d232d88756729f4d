//! ARP (RFC 826): read, and answered.

use std::net::{IpAddr, Ipv4Addr};

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use super::write::ethernet;

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// An ARP packet for Ethernet and IPv4.
pub(super) struct Arp {
    pub(super) is_request: bool,
    sender_mac: MacAddr,
    pub(super) sender: IpAddr,
    pub(super) target: IpAddr,
    /// What stands behind it: padding, which stays.
    rest: Vec<u8>,
}

/// Reads it.
pub(super) fn read(payload: &[u8]) -> Result<Arp, DropReason> {
    let Some(arp) = payload.first_chunk::<28>() else { return Err(DropReason::Truncated) };
    let operation = u16::from_be_bytes([arp[6], arp[7]]);
    if arp[..6] != [0, 1, 8, 0, 6, 4] || ![REQUEST, REPLY].contains(&operation) {
        return Err(DropReason::ArpMalformed);
    }
    // Nobody has a group's address (IEEE 802.3, clause 3.2.3), and no answer goes to one: the design says never by broadcast.
    if arp[8] & 1 != 0 {
        return Err(DropReason::GroupSource);
    }
    let mac = |at: usize| MacAddr([arp[at], arp[at + 1], arp[at + 2], arp[at + 3], arp[at + 4], arp[at + 5]]);
    let ip = |at: usize| Ipv4Addr::new(arp[at], arp[at + 1], arp[at + 2], arp[at + 3]).into();
    Ok(Arp {
        is_request: operation == REQUEST,
        sender_mac: mac(8),
        sender: ip(14),
        target: ip(24),
        rest: payload[28..].to_vec(),
    })
}

impl Arp {
    /// The reply of whoever has the target, to the sender's hardware address (RFC 826), as an Ethernet frame with these tags.
    pub(super) fn reply(&self, mac: MacAddr, tags: &[u8]) -> Vec<u8> {
        let mut packet = vec![0, 1, 8, 0, 6, 4];
        packet.extend(REPLY.to_be_bytes());
        for (mac, address) in [(mac, self.target), (self.sender_mac, self.sender)] {
            packet.extend(mac.0);
            packet.extend(super::write::octets(address));
        }
        packet.extend(&self.rest);
        ethernet((self.sender_mac, mac), tags, 0x0806, &packet)
    }
}
