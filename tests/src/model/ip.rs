//! An IP packet, read and found sound (RFC 791, RFC 8200), or refused by name.

use std::net::IpAddr;

use border_gw_common::verdict::DropReason;
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::options;

/// Most extension headers (docs/reference.md, what limits packets).
const MOST_EXTENSIONS: usize = 6;
/// Where, in the frame, an extension header or an `ICMPv6` header starts at the latest.
const LAST_START: usize = 1535;

/// `ICMPv6` (RFC 4443).
pub(super) const ICMP_V6: u8 = 58;

/// A packet, without what pads its frame.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ttl: u8,
    /// What stands behind all headers of IP.
    pub(super) protocol: u8,
    /// Where that starts.
    pub(super) transport: usize,
    /// Offset in units of eight bytes, and whether more follow; none for a whole datagram.
    pub(super) fragment: Option<(u16, bool)>,
    /// IPv6: numbers of the extension headers.
    pub(super) extensions: Vec<u8>,
}

impl Packet {
    pub(super) fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// The transport message, where its header is here.
    pub(super) fn message(&self) -> &[u8] {
        if matches!(self.fragment, Some((1.., _))) { &[] } else { &self.bytes[self.transport..] }
    }

    /// Type of an ICMP or `ICMPv6` message.
    pub(super) fn icmp_type(&self) -> Option<u8> {
        let number = if self.is_v4() { 1 } else { ICMP_V6 };
        self.message().first().copied().filter(|_| self.protocol == number)
    }

    /// DSCP and ECN.
    pub(super) fn class(&self) -> u8 {
        if self.is_v4() { self.bytes[1] } else { self.bytes[0] << 4 | self.bytes[1] >> 4 }
    }

    /// Writes DSCP and ECN, and the checksum that covers them.
    pub(super) fn set_class(&mut self, class: u8) {
        if self.is_v4() {
            self.bytes[1] = class;
            self.write_checksum();
        } else {
            self.bytes[0] = 0x60 | class >> 4;
            self.bytes[1] = class << 4 | self.bytes[1] & 0xf;
        }
    }

    /// One hop less.
    pub(super) fn count_down(&mut self) {
        self.ttl -= 1;
        let at = if self.is_v4() { 8 } else { 7 };
        self.bytes[at] = self.ttl;
        if self.is_v4() {
            self.write_checksum();
        }
    }

    fn write_checksum(&mut self) {
        let len = usize::from(self.bytes[0] & 0xf) * 4;
        let header = &mut self.bytes[..len];
        header[10..12].fill(0);
        let sum = super::sum::checksum(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Reads the payload of a frame, which starts at `at` there.
pub(super) fn read(ether_type: u16, payload: &[u8], at: usize) -> Result<Packet, DropReason> {
    match ether_type {
        0x0800 => read_v4(payload),
        0x86dd => read_v6(payload, at),
        _ => Err(DropReason::EtherType),
    }
}

fn read_v4(payload: &[u8]) -> Result<Packet, DropReason> {
    if payload.len() < 20 {
        return Err(DropReason::Truncated);
    }
    let header_len = usize::from(payload[0] & 0xf) * 4;
    let total_len = usize::from(u16::from_be_bytes([payload[2], payload[3]]));
    if payload[0] >> 4 != 4 {
        return Err(DropReason::IpVersion);
    }
    if header_len < 20 {
        return Err(DropReason::IpHeaderLength);
    }
    if total_len > payload.len() || total_len < header_len {
        return Err(DropReason::IpTotalLength);
    }
    let Ok(header) = Ipv4HeaderSlice::from_slice(payload) else { return Err(DropReason::IpHeaderLength) };
    // Right when all words add up to ones (RFC 1071, section 1): a field of zeros or of ones may both be that.
    if super::sum::sum(&payload[..header_len]) != 0xffff {
        return Err(DropReason::IpChecksum);
    }
    options::check_v4(header.options())?;
    let offset = header.fragments_offset().value();
    let more = header.more_fragments();
    Ok(Packet {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        ttl: header.ttl(),
        protocol: header.protocol().0,
        transport: header_len,
        fragment: (offset != 0 || more).then_some((offset, more)),
        extensions: Vec::new(),
        bytes: payload[..total_len].to_vec(),
    })
}

fn read_v6(payload: &[u8], at: usize) -> Result<Packet, DropReason> {
    if payload.len() < 40 {
        return Err(DropReason::Truncated);
    }
    if payload[0] >> 4 != 6 {
        return Err(DropReason::IpVersion);
    }
    let Ok(header) = Ipv6HeaderSlice::from_slice(payload) else { return Err(DropReason::Truncated) };
    let total_len = 40 + usize::from(header.payload_length());
    if total_len > payload.len() {
        return Err(DropReason::IpTotalLength);
    }
    let mut packet = Packet {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        ttl: header.hop_limit(),
        protocol: header.next_header().0,
        transport: 40,
        fragment: None,
        extensions: Vec::new(),
        bytes: payload[..total_len].to_vec(),
    };
    walk(&mut packet, at)?;
    Ok(packet)
}

/// Goes along the extension headers (RFC 8200, section 4; RFC 7045, section 1).
fn walk(packet: &mut Packet, at: usize) -> Result<(), DropReason> {
    while matches!(packet.protocol, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140) {
        if packet.extensions.len() == MOST_EXTENSIONS || at + packet.transport > LAST_START {
            return Err(DropReason::ExtensionHeaders);
        }
        let Some(header) = packet.bytes.get(packet.transport..packet.transport + 8) else {
            return Err(DropReason::Truncated);
        };
        let len = match packet.protocol {
            44 => 8,
            // RFC 4302, section 2.2: in words of four bytes, less two.
            51 => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        if packet.protocol == 43 && header[2] == 0 {
            return Err(DropReason::SourceRoute);
        }
        packet.extensions.push(packet.protocol);
        if packet.protocol == 44 {
            let field = u16::from_be_bytes([header[2], header[3]]);
            packet.fragment = Some((field >> 3, field & 1 != 0));
        }
        packet.protocol = header[0];
        packet.transport += len;
        if packet.transport > packet.bytes.len() {
            return Err(DropReason::Truncated);
        }
        if matches!(packet.fragment, Some((1.., _))) {
            // What follows is no header, but the middle of something.
            return Ok(());
        }
    }
    if packet.protocol == ICMP_V6 && at + packet.transport > LAST_START {
        return Err(DropReason::ExtensionHeaders);
    }
    Ok(())
}
