//! The maximum segment size that a TCP connection opens with, lowered to what fits (RFC 9293, section 3.7.1; docs/reference.md,
//! `mss_clamp`).

use super::ip::{LAST_START, Packet};
use super::sum::updated;

const TCP: u8 = 6;
const AUTHENTICATION_HEADER: u8 = 51;
const SYN: u8 = 2;
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;
/// RFC 5925, section 2.2: its code covers the other options.
const TCP_AO: u8 = 29;

/// Lowers it to what an MTU leaves.
pub(super) fn clamp(packet: &mut Packet, mtu: u16) {
    if packet.protocol != TCP || packet.extensions.contains(&AUTHENTICATION_HEADER) {
        return;
    }
    let most = mtu.saturating_sub(if packet.is_v4() { 40 } else { 60 });
    let segment = packet.message();
    let Some(at) = option(segment, packet.at + packet.transport) else { return };
    if u16::from_be_bytes([segment[at], segment[at + 1]]) <= most {
        return;
    }
    // Whole words of the segment, for the checksum.
    let from = at & !1;
    let to = (at + 3) & !1;
    let start = packet.transport;
    let old = packet.bytes[start + from..start + to].to_vec();
    packet.bytes[start + at..start + at + 2].copy_from_slice(&most.to_be_bytes());
    let new = packet.bytes[start + from..start + to].to_vec();
    let sum = u16::from_be_bytes([packet.bytes[start + 16], packet.bytes[start + 17]]);
    let sum = updated(sum, &old, &new);
    packet.bytes[start + 16..start + 18].copy_from_slice(&sum.to_be_bytes());
}

/// Where the value of the option stands in a segment that opens a connection, and starts at `start` in the frame. The design is silent:
/// what reaches deeper into the frame than headers are looked for is left as it is.
fn option(segment: &[u8], start: usize) -> Option<usize> {
    let header_len = usize::from(segment.get(12)? >> 4) * 4;
    if segment[13..].first()? & SYN == 0 || header_len < 20 {
        return None;
    }
    let options = segment.get(20..header_len)?;
    let (mut at, mut found) = (0, None);
    // An option of interest has four bytes at least.
    while at + 4 <= options.len() {
        if start + 20 + at > LAST_START {
            return None;
        }
        match (options[at], usize::from(options[at + 1])) {
            (NO_OPERATION, _) => at += 1,
            // The design is silent: what stands in front of the end, or of a fault, counts.
            (END, _) | (_, 0 | 1) => break,
            (TCP_AO, _) => return None,
            (MSS, 4) if found.is_none() => {
                found = Some(20 + at + 2);
                at += 4;
            }
            (_, len) => at += len,
        }
    }
    found
}
