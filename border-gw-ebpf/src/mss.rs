//! The MSS of TCP connections, held to what fits (RFC 9293, section 3.7.1): hosts that never learn how small the way is, because
//! ICMP is filtered on it, still get their packets through.

use core::hint;

use border_gw_common::abi::V4;

use crate::checksum;
use crate::headers::{EXTENSION_FRAGMENT, Ip, MAX_EXTENSIONS, PROTOCOL_TCP, be16};
use crate::packet::{IN_FRAME, Packet, in_sight};

/// Bytes of an IPv6 header.
const IPV6: usize = 40;
/// Bytes of a TCP header without options.
const TCP: usize = 20;
/// Bytes of the MSS option.
const MSS: usize = 4;
/// Most bytes of options: the header's length is a number of 4 bits, of words.
const MAX_OPTIONS: usize = 40;
/// A mask over offsets in a TCP header.
const IN_HEADER: usize = 63;

/// A TCP segment, and the MSS that it may open a connection with.
#[derive(Clone, Copy)]
pub struct Segment {
    /// Where the IP header starts, in the frame.
    pub ip: usize,
    /// Where the TCP header starts, in the frame.
    pub at: usize,
    /// Where the IP packet ends.
    pub end: usize,
    /// The largest MSS.
    pub most: u16,
}

/// Holds the MSS of a TCP connection to what a way of this MTU carries, if the packet opens one.
#[inline(always)]
pub fn hold<P: Packet>(packet: &mut P, ip: &Ip, mtu: u16) {
    if ip.protocol == PROTOCOL_TCP && !ip.later_fragment {
        let headers = TCP as u16 + if ip.version == V4 { 20 } else { 40 };
        let most = mtu.saturating_sub(headers);
        packet.clamp(Segment { ip: ip.at, at: ip.transport, end: ip.at + ip.len, most });
    }
}

/// Lowers the MSS of a SYN where it is larger. Never raises it, and never adds one; what is not whole is not for us to refuse.
#[inline(always)]
pub fn clamp<P: Packet>(packet: &mut P, segment: Segment) {
    let (Some(ip), Some(at)) = (in_sight(segment.ip), in_sight(segment.at)) else { return };
    let segment = Segment { ip, at, ..segment };
    // In this order, because the function that this is in the kernel has 32 bytes of stack.
    if !is_authenticated(packet, segment)
        && let Some(option) = find(packet, segment)
    {
        // None where nothing is to be done: the search has seen that the frame is long enough.
        let _changed = lower(packet, segment, option);
    }
}

/// Whether an IPv6 authentication header covers the TCP header: its check value would be wrong (RFC 4302, section 3.3.3). Looked for
/// here once more, because one more field of [`Ip`] is too much for the programs' stacks. (In IPv4 no TCP is seen behind one.)
#[inline(always)]
fn is_authenticated<P: Packet>(packet: &mut P, segment: Segment) -> bool {
    const AUTHENTICATION: u8 = 51;
    let Some(header) = packet.window::<8>(segment.ip) else { return true };
    if header[0] >> 4 != 6 {
        return false;
    }
    let (mut number, mut at) = (header[6], segment.ip + IPV6);
    for _ in 0..=MAX_EXTENSIONS {
        at = hint::black_box(at) & IN_FRAME;
        if at >= segment.at || number == AUTHENTICATION {
            return number == AUTHENTICATION;
        }
        let Some(header) = packet.window::<2>(at) else { return true };
        at += if number == EXTENSION_FRAGMENT { 8 } else { (usize::from(header[1]) + 1) * 8 };
        number = header[0];
    }
    false
}

/// Where, in the TCP header, the MSS option of a SYN stands; none where the options are signed (TCP-AO, RFC 5925, section 5.1; the
/// MD5 option of RFC 2385 signs no options).
#[inline(always)]
fn find<P: Packet>(packet: &mut P, segment: Segment) -> Option<usize> {
    const SYN: u8 = 2;
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    const AUTHENTICATION: u8 = 29;
    let header = packet.window::<TCP>(segment.at)?;
    let len = usize::from(header[12] >> 4) * 4;
    if header[13] & SYN == 0 || segment.at + len > segment.end {
        return None;
    }
    // The first of them, or 0.
    let mut found = 0;
    let mut option = TCP;
    for _ in 0..MAX_OPTIONS {
        // Every way through the loop leaves the same bounds, so that the verifier follows one of them.
        (option, found) = (hint::black_box(option) & IN_HEADER, hint::black_box(found) & IN_HEADER);
        // Neither option is shorter.
        if option + MSS > len {
            break;
        }
        let bytes = packet.window::<MSS>(segment.at + option)?;
        option += match (bytes[0], bytes[1]) {
            (NO_OPERATION, _) => 1,
            (END, _) | (_, ..2) => break,
            (AUTHENTICATION, _) => return None,
            (MAXIMUM_SEGMENT_SIZE, 4) if found == 0 => {
                found = option;
                MSS
            }
            (_, len) => usize::from(len),
        };
        if option > TCP + MAX_OPTIONS {
            break;
        }
    }
    if found == 0 { None } else { Some(found) }
}

/// Writes a smaller MSS, and mends the TCP checksum (RFC 1624). An option at an odd offset straddles the words of the sum, which
/// is the same as its bytes being swapped (RFC 1071, section 2 (B)).
#[inline(always)]
fn lower<P: Packet>(packet: &mut P, segment: Segment, option: usize) -> Option<()> {
    let bytes = packet.window::<MSS>(segment.at + option)?;
    let (old, new) = (be16(bytes, 2), segment.most);
    if old <= new {
        return None;
    }
    bytes[2..4].copy_from_slice(&new.to_be_bytes());
    let (old, new) = if option.is_multiple_of(2) { (old, new) } else { (old.swap_bytes(), new.swap_bytes()) };
    let header = packet.window::<TCP>(segment.at)?;
    let sum = checksum::update(be16(header, 16), old, new);
    header[16..18].copy_from_slice(&sum.to_be_bytes());
    Some(())
}
