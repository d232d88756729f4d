//! An IP packet, read and found sound (RFC 791, RFC 8200), or refused by name.

use std::net::IpAddr;

use border_gw_common::verdict::DropReason;
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice};

use super::options;

/// Most extension headers (docs/reference.md, what limits packets).
const MOST_EXTENSIONS: usize = 6;
/// Where, in the frame, an extension header or an `ICMPv6` header starts at the latest.
pub(super) const LAST_START: usize = 1535;

/// `ICMPv6` (RFC 4443).
pub(super) const ICMP_V6: u8 = 58;

/// A packet, without what pads its frame.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Where it stands in its frame.
    pub(super) at: usize,
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
    /// What the datagram's fragments all say that they carry: the number in the fragment header (RFC 8200, section 4.5).
    pub(super) carries: u8,
}

impl Packet {
    pub(super) fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// Whether no router may fragment it: DF is set (RFC 791), or it is IPv6 (RFC 8200, section 4.5).
    pub(super) fn is_whole_for_ever(&self) -> bool {
        !self.is_v4() || self.bytes[6] & 0x40 != 0
    }

    /// A fragment that does not hold the transport header.
    pub(super) fn is_later_fragment(&self) -> bool {
        matches!(self.fragment, Some((1.., _)))
    }

    /// The transport message, where its header is here.
    pub(super) fn message(&self) -> &[u8] {
        if self.is_later_fragment() { &[] } else { &self.bytes[self.transport..] }
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

/// Where a packet stands in its frame.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) frame: &'a [u8],
    /// Where it starts.
    pub(super) at: usize,
    /// What it may not reach beyond: the end of the frame, or of the tunnel's packet.
    pub(super) end: usize,
}

impl Place<'_> {
    fn header<const N: usize>(&self) -> Result<&[u8; N], DropReason> {
        self.frame.get(self.at..).and_then(|bytes| bytes.first_chunk()).ok_or(DropReason::Truncated)
    }
}

/// Reads the packet that stands there.
pub(super) fn read(ether_type: u16, place: Place<'_>) -> Result<Packet, DropReason> {
    match ether_type {
        0x0800 => read_v4(place),
        0x86dd => read_v6(place),
        _ => Err(DropReason::EtherType),
    }
}

fn read_v4(place: Place<'_>) -> Result<Packet, DropReason> {
    let fixed = place.header::<20>()?;
    let header_len = usize::from(fixed[0] & 0xf) * 4;
    let total_len = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if fixed[0] >> 4 != 4 {
        return Err(DropReason::IpVersion);
    }
    if header_len < 20 || total_len < header_len {
        return Err(DropReason::IpHeaderLength);
    }
    if place.at + total_len > place.end {
        return Err(DropReason::IpTotalLength);
    }
    let bytes = &place.frame[place.at..place.at + total_len];
    let Ok(header) = Ipv4HeaderSlice::from_slice(bytes) else { return Err(DropReason::IpHeaderLength) };
    // Right when all words add up to ones (RFC 1071, section 1): a field of zeros or of ones may both be that.
    if super::sum::sum(&bytes[..header_len]) != 0xffff {
        return Err(DropReason::IpChecksum);
    }
    options::check_v4(header.options())?;
    let offset = header.fragments_offset().value();
    let more = header.more_fragments();
    Ok(Packet {
        at: place.at,
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        ttl: header.ttl(),
        protocol: header.protocol().0,
        carries: header.protocol().0,
        transport: header_len,
        fragment: (offset != 0 || more).then_some((offset, more)),
        extensions: Vec::new(),
        bytes: bytes.to_vec(),
    })
}

fn read_v6(place: Place<'_>) -> Result<Packet, DropReason> {
    let fixed = place.header::<40>()?;
    if fixed[0] >> 4 != 6 {
        return Err(DropReason::IpVersion);
    }
    let Ok(header) = Ipv6HeaderSlice::from_slice(fixed) else { return Err(DropReason::Truncated) };
    let total_len = 40 + usize::from(header.payload_length());
    if place.at + total_len > place.end {
        return Err(DropReason::IpTotalLength);
    }
    let mut packet = Packet {
        at: place.at,
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        ttl: header.hop_limit(),
        protocol: header.next_header().0,
        carries: header.next_header().0,
        transport: 40,
        fragment: None,
        extensions: Vec::new(),
        bytes: place.frame[place.at..place.at + total_len].to_vec(),
    };
    walk(&mut packet, place)?;
    Ok(packet)
}

/// Goes along the extension headers (RFC 8200, section 4): hop-by-hop options, routing, fragment, authentication, destination options.
/// What is encrypted is not looked into.
///
/// The design is silent about the name of what has several faults: a header is named for what is wrong with it, and their number
/// and the end of the packet come after that. What a header says that stands behind its packet is read where the frame goes on.
fn walk(packet: &mut Packet, place: Place<'_>) -> Result<(), DropReason> {
    while !packet.is_later_fragment() && matches!(packet.protocol, 0 | 43 | 44 | 51 | 60) {
        let start = place.at + packet.transport;
        if start > LAST_START && packet.transport < packet.bytes.len() {
            return Err(DropReason::ExtensionHeaders);
        }
        let here = Place { at: start, ..place };
        let header = here.header::<4>().ok().filter(|_| start <= LAST_START).ok_or(DropReason::Truncated)?;
        let len = match packet.protocol {
            44 => 8,
            // RFC 4302, section 2.2: in words of four bytes, less two.
            51 => (usize::from(header[1]) + 2) * 4,
            43 if header[2] == 0 => return Err(DropReason::SourceRoute),
            _ => (usize::from(header[1]) + 1) * 8,
        };
        if packet.extensions.len() == MOST_EXTENSIONS {
            return Err(DropReason::ExtensionHeaders);
        }
        packet.extensions.push(packet.protocol);
        if packet.fragment.is_none() {
            packet.carries = header[0];
        }
        if packet.protocol == 44 {
            let field = u16::from_be_bytes([header[2], header[3]]);
            packet.fragment = Some((field >> 3, field & 1 != 0));
        }
        packet.protocol = header[0];
        packet.transport += len;
    }
    if packet.transport > packet.bytes.len() { Err(DropReason::IpTotalLength) } else { Ok(()) }
}

/// Whether type, code and checksum of an ICMP message are there, where they should be.
pub(super) fn has_icmp_header(packet: &Packet) -> Result<(), DropReason> {
    let number = if packet.is_v4() { 1 } else { ICMP_V6 };
    if packet.protocol != number || packet.is_later_fragment() {
        return Ok(());
    }
    if packet.message().len() < 4 {
        return Err(DropReason::IpTotalLength);
    }
    if packet.at + packet.transport > LAST_START { Err(DropReason::ExtensionHeaders) } else { Ok(()) }
}
