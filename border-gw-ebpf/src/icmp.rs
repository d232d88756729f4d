//! ICMP and `ICMPv6` errors (RFC 792, RFC 1812, RFC 4443), made in place of the packet that they are about.

use border_gw_common::abi::{Address, Complaint, V4};
use border_gw_common::verdict::DropReason;

use crate::checksum;
use crate::headers::{PROTOCOL_ICMP, PROTOCOL_ICMPV6};
use crate::packet::{Packet, in_sight};
use crate::rewrite;
use crate::tables::Tables;

/// Why a packet is not forwarded, and the largest one that would be, where that is why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: DropReason,
    /// MTU of the next hop, in bytes; 0 where size does not matter.
    pub mtu: u16,
}

impl From<DropReason> for Refusal {
    fn from(reason: DropReason) -> Self {
        Self { reason, mtu: 0 }
    }
}

/// Type and code of the error that a reason is answered with; none for reasons that nobody is told.
#[inline(always)]
fn message(version: u32, reason: DropReason) -> Option<(u8, u8)> {
    let (v4, v6) = match reason {
        // Time exceeded in transit.
        DropReason::TtlExpired => ((11, 0), (3, 0)),
        // Net unreachable; no route to destination.
        DropReason::NoRoute => ((3, 0), (1, 0)),
        // Host unreachable; address unreachable.
        DropReason::NextHopDead => ((3, 1), (1, 3)),
        // Communication administratively prohibited; source address failed ingress policy.
        DropReason::SourceInvalid => ((3, 13), (1, 5)),
        // Communication administratively prohibited, in both.
        DropReason::Transit => ((3, 13), (1, 1)),
        // Fragmentation needed; packet too big.
        DropReason::TooBig => ((3, 4), (2, 0)),
        _ => return None,
    };
    Some(if version == V4 { v4 } else { v6 })
}

/// Whether the sender may be told at all: not about an error, nor about a fragment other than the first (RFC 1812, section
/// 4.3.2.7; RFC 4443, section 2.4 (e)). Sources and destinations that are no hosts' have been screened.
#[inline(always)]
fn may_answer<P: Packet>(packet: &mut P, about: &Complaint) -> bool {
    let icmp = if about.version == V4 { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
    if about.later_fragment != 0 || about.protocol != icmp {
        return about.later_fragment == 0;
    }
    if about.transport + 2 > about.at + about.len {
        return false;
    }
    let Some(header) = in_sight(about.transport as usize).and_then(|at| packet.window::<2>(at)) else {
        return false;
    };
    if about.version == V4 { is_query(header[0]) } else { header[0] >= 128 }
}

/// ICMP types that are no errors (IANA, ICMP parameters); what is unknown may be one.
#[inline(always)]
fn is_query(kind: u8) -> bool {
    matches!(kind, 0 | 8 | 9 | 10 | 13..=18 | 42 | 43)
}

/// Largest error, in bytes of IP: what every host takes in (RFC 1812, section 4.3.2.3; RFC 4443, section 2.4 (c)).
const LARGEST_V4: usize = 576;
/// See [`LARGEST_V4`].
const LARGEST_V6: usize = 1280;
/// Bytes of an ICMP header.
const ICMP: usize = 8;
/// TTL or hop limit of errors.
const TTL: u8 = 64;

/// Who tells senders, and what limits it.
#[derive(Clone, Copy)]
pub struct Teller<'a> {
    /// From where errors come; zeros where there is nobody to tell.
    pub source: &'a Address,
    /// Limiter of errors, in packets.
    pub limiter: u32,
    /// Limit of the port by which they leave, in bytes.
    pub port: u32,
}

/// Bytes of an error's IP header, and of the packet that the error quotes.
#[inline(always)]
fn lengths(about: &Complaint) -> (usize, usize) {
    let (header, largest) = if about.version == V4 { (20, LARGEST_V4) } else { (40, LARGEST_V6) };
    let room = largest - header - ICMP;
    let len = about.len as usize;
    (header, if len < room { len } else { room })
}

/// Charges both limits, or none of them: a full ring must not drop BGP and BFD, whoever filled it.
#[inline(always)]
fn charge<T: Tables>(tables: &T, teller: &Teller<'_>, bytes: u32) -> bool {
    let now = tables.now();
    if !tables.charge(teller.limiter, 1, now) {
        return false;
    }
    let fits = tables.charge(teller.port, bytes, now);
    if !fits {
        tables.refund(teller.limiter, 1);
    }
    fits
}

/// Turns the packet into an error about itself, where its sender may be told and limits let it. What stands in front of it
/// stays in front. Returns by how many bytes the IP packet grew (or, negative, shrank).
///
/// Where the packet starts is one of a few constants: the verifier follows no sum of what it does not know.
#[inline(always)]
pub fn replace<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    about: &Complaint,
    reason: DropReason,
    teller: &Teller<'_>,
) -> Result<i32, DropReason> {
    let message = message(about.version, reason).ok_or(reason)?;
    let source = teller.source;
    let (header, kept) = lengths(about);
    let bytes = (header + ICMP + kept) as u32;
    if *source == [0; 16] || !may_answer(packet, about) || !charge(tables, teller, bytes) {
        return Err(reason);
    }
    let made = match about.at {
        18 => replace_at::<18, P>(packet, about, source, message),
        22 => replace_at::<22, P>(packet, about, source, message),
        64 => replace_at::<64, P>(packet, about, source, message),
        84 => replace_at::<84, P>(packet, about, source, message),
        _ => Err(reason),
    };
    if made.is_err() {
        tables.refund(teller.limiter, 1);
        tables.refund(teller.port, bytes);
    }
    made
}

#[inline(always)]
fn replace_at<const AT: usize, P: Packet>(
    packet: &mut P,
    about: &Complaint,
    source: &Address,
    (kind, code): (u8, u8),
) -> Result<i32, DropReason> {
    let (header, kept) = lengths(about);
    if packet.len() != AT + kept && !packet.resize(AT + kept) {
        return Err(DropReason::Headroom);
    }
    let grown = header + ICMP;
    if !packet.move_front(grown as i32) {
        return Err(DropReason::Headroom);
    }
    rewrite::move_header::<AT, P>(packet, grown)?;
    let at = AT + header;
    let message = packet.window::<ICMP>(at).ok_or(DropReason::Truncated)?;
    let mtu = about.mtu.to_be_bytes();
    // Both families have the MTU in the lower half of the word that other errors leave zero.
    *message = [kind, code, 0, 0, 0, 0, mtu[0], mtu[1]];
    let mut total = packet.sum(at, ICMP + kept).ok_or(DropReason::Truncated)?;
    if about.version == V4 {
        write_ipv4::<AT, P>(packet, about, source, kept)?;
    } else {
        write_ipv6::<AT, P>(packet, about, source, kept)?;
        total += checksum::sum(source) + checksum::sum(&about.to);
        total += (ICMP + kept) as u32 + u32::from(PROTOCOL_ICMPV6);
    }
    let sum = !checksum::fold(total);
    let message = packet.window::<ICMP>(at).ok_or(DropReason::Truncated)?;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(grown as i32 + kept as i32 - about.len as i32)
}

/// Type of service of IPv4 errors: internetwork control (RFC 1812, section 4.3.2.5). `ICMPv6` errors have the traffic class 0.
pub const INTERNETWORK_CONTROL: u8 = 0xc0;

#[inline(always)]
fn write_ipv4<const AT: usize, P: Packet>(
    packet: &mut P,
    about: &Complaint,
    source: &Address,
    kept: usize,
) -> Result<(), DropReason> {
    let header = packet.window::<20>(AT).ok_or(DropReason::Truncated)?;
    let len = ((20 + ICMP + kept) as u16).to_be_bytes();
    // Never in fragments, so that it needs no identification (RFC 6864).
    *header = [
        0x45,
        INTERNETWORK_CONTROL,
        len[0],
        len[1],
        0,
        0,
        0x40,
        0,
        TTL,
        PROTOCOL_ICMP,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    header[12..16].copy_from_slice(&source[..4]);
    header[16..20].copy_from_slice(&about.to[..4]);
    rewrite::write_ipv4_checksum(header)
}

#[inline(always)]
fn write_ipv6<const AT: usize, P: Packet>(
    packet: &mut P,
    about: &Complaint,
    source: &Address,
    kept: usize,
) -> Result<(), DropReason> {
    let header = packet.window::<40>(AT).ok_or(DropReason::Truncated)?;
    let len = ((ICMP + kept) as u16).to_be_bytes();
    header[..8].copy_from_slice(&[0x60, 0, 0, 0, len[0], len[1], PROTOCOL_ICMPV6, TTL]);
    header[8..24].copy_from_slice(source);
    header[24..40].copy_from_slice(&about.to);
    Ok(())
}
