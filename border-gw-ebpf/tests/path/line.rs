//! What the program `line` does with frames from customers' lines.

use border_gw_common::abi::VIF_TRANSIT;
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason as Drop;

use crate::support::case::{Case, Want, check};
use crate::support::datagram::{Datagram, icmp, neighbor, transport, udp, with_checksum};
use crate::support::memory::Memory;
use crate::support::send::{on_vif, on_vif_to, tagged};
use crate::support::wire::{arp, padded, set};
use crate::support::world::{
    CUSTOMER, NESTED, PORT_A, PORT_B, VIF_A, VIF_B, VIF_DOWN, VIF_OTHER, VPC, VPC_OTHER, port_mac, tags,
};

pub(crate) const INSIDE: &str = "172.16.0.5";
pub(crate) const INSIDE_V6: &str = "fd00:172:16::5";
const GROUP_MAC: MacAddr = MacAddr([1, 0, 0x5e, 1, 1, 1]);

pub(crate) fn sound() -> Datagram {
    udp(INSIDE, "10.1.0.10")
}

pub(crate) fn sound_v6() -> Datagram {
    udp(INSIDE_V6, "fd00:1::10")
}

#[test]
fn frames_are_sorted_by_tags_and_addresses() {
    let dropped = |name, packet: Vec<u8>, why| Case::line(name, VIF_A, packet, Want::Drop(why));
    let with_tags = |tags: &[u8]| tagged(port_mac(PORT_A), tags, 0x0800, &sound().bytes());
    check(|_| {
        let control = |last: u8, ether_type, payload: &[u8]| {
            tagged(MacAddr([1, 0x80, 0xc2, 0, 0, last]), &[], ether_type, payload)
        };
        let passed = |name, packet: Vec<u8>| Case::line(name, VIF_A, packet, Want::Pass).of_nobody();
        let untagged = |name, packet: Vec<u8>| dropped(name, packet, Drop::Untagged).of_nobody();
        let beyond = tagged(MacAddr([1, 0x80, 0xc2, 0, 0, 0x10]), &[], 0x88cc, &[0; 46]);
        let tagged_lldp = tagged(MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]), &[0x81, 0, 3, 0xe7], 0x88cc, &[0; 46]);
        let whole = on_vif(VIF_A, &sound());
        vec![
            dropped("a frame of 13 bytes", whole[..13].to_vec(), Drop::Truncated).of_nobody(),
            dropped("a frame that ends in its tag", whole[..17].to_vec(), Drop::Truncated).of_nobody(),
            dropped(
                "a frame that ends in its second tag",
                on_vif(VIF_OTHER, &sound())[..21].to_vec(),
                Drop::Truncated,
            )
            .of_nobody(),
            dropped("a frame that ends in its IPv4 header", whole[..18 + 19].to_vec(), Drop::Truncated),
            dropped(
                "a frame that ends in its IPv6 header",
                on_vif(VIF_A, &sound_v6())[..18 + 39].to_vec(),
                Drop::Truncated,
            ),
            passed("spanning tree is the kernel's", control(0, 0x0026, &[0x42; 46])),
            passed("LACP is the kernel's", control(2, 0x8809, &[1; 110])),
            passed("EAPOL is the kernel's", control(3, 0x888e, &[1; 46])),
            passed("LLDP is the kernel's", control(0x0e, 0x88cc, &[0; 46])),
            passed("fault management is the kernel's", control(0x0f, 0x8902, &[1; 46])),
            passed("the largest length is no type", control(0, 0x05ff, &[0x42; 1535])),
            untagged("the smallest type is no length", control(0, 0x0600, &[0; 46])),
            untagged("LLC to ourselves", tagged(port_mac(PORT_A), &[], 0x0026, &[0x42; 46])),
            untagged("LLDP to ourselves", tagged(port_mac(PORT_A), &[], 0x88cc, &[0; 46])),
            untagged("IPv4 as link control", control(0, 0x0800, &sound().bytes())),
            untagged(
                "a router advertisement as link control",
                control(0x0e, 0x86dd, &icmp("fe80::1", "ff02::1", 134, &[0; 12]).ttl(255).bytes()),
            ),
            untagged(
                "ARP as link control",
                control(2, 0x0806, &arp(1, (CUSTOMER, "169.254.10.1"), (MacAddr([0; 6]), "169.254.10.2"))),
            ),
            dropped("a group that bridges forward is not", beyond, Drop::Untagged).of_nobody(),
            dropped("link control has no tag", tagged_lldp, Drop::UnknownVlan).of_nobody(),
            dropped("no tag", with_tags(&[]), Drop::Untagged).of_nobody(),
            dropped("a priority tag", with_tags(&[0x81, 0, 0xe0, 0]), Drop::UnknownVlan).of_nobody(),
            dropped("a tag of nobody", with_tags(&[0x81, 0, 3, 0xe7]), Drop::UnknownVlan).of_nobody(),
            dropped("the right tag under another TPID", with_tags(&[0x88, 0xa8, 0, 100]), Drop::UnknownVlan)
                .of_nobody(),
            dropped("the right tag on another port", on_vif(VIF_OTHER, &sound()), Drop::UnknownVlan)
                .on_port(PORT_B)
                .of_nobody(),
            dropped(
                "one more tag than the VIF has",
                with_tags(&[0x81, 0, 0, 100, 0x81, 0, 0, 7]),
                Drop::UnknownVlan,
            )
            .of_nobody(),
            dropped("one tag less", with_tags(&[0x88, 0xa8, 0, 200]), Drop::UnknownVlan).of_nobody(),
            dropped("an inner priority tag", with_tags(&[0x81, 0, 0, 100, 0x81, 0, 0, 0]), Drop::UnknownVlan)
                .of_nobody(),
            Case::line(
                "a third tag",
                VIF_OTHER,
                tagged(
                    port_mac(PORT_A),
                    &[tags(VIF_OTHER), &[0x81, 0, 0, 7]].concat(),
                    0x0800,
                    &sound().bytes(),
                ),
                Want::Drop(Drop::EtherType),
            ),
            Case::line("a VIF that is down", VIF_DOWN, on_vif(VIF_DOWN, &sound()), Want::Drop(Drop::VifDown)),
            dropped("a VIF without its record", whole.clone(), Drop::UnknownVlan)
                .when(|world| world.vifs.remove(&VIF_A))
                .of_nobody(),
            dropped(
                "another's Ethernet address",
                on_vif_to(port_mac(PORT_B), VIF_A, &sound()),
                Drop::WrongMac,
            ),
            dropped("from a group's Ethernet address", set(whole.clone(), 6, &[3]), Drop::GroupSource),
            dropped(
                "ARP from broadcast",
                set(
                    tagged(
                        MacAddr::BROADCAST,
                        tags(VIF_A),
                        0x0806,
                        &arp(1, (CUSTOMER, "169.254.10.1"), (MacAddr([0; 6]), "169.254.10.2")),
                    ),
                    6,
                    &[0xff; 6],
                ),
                Drop::GroupSource,
            ),
            dropped("IPX", tagged(port_mac(PORT_A), tags(VIF_A), 0x8137, &[0; 46]), Drop::EtherType),
            dropped(
                "an LLC length",
                tagged(port_mac(PORT_A), tags(VIF_A), 0x0026, &[0; 46]),
                Drop::EtherType,
            ),
            Case::line(
                "priority and drop eligibility in the tag change nothing",
                VIF_A,
                with_tags(&[0x81, 0, 0xf0, 100]),
                Want::ToVpc(VPC, &[1], sound()),
            ),
        ]
    });
}

#[test]
fn ip_headers_are_sound_or_refused() {
    check(|_| {
        let bytes = |change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
            tagged(port_mac(PORT_A), tags(VIF_A), 0x0800, &change(sound().bytes()))
        };
        let v6 = |datagram: Datagram, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
            tagged(port_mac(PORT_A), tags(VIF_A), 0x86dd, &change(datagram.bytes()))
        };
        let summed = |at: usize, to: &'static [u8]| move |packet| with_checksum(set(packet, at, to));
        let dropped = |name, packet: Vec<u8>, why| Case::line(name, VIF_A, packet, Want::Drop(why));
        let many = (0..7).fold(sound_v6(), |datagram, _| datagram.extension(60, &[0, 1, 4, 0, 0, 0, 0]));
        let six = (0..6).fold(sound_v6(), |datagram, _| datagram.extension(60, &[0, 1, 4, 0, 0, 0, 0]));
        // Options of one extension header of so many bytes.
        let long = |len: usize| [vec![(len / 8 - 1) as u8], vec![0; len - 2]].concat();
        let every = sound_v6()
            .extension(0, &[0, 1, 4, 0, 0, 0, 0])
            .extension(60, &[1, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .extension(43, &[0, 4, 0, 0, 0, 0, 0])
            .extension(51, &[2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        vec![
            dropped("version 6 as IPv4", bytes(&summed(0, &[0x65])), Drop::IpVersion),
            dropped("version 4 as IPv6", v6(sound_v6(), &|packet| set(packet, 0, &[0x40])), Drop::IpVersion),
            dropped("a header of 16 bytes", bytes(&summed(0, &[0x44])), Drop::IpHeaderLength),
            dropped(
                "a header longer than its packet",
                bytes(&|p| with_checksum(set(set(p, 0, &[0x4f]), 2, &[0, 59]))),
                Drop::IpHeaderLength,
            ),
            dropped("a packet of 19 bytes", bytes(&summed(2, &[0, 19])), Drop::IpHeaderLength),
            dropped(
                "a packet one byte longer than the frame",
                bytes(&summed(2, &[0, 61])),
                Drop::IpTotalLength,
            ),
            dropped(
                "an IPv6 packet one byte longer than the frame",
                v6(sound_v6(), &|p| set(p, 4, &[0, 41])),
                Drop::IpTotalLength,
            ),
            dropped(
                "a wrong header checksum",
                bytes(&|packet| set(packet, 10, &[0xba, 0xad])),
                Drop::IpChecksum,
            ),
            dropped(
                "a wrong bit in an option",
                bytes(&|_| set(sound().options(&[7, 4, 4, 0]).bytes(), 23, &[1])),
                Drop::IpChecksum,
            ),
            dropped(
                "options beyond the frame",
                on_vif(VIF_A, &Datagram { body: vec![], ..sound() }.options(&[1; 40]))[..18 + 40].to_vec(),
                Drop::IpTotalLength,
            ),
            dropped(
                "an ICMP message of three bytes",
                on_vif(VIF_A, &Datagram::new(INSIDE, "10.1.0.10", 1, vec![8, 0, 0])),
                Drop::IpTotalLength,
            ),
            dropped("seven extension headers", on_vif(VIF_A, &many), Drop::ExtensionHeaders),
            dropped(
                "an extension header at byte 1,538",
                on_vif(VIF_A, &sound_v6().extension(60, &long(1480)).extension(60, &long(8))),
                Drop::ExtensionHeaders,
            ),
            dropped(
                "an extension header at byte 1,530, and then the packet's size",
                on_vif(VIF_A, &sound_v6().extension(60, &long(1472)).extension(60, &long(8))),
                Drop::TooBig,
            ),
            dropped(
                "an ICMPv6 header at byte 1,538",
                on_vif(VIF_A, &icmp(INSIDE_V6, "fd00:1::10", 128, &[0; 60]).extension(60, &long(1480))),
                Drop::ExtensionHeaders,
            ),
            dropped(
                "an extension header longer than the packet, and another",
                on_vif(VIF_A, &sound_v6().extension(60, &[255, 1, 4, 0, 0, 0, 0]).extension(60, &long(8))),
                Drop::Truncated,
            ),
            dropped(
                "a routing header of type 0",
                on_vif(
                    VIF_A,
                    &sound_v6().extension(
                        43,
                        &[2, 0, 1, 0, 0, 0, 0, 0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
                    ),
                ),
                Drop::SourceRoute,
            ),
            dropped(
                "a routing header of type 0 behind another header",
                on_vif(
                    VIF_A,
                    &sound_v6().extension(60, &[0, 1, 4, 0, 0, 0, 0]).extension(43, &[0, 0, 0, 0, 0, 0, 0]),
                ),
                Drop::SourceRoute,
            ),
            dropped(
                "an extension header longer than the packet",
                on_vif(VIF_A, &sound_v6().extension(60, &[20, 1, 4, 0, 0, 0, 0])),
                Drop::IpTotalLength,
            ),
            dropped(
                "an extension header that only padding makes whole",
                v6(
                    Datagram { body: vec![], ..sound_v6() }.extension(60, &[1, 1, 4, 0, 0, 0, 0]),
                    &|packet| padded(packet, 40),
                ),
                Drop::IpTotalLength,
            ),
            dropped(
                "a jumbogram",
                v6(sound_v6().extension(0, &[0, 0xc2, 4, 0, 1, 0, 0]), &|p| set(p, 4, &[0, 0])),
                Drop::IpTotalLength,
            ),
            Case::line("six extension headers", VIF_A, on_vif(VIF_A, &six), Want::ToVpc(VPC, &[1], six)),
            Case::line("one of every kind", VIF_A, on_vif(VIF_A, &every), Want::ToVpc(VPC, &[1], every)),
            Case::line(
                "options go along",
                VIF_A,
                on_vif(VIF_A, &sound().options(&[7, 4, 4, 0])),
                Want::ToVpc(VPC, &[1], sound().options(&[7, 4, 4, 0])),
            ),
            Case::line(
                "as many options as there are",
                VIF_A,
                on_vif(VIF_A, &sound().options(&[1; 40])),
                Want::ToVpc(VPC, &[1], sound().options(&[1; 40])),
            ),
            Case::line(
                "a packet of a header alone",
                VIF_A,
                padded(on_vif(VIF_A, &Datagram::new(INSIDE, "10.1.0.10", 253, vec![])), 26),
                Want::ToVpc(VPC, &[1], Datagram::new(INSIDE, "10.1.0.10", 253, vec![])),
            ),
            Case::line(
                "no next header",
                VIF_A,
                on_vif(VIF_A, &Datagram::new(INSIDE_V6, "fd00:1::10", 59, vec![])),
                Want::ToVpc(VPC, &[1], Datagram::new(INSIDE_V6, "fd00:1::10", 59, vec![])),
            ),
        ]
    });
}

#[test]
fn what_nobody_may_send_is_refused_by_name() {
    check(|_| {
        let dropped = |name, datagram: Datagram, why| {
            Case::line(name, VIF_A, on_vif(VIF_A, &datagram), Want::Drop(why))
        };
        let from = |source| udp(source, "10.1.0.10");
        let to = |destination| udp(INSIDE, destination);
        let from_v6 = |source| udp(source, "fd00:1::10");
        let to_v6 = |destination| udp(INSIDE_V6, destination);
        let in_group = |datagram| on_vif_to(MacAddr::BROADCAST, VIF_A, &datagram);
        vec![
            dropped("from a group", from("224.0.0.5"), Drop::MartianSource),
            dropped("from a group far away", from("239.1.1.1"), Drop::MartianSource),
            dropped("from broadcast", from("255.255.255.255"), Drop::MartianSource),
            dropped("from loopback", from("127.0.0.1"), Drop::MartianSource),
            dropped("from nobody", from("0.0.0.0"), Drop::MartianSource),
            dropped("from this network", from("0.1.2.3"), Drop::MartianSource),
            dropped("from a reserved address", from("240.0.0.1"), Drop::MartianSource),
            dropped("from an IPv6 group", from_v6("ff02::1"), Drop::MartianSource),
            dropped("from IPv6 loopback", from_v6("::1"), Drop::MartianSource),
            dropped("from an IPv4-mapped address", from_v6("::ffff:172.16.0.5"), Drop::MartianSource),
            dropped("from the unspecified address", from_v6("::"), Drop::MartianSource),
            dropped(
                "a router solicitation from nobody",
                icmp("::", "ff02::2", 133, &[0; 4]),
                Drop::MartianSource,
            ),
            dropped("to loopback", to("127.0.0.1"), Drop::MartianDestination),
            dropped("to this network", to("0.0.0.1"), Drop::MartianDestination),
            dropped("to nobody", to("0.0.0.0"), Drop::MartianDestination),
            dropped("to a reserved address", to("250.0.0.1"), Drop::MartianDestination),
            dropped("to IPv6 loopback", to_v6("::1"), Drop::MartianDestination),
            dropped("to nobody in IPv6", to_v6("::"), Drop::MartianDestination),
            dropped("to an IPv4-mapped address", to_v6("::ffff:10.1.0.10"), Drop::MartianDestination),
            dropped("to another's link-local address", to_v6("fe80::1234"), Drop::MartianDestination),
            dropped("to an IPv4 group", to("239.1.1.1"), Drop::Multicast),
            dropped("to an IPv4 group beyond the link block", to("224.0.1.1"), Drop::Multicast),
            dropped("to a site's IPv6 group", to_v6("ff05::2"), Drop::Multicast),
            dropped("to a global IPv6 group", to_v6("ff0e::1"), Drop::Multicast),
            dropped("to broadcast", to("255.255.255.255"), Drop::Broadcast),
            dropped(
                "a router advertisement",
                icmp("fe80::1", "ff02::1", 134, &[0; 12]),
                Drop::RouterAdvertisement,
            ),
            dropped(
                "a router advertisement for a VPC",
                icmp(INSIDE_V6, "fd00:1::10", 134, &[0; 12]),
                Drop::RouterAdvertisement,
            ),
            dropped("an ICMPv6 redirect", icmp("fe80::1", "fd00:1::10", 137, &[0; 36]), Drop::Redirect),
            dropped("an ICMP redirect", icmp(INSIDE, "10.1.0.10", 5, &[0; 32]), Drop::Redirect),
            dropped(
                "a router advertisement behind an extension header",
                icmp("fe80::1", "ff02::1", 134, &[0; 12]).extension(60, &[0, 1, 4, 0, 0, 0, 0]),
                Drop::RouterAdvertisement,
            ),
            dropped(
                "a router advertisement in a first fragment",
                icmp("fe80::1", "ff02::1", 134, &[0; 12]).fragment(0, true),
                Drop::RouterAdvertisement,
            ),
            Case::line(
                "a unicast in a broadcast frame",
                VIF_A,
                in_group(sound()),
                Want::Drop(Drop::UnicastInBroadcast),
            ),
            Case::line(
                "an IPv6 unicast in a group frame",
                VIF_A,
                on_vif_to(GROUP_MAC, VIF_A, &sound_v6()),
                Want::Drop(Drop::UnicastInBroadcast),
            ),
            Case::line(
                "a broadcast in a broadcast frame",
                VIF_A,
                in_group(to("255.255.255.255")),
                Want::Drop(Drop::Broadcast),
            ),
            Case::line(
                "a multicast in its frame",
                VIF_A,
                on_vif_to(GROUP_MAC, VIF_A, &to("239.1.1.1")),
                Want::Drop(Drop::Multicast),
            ),
            Case::line(
                "the data of a later fragment is no ICMP type",
                VIF_A,
                on_vif(VIF_A, &icmp(INSIDE_V6, "fd00:1::10", 134, &[0; 12]).fragment(9, false)),
                Want::ToVpc(VPC, &[1], icmp(INSIDE_V6, "fd00:1::10", 134, &[0; 12]).fragment(9, false)),
            ),
            Case::line(
                "an echo is carried",
                VIF_A,
                on_vif(VIF_A, &icmp(INSIDE, "10.1.0.10", 8, &[0; 60])),
                Want::ToVpc(VPC, &[1], icmp(INSIDE, "10.1.0.10", 8, &[0; 60])),
            ),
        ]
    });
}

#[test]
fn routes_lead_into_vpcs() {
    check(|underlay| {
        let dropped = |name, datagram: Datagram, why| {
            Case::line(name, VIF_A, on_vif(VIF_A, &datagram), Want::Drop(why))
        };
        let sent = |name, vif, datagram: Datagram, vpc, vteps| {
            Case::line(name, vif, on_vif(vif, &datagram), Want::ToVpc(vpc, vteps, datagram))
        };
        let to = |destination| udp(INSIDE, destination);
        let fits = usize::from(underlay.mtu());
        let transit = |world: &mut Memory| {
            for vif in world.vifs.values_mut() {
                vif.flags |= VIF_TRANSIT;
            }
        };
        vec![
            sent("to one of the VTEPs", VIF_A, to("10.1.2.3"), VPC, &[1, 2]),
            sent("to a VTEP of the nested CIDR", VIF_A, to("10.1.7.9"), NESTED, &[3]),
            sent("to a host's own VTEP", VIF_A, to("10.1.0.10"), VPC, &[1]),
            sent("IPv6 to one of the VTEPs", VIF_A, udp(INSIDE_V6, "fd00:1::77"), VPC, &[1, 2]),
            sent("IPv6 to the nested CIDR", VIF_A, udp(INSIDE_V6, "fd00:1:0:7::9"), NESTED, &[3]),
            sent(
                "two tags come off, and the addresses mean another VPC",
                VIF_OTHER,
                to("10.1.2.3"),
                VPC_OTHER,
                &[1],
            ),
            sent("an IPv6 packet with two tags", VIF_OTHER, udp(INSIDE_V6, "fd00:1::77"), VPC_OTHER, &[1]),
            sent("DSCP and ECN are copied out", VIF_A, sound().traffic_class(0xb9), VPC, &[1]),
            sent("an IPv6 traffic class is copied out", VIF_A, sound_v6().traffic_class(0xbb), VPC, &[1]),
            sent("the last hop but one", VIF_A, sound().ttl(2), VPC, &[1]),
            sent("a hop limit of 255", VIF_A, sound_v6().ttl(255), VPC, &[1]),
            sent("the largest packet that fits", VIF_A, sound().len(fits), VPC, &[1]),
            sent("the largest IPv6 packet that fits", VIF_A, sound_v6().len(fits), VPC, &[1]),
            Case::line(
                "padding is cut",
                VIF_A,
                padded(on_vif(VIF_A, &sound()), 18),
                Want::ToVpc(VPC, &[1], sound()),
            ),
            Case::line(
                "padding behind IPv6 is cut",
                VIF_A,
                padded(on_vif(VIF_A, &sound_v6()), 1),
                Want::ToVpc(VPC, &[1], sound_v6()),
            ),
            dropped("a TTL of 1", sound().ttl(1), Drop::TtlExpired),
            dropped("a TTL of 0", sound().ttl(0), Drop::TtlExpired),
            dropped("a hop limit of 1", sound_v6().ttl(1), Drop::TtlExpired),
            dropped("a hop limit of 0", sound_v6().ttl(0), Drop::TtlExpired),
            dropped("no route", to("9.9.9.9"), Drop::NoRoute),
            dropped("no IPv6 route", udp(INSIDE_V6, "2001:db8:7::1"), Drop::NoRoute),
            dropped("a border gateway without a table", sound(), Drop::NoRoute)
                .when(|world| world.routes.remove(&1)),
            dropped("a route of the other version", udp(INSIDE_V6, "a01:a:a:a::"), Drop::NoRoute),
            dropped("a VIF without transit", to("172.17.0.1"), Drop::Transit),
            dropped("the VIF itself without transit", to("172.16.0.9"), Drop::Transit),
            dropped("a group without a live member", to("10.90.0.1"), Drop::NextHopDead),
            dropped("a group that is not there", to("10.93.0.1"), Drop::NextHopDead),
            dropped("a record that is empty", to("10.92.0.1"), Drop::NextHopDead),
            dropped("a record that is not there", to("10.92.0.1"), Drop::NextHopDead)
                .when(|world| world.next_hops.remove(&77)),
            dropped("a next hop of another border gateway", to("10.91.0.1"), Drop::NextHopForeign),
            dropped("one byte too many", sound().len(fits + 1), Drop::TooBig),
            dropped("one byte too many in IPv6", sound_v6().len(fits + 1), Drop::TooBig),
            dropped("no headroom", sound(), Drop::Headroom).with_room(41, 0),
            dropped("a record that is of no known kind", sound(), Drop::NoEgress)
                .when(|world| world.next_hops.get_mut(&101).unwrap().encapsulation = 9),
            dropped("a record whose header has no known length", sound(), Drop::NoEgress)
                .when(|world| world.next_hops.get_mut(&101).unwrap().header_len = 50),
            Case::line(
                "with transit, to the other line",
                VIF_A,
                padded(on_vif(VIF_A, &to("172.17.0.1")), 4),
                Want::ToLine(VIF_B, to("172.17.0.1")),
            )
            .when(transit),
            Case::line(
                "with transit, IPv6 too",
                VIF_B,
                on_vif(VIF_B, &udp("fd00:172:17::1", INSIDE_V6)),
                Want::ToLine(VIF_A, udp("fd00:172:17::1", INSIDE_V6)),
            )
            .when(transit),
            Case::line(
                "with transit, back to the same line",
                VIF_A,
                on_vif(VIF_A, &to("172.16.0.9")),
                Want::ToLine(VIF_A, to("172.16.0.9")),
            )
            .when(transit),
            Case::line(
                "with transit, two tags to two tags",
                VIF_OTHER,
                on_vif(VIF_OTHER, &to("172.16.0.9")),
                Want::ToLine(VIF_OTHER, to("172.16.0.9")),
            )
            .when(transit),
            Case::line(
                "transit does not lead to another border gateway",
                VIF_A,
                on_vif(VIF_A, &to("172.31.0.9")),
                Want::Drop(Drop::NextHopForeign),
            )
            .when(transit),
            Case::line(
                "a TCP segment",
                VIF_A,
                on_vif(VIF_A, &transport(INSIDE, "10.1.0.10", 6, 1, 2)),
                Want::ToVpc(VPC, &[1], transport(INSIDE, "10.1.0.10", 6, 1, 2)),
            ),
            Case::line(
                "a neighbour advertisement beyond the link is a packet like any other",
                VIF_A,
                on_vif(VIF_A, &neighbor(INSIDE_V6, "fd00:1::10", 136, [0x60, 0, 0, 0], INSIDE_V6, &[])),
                Want::ToVpc(
                    VPC,
                    &[1],
                    neighbor(INSIDE_V6, "fd00:1::10", 136, [0x60, 0, 0, 0], INSIDE_V6, &[]),
                ),
            ),
        ]
    });
}
