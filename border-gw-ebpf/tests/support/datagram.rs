//! IP packets, written byte by byte: sound unless a test asks for a fault.

use std::net::IpAddr;

use super::wire::{checksum, octets, set, transport_checksum};

/// An IP packet before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) traffic_class: u8,
    pub(crate) protocol: u8,
    /// IPv4: identification, flags and offset.
    pub(crate) fragment: [u8; 4],
    /// IPv4: options, a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    /// IPv6: number and content of each extension header; its first byte is filled in.
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    /// All behind the headers.
    pub(crate) body: Vec<u8>,
}

impl Datagram {
    /// A packet with a hop limit of 64.
    pub(crate) fn new(source: &str, destination: &str, protocol: u8, body: Vec<u8>) -> Self {
        Self {
            source: source.parse().expect(source),
            destination: destination.parse().expect(destination),
            ttl: 64,
            traffic_class: 0,
            protocol,
            fragment: [0xab, 0xcd, 0x40, 0],
            options: Vec::new(),
            extensions: Vec::new(),
            body,
        }
    }

    /// With this TTL or hop limit.
    pub(crate) fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// With these DSCP and ECN bits.
    pub(crate) fn traffic_class(mut self, traffic_class: u8) -> Self {
        self.traffic_class = traffic_class;
        self
    }

    /// With these IPv4 options.
    pub(crate) fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// With one more IPv6 extension header: its number, and its content from the second byte on.
    pub(crate) fn extension(mut self, number: u8, content: &[u8]) -> Self {
        self.extensions.push((number, [&[0], content].concat()));
        self
    }

    /// As an IPv4 fragment, or with an IPv6 fragment header, at an offset in units of eight bytes.
    pub(crate) fn fragment(mut self, offset: u16, more: bool) -> Self {
        if self.source.is_ipv4() {
            let field = offset | if more { 0x2000 } else { 0 };
            self.fragment = [0xab, 0xcd, (field >> 8) as u8, field as u8];
            self
        } else {
            let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
            self.extension(44, &[0, high, low, 0xab, 0xcd, 0xef, 0x01])
        }
    }

    /// With a body that makes the packet `len` bytes long.
    pub(crate) fn len(mut self, len: usize) -> Self {
        let now = self.bytes().len();
        self.body.resize(self.body.len() + len - now, 0x77);
        self
    }

    /// The packet, headers first.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut packet = if self.source.is_ipv4() { self.ipv4() } else { self.ipv6() };
        packet.extend(&self.body);
        packet
    }

    fn ipv4(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let mut header = vec![0x40 | (header_len / 4) as u8, self.traffic_class];
        header.extend(((header_len + self.body.len()) as u16).to_be_bytes());
        header.extend(self.fragment);
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(&self.options);
        with_checksum(header)
    }

    fn ipv6(&self) -> Vec<u8> {
        let numbers: Vec<u8> =
            self.extensions.iter().map(|(number, _)| *number).chain([self.protocol]).collect();
        let mut behind = Vec::new();
        for ((_, content), next) in self.extensions.iter().zip(&numbers[1..]) {
            behind.extend(set(content.clone(), 0, &[*next]));
        }
        // Version, traffic class, and a flow label that must come out as it went in.
        let mut header = vec![0x60 | self.traffic_class >> 4, self.traffic_class << 4 | 0xa, 0xbc, 0xde];
        header.extend(((behind.len() + self.body.len()) as u16).to_be_bytes());
        header.extend([numbers[0], self.ttl]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(behind);
        header
    }
}

/// An IPv4 header with its checksum written again.
pub(crate) fn with_checksum(header: Vec<u8>) -> Vec<u8> {
    let header = set(header, 10, &[0, 0]);
    let sum = checksum(&header[..usize::from(header[0] & 0xf) * 4]);
    set(header, 10, &sum.to_be_bytes())
}

/// UDP from port 40000 to port 53, with 32 bytes of payload.
pub(crate) fn udp(source: &str, destination: &str) -> Datagram {
    transport(source, destination, 17, 40_000, 53)
}

/// A packet whose transport header begins with two ports; UDP is whole, of the others there is what the path may look at.
pub(crate) fn transport(source: &str, destination: &str, protocol: u8, from: u16, to: u16) -> Datagram {
    let mut body = [from.to_be_bytes(), to.to_be_bytes()].concat();
    if protocol == 17 {
        body.extend([0, 40, 0, 0]);
    } else {
        body.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    }
    body.extend(0..32);
    let mut datagram = Datagram::new(source, destination, protocol, body);
    let sum = transport_checksum(datagram.source, datagram.destination, protocol, &datagram.body);
    let at = if protocol == 17 { 6 } else { 16 };
    datagram.body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// An ICMP or `ICMPv6` message, by the family of the addresses; `rest` follows the checksum.
pub(crate) fn icmp(source: &str, destination: &str, kind: u8, rest: &[u8]) -> Datagram {
    let body = [&[kind, 0, 0, 0], rest].concat();
    let mut datagram = Datagram::new(source, destination, 1, body);
    let sum = if datagram.source.is_ipv4() {
        checksum(&datagram.body)
    } else {
        datagram.protocol = 58;
        transport_checksum(datagram.source, datagram.destination, 58, &datagram.body)
    };
    datagram.body[2..4].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// A neighbour solicitation, with a hop limit of 255.
pub(crate) fn solicitation(source: &str, destination: &str, target: &str, options: &[u8]) -> Datagram {
    neighbor(source, destination, 135, [0; 4], target, options)
}

/// A neighbour solicitation or advertisement: `flags` stand between the checksum and the target.
pub(crate) fn neighbor(
    source: &str,
    destination: &str,
    kind: u8,
    flags: [u8; 4],
    target: &str,
    options: &[u8],
) -> Datagram {
    let target = octets(target.parse().expect(target));
    icmp(source, destination, kind, &[&flags, &target[..], options].concat()).ttl(255)
}
