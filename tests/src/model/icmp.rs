//! ICMP errors (RFC 792, RFC 1812 section 4.3, RFC 4443 section 2.4): whether one is sent, and what it says.

use std::net::{IpAddr, Ipv4Addr};

use border_gw_common::verdict::DropReason;

use super::ip::{ICMP_V6, Packet};
use super::sum::{checksum, with_pseudo_header};
use super::write::octets;

/// Longest error (RFC 1812, section 4.3.2.3; RFC 4443, section 2.4 (c)).
const LONGEST: (usize, usize) = (576, 1280);
/// Internetwork control (RFC 1812, section 4.3.2.5).
const CLASS_V4: u8 = 0xc0;

/// From where errors come: an IPv4 address always, an IPv6 address where there is one.
pub(super) struct Voice {
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Option<IpAddr>,
}

/// The error about a packet; none where RFCs want silence, or there is no voice.
pub(super) fn error(packet: &Packet, reason: DropReason, mtu: u16, voice: &Voice) -> Option<Vec<u8>> {
    let (kind, code) = message(packet.is_v4(), reason)?;
    if wants_silence(packet) {
        return None;
    }
    let longest = if packet.is_v4() { LONGEST.0 - 28 } else { LONGEST.1 - 48 };
    let quoted = &packet.bytes[..packet.bytes.len().min(longest)];
    let mut body = vec![kind, code, 0, 0, 0, 0, 0, 0];
    if reason == DropReason::TooBig {
        body[6..8].copy_from_slice(&mtu.to_be_bytes());
    }
    body.extend(quoted);
    if packet.is_v4() { Some(in_v4(packet, voice, body)) } else { in_v6(packet, voice, body) }
}

fn in_v4(packet: &Packet, voice: &Voice, mut body: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = vec![0x45, CLASS_V4];
    bytes.extend((20 + body.len() as u16).to_be_bytes());
    // Atomic (RFC 6864).
    bytes.extend([0, 0, 0x40, 0, 64, 1, 0, 0]);
    bytes.extend(voice.v4.octets());
    bytes.extend(octets(packet.source));
    let sum = checksum(&bytes);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn in_v6(packet: &Packet, voice: &Voice, mut body: Vec<u8>) -> Option<Vec<u8>> {
    let from = voice.v6?;
    let sum = checksum(&with_pseudo_header(from, packet.source, ICMP_V6, &body));
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend([ICMP_V6, 64]);
    bytes.extend(octets(from));
    bytes.extend(octets(packet.source));
    bytes.extend(body);
    Some(bytes)
}

/// Type and code (RFC 1812, section 5.2.7.1; RFC 1191, section 4; RFC 4443, section 3).
fn message(is_v4: bool, reason: DropReason) -> Option<(u8, u8)> {
    Some(match (reason, is_v4) {
        (DropReason::TtlExpired, true) => (11, 0),
        // Time exceeded of IPv6, and net unreachable of IPv4.
        (DropReason::TtlExpired, false) | (DropReason::NoRoute, true) => (3, 0),
        (DropReason::NoRoute, false) => (1, 0),
        (DropReason::NextHopDead, true) => (3, 1),
        (DropReason::NextHopDead, false) => (1, 3),
        (DropReason::SourceInvalid | DropReason::Transit, true) => (3, 13),
        (DropReason::SourceInvalid, false) => (1, 5),
        (DropReason::Transit, false) => (1, 1),
        (DropReason::TooBig, true) => (3, 4),
        (DropReason::TooBig, false) => (2, 0),
        _ => return None,
    })
}

/// RFC 1812, section 4.3.2.7; RFC 4443, section 2.4 (e): nothing about errors, about fragments but the first, and about what may
/// be an error: of IPv4 all types that are no query or answer (RFC 1122, section 3.2.2, and IANA's list).
fn wants_silence(packet: &Packet) -> bool {
    if packet.is_later_fragment() {
        return true;
    }
    let kind = packet.icmp_type();
    if packet.is_v4() {
        return kind.is_some_and(|kind| !matches!(kind, 0 | 8 | 9 | 10 | 13..=18 | 42 | 43));
    }
    kind.is_some_and(|kind| kind < 128)
}
