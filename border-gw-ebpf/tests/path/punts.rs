//! What is handed to the kernel, through which limiter, and what is refused on the way there.

use border_gw_common::abi::{AttachmentPolicer, VifPolicer, attachment_policer, vif_policer};
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::{DropReason as Drop, Verdict};
use border_gw_ebpf::policer::policer;

use crate::errors::speak;
use crate::support::case::{Case, Want, check, run};
use crate::support::datagram::{Datagram, icmp, neighbor, transport, udp};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::send::{in_vpc, inner, on_vif, on_vif_to, tagged, tunnelled};
use crate::support::wire::{arp, ether_type, ethernet, padded};
use crate::support::world::{
    CUSTOMER, FABRIC, PORT_A, Underlay, VIF_A, VIF_B, VIF_OTHER, VPC, VPC_OTHER, port_mac, tags, vif_port,
    vif_veth, vpc_veth, world,
};
use border_gw_common::abi::Entry;

const OWN: &str = "169.254.10.2";
const PEER: &str = "169.254.10.1";
const STRANGER: &str = "169.254.10.3";
const INSIDE: &str = "172.16.0.5";
const OWN_V6: &str = "fd00:10::2";
const PEER_V6: &str = "fd00:10::1";
const STRANGER_V6: &str = "fd00:10::3";
const NOBODY: MacAddr = MacAddr([0; 6]);

/// The link-local address of the line port that the first VIF is on.
fn own_link_local() -> String {
    std::net::Ipv6Addr::from(port_mac(PORT_A).link_local()).to_string()
}

/// What reaches the kernel: the frame without its tags.
fn untagged(destination: MacAddr, packet: &[u8]) -> Vec<u8> {
    ethernet(destination, CUSTOMER, &[], ether_type(packet), packet)
}

#[test]
fn the_gateways_own_traffic_reaches_the_kernel() {
    check(|underlay| {
        let punted = |name, vif, datagram: Datagram| {
            let want = untagged(port_mac(vif_port(vif)), &datagram.bytes());
            Case::line(name, vif, on_vif(vif, &datagram), Want::Punt(vif_veth(vif), want))
        };
        let group = |name, mac: [u8; 6], datagram: Datagram| {
            let want = untagged(MacAddr(mac), &datagram.bytes());
            Case::line(
                name,
                VIF_A,
                on_vif_to(MacAddr(mac), VIF_A, &datagram),
                Want::Punt(vif_veth(VIF_A), want),
            )
        };
        let dropped = |name, datagram: Datagram, why| {
            Case::line(name, VIF_A, on_vif(VIF_A, &datagram), Want::Drop(why))
        };
        let from_vpc = |name, vpc, vtep, datagram: Datagram| {
            let want = Want::Punt(vpc_veth(vpc), inner(vpc, &datagram));
            Case::fabric(name, vpc, in_vpc(underlay, vpc, vtep, &datagram), want)
        };
        let bgp = || transport(PEER, OWN, 6, 40_000, 179);
        let local = own_link_local();
        vec![
            punted("BGP from the peer", VIF_A, bgp()),
            punted(
                "BGP by IPv6, and two tags come off",
                VIF_OTHER,
                transport(PEER_V6, OWN_V6, 6, 179, 40_000),
            ),
            punted("a ping from behind the peer", VIF_A, icmp(INSIDE, OWN, 8, &[0; 60])),
            punted("a TTL of 1 is enough for us", VIF_A, bgp().ttl(1)),
            punted("a TTL of 0, too", VIF_A, bgp().ttl(0)),
            punted("a fragment", VIF_A, bgp().fragment(0, true)),
            punted("the address of another VIF", VIF_A, icmp(PEER, "169.254.20.2", 8, &[0; 60])),
            punted("a router address of a VPC", VIF_A, icmp(INSIDE, "10.1.0.1", 8, &[0; 60])),
            punted(
                "from anybody where sources are not validated",
                VIF_B,
                icmp("198.51.100.7", "169.254.20.2", 8, &[0; 60]),
            ),
            punted(
                "a neighbour advertisement",
                VIF_A,
                neighbor(PEER_V6, OWN_V6, 136, [0x60, 0, 0, 0], PEER_V6, &[2, 1, 2, 0, 0, 0xc, 0, 1]),
            ),
            punted(
                "a neighbour advertisement about the peer, from its link-local address",
                VIF_A,
                neighbor("fe80::1", &local, 136, [0x60, 0, 0, 0], PEER_V6, &[]),
            ),
            group(
                "OSPF hello",
                [1, 0, 0x5e, 0, 0, 5],
                Datagram::new(PEER, "224.0.0.5", 89, vec![2, 1, 0, 44]),
            ),
            group(
                "an echo of the peer to all nodes",
                [0x33, 0x33, 0, 0, 0, 1],
                icmp(PEER_V6, "ff02::1", 128, &[0; 60]),
            ),
            group(
                "an advertisement to all, about the peer",
                [0x33, 0x33, 0, 0, 0, 1],
                neighbor("fe80::1", "ff02::1", 136, [0x20, 0, 0, 0], PEER_V6, &[]),
            ),
            dropped("a spoofed source to a link's group", udp("10.9.9.9", "224.0.0.1"), Drop::SourceInvalid),
            dropped("another host of the link", icmp(STRANGER, OWN, 8, &[0; 60]), Drop::StrangerOnLink),
            dropped(
                "another host of the link by IPv6",
                icmp(STRANGER_V6, OWN_V6, 128, &[0; 60]),
                Drop::StrangerOnLink,
            ),
            dropped(
                "BGP of another host of the link",
                transport(STRANGER, OWN, 6, 40_000, 179),
                Drop::StrangerOnLink,
            ),
            dropped(
                "a ping to our link-local address",
                icmp("fe80::1", &local, 128, &[0; 60]),
                Drop::LinkLocalSource,
            ),
            dropped(
                "a ping from a link-local address",
                icmp("fe80::1", OWN_V6, 128, &[0; 60]),
                Drop::LinkLocalSource,
            ),
            dropped("a spoofed ping", icmp("10.1.0.10", OWN, 8, &[0; 60]), Drop::SourceInvalid),
            Case::line(
                "a ping of a VPC's address, where sources are not validated",
                VIF_B,
                on_vif(VIF_B, &icmp("10.1.0.10", "169.254.20.2", 8, &[0; 60])),
                Want::Drop(Drop::SourceInvalid),
            ),
            dropped("our own address to ourselves", icmp(OWN, OWN, 8, &[0; 60]), Drop::MartianSource)
                .when(speak),
            from_vpc("a ping to the router", VPC, 1, icmp("10.1.2.3", "10.1.0.1", 8, &[0; 60])),
            from_vpc(
                "an IPv6 ping to the router",
                VPC_OTHER,
                1,
                icmp("fd00:1::33", "fd00:1::1", 128, &[0; 60]),
            ),
            from_vpc("a ping to a VIF's own address", VPC, 2, icmp("10.1.2.3", OWN, 8, &[0; 60]).ttl(1)),
            from_vpc(
                "a ping to the router of another VPC",
                VPC,
                1,
                icmp("10.1.2.3", "10.1.7.1", 8, &[0; 60]),
            ),
            Case::fabric(
                "what stands behind the outer packet is cut",
                VPC,
                padded(in_vpc(underlay, VPC, 1, &icmp("10.1.2.3", "10.1.0.1", 8, &[0; 60])), 5),
                Want::Punt(vpc_veth(VPC), inner(VPC, &icmp("10.1.2.3", "10.1.0.1", 8, &[0; 60]))),
            ),
        ]
    });
}

#[test]
fn a_group_of_the_link_is_reached_by_peers_alone() {
    check(|_| {
        let to = |name, vif, mac: [u8; 6], datagram: Datagram, why| {
            Case::line(name, vif, on_vif_to(MacAddr(mac), vif, &datagram), Want::Drop(why))
        };
        let v4 = |name, vif, datagram, why| to(name, vif, [1, 0, 0x5e, 0, 0, 1], datagram, why);
        let v6 = |name, datagram, why| to(name, VIF_A, [0x33, 0x33, 0, 0, 0, 1], datagram, why);
        let echo = |source| icmp(source, "ff02::1", 128, &[0; 60]);
        // An option that asks for a parameter problem, also when it was sent to a group.
        let unknown_option = |source| echo(source).extension(60, &[0, 0x80 | 0x1e, 4, 0, 0, 0, 0]);
        vec![
            v4("another host of the link", VIF_A, udp(STRANGER, "224.0.0.1"), Drop::StrangerOnLink),
            v4("a host behind the peer", VIF_A, udp(INSIDE, "224.0.0.1"), Drop::StrangerOnLink),
            v4(
                "a host of nowhere, where sources are not validated",
                VIF_B,
                udp("198.51.100.7", "224.0.0.1"),
                Drop::StrangerOnLink,
            ),
            v4("an address of our own", VIF_A, udp(OWN, "224.0.0.1"), Drop::MartianSource),
            v6("an echo of another host of the link", echo(STRANGER_V6), Drop::StrangerOnLink),
            v6("an echo from behind the peer", echo("fd00:172:16::5"), Drop::StrangerOnLink),
            v6("an echo of a link-local address", echo("fe80::1"), Drop::LinkLocalSource),
            v6("an unknown option of another host", unknown_option(STRANGER_V6), Drop::StrangerOnLink),
            v6("an unknown option of a link-local address", unknown_option("fe80::1"), Drop::LinkLocalSource),
            v6("a router solicitation", icmp("fe80::1", "ff02::2", 133, &[0; 4]), Drop::LinkLocalSource),
            v6(
                "the rest of an advertisement is none",
                neighbor("fe80::1", "ff02::1", 136, [0; 4], PEER_V6, &[]).fragment(1, false),
                Drop::LinkLocalSource,
            ),
        ]
    });
}

#[test]
fn an_advertisement_is_about_a_peer_or_refused() {
    check(|_| {
        let dropped = |name, datagram: Datagram, why| {
            Case::line(name, VIF_A, on_vif(VIF_A, &datagram), Want::Drop(why))
        };
        let about = |target| neighbor("fe80::1", OWN_V6, 136, [0x60, 0, 0, 0], target, &[]);
        let sound = || about(PEER_V6);
        let of_len = |len| {
            let mut datagram = sound();
            datagram.body.truncate(len);
            datagram
        };
        let with_code = || {
            let mut datagram = sound();
            datagram.body[1] = 1;
            datagram
        };
        vec![
            dropped("a link-local address", about("fe80::1"), Drop::StrangerOnLink),
            dropped("another host of the link", about(STRANGER_V6), Drop::StrangerOnLink),
            dropped("a host behind the peer", about("fd00:172:16::5"), Drop::StrangerOnLink),
            dropped("our own address", about(OWN_V6), Drop::StrangerOnLink),
            dropped("an address of nowhere", about("2001:db8::7"), Drop::StrangerOnLink),
            dropped(
                "another host of the link, which tells all",
                neighbor(STRANGER_V6, "ff02::1", 136, [0x20, 0, 0, 0], STRANGER_V6, &[]),
                Drop::StrangerOnLink,
            ),
            dropped(
                "another host of the link, which the peer tells",
                neighbor(PEER_V6, OWN_V6, 136, [0x60, 0, 0, 0], STRANGER_V6, &[]),
                Drop::StrangerOnLink,
            ),
            dropped("a group", about("ff02::1"), Drop::NeighborMalformed),
            dropped("the peer, by a router", sound().ttl(254), Drop::NeighborMalformed),
            dropped("the peer, with a code", with_code(), Drop::NeighborMalformed),
            dropped("the peer, in 23 bytes", of_len(23), Drop::NeighborMalformed),
            Case::line(
                "the peer, in 23 bytes and padding",
                VIF_A,
                padded(on_vif(VIF_A, &of_len(23)), 30),
                Want::Drop(Drop::NeighborMalformed),
            ),
            dropped("the peer, in a fragment", sound().fragment(0, true), Drop::NeighborMalformed),
            dropped(
                "the peer, behind an option that the kernel would complain about",
                sound().extension(60, &[0, 0x80 | 0x1e, 4, 0, 0, 0, 0]),
                Drop::NeighborMalformed,
            ),
            dropped(
                "a spoofed source",
                neighbor("2001:db8::7", OWN_V6, 136, [0; 4], PEER_V6, &[]),
                Drop::SourceInvalid,
            ),
        ]
    });
}

#[test]
fn arp_reaches_the_kernel_from_peers_alone() {
    check(|underlay| {
        let frame = |to: MacAddr, vif: u32, packet: &[u8]| tagged(to, tags(vif), 0x0806, packet);
        let request = |from: &str| arp(1, (CUSTOMER, from), (NOBODY, OWN));
        let punted = |name, to: MacAddr, vif, packet: &[u8]| {
            let want = ethernet(to, CUSTOMER, &[], 0x0806, packet);
            Case::line(name, vif, frame(to, vif, packet), Want::Punt(vif_veth(vif), want))
        };
        let dropped = |name, packet: Vec<u8>, why| {
            Case::line(name, VIF_A, frame(MacAddr::BROADCAST, VIF_A, &packet), Want::Drop(why))
        };
        let with = |at: usize, to: &[u8]| crate::support::wire::set(request(PEER), at, to);
        let all = MacAddr::BROADCAST;
        let _ = underlay;
        vec![
            punted("a request of the peer", all, VIF_A, &request(PEER)),
            punted("a request with two tags", all, VIF_OTHER, &request(PEER)),
            punted(
                "a reply of the peer",
                port_mac(PORT_A),
                VIF_A,
                &arp(2, (CUSTOMER, PEER), (port_mac(PORT_A), OWN)),
            ),
            punted("with its padding", all, VIF_A, &padded(request(PEER), 18)),
            dropped("a request of another host of the link", request(STRANGER), Drop::ArpStranger),
            dropped("a request with our own address", request(OWN), Drop::ArpStranger),
            dropped(
                "a reply from behind the peer",
                arp(2, (CUSTOMER, INSIDE), (NOBODY, OWN)),
                Drop::ArpStranger,
            ),
            dropped(
                "a request from behind the peer for another's address",
                arp(1, (CUSTOMER, INSIDE), (NOBODY, STRANGER)),
                Drop::ArpStranger,
            ),
            dropped("a request of nobody", request("203.0.113.1"), Drop::ArpStranger),
            dropped("a probe", request("0.0.0.0"), Drop::ArpStranger),
            Case::line(
                "where sources are not validated, too",
                VIF_B,
                tagged(
                    all,
                    tags(VIF_B),
                    0x0806,
                    &arp(1, (CUSTOMER, "169.254.20.3"), (NOBODY, "169.254.20.2")),
                ),
                Want::Drop(Drop::ArpStranger),
            ),
            Case::line(
                "a request with an address of a VPC",
                VIF_B,
                tagged(all, tags(VIF_B), 0x0806, &arp(1, (CUSTOMER, "10.1.2.3"), (NOBODY, "169.254.20.2"))),
                Want::Drop(Drop::ArpStranger),
            ),
            Case::line(
                "a request for an address of a VPC",
                VIF_B,
                tagged(all, tags(VIF_B), 0x0806, &arp(1, (CUSTOMER, "172.17.0.5"), (NOBODY, "10.1.0.1"))),
                Want::Drop(Drop::ArpStranger),
            ),
            dropped("a packet of 27 bytes", request(PEER)[..27].to_vec(), Drop::Truncated),
            dropped("another hardware", with(0, &[0, 6]), Drop::ArpMalformed),
            dropped("another protocol", with(2, &[0x86, 0xdd]), Drop::ArpMalformed),
            dropped("long hardware addresses", with(4, &[8]), Drop::ArpMalformed),
            dropped("long protocol addresses", with(5, &[16]), Drop::ArpMalformed),
            dropped("a reverse request", with(6, &[0, 3]), Drop::ArpMalformed),
            dropped("no operation", with(6, &[0, 0]), Drop::ArpMalformed),
            Case::line(
                "to another's Ethernet address",
                VIF_A,
                frame(CUSTOMER, VIF_A, &request(PEER)),
                Want::Drop(Drop::WrongMac),
            ),
        ]
    });
}

#[test]
fn a_request_from_behind_the_peer_is_answered_without_the_kernel() {
    check(|_| {
        let request = arp(1, (CUSTOMER, INSIDE), (NOBODY, OWN));
        let reply = arp(2, (port_mac(PORT_A), OWN), (CUSTOMER, INSIDE));
        let question = tagged(MacAddr::BROADCAST, tags(VIF_A), 0x0806, &request);
        let answer = ethernet(CUSTOMER, port_mac(PORT_A), tags(VIF_A), 0x0806, &reply);
        vec![
            Case::line("Linux with arp_announce 0", VIF_A, question.clone(), Want::Answer(answer)),
            Case::line("over the limit", VIF_A, question, Want::Drop(Drop::PuntLimit)).when(|world| {
                world.policers.insert(vif_policer(VIF_A, VifPolicer::Answer), policer(8, 0));
            }),
        ]
    });
}

#[test]
fn every_class_has_its_own_limiter() {
    use VifPolicer::{PuntBfd, PuntControl, PuntNeighbor, PuntOpen, PuntRest};
    let request = tagged(MacAddr::BROADCAST, tags(VIF_A), 0x0806, &arp(1, (CUSTOMER, PEER), (NOBODY, OWN)));
    let tcp = |from, to| on_vif(VIF_A, &transport(PEER, OWN, 6, from, to));
    let udp_of_ttl = |to, ttl| on_vif(VIF_A, &transport(PEER, OWN, 17, 49_152, to).ttl(ttl));
    let from_peer = |to| udp_of_ttl(to, 255);
    let flags = |mut segment: Datagram, flags: u8| {
        segment.body[13] = flags;
        on_vif(VIF_A, &segment)
    };
    let rows: [(&str, Vec<u8>, VifPolicer); 23] = [
        ("a SYN of BGP", tcp(40_000, 179), PuntOpen),
        ("a SYN from BGP's port", tcp(179, 40_000), PuntOpen),
        ("a SYN of BGP by IPv6", on_vif(VIF_A, &transport(PEER_V6, OWN_V6, 6, 40_000, 179)), PuntOpen),
        ("a segment of BGP", flags(transport(PEER, OWN, 6, 40_000, 179), 0x18), PuntControl),
        (
            "a segment of a session that we opened",
            flags(transport(PEER, OWN, 6, 179, 40_000), 0x10),
            PuntControl,
        ),
        ("the answer to our SYN", flags(transport(PEER, OWN, 6, 179, 40_000), 0x12), PuntControl),
        ("a segment of BGP by IPv6", flags(transport(PEER_V6, OWN_V6, 6, 40_000, 179), 0x10), PuntControl),
        ("BFD", from_peer(3784), PuntBfd),
        ("BFD that was forwarded", udp_of_ttl(3784, 254), PuntRest),
        ("BFD over many hops", from_peer(4784), PuntRest),
        ("UDP to BGP's port", from_peer(179), PuntRest),
        ("TCP to BFD's port", tcp(40_000, 3784), PuntRest),
        ("a fragment of BGP", on_vif(VIF_A, &transport(PEER, OWN, 6, 1, 179).fragment(0, true)), PuntRest),
        ("BGP from behind the peer", on_vif(VIF_A, &transport(INSIDE, OWN, 6, 1, 179)), PuntRest),
        (
            "BGP to another VIF's address",
            on_vif(VIF_A, &transport(PEER, "169.254.20.2", 6, 1, 179)),
            PuntRest,
        ),
        ("BGP to a router of a VPC", on_vif(VIF_A, &transport(PEER, "10.1.0.1", 6, 1, 179)), PuntRest),
        (
            "a TCP packet whose ports are padding",
            padded(on_vif(VIF_A, &Datagram::new(PEER, OWN, 6, vec![0, 179])), 24),
            PuntRest,
        ),
        ("a ping of the peer", on_vif(VIF_A, &icmp(PEER, OWN, 8, &[0; 60])), PuntRest),
        ("OSPF", on_vif(VIF_A, &Datagram::new(PEER, "224.0.0.5", 89, vec![0; 40])), PuntRest),
        ("a router solicitation", on_vif(VIF_A, &icmp(PEER_V6, "ff02::2", 133, &[0; 4])), PuntRest),
        ("ARP", request, PuntNeighbor),
        (
            "a neighbour advertisement about the peer",
            on_vif(VIF_A, &neighbor("fe80::1", "ff02::1", 136, [0; 4], PEER_V6, &[])),
            PuntNeighbor,
        ),
        (
            "a neighbour advertisement of the peer",
            on_vif(VIF_A, &neighbor(PEER_V6, OWN_V6, 136, [0; 4], PEER_V6, &[])),
            PuntNeighbor,
        ),
    ];
    for (name, packet, class) in rows {
        only_this_limiter(name, Entry::Line, PORT_A, &packet, vif_policer(VIF_A, class));
    }
    let router = in_vpc(Underlay::V4, VPC, 1, &icmp("10.1.2.3", "10.1.0.1", 8, &[0; 60]));
    only_this_limiter(
        "a ping from a VPC",
        Entry::Fabric,
        FABRIC,
        &router,
        attachment_policer(VPC, AttachmentPolicer::Punt),
    );
}

/// A packet is charged to one limiter as one packet, passes when all others are exhausted, and is refused when it is.
fn only_this_limiter(name: &str, entry: Entry, ifindex: u32, packet: &[u8], limiter: u32) {
    let exhausted = policer(8, 0);
    let others = |world: &mut Memory| {
        for (index, policer) in &mut world.policers {
            *policer = if *index == limiter { self::policer(8, 1) } else { exhausted };
        }
    };
    let mut world = world(Underlay::V4);
    others(&mut world);
    let first = run(entry, &mut Frame::new(packet), &world, ifindex).verdict;
    assert!(matches!(first, Verdict::Punt(_)), "{name}: {first:?}");
    assert_eq!(world.charged().into_keys().collect::<Vec<_>>(), [limiter], "{name}");
    let mut frame = Frame::new(packet);
    assert_eq!(run(entry, &mut frame, &world, ifindex).verdict, Verdict::Drop(Drop::PuntLimit), "{name}");
    assert_eq!(frame.bytes(), packet, "{name}");
    // One packet a second.
    world.clock.set(world.clock.get() + 1_000_000_000);
    let later = run(entry, &mut Frame::new(packet), &world, ifindex).verdict;
    assert_eq!(later, first, "{name}");
}

#[test]
fn what_does_not_fit_is_not_handed_over() {
    let ping = icmp("10.1.2.3", "10.1.0.1", 8, &[]);
    let frame = tunnelled(Underlay::V4, VPC, 1, &inner(VPC, &ping));
    let world = world(Underlay::V4);
    for len in 0..frame.len() {
        let outcome = run(Entry::Fabric, &mut Frame::new(&frame[..len]), &world, FABRIC);
        assert!(
            matches!(outcome.verdict, Verdict::Pass | Verdict::Drop(Drop::VxlanMalformed)),
            "{len}: {outcome:?}"
        );
    }
}
