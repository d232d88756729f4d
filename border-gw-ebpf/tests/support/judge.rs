//! What holds for every packet: no panic, one verdict, no way out of a border gateway, hop count and checksum, caps.

use border_gw_common::abi::{
    AttachmentPolicer, ENTRY_SCOPES, Entry, MAX_VIFS, OWNER_ATTACHMENT, OWNER_VIF, VIF_TRANSIT, VifPolicer,
    attachment_policer, connection_policer, vif_policer,
};
use border_gw_common::net::{Be16, MacAddr};
use border_gw_common::verdict::Verdict;
use border_gw_ebpf::Outcome;

use super::case::run;
use super::datagram::{icmp, neighbor, solicitation, transport, udp};
use super::frame::Frame;
use super::memory::Memory;
use super::seen;
use super::send::{in_vpc, on_vif, outer_len, tagged, tunnelled};
use super::wire::{arp, checksum, ether_type, ethernet, padded};
use super::world::{
    CUSTOMER, FABRIC, HOST, NESTED, PORT_A, PORT_B, Underlay, VIF_A, VIF_B, VIF_OTHER, VPC, VPC_OTHER,
    port_mac, router_mac, tags, vif_port, vif_veth, vpc_veth, world,
};

/// A frame, and where it comes in.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) entry: Entry,
    pub(crate) ifindex: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Where frames come in, in the inputs of the fuzzer.
const PLACES: [(Entry, u32); 5] = [
    (Entry::Line, PORT_A),
    (Entry::Line, PORT_B),
    (Entry::Fabric, FABRIC),
    (Entry::Host, vif_veth(VIF_A)),
    (Entry::Host, vpc_veth(VPC)),
];

/// Worlds of the fuzzer: sound and scrambled, of both underlays.
pub(crate) fn worlds() -> Vec<(Underlay, Memory)> {
    let of = |underlay| [(underlay, world(underlay)), (underlay, scrambled(underlay))];
    Underlay::ALL.into_iter().flat_map(of).collect()
}

impl Input {
    /// An input of the fuzzer: a byte that chooses the world, whether checksums are mended, and the place; then the frame.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(usize, bool, Self)> {
        let (choice, frame) = bytes.split_first().filter(|(_, frame)| frame.len() >= 14)?;
        let choice = usize::from(*choice);
        let (entry, ifindex) = PLACES[choice / 8 % PLACES.len()];
        Some((choice % 4, choice & 4 == 0, Self { entry, ifindex, bytes: frame.to_vec() }))
    }

    /// The same the other way round, where it comes in by a place that the fuzzer knows.
    pub(crate) fn encode(&self, world: usize) -> Option<Vec<u8>> {
        let place = PLACES.iter().position(|place| *place == (self.entry, self.ifindex))?;
        Some([&[(world + 8 * place) as u8], self.bytes.as_slice()].concat())
    }
}

/// Frames of every kind, sound ones: what is damaged should come close to passing.
pub(crate) fn corpus(underlay: Underlay) -> Vec<Input> {
    let mut inputs = Vec::new();
    for vif in [VIF_A, VIF_B, VIF_OTHER] {
        let (link, behind) = if vif == VIF_B { (20, 17) } else { (10, 16) };
        let v4 = format!("172.{behind}.0.5");
        let v6 = format!("fd00:172:{behind}::5");
        let (own, peer) = (format!("169.254.{link}.2"), format!("169.254.{link}.1"));
        let (own_v6, peer_v6) = (format!("fd00:{link}::2"), format!("fd00:{link}::1"));
        let datagrams = [
            udp(&v4, "10.1.2.3"),
            transport(&v4, "10.1.7.9", 6, 40_000, 443).options(&[7, 4, 4, 0]),
            udp(&v4, "10.91.0.1"),
            udp(&v4, "172.17.0.9").fragment(3, true),
            udp(&v6, "fd00:1::33"),
            udp(&v6, "fd00:1:0:7::9").extension(0, &[0, 1, 4, 0, 0, 0, 0]).fragment(0, true),
            (0..6).fold(udp(&v6, "fd00:1::33"), |datagram, _| datagram.extension(60, &[0, 1, 4, 0, 0, 0, 0])),
            icmp(&v4, &own, 8, &[0; 20]),
            transport(&peer, &own, 6, 40_000, 179),
            solicitation(&peer_v6, &own_v6, &own_v6, &[1, 1, 2, 0, 0, 0xc, 0, 1]),
            solicitation("::", "ff02::1:ff00:2", &own_v6, &[14, 1, 1, 2, 3, 4, 5, 6]),
            neighbor(&peer_v6, &own_v6, 136, [0x60, 0, 0, 0], &peer_v6, &[]),
        ];
        let port = vif_port(vif);
        let mut line = |bytes| inputs.push(Input { entry: Entry::Line, ifindex: port, bytes });
        for datagram in &datagrams {
            line(padded(on_vif(vif, datagram), 3));
        }
        let request = arp(1, (CUSTOMER, &peer), (MacAddr([0; 6]), &own));
        line(tagged(port_mac(port), tags(vif), 0x0806, &request));
        let from_kernel = transport(&own, &peer, 6, 179, 40_000).bytes();
        let bytes = ethernet(CUSTOMER, port_mac(port), &[], 0x0800, &from_kernel);
        inputs.push(Input { entry: Entry::Host, ifindex: vif_veth(vif), bytes });
    }
    for (vpc, vtep, net) in [(VPC, 1, "2"), (NESTED, 3, "7"), (VPC_OTHER, 1, "2")] {
        let v4 = format!("10.1.{net}.9");
        let v6 = if vpc == NESTED { "fd00:1:0:7::9" } else { "fd00:1::9" };
        let (router, router_v6) =
            if vpc == NESTED { ("10.1.7.1", "fd00:1:0:7::1") } else { ("10.1.0.1", "fd00:1::1") };
        let datagrams = [
            udp(&v4, "172.16.0.5"),
            udp(&v4, "172.18.0.5").fragment(0, true),
            udp(&v4, "172.31.0.5"),
            transport(&v4, "10.1.7.33", 6, 1, 2).options(&[1; 8]),
            transport(&v4, "10.1.9.33", 17, 1, 2).traffic_class(2),
            udp(v6, "fd00:172:16::5").extension(43, &[0, 4, 0, 0, 0, 0, 0]),
            icmp(&v4, router, 8, &[0; 20]),
            solicitation(v6, router_v6, router_v6, &[]),
        ];
        let mut fabric = |bytes| inputs.push(Input { entry: Entry::Fabric, ifindex: FABRIC, bytes });
        for datagram in &datagrams {
            fabric(padded(in_vpc(underlay, vpc, vtep, datagram), 3));
        }
        let request = arp(1, (HOST, &v4), (MacAddr([0; 6]), router));
        fabric(tunnelled(underlay, vpc, vtep, &ethernet(MacAddr::BROADCAST, HOST, &[], 0x0806, &request)));
        for datagram in [udp(router, &v4), udp(router_v6, v6)] {
            let packet = datagram.bytes();
            let bytes = ethernet(HOST, router_mac(vpc), &[], ether_type(&packet), &packet);
            inputs.push(Input { entry: Entry::Host, ifindex: vpc_veth(vpc), bytes });
        }
    }
    inputs
}

/// A world in which buckets name next hops of anybody.
pub(crate) fn scrambled(underlay: Underlay) -> Memory {
    let mut world = world(underlay);
    let all: Vec<u16> = world.next_hops.keys().copied().chain([0, 999]).collect();
    for (number, buckets) in world.groups.values_mut().enumerate() {
        for (place, bucket) in buckets.iter_mut().enumerate() {
            *bucket = all[(place * 7 + number * 3) % all.len()];
        }
    }
    world.vifs.values_mut().for_each(|vif| vif.flags |= VIF_TRANSIT);
    world
}

/// Runs a packet, and checks what holds for all.
pub(crate) fn judge(world: &mut Memory, underlay: Underlay, input: &Input, room: usize) -> Outcome {
    world.forget();
    let mut frame = Frame::with_room(&input.bytes, room, 128);
    let outcome = run(input.entry, &mut frame, world, input.ifindex);
    let charged = world.charged();
    match outcome.verdict {
        Verdict::Forward(egress) => {
            leaves_within_its_domain(world, underlay, input, outcome.scope, egress, frame.bytes());
            assert_eq!(charged.is_empty(), input.entry == Entry::Host, "{input:?}");
        }
        Verdict::Punt(_) => {
            assert_eq!(charged.len(), 1, "{input:?}");
            assert!(is_punt_limiter(*charged.first_key_value().unwrap().0), "{input:?}");
        }
        Verdict::Complain => panic!("no packet ends so: {input:?}"),
        Verdict::Answer | Verdict::Refuse(_) => {
            assert!(charged.keys().all(|policer| is_punt_limiter(*policer)), "{input:?}");
            let source = &input.bytes[6..12];
            let mac = &frame.bytes()[..6];
            assert!(
                mac == source || mac == [0x33, 0x33, 0, 0, 0, 1] || arp_sender(input) == Some(mac),
                "an answer goes to the asker: {input:?}"
            );
        }
        Verdict::Pass => assert!(frame.bytes() == input.bytes && charged.is_empty(), "{input:?}"),
        Verdict::Drop(_) => {
            let caps = charged.keys().filter(|policer| !is_punt_limiter(**policer)).count();
            assert_eq!(caps, 0, "a drop is not charged: {input:?}");
        }
    }
    if !matches!(outcome.verdict, Verdict::Forward(_)) {
        assert!(world.traffic().values().all(|flow| flow.packets == 0), "{input:?}");
    }
    outcome
}

/// Whom an ARP request on a line names as its sender: RFC 826 sends the reply there.
fn arp_sender(input: &Input) -> Option<&[u8]> {
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let at = input.bytes.windows(REQUEST.len()).position(|bytes| bytes == REQUEST)?;
    input.bytes.get(at + REQUEST.len()..at + REQUEST.len() + 6).filter(|_| input.entry == Entry::Line)
}

fn is_punt_limiter(policer: u32) -> bool {
    let of_vif = policer % vif_policer(1, VifPolicer::ToVpc) >= VifPolicer::PuntControl as u32;
    let attachments = attachment_policer(0, AttachmentPolicer::Punt)..connection_policer(0, 0);
    attachments.contains(&policer) || policer < attachments.start && of_vif
}

fn domain_of_scope(world: &Memory, input: &Input, scope: u32) -> u32 {
    let owner = match input.entry {
        Entry::Host => {
            let owner = world.host_ports[&input.ifindex].owner;
            (owner.kind(), owner.index())
        }
        _ if scope < ENTRY_SCOPES + MAX_VIFS => (OWNER_VIF, scope - ENTRY_SCOPES),
        _ => (OWNER_ATTACHMENT, scope - ENTRY_SCOPES - MAX_VIFS),
    };
    if owner.0 == OWNER_VIF { world.vifs[&owner.1].domain } else { world.attachments[&owner.1].domain }
}

/// By its VNI or tags, the packet that came out belongs to the border gateway that it came in by; its hop count is one
/// less, its checksum right, and the rest of it is the same.
fn leaves_within_its_domain(
    world: &Memory,
    underlay: Underlay,
    input: &Input,
    scope: u32,
    egress: u32,
    out: &[u8],
) {
    if input.entry == Entry::Host && world.host_ports[&input.ifindex].owner.kind() == OWNER_VIF {
        // The kernel's own frame is not read: it gets the tags of the VIF that it was sent on.
        let vif = &world.vifs[&world.host_ports[&input.ifindex].owner.index()];
        let tags = &vif.tags[..usize::from(vif.tags_len)];
        assert_eq!(egress, vif.port_ifindex);
        assert_eq!(out, [&input.bytes[..12], tags, &input.bytes[12..]].concat());
        return;
    }
    let from = domain_of_scope(world, input, scope);
    let (to, packet) = if egress == FABRIC {
        let outer = seen::tunnel(underlay, out);
        let attachment = world.attachment_by_vni[&outer.vni];
        (world.attachments[&attachment].domain, seen::frame(outer.inner).payload)
    } else {
        let seen = seen::frame(out);
        let key = |(tpid, outer): (u16, u16), inner| border_gw_common::abi::VifKey {
            ifindex: egress,
            tpid: Be16::new(tpid),
            outer,
            inner,
            reserved: 0,
        };
        let vif = world.vif_by_tag[&key(seen.tags[0], seen.tags.get(1).map_or(0, |tag| tag.1))];
        (world.vifs[&vif].domain, seen.payload)
    };
    assert_eq!(from, to, "{input:?} left its border gateway");
    let came = match input.entry {
        Entry::Fabric => &input.bytes[outer_len(underlay) + 14..],
        _ => seen::frame(&input.bytes).payload,
    };
    one_hop_on(input, came, packet);
}

fn one_hop_on(input: &Input, came: &[u8], went: &[u8]) {
    let one = u8::from(input.entry != Entry::Host);
    let v4 = came[0] >> 4 == 4;
    let (ttl, headers) = if v4 { (8, 12) } else { (7, 8) };
    assert_eq!(went[ttl], came[ttl] - one, "{input:?}");
    let len = u16::from_be_bytes(if v4 { [came[2], came[3]] } else { [came[4], came[5]] });
    assert_eq!(went.len(), usize::from(len) + if v4 { 0 } else { 40 }, "{input:?}");
    assert_eq!(went[headers..], came[headers..went.len()], "{input:?}");
    if v4 {
        assert_eq!(checksum(&went[..usize::from(went[0] & 0xf) * 4]), 0, "{input:?}");
    }
}

/// Puts the IPv4 checksums right again, of the packet and of its tunnel: else most of what is damaged ends there.
pub(crate) fn mended(mut input: Input, underlay: Underlay) -> Input {
    let inner = match input.entry {
        Entry::Fabric => outer_len(underlay) + 14,
        Entry::Line if input.bytes.len() > 17 && input.bytes[16..18] == [0x81, 0] => 22,
        Entry::Line => 18,
        Entry::Host => 14,
    };
    let outer = if input.entry == Entry::Fabric { 14 } else { inner };
    for at in [inner, outer] {
        let Some(header) =
            input.bytes.get_mut(at..).filter(|rest| rest.first().is_some_and(|byte| byte >> 4 == 4))
        else {
            continue;
        };
        let len = usize::from(header[0] & 0xf) * 4;
        if len >= 20 && header.len() >= len {
            header[10..12].fill(0);
            let sum = checksum(&header[..len]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
    }
    input
}
