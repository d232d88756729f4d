//! Packets that a router meets: of both families, from both sides.

use crate::support::datagram::{Datagram, icmp, transport, udp, with_checksum};

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The customer's line.
    Customer,
    /// A host of the VPC.
    Vpc,
}

/// A packet with its name.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) name: String,
    pub(crate) from: Side,
    /// The sound one.
    pub(crate) datagram: Datagram,
    /// What is sent.
    pub(crate) bytes: Vec<u8>,
}

impl Packet {
    pub(crate) fn is_v4(&self) -> bool {
        self.datagram.source.is_ipv4()
    }

    pub(crate) fn is_v6(&self) -> bool {
        !self.is_v4()
    }

    /// Whether one of these options stands in the header.
    pub(crate) fn has_option(&self, kinds: &[u8]) -> bool {
        let end = usize::from(self.bytes[0] & 15) * 4;
        self.is_v4()
            && self.bytes.get(20..end).is_some_and(|options| options.iter().any(|byte| kinds.contains(byte)))
    }

    /// Whether it is an ICMP message of one of these types.
    pub(crate) fn has_icmp_type(&self, kinds: &[u8]) -> bool {
        let at = usize::from(self.bytes[0] & 15) * 4;
        self.bytes[9] == 1 && self.bytes.get(at).is_some_and(|kind| kinds.contains(kind))
    }

    /// Whether the first extension header is that of hop-by-hop options.
    pub(crate) fn has_hop_by_hop(&self) -> bool {
        self.is_v6() && self.bytes[6] == 0
    }

    /// Whether the first extension header says that others went before.
    pub(crate) fn is_later_fragment(&self) -> bool {
        self.is_v6() && self.bytes[6] == 44 && self.bytes[42..44] != [0, 0]
    }
}

/// Source, destination, and others: an address without a route, the router's own.
struct Ends {
    from: &'static str,
    to: &'static str,
    nowhere: &'static str,
    own: &'static str,
}

const ENDS: [(&str, Side, Ends); 4] = [
    (
        "v4 customer",
        Side::Customer,
        Ends { from: "172.16.0.5", to: "10.1.2.3", nowhere: "9.9.9.9", own: "169.254.10.2" },
    ),
    ("v4 vpc", Side::Vpc, Ends { from: "10.1.2.3", to: "172.16.0.5", nowhere: "9.9.9.9", own: "10.1.0.1" }),
    (
        "v6 customer",
        Side::Customer,
        Ends { from: "fd00:172:16::5", to: "fd00:1::33", nowhere: "2001:db8:9::9", own: "fd00:10::2" },
    ),
    (
        "v6 vpc",
        Side::Vpc,
        Ends { from: "fd00:1::33", to: "fd00:172:16::5", nowhere: "2001:db8:9::9", own: "fd00:1::1" },
    ),
];

/// All of them.
pub(crate) fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for (side_name, from, ends) in &ENDS {
        let mut all = common(ends);
        all.extend(if ends.from.contains(':') { of_v6(ends) } else { of_v4(ends) });
        if *from == Side::Customer {
            all.push(named("from nowhere, ttl 1", udp(ends.nowhere, ends.to).ttl(1)));
        }
        packets.extend(all.into_iter().map(|(name, datagram)| Packet {
            name: format!("{side_name}: {name}"),
            from: *from,
            bytes: datagram.bytes(),
            datagram,
        }));
    }
    packets
}

type Named = (String, Datagram);

fn named(name: &str, datagram: Datagram) -> Named {
    (name.to_owned(), datagram)
}

fn common(ends: &Ends) -> Vec<Named> {
    let (from, to) = (ends.from, ends.to);
    let mut all = vec![
        named("udp", udp(from, to)),
        named("tcp", transport(from, to, 6, 40_000, 443)),
        named("sctp", transport(from, to, 132, 1, 2)),
        named("gre", Datagram::new(from, to, 47, vec![0; 24])),
        named("unknown protocol", Datagram::new(from, to, 253, vec![1; 9])),
        named("no payload", Datagram::new(from, to, 253, Vec::new())),
        named("echo", icmp(from, to, if from.contains(':') { 128 } else { 8 }, &[0; 24])),
        named("no route", udp(from, ends.nowhere)),
        named("no route, ttl 1", udp(from, ends.nowhere).ttl(1)),
        named("for the router", icmp(from, ends.own, if from.contains(':') { 128 } else { 8 }, &[0; 24])),
        named("first fragment", udp(from, to).fragment(0, true)),
        named("later fragment", udp(from, to).fragment(7, true)),
        named("last fragment", udp(from, to).fragment(9, false)),
        named("later fragment, ttl 1", udp(from, to).fragment(7, true).ttl(1)),
        named("first fragment, ttl 1", udp(from, to).fragment(0, true).ttl(1)),
        named("fits", udp(from, to).len(1450)),
    ];
    for ttl in [0, 1, 2, 255] {
        all.push((format!("ttl {ttl}"), udp(from, to).ttl(ttl)));
    }
    for class in [1, 2, 3, 0xb8, 0xff] {
        all.push((format!("class {class}"), udp(from, to).traffic_class(class)));
    }
    all
}

/// An error of the sender's own, about a packet: none is answered with another.
fn error_about(ends: &Ends, kind: u8) -> Datagram {
    icmp(ends.from, ends.to, kind, &[&[0; 4], &udp(ends.to, ends.from).bytes()[..28]].concat())
}

fn of_v4(ends: &Ends) -> Vec<Named> {
    let (from, to) = (ends.from, ends.to);
    let no_df = |mut datagram: Datagram| {
        datagram.fragment[2] &= !0x40;
        datagram
    };
    let mut all = vec![
        named("an error", error_about(ends, 3)),
        named("an error, ttl 1", error_about(ends, 3).ttl(1)),
        named("source quench, ttl 1", error_about(ends, 4).ttl(1)),
        named("echo, ttl 1", icmp(from, to, 8, &[0; 24]).ttl(1)),
        named("router advertisement, ttl 1", icmp(from, to, 9, &[0; 24]).ttl(1)),
        named("unknown icmp, ttl 1", icmp(from, to, 99, &[0; 24]).ttl(1)),
        named("option: end", udp(from, to).options(&[0; 4])),
        named("option: no operation", udp(from, to).options(&[1; 8])),
        named("option: router alert", udp(from, to).options(&[148, 4, 0, 0])),
        named("option: unknown", udp(from, to).options(&[30, 4, 1, 2])),
        named("option: experiment", udp(from, to).options(&[94, 4, 1, 2])),
        named("option: loose source route", udp(from, to).options(&[131, 7, 4, 10, 1, 2, 4, 0])),
        named("option: strict source route", udp(from, to).options(&[137, 7, 4, 10, 1, 2, 4, 0])),
        named("option: used-up source route", udp(from, to).options(&[131, 7, 8, 10, 1, 2, 4, 0])),
        named("option: length beyond", udp(from, to).options(&[30, 9, 1, 2])),
        named("option: length 0", udp(from, to).options(&[30, 0, 1, 2])),
        named("option: length 1", udp(from, to).options(&[30, 1, 1, 2])),
        named("option: type alone", udp(from, to).options(&[1, 1, 1, 30])),
        named("option: ttl 1", udp(from, to).options(&[1; 8]).ttl(1)),
        named("option: record route", udp(from, to).options(&[7, 7, 4, 0, 0, 0, 0, 0])),
        named("option: full record route", udp(from, to).options(&[7, 7, 8, 1, 2, 3, 4, 0])),
        named("option: timestamp", udp(from, to).options(&[68, 8, 5, 0, 0, 0, 0, 0])),
        named("without DF", no_df(udp(from, to))),
        named("reserved flag", {
            let mut datagram = udp(from, to);
            datagram.fragment[2] |= 0x80;
            datagram
        }),
    ];
    let sender = |number: usize| {
        format!("{}.1.{number}", &from[..from.rfind('.').and_then(|at| from[..at].rfind('.')).unwrap()])
    };
    let odd = [
        ("loopback", "127.0.0.1"),
        ("nobody", "0.0.0.0"),
        ("a group", "224.1.1.1"),
        ("everybody", "255.255.255.255"),
        ("reserved", "240.0.0.1"),
        ("this network", "0.1.2.3"),
    ];
    for (number, (name, address)) in odd.into_iter().enumerate() {
        all.push((format!("from {name}"), udp(address, to)));
        // Linux tells each sender of few missing routes a second.
        all.push((format!("to {name}"), udp(&sender(number), address)));
    }
    if ends.from.starts_with("172") {
        all.extend([
            named("too big", udp(from, to).len(1451)),
            named("too big, without DF", no_df(udp(from, to)).len(1500)),
            named("too big, ttl 1", udp(from, to).len(1451).ttl(1)),
            named("too big, error", error_about(ends, 3).len(1500)),
        ]);
    }
    all
}

fn of_v6(ends: &Ends) -> Vec<Named> {
    let (from, to) = (ends.from, ends.to);
    let options = |content: &[u8]| [&[0][..], content].concat();
    let mut all = vec![
        named("an error", error_about(ends, 1)),
        named("an error, ttl 1", error_about(ends, 1).ttl(1)),
        named("too big, ttl 1", error_about(ends, 2).ttl(1)),
        named("unknown error, ttl 1", error_about(ends, 100).ttl(1)),
        named("echo, ttl 1", icmp(from, to, 128, &[0; 24]).ttl(1)),
        named("unknown message, ttl 1", icmp(from, to, 200, &[0; 24]).ttl(1)),
        named("hop-by-hop: padding", udp(from, to).extension(0, &options(&[1, 4, 0, 0, 0, 0]))),
        named("hop-by-hop: unknown, skipped", udp(from, to).extension(0, &options(&[30, 4, 0, 0, 0, 0]))),
        named("hop-by-hop: unknown, dropped", udp(from, to).extension(0, &options(&[0x7e, 4, 0, 0, 0, 0]))),
        named("hop-by-hop: unknown, told", udp(from, to).extension(0, &options(&[0xbe, 4, 0, 0, 0, 0]))),
        named("hop-by-hop: router alert", udp(from, to).extension(0, &options(&[5, 2, 0, 0, 1, 0]))),
        named(
            "hop-by-hop twice",
            udp(from, to)
                .extension(0, &options(&[1, 4, 0, 0, 0, 0]))
                .extension(0, &options(&[1, 4, 0, 0, 0, 0])),
        ),
        named("destination options", udp(from, to).extension(60, &options(&[1, 4, 0, 0, 0, 0]))),
        named(
            "hop-by-hop in the wrong place",
            udp(from, to)
                .extension(60, &options(&[1, 4, 0, 0, 0, 0]))
                .extension(0, &options(&[1, 4, 0, 0, 0, 0])),
        ),
        named("routing header 0", udp(from, to).extension(43, &[0, 0, 1, 0, 0, 0, 0])),
        named("routing header 0, used up", udp(from, to).extension(43, &[0, 0, 0, 0, 0, 0, 0])),
        named("routing header 4", udp(from, to).extension(43, &[0, 4, 1, 0, 0, 0, 0])),
        named(
            "six headers",
            (0..6).fold(udp(from, to), |all, _| all.extension(60, &options(&[1, 4, 0, 0, 0, 0]))),
        ),
        named(
            "seven headers",
            (0..7).fold(udp(from, to), |all, _| all.extension(60, &options(&[1, 4, 0, 0, 0, 0]))),
        ),
        named("no next header", Datagram::new(from, to, 59, vec![0; 8])),
        named("atomic fragment", udp(from, to).fragment(0, false)),
    ];
    for (name, address) in [
        ("loopback", "::1"),
        ("nobody", "::"),
        ("a group", "ff05::1"),
        ("v4-mapped", "::ffff:10.1.2.3"),
        ("v4-compatible", "::10.1.2.3"),
        ("site-local", "fec0::1"),
        ("link-local", "fe80::5"),
        ("6to4", "2002:a01:203::1"),
    ] {
        all.push((format!("from {name}"), udp(address, to)));
        // Linux looks for that one, and tells three seconds later that it is not there.
        if name != "link-local" {
            all.push((format!("to {name}"), udp(from, address)));
        }
    }
    if ends.from.starts_with("fd00:172") {
        all.extend([
            named("too big", udp(from, to).len(1451)),
            named("too big, ttl 1", udp(from, to).len(1451).ttl(1)),
            named("too big, error", error_about(ends, 1).len(1500)),
        ]);
    }
    all
}

/// Random numbers from a seed (xorshift64*): a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Packets of which some bytes of the headers differ from a sound one; the addresses stay, and mostly the checksum is right again.
pub(crate) fn damaged(sound: &[Packet], count: usize) -> Vec<Packet> {
    let mut random = Random(0x5eed_0002);
    // Linux limits what it tells of missing routes, and looks into what is its own.
    let sound: Vec<&Packet> = sound
        .iter()
        .filter(|packet| !packet.name.contains("no route") && !packet.name.contains("for the router"))
        .collect();
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let mut packet = (*sound[random.below(sound.len())]).clone();
        let is_v4 = packet.datagram.source.is_ipv4();
        for _ in 0..=random.below(2) {
            let at = random.below(packet.bytes.len().min(64));
            let is_address = if is_v4 { (12..20).contains(&at) } else { (8..40).contains(&at) };
            if at > 0 && !is_address {
                packet.bytes[at] = match random.below(3) {
                    0 => random.below(256) as u8,
                    1 => packet.bytes[at] ^ 1 << random.below(8),
                    _ => packet.bytes[at].wrapping_add(1),
                };
            }
        }
        if is_v4 && random.below(8) > 0 {
            packet.bytes = with_checksum(packet.bytes);
        }
        packet.name = format!("{} of {}, damaged", all.len(), packet.name);
        all.push(packet);
    }
    all
}
