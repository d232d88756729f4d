//! ARP and neighbour discovery, answered in place: on a line, and inside VXLAN over both underlays.

use std::net::Ipv6Addr;

use border_gw_common::abi::{Entry, VifPolicer, attachment_scope, vif_policer, vif_scope};
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::{DropReason as Drop, Verdict};
use border_gw_ebpf::policer::policer;
use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{ArpOperation, ArpPacket, Icmpv6Header, Icmpv6Type, Ipv6Header};

use crate::support::case::{Case, Want, check, run};
use crate::support::datagram::{Datagram, neighbor, solicitation};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::seen;
use crate::support::send::{inner_to, marked, on_vif, on_vif_to, outer_len, tagged, tunnelled};
use crate::support::wire::{arp, ethernet, octets, padded, set, transport_checksum};
use crate::support::world::{
    CUSTOMER, FABRIC, HOST, NESTED, PORT_A, PORT_B, SPINE, Underlay, VIF_A, VIF_B, VIF_OTHER, VNI, VPC,
    VPC_OTHER, port_mac, router_mac, tags, vif_port, world,
};

const OWN: &str = "fd00:10::2";
const PEER: &str = "fd00:10::1";
const ROUTER: &str = "fd00:1::1";
const INSIDE: &str = "fd00:1::33";
const NOBODY: MacAddr = MacAddr([0; 6]);
const ALL_NODES: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
/// Source link-layer address option.
const FROM: [u8; 8] = [1, 1, 2, 0, 0, 0xc, 0, 1];
/// Nonce option, as Linux puts it into each DAD probe (RFC 7527).
const NONCE: [u8; 8] = [14, 1, 9, 8, 7, 6, 5, 4];

/// The solicited-node group of an address, and its Ethernet address (RFC 4291, section 2.7.1; RFC 2464, section 7).
fn solicited_node(target: &str) -> (String, MacAddr) {
    let address: Ipv6Addr = target.parse().unwrap();
    let [.., a, b, c] = address.octets();
    (format!("ff02::1:ff{a:02x}:{:x}", u16::from_be_bytes([b, c])), MacAddr([0x33, 0x33, 0xff, a, b, c]))
}

fn link_local(mac: MacAddr) -> String {
    Ipv6Addr::from(mac.link_local()).to_string()
}

/// What an advertisement should say.
struct Advertised<'a> {
    target: &'a str,
    mac: MacAddr,
    /// Whom it goes to.
    to: &'a str,
    solicited: bool,
}

/// Reads an advertisement and compares it, field by field.
fn assert_advertised(name: &str, packet: &[u8], want: &Advertised<'_>) {
    let (ip, message) = Ipv6Header::from_slice(packet).unwrap();
    assert_eq!(ip.traffic_class, 0, "{name}: never capable of ECN");
    assert_eq!((ip.hop_limit, ip.next_header.0), (255, 58), "{name}");
    assert_eq!(usize::from(ip.payload_length), message.len(), "{name}: length");
    seen::assert_address(ip.source.into(), want.target);
    seen::assert_address(ip.destination.into(), want.to);
    let sum = transport_checksum(ip.source.into(), ip.destination.into(), 58, message);
    assert_eq!(sum, 0, "{name}: checksum");
    let (icmp, rest) = Icmpv6Header::from_slice(message).unwrap();
    let sum = icmp.icmp_type.calc_checksum(ip.source, ip.destination, rest).unwrap();
    assert_eq!(icmp.checksum, sum, "{name}: checksum, summed by etherparse");
    let flags = NeighborAdvertisementHeader { router: true, solicited: want.solicited, r#override: true };
    assert_eq!(icmp.icmp_type, Icmpv6Type::NeighborAdvertisement(flags), "{name}");
    let option = [&octets(want.target.parse().unwrap())[..], &[2, 1], &want.mac.0].concat();
    assert_eq!(rest, option, "{name}: target and its link-layer address");
}

#[test]
fn a_line_is_told_where_we_are() {
    let probe = |target: &str, options: &[u8]| solicitation("::", &solicited_node(target).0, target, options);
    let ask = |source: &str, target: &str, options: &[u8]| {
        solicitation(source, &solicited_node(target).0, target, options)
    };
    let local = link_local(port_mac(PORT_A));
    // A sentence, the VIF, the question, its target, and whom the answer goes to.
    let rows: [(&str, u32, Datagram, &str, &str); 12] = [
        ("the peer asks the group", VIF_A, ask(PEER, OWN, &FROM), OWN, PEER),
        ("the peer asks without an option", VIF_A, ask(PEER, OWN, &[]), OWN, PEER),
        ("the peer asks us alone", VIF_A, solicitation(PEER, OWN, OWN, &FROM), OWN, PEER),
        ("another host of the link may ask", VIF_A, ask("fd00:10::3", OWN, &FROM), OWN, "fd00:10::3"),
        ("a link-local address asks", VIF_A, ask("fe80::1", OWN, &FROM), OWN, "fe80::1"),
        ("for our link-local address", VIF_A, ask("fe80::1", &local, &FROM), &local, "fe80::1"),
        ("behind two tags", VIF_OTHER, ask(PEER, OWN, &FROM), OWN, PEER),
        (
            "where sources are not validated",
            VIF_B,
            ask("fd00:20::1", "fd00:20::2", &[]),
            "fd00:20::2",
            "fd00:20::1",
        ),
        ("with two options", VIF_A, ask(PEER, OWN, &[FROM, NONCE].concat()), OWN, PEER),
        ("a traffic class stays behind", VIF_A, ask(PEER, OWN, &FROM).traffic_class(0xc3), OWN, PEER),
        ("somebody wants our address", VIF_A, probe(OWN, &[]), OWN, "ff02::1"),
        ("Linux wants our address, and sends a nonce", VIF_A, probe(OWN, &NONCE), OWN, "ff02::1"),
    ];
    for (name, vif, question, target, to) in rows {
        let world = world(Underlay::V4);
        let port = vif_port(vif);
        let unicast = question.destination.to_string() == target;
        let packet =
            on_vif_to(if unicast { port_mac(port) } else { solicited_node(target).1 }, vif, &question);
        let mut frame = Frame::new(&packet);
        let outcome = run(Entry::Line, &mut frame, &world, port);
        assert_eq!(outcome.verdict, Verdict::Answer, "{name}");
        assert_eq!(outcome.scope, vif_scope(vif), "{name}");
        let seen = seen::frame(frame.bytes());
        assert_eq!(seen.to, if to == "ff02::1" { ALL_NODES } else { CUSTOMER }, "{name}");
        assert_eq!(seen.from, port_mac(port), "{name}");
        assert_eq!(seen.tags, seen::tag_list(tags(vif)), "{name}");
        let want = Advertised { target, mac: port_mac(port), to, solicited: to != "ff02::1" };
        assert_advertised(name, seen.payload, &want);
        let peer = [PEER, "fd00:20::1"].contains(&to);
        let class = if peer { VifPolicer::PuntNeighbor } else { VifPolicer::Answer };
        let limiter = vif_policer(vif, class);
        assert_eq!(world.charged().into_keys().collect::<Vec<_>>(), [limiter], "{name}");
    }
}

fn exhaust(world: &mut Memory, class: VifPolicer) {
    world.policers.insert(vif_policer(VIF_A, class), policer(8, 0));
}

#[test]
fn a_peer_and_everybody_else_do_not_use_up_each_others_answers() {
    let group = solicited_node(OWN).0;
    let ask = |source: &str| on_vif(VIF_A, &solicitation(source, &group, OWN, &[]));
    let arp = |operation, sender: &str| {
        let packet = arp(operation, (CUSTOMER, sender), (NOBODY, "169.254.10.2"));
        tagged(port_mac(PORT_A), tags(VIF_A), 0x0806, &packet)
    };
    let advertisement = on_vif(VIF_A, &neighbor(PEER, OWN, 136, [0x60, 0, 0, 0], PEER, &[]));
    // A sentence, the packet, and the limiter that is exhausted while it passes.
    let rows: [(&str, Vec<u8>, VifPolicer); 8] = [
        ("the peer's solicitation", ask(PEER), VifPolicer::Answer),
        ("the peer's advertisement", advertisement, VifPolicer::Answer),
        ("the peer's ARP request", arp(1, "169.254.10.1"), VifPolicer::Answer),
        ("the peer's ARP reply", arp(2, "169.254.10.1"), VifPolicer::Answer),
        ("a solicitation of another host of the link", ask("fd00:10::3"), VifPolicer::PuntNeighbor),
        ("a link-local solicitation", ask("fe80::1"), VifPolicer::PuntNeighbor),
        ("a solicitation of nobody", ask("::"), VifPolicer::PuntNeighbor),
        ("an ARP request from behind the peer", arp(1, "172.16.0.5"), VifPolicer::PuntNeighbor),
    ];
    for (name, packet, exhausted) in rows {
        let mut world = world(Underlay::V4);
        exhaust(&mut world, exhausted);
        let verdict = run(Entry::Line, &mut Frame::new(&packet), &world, PORT_A).verdict;
        assert!(matches!(verdict, Verdict::Answer | Verdict::Punt(_)), "{name}: {verdict:?}");
    }
}

#[test]
fn a_line_that_asks_wrongly_is_not_told() {
    check(|_| {
        let group = solicited_node(OWN).0;
        let ask = |source: &str| solicitation(source, &group, OWN, &FROM);
        let dropped = |name, datagram: Datagram, why| {
            Case::line(name, VIF_A, on_vif(VIF_A, &datagram), Want::Drop(why))
        };
        let with_code = |mut datagram: Datagram| {
            datagram.body[1] = 1;
            datagram
        };
        let short = |len| {
            let mut datagram = ask(PEER);
            datagram.body.truncate(len);
            datagram
        };
        vec![
            dropped("a hop limit below 255", ask(PEER).ttl(254), Drop::NeighborMalformed),
            dropped("a code", with_code(ask(PEER)), Drop::NeighborMalformed),
            dropped("23 bytes", short(23), Drop::NeighborMalformed),
            Case::line(
                "23 bytes and padding",
                VIF_A,
                padded(on_vif(VIF_A, &short(23)), 30),
                Want::Drop(Drop::NeighborMalformed),
            ),
            dropped("four bytes", short(4), Drop::NeighborMalformed),
            dropped("three bytes", short(3), Drop::IpTotalLength),
            dropped(
                "a group as the target",
                solicitation(PEER, &group, "ff02::1", &FROM),
                Drop::NeighborMalformed,
            ),
            dropped("a fragment", ask(PEER).fragment(0, true), Drop::NeighborMalformed),
            dropped(
                "an extension header",
                ask(PEER).extension(60, &[0, 1, 4, 0, 0, 0, 0]),
                Drop::NeighborMalformed,
            ),
            dropped(
                "nobody, with a link-layer address",
                solicitation("::", &group, OWN, &FROM),
                Drop::NeighborMalformed,
            ),
            dropped("nobody, to us alone", solicitation("::", OWN, OWN, &[]), Drop::NeighborMalformed),
            dropped("nobody, to all nodes", solicitation("::", "ff02::1", OWN, &[]), Drop::NeighborMalformed),
            dropped("a source from behind the peer", ask("fd00:172:16::5"), Drop::SourceInvalid),
            dropped("a source of nobody", ask("2001:db8::77"), Drop::SourceInvalid),
            dropped("our own address", ask(OWN), Drop::SourceInvalid),
            Case::line(
                "the address of another line's router",
                VIF_B,
                on_vif(
                    VIF_B,
                    &solicitation("fd00:10::1", &solicited_node("fd00:20::2").0, "fd00:20::2", &FROM),
                ),
                Want::Drop(Drop::SourceInvalid),
            ),
            Case::line(
                "for another line's router",
                VIF_B,
                on_vif(
                    VIF_B,
                    &solicitation("fd00:20::1", &solicited_node("fd00:10::1").0, "fd00:10::1", &FROM),
                ),
                Want::Drop(Drop::NeighborNotForUs),
            ),
            dropped("a source that is a group", ask("ff02::9"), Drop::MartianSource),
            dropped(
                "for the peer's address",
                solicitation("fe80::1", &solicited_node(PEER).0, PEER, &FROM),
                Drop::NeighborNotForUs,
            ),
            dropped(
                "for a router address of a VPC",
                solicitation(PEER, &solicited_node(ROUTER).0, ROUTER, &FROM),
                Drop::NeighborNotForUs,
            ),
            dropped(
                "for the link-local address of another port",
                solicitation("fe80::1", &group, &link_local(port_mac(PORT_B)), &FROM),
                Drop::NeighborNotForUs,
            ),
            dropped("the peer over its limit", ask(PEER), Drop::PuntLimit)
                .when(|world| exhaust(world, VifPolicer::PuntNeighbor)),
            dropped("another over the limit of all", ask("fe80::1"), Drop::PuntLimit)
                .when(|world| exhaust(world, VifPolicer::Answer)),
            Case::line(
                "where the answer does not fit",
                VIF_A,
                on_vif(VIF_A, &solicitation(PEER, &group, OWN, &[])),
                Want::Drop(Drop::Headroom),
            )
            .with_room(256, 7)
            .when(|world| world.policers.remove(&vif_policer(VIF_A, VifPolicer::PuntNeighbor))),
            dropped(
                "an advertisement is no question",
                neighbor(PEER, "fd00:1::10", 136, [0; 4], PEER, &[]).ttl(1),
                Drop::TtlExpired,
            ),
        ]
    });
}

/// An answer in the tunnel that the question came by; the inner frame.
fn answered(name: &str, underlay: Underlay, vpc: u32, vtep: usize, inner: &[u8], pad: usize) -> Vec<u8> {
    let world = world(underlay);
    // The asker's UDP checksum is none of ours.
    let packet = tunnelled(underlay, vpc, vtep, inner);
    let at = outer_len(underlay) - 10;
    // What VXLAN reserves is ignored, and never sent.
    let packet = set(set(packet, outer_len(underlay) - 8, &[0xff, 1, 2, 3]), outer_len(underlay) - 1, &[4]);
    // A class and a mark of congestion in the tunnel are none of the answer's.
    let packet = padded(marked(underlay, set(packet, at, &[0x12, 0x34])), pad);
    let mut frame = Frame::new(&packet);
    let outcome = run(Entry::Fabric, &mut frame, &world, FABRIC);
    assert_eq!(outcome.verdict, Verdict::Answer, "{name} ({underlay:?})");
    assert_eq!(outcome.scope, attachment_scope(vpc), "{name}");
    let outer = seen::tunnel(underlay, frame.bytes());
    assert_eq!((outer.to, outer.from), (SPINE, port_mac(FABRIC)), "{name}");
    seen::assert_address(outer.source, underlay.gateway());
    seen::assert_address(outer.destination, &underlay.vtep(vtep));
    assert_eq!(outer.traffic_class, 0, "{name}: never capable of ECN");
    assert_eq!(outer.vni, VNI[vpc as usize], "{name}");
    assert_eq!((world.charged(), world.traffic()), ([].into(), [].into()), "{name}");
    outer.inner.to_vec()
}

#[test]
fn a_vpc_is_told_by_arp_where_its_router_is() {
    for underlay in Underlay::ALL {
        for (name, vpc, vtep, asker, router, to) in [
            ("a host asks all", VPC, 1, "10.1.2.3", "10.1.0.1", MacAddr::BROADCAST),
            ("a host asks again", VPC, 2, "10.1.0.10", "10.1.0.1", router_mac(VPC)),
            ("a host of the nested VPC", NESTED, 3, "10.1.7.9", "10.1.7.1", MacAddr::BROADCAST),
            ("a host of another border gateway", VPC_OTHER, 1, "10.1.2.3", "10.1.0.1", MacAddr::BROADCAST),
        ] {
            let question = arp(1, (HOST, asker), (NOBODY, router));
            let inner = answered(name, underlay, vpc, vtep, &ethernet(to, HOST, &[], 0x0806, &question), 0);
            let seen = seen::frame(&inner);
            assert_eq!((seen.to, seen.from, seen.ether_type), (HOST, router_mac(vpc), 0x0806), "{name}");
            let reply = ArpPacket::from_slice(seen.payload).unwrap().try_eth_ipv4().unwrap();
            assert_eq!(reply.operation, ArpOperation::REPLY, "{name}");
            assert_eq!((reply.sender_mac, reply.target_mac), (router_mac(vpc).0, HOST.0), "{name}");
            seen::assert_address(reply.sender_ipv4.into(), router);
            seen::assert_address(reply.target_ipv4.into(), asker);
        }
    }
}

#[test]
fn nobody_is_told_who_has_the_address_of_a_group() {
    const GROUPS: [MacAddr; 2] = [MacAddr::BROADCAST, MacAddr([1, 0, 0x5e, 0, 0, 1])];
    check(|underlay| {
        let rows = GROUPS.into_iter().flat_map(|group| {
            let on_line = |name, sender| {
                let question = arp(1, (group, sender), (NOBODY, "169.254.10.2"));
                let frame = tagged(port_mac(PORT_A), tags(VIF_A), 0x0806, &question);
                Case::line(name, VIF_A, frame, Want::Drop(Drop::GroupSource))
            };
            let question = ethernet(
                router_mac(VPC),
                HOST,
                &[],
                0x0806,
                &arp(1, (group, "10.1.2.3"), (NOBODY, "10.1.0.1")),
            );
            let in_vpc = tunnelled(underlay, VPC, 1, &question);
            [
                on_line("a peer", "169.254.10.1"),
                on_line("a host behind the peer", "172.16.0.9"),
                Case::fabric("a host of a VPC", VPC, in_vpc, Want::Drop(Drop::GroupSource)),
            ]
        });
        rows.collect()
    });
}

#[test]
fn without_validation_any_host_is_told_by_arp_where_we_are() {
    check(|_| {
        let row = |name, vif, sender, answered: bool| {
            let own = if vif == VIF_B { "169.254.20.2" } else { "169.254.10.2" };
            let mac = port_mac(vif_port(vif));
            let frame = |to, question: Vec<u8>| ethernet(to, CUSTOMER, tags(vif), 0x0806, &question);
            let question = frame(mac, arp(1, (CUSTOMER, sender), (NOBODY, own)));
            let reply = ethernet(CUSTOMER, mac, tags(vif), 0x0806, &arp(2, (mac, own), (CUSTOMER, sender)));
            let want = if answered { Want::Answer(reply) } else { Want::Drop(Drop::ArpStranger) };
            Case::line(name, vif, question, want)
        };
        vec![
            row("any host", VIF_B, "198.51.100.7", true),
            row("nobody", VIF_B, "0.0.0.0", false),
            row("a group", VIF_B, "224.0.0.1", false),
            row("a host of a VPC", VIF_B, "10.1.2.3", false),
            row("another line's router", VIF_B, "169.254.10.1", false),
            row("another address of the link", VIF_B, "169.254.20.3", false),
            row("any host, with validation", VIF_A, "198.51.100.7", false),
        ]
    });
}

#[test]
fn a_vpc_is_told_by_neighbour_discovery_where_its_router_is() {
    let (group, group_mac) = solicited_node(ROUTER);
    for underlay in Underlay::ALL {
        for (name, question, to, pad) in [
            ("a host asks", solicitation(INSIDE, &group, ROUTER, &FROM), INSIDE, 0),
            ("without an option the answer is longer", solicitation(INSIDE, &group, ROUTER, &[]), INSIDE, 0),
            (
                "with two the answer is shorter",
                solicitation(INSIDE, &group, ROUTER, &[FROM, NONCE].concat()),
                INSIDE,
                0,
            ),
            ("behind the outer packet there is more", solicitation(INSIDE, &group, ROUTER, &[]), INSIDE, 5),
            ("a link-local address asks", solicitation("fe80::5", &group, ROUTER, &FROM), "fe80::5", 0),
            (
                "a traffic class stays behind",
                solicitation(INSIDE, &group, ROUTER, &FROM).traffic_class(0xbb),
                INSIDE,
                0,
            ),
            ("somebody wants the address", solicitation("::", &group, ROUTER, &[]), "ff02::1", 0),
            ("Linux wants the address", solicitation("::", &group, ROUTER, &NONCE), "ff02::1", 0),
        ] {
            let inner = answered(name, underlay, VPC, 2, &inner_to(group_mac, &question), pad);
            let seen = seen::frame(&inner);
            assert_eq!(seen.to, if to == "ff02::1" { ALL_NODES } else { HOST }, "{name}");
            assert_eq!(seen.from, router_mac(VPC), "{name}");
            let want = Advertised { target: ROUTER, mac: router_mac(VPC), to, solicited: to != "ff02::1" };
            assert_advertised(name, seen.payload, &want);
        }
        let padded_inner = padded(inner_to(group_mac, &solicitation(INSIDE, &group, ROUTER, &[])), 9);
        let inner = answered("the inner frame is padded", underlay, VPC, 1, &padded_inner, 3);
        let want = Advertised { target: ROUTER, mac: router_mac(VPC), to: INSIDE, solicited: true };
        assert_advertised("the inner frame is padded", seen::frame(&inner).payload, &want);
    }
}

#[test]
fn a_vpc_that_asks_wrongly_is_not_told() {
    check(|underlay| {
        let (group, group_mac) = solicited_node(ROUTER);
        let asked = |name, packet: &[u8], why| {
            let inner = ethernet(MacAddr::BROADCAST, HOST, &[], 0x0806, packet);
            Case::fabric(name, VPC, tunnelled(underlay, VPC, 1, &inner), Want::Drop(why))
        };
        let solicited = |name, datagram: Datagram, why| {
            Case::fabric(
                name,
                VPC,
                tunnelled(underlay, VPC, 1, &inner_to(group_mac, &datagram)),
                Want::Drop(why),
            )
        };
        let request = |from: &str, target: &str| arp(1, (HOST, from), (NOBODY, target));
        let ask = |source: &str| solicitation(source, &group, ROUTER, &FROM);
        let sound = request("10.1.2.3", "10.1.0.1");
        vec![
            asked("for another host", &request("10.1.2.3", "10.1.2.4"), Drop::NeighborNotForUs),
            asked("for the router of another VPC", &request("10.1.2.3", "10.1.7.1"), Drop::NeighborNotForUs),
            asked(
                "a reply",
                &arp(2, (HOST, "10.1.2.3"), (router_mac(VPC), "10.1.0.1")),
                Drop::NeighborNotForUs,
            ),
            asked("a sender of another VPC", &request("10.1.7.9", "10.1.0.1"), Drop::ArpStranger),
            asked("a sender of nowhere", &request("9.9.9.9", "10.1.0.1"), Drop::ArpStranger),
            asked("the router's address as the sender", &request("10.1.0.1", "10.1.0.1"), Drop::ArpStranger),
            asked("a probe", &request("0.0.0.0", "10.1.0.1"), Drop::ArpStranger),
            asked("27 bytes", &sound[..27], Drop::Truncated),
            asked("another hardware", &set(sound.clone(), 0, &[0, 6]), Drop::ArpMalformed),
            Case::fabric(
                "an ARP packet that only padding makes whole",
                VPC,
                {
                    let short = tunnelled(
                        underlay,
                        VPC,
                        1,
                        &ethernet(MacAddr::BROADCAST, HOST, &[], 0x0806, &sound[..20]),
                    );
                    [&short[..], &sound[20..]].concat()
                },
                Want::Drop(Drop::Truncated),
            ),
            solicited("a hop limit below 255", ask(INSIDE).ttl(64), Drop::NeighborMalformed),
            solicited("a source of another VPC", ask("fd00:1:0:7::9"), Drop::SourceInvalid),
            solicited("the router's address as the source", ask(ROUTER), Drop::SourceInvalid),
            solicited(
                "for another host",
                solicitation(INSIDE, &group, "fd00:1::34", &FROM),
                Drop::NeighborNotForUs,
            ),
            solicited(
                "for the router of another VPC",
                solicitation(INSIDE, &group, "fd00:1:0:7::1", &FROM),
                Drop::NeighborNotForUs,
            ),
            solicited(
                "nobody, with a link-layer address",
                solicitation("::", &group, ROUTER, &FROM),
                Drop::NeighborMalformed,
            ),
            solicited(
                "an extension header",
                ask(INSIDE).extension(0, &[0, 1, 4, 0, 0, 0, 0]),
                Drop::NeighborMalformed,
            ),
            solicited(
                "where the answer does not fit",
                solicitation(INSIDE, &group, ROUTER, &[]),
                Drop::Headroom,
            )
            .with_room(256, 7),
        ]
    });
}
