//! What the program `fabric` does with frames from the fabric.

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason as Drop;

use crate::support::case::{Case, Want, check};
use crate::support::datagram::{Datagram, icmp, transport, udp, with_checksum};
use crate::support::send::{in_vpc, inner, inner_to, outer_len, tunnelled};
use crate::support::wire::{address, ethernet, padded, set};
use crate::support::world::{
    FABRIC, HOST, NESTED, PORT_B, SPINE, Underlay, VIF_A, VIF_B, VIF_OTHER, VPC, VPC_OTHER, port_mac,
    router_mac, vpc_veth,
};

const OUTSIDE: &str = "172.16.0.5";
const OUTSIDE_V6: &str = "fd00:172:16::5";
const HERE: &str = "10.1.2.3";
const HERE_V6: &str = "fd00:1::33";
const ROUTER: &str = "10.1.0.1";
const ROUTER_V6: &str = "fd00:1::1";

fn sound() -> Datagram {
    udp(HERE, OUTSIDE)
}

fn sound_v6() -> Datagram {
    udp(HERE_V6, OUTSIDE_V6)
}

/// A sound frame, but that its outer packet ends so many bytes too early.
fn cut(underlay: Underlay, by: usize) -> Vec<u8> {
    let (ip, udp) = if underlay == Underlay::V4 { (16, 14 + 24) } else { (18, 14 + 44) };
    let frame = in_vpc(underlay, VPC, 1, &sound());
    let less = |frame: Vec<u8>, at: usize| {
        let len = usize::from(u16::from_be_bytes([frame[at], frame[at + 1]])) - by;
        set(frame, at, &(len as u16).to_be_bytes())
    };
    let frame = less(less(frame, ip), udp);
    if underlay == Underlay::V4 {
        [&frame[..14], &with_checksum(frame[14..].to_vec())].concat()
    } else {
        frame
    }
}

/// The outer IP packet changed at an offset, its IPv4 checksum right.
fn outer(underlay: Underlay, at: usize, to: &[u8]) -> Vec<u8> {
    let frame = set(in_vpc(underlay, VPC, 1, &sound()), 14 + at, to);
    if underlay == Underlay::V4 {
        [&frame[..14], &with_checksum(frame[14..].to_vec())].concat()
    } else {
        frame
    }
}

#[test]
fn what_is_no_tunnel_of_ours_is_the_kernels() {
    check(|underlay| {
        let pass = |name, packet| Case::fabric(name, VPC, packet, Want::Pass).of_nobody();
        let dropped = |name, packet, why| Case::fabric(name, VPC, packet, Want::Drop(why));
        let whole = in_vpc(underlay, VPC, 1, &sound());
        let v4 = underlay == Underlay::V4;
        let (ours, protocol, udp_at) = if v4 { (19, 9, 20) } else { (39, 6, 40) };
        let udp_len = (whole.len() - 14 - udp_at) as u16;
        let plain = udp("192.0.2.99", "192.0.2.10").bytes();
        let mut cases = vec![
            pass("a short frame", vec![0; 14]),
            pass("no frame at all", vec![]),
            pass("ARP of the underlay", ethernet(MacAddr::BROADCAST, SPINE, &[], 0x0806, &[0; 46])),
            pass("a tagged frame", ethernet(port_mac(FABRIC), SPINE, &[0x81, 0, 0, 5], 0x0800, &plain)),
            pass("another's Ethernet address", set(whole.clone(), 0, &port_mac(PORT_B).0)),
            pass("a broadcast frame", set(whole.clone(), 0, &[0xff; 6])),
            pass("another address of the server", outer(underlay, ours, &[99])),
            pass("TCP", outer(underlay, protocol, &[6])),
            pass("another port", outer(underlay, udp_at + 2, &[0x12, 0xb6])),
            pass("a frame that ends in its outer UDP header", whole[..14 + udp_at + 7].to_vec()),
            pass("a port that is no fabric port", whole.clone()).on_port(99),
            pass("before the daemon has written its settings", whole.clone())
                .when(|world| world.settings = border_gw_common::abi::Settings::default()),
            dropped(
                "an outer packet longer than the frame",
                whole[..whole.len() - 1].to_vec(),
                Drop::VxlanMalformed,
            )
            .of_nobody(),
            dropped(
                "a UDP length below that of its packet",
                outer(underlay, udp_at + 4, &(udp_len - 1).to_be_bytes()),
                Drop::VxlanMalformed,
            )
            .of_nobody(),
            dropped(
                "a UDP length above that of its packet",
                padded(outer(underlay, udp_at + 4, &(udp_len + 1).to_be_bytes()), 9),
                Drop::VxlanMalformed,
            )
            .of_nobody(),
            dropped("no UDP length", outer(underlay, udp_at + 4, &[0, 0]), Drop::VxlanMalformed).of_nobody(),
            dropped(
                "no valid VNI in it",
                set(whole.clone(), outer_len(underlay) - 8, &[0]),
                Drop::VxlanMalformed,
            )
            .of_nobody(),
            dropped(
                "a VXLAN header that only padding makes whole",
                cut(underlay, sound().bytes().len() + 14 + 1),
                Drop::VxlanMalformed,
            )
            .of_nobody(),
            dropped(
                "a VNI of nobody",
                set(whole.clone(), outer_len(underlay) - 4, &[0, 0, 1]),
                Drop::UnknownVni,
            )
            .of_nobody(),
            dropped("an attachment without its record", whole.clone(), Drop::UnknownVni)
                .when(|world| world.attachments.remove(&VPC))
                .of_nobody(),
            dropped("a VTEP of nobody", in_vpc(underlay, VPC, 9, &sound()), Drop::UnknownVtep),
            dropped("a VTEP of another attachment", in_vpc(underlay, VPC, 3, &sound()), Drop::UnknownVtep),
            Case::fabric(
                "the same VTEP in its own attachment",
                NESTED,
                in_vpc(underlay, NESTED, 3, &udp("10.1.7.9", OUTSIDE)),
                Want::ToLine(VIF_A, udp("10.1.7.9", OUTSIDE)),
            ),
            Case::fabric(
                "reserved bits are ignored",
                VPC,
                set(whole.clone(), outer_len(underlay) - 8, &[0xff, 1, 2, 3]),
                Want::ToLine(VIF_A, sound()),
            ),
            Case::fabric(
                "a UDP checksum is not looked at",
                VPC,
                set(whole.clone(), 14 + udp_at + 6, &[1, 2]),
                Want::ToLine(VIF_A, sound()),
            ),
        ];
        if v4 {
            let options = [&whole[..14], &[0x46], &whole[15..34], &[1; 4], &whole[34..]].concat();
            cases.extend([
                pass("outer options", options),
                dropped("a first outer fragment", outer(underlay, 6, &[0x20, 0]), Drop::TunnelFragment)
                    .of_nobody(),
                pass(
                    "a first fragment of something else",
                    set(outer(underlay, 6, &[0x20, 0]), 14 + 22, &[0x12, 0xb6]),
                ),
                pass("a later outer fragment", outer(underlay, 6, &[0, 1])),
                pass("IPv6 where the tunnels are IPv4", in_vpc(Underlay::V6, VPC, 1, &sound())),
                dropped("a wrong outer checksum", set(whole, 14 + 10, &[1, 2]), Drop::VxlanMalformed)
                    .of_nobody(),
            ]);
        } else {
            // A fragment header between the IPv6 and the UDP header.
            let fragment = |next, field: [u8; 2]| {
                let header = [next, 0, field[0], field[1], 1, 2, 3, 4];
                let frame = [&whole[..54], &header, &whole[54..]].concat();
                let len = (frame.len() - 54) as u16;
                set(set(frame, 14 + 4, &len.to_be_bytes()), 14 + 6, &[44])
            };
            cases.extend([
                pass("IPv4 where the tunnels are IPv6", in_vpc(Underlay::V4, VPC, 1, &sound())),
                dropped("a first outer fragment", fragment(17, [0, 1]), Drop::TunnelFragment).of_nobody(),
                dropped("a fragment that is all", fragment(17, [0, 0]), Drop::TunnelFragment).of_nobody(),
                pass("a later outer fragment", fragment(17, [0, 9])),
                pass("a fragment of TCP", fragment(6, [0, 1])),
                pass("a first fragment of something else", set(fragment(17, [0, 1]), 64, &[0x12, 0xb6])),
                pass("a fragment that ends in its UDP header", fragment(17, [0, 1])[..65].to_vec()),
            ]);
        }
        cases
    });
}

#[test]
fn inner_frames_are_sound_or_refused() {
    check(|underlay| {
        let framed = |name, frame: &[u8], why| {
            Case::fabric(name, VPC, tunnelled(underlay, VPC, 1, frame), Want::Drop(why))
        };
        let dropped = |name, datagram: Datagram, why| {
            Case::fabric(name, VPC, in_vpc(underlay, VPC, 1, &datagram), Want::Drop(why))
        };
        let whole = inner(VPC, &sound());
        let to = |destination| udp(HERE, destination);
        vec![
            framed("an inner frame of 13 bytes", &whole[..13], Drop::Truncated),
            framed("no inner frame", &[], Drop::Truncated),
            framed("an inner frame that ends in its IP header", &whole[..14 + 19], Drop::Truncated),
            framed("another inner address", &inner_to(router_mac(NESTED), &sound()), Drop::WrongMac),
            framed(
                "an inner tag",
                &ethernet(router_mac(VPC), HOST, &[0x81, 0, 0, 5], 0x0800, &sound().bytes()),
                Drop::EtherType,
            ),
            framed(
                "inner LLDP",
                &ethernet(MacAddr([1, 0x80, 0xc2, 0, 0, 0x0e]), HOST, &[], 0x88cc, &[0; 46]),
                Drop::EtherType,
            ),
            framed(
                "a unicast in an inner broadcast frame",
                &inner_to(MacAddr::BROADCAST, &sound()),
                Drop::UnicastInBroadcast,
            ),
            Case::fabric(
                "an inner packet beyond the outer one",
                VPC,
                cut(underlay, 1),
                Want::Drop(Drop::IpTotalLength),
            ),
            Case::fabric(
                "an inner IP header beyond the outer packet",
                VPC,
                cut(underlay, 50),
                Want::Drop(Drop::IpTotalLength),
            ),
            framed("a wrong inner checksum", &set(whole.clone(), 14 + 10, &[1, 2]), Drop::IpChecksum),
            framed("a wrong inner version", &set(whole, 14, &[0x55]), Drop::IpVersion),
            dropped(
                "a routing header of type 0",
                sound_v6().extension(43, &[0, 0, 0, 0, 0, 0, 0]),
                Drop::SourceRoute,
            ),
            dropped("from loopback", udp("127.0.0.1", OUTSIDE), Drop::MartianSource),
            dropped("from a group", udp("ff02::1", OUTSIDE_V6), Drop::MartianSource),
            dropped("from nobody", udp("::", OUTSIDE_V6), Drop::MartianSource),
            dropped("to loopback", to("127.0.0.1"), Drop::MartianDestination),
            dropped("to broadcast", to("255.255.255.255"), Drop::Broadcast),
            dropped("to a group", to("239.0.0.1"), Drop::Multicast),
            dropped("to a link's group", to("224.0.0.5"), Drop::Multicast),
            dropped("to a link's IPv6 group", udp("fe80::5", "ff02::2"), Drop::Multicast),
            dropped("to a link-local address", udp(HERE_V6, "fe80::5"), Drop::MartianDestination),
            dropped(
                "a router advertisement",
                icmp("fe80::5", "ff02::1", 134, &[0; 12]),
                Drop::RouterAdvertisement,
            ),
            dropped("an ICMPv6 redirect", icmp(HERE_V6, OUTSIDE_V6, 137, &[0; 36]), Drop::Redirect),
            dropped("an ICMP redirect", icmp(HERE, OUTSIDE, 5, &[0; 32]), Drop::Redirect),
            dropped("from a link-local address", udp("fe80::5", OUTSIDE_V6), Drop::LinkLocalSource),
            dropped("from outside of every VPC", udp("172.16.0.9", OUTSIDE), Drop::SourceInvalid),
            dropped("from nowhere", udp("9.9.9.9", OUTSIDE), Drop::SourceInvalid),
            dropped("from a CIDR nested in this one", udp("10.1.7.9", OUTSIDE), Drop::SourceInvalid),
            dropped(
                "from an IPv6 CIDR nested in this one",
                udp("fd00:1:0:7::9", OUTSIDE_V6),
                Drop::SourceInvalid,
            ),
            dropped("from the router's address", udp("10.1.0.1", OUTSIDE), Drop::MartianSource),
            dropped("from a VIF's own address", udp("169.254.10.2", OUTSIDE), Drop::MartianSource),
            Case::fabric(
                "from the CIDR around the nested one",
                NESTED,
                in_vpc(underlay, NESTED, 3, &sound()),
                Want::Drop(Drop::SourceInvalid),
            ),
            dropped(
                "a VIF's source cannot be used to reach the router",
                udp("172.16.0.9", "10.1.0.1"),
                Drop::SourceInvalid,
            ),
        ]
    });
}

#[test]
fn routes_lead_to_lines_and_to_other_vpcs() {
    check(|underlay| {
        let dropped = |name, datagram: Datagram, why| {
            Case::fabric(name, VPC, in_vpc(underlay, VPC, 1, &datagram), Want::Drop(why))
        };
        let to_line = |name, vpc, vtep, datagram: Datagram, vif| {
            Case::fabric(name, vpc, in_vpc(underlay, vpc, vtep, &datagram), Want::ToLine(vif, datagram))
        };
        let to_vpc = |name, vpc, vtep, datagram: Datagram, other, vteps| {
            Case::fabric(
                name,
                vpc,
                in_vpc(underlay, vpc, vtep, &datagram),
                Want::ToVpc(other, vteps, datagram),
            )
        };
        let to = |destination| udp(HERE, destination);
        let padded_inner = padded(inner(VPC, &Datagram::new(HERE, OUTSIDE, 253, vec![])), 26);
        let fits = usize::from(underlay.mtu());
        vec![
            to_line("to a line", VPC, 1, sound(), VIF_A),
            to_line("from the other VTEP", VPC, 2, sound(), VIF_A),
            to_line("IPv6 to a line", VPC, 1, sound_v6(), VIF_A),
            to_line("to the other line", VPC, 1, to("172.17.0.1"), VIF_B),
            to_line("the same addresses in another border gateway", VPC_OTHER, 1, sound(), VIF_OTHER),
            to_line("IPv6 to a line with two tags", VPC_OTHER, 1, sound_v6(), VIF_OTHER),
            to_line("the largest packet of a line", VPC, 1, sound().len(1500), VIF_A),
            to_line("DSCP and ECN stay", VPC, 1, sound().traffic_class(0xb9), VIF_A),
            to_line("options go along", VPC, 1, sound().options(&[7, 4, 4, 0]), VIF_A),
            to_line("TCP", VPC, 1, transport(HERE, OUTSIDE, 6, 443, 40_000), VIF_A),
            Case::fabric(
                "inner padding is cut",
                VPC,
                tunnelled(underlay, VPC, 1, &padded_inner),
                Want::ToLine(VIF_A, Datagram::new(HERE, OUTSIDE, 253, vec![])),
            ),
            Case::fabric(
                "outer padding is cut",
                VPC,
                padded(in_vpc(underlay, VPC, 1, &sound()), 9),
                Want::ToLine(VIF_A, sound()),
            ),
            to_vpc("to a nested VPC", VPC, 1, to("10.1.7.9"), NESTED, &[3]),
            to_vpc("from a nested VPC", NESTED, 3, udp("10.1.7.9", HERE), VPC, &[1, 2]),
            to_vpc(
                "IPv6 to a nested VPC",
                VPC,
                1,
                udp(HERE_V6, "fd00:1:0:7::9").traffic_class(0xb9),
                NESTED,
                &[3],
            ),
            to_vpc(
                "the largest packet between VPCs",
                NESTED,
                3,
                udp("10.1.7.9", HERE).len(fits),
                VPC,
                &[1, 2],
            ),
            Case::fabric(
                "padding between VPCs is cut",
                VPC,
                padded(in_vpc(underlay, VPC, 1, &to("10.1.7.9")), 7),
                Want::ToVpc(NESTED, &[3], to("10.1.7.9")),
            ),
            dropped("back into the same VPC", to("10.1.9.9"), Drop::Hairpin),
            dropped("back to a host of the same VPC", to("10.1.0.10"), Drop::Hairpin),
            dropped("back into the same VPC by IPv6", udp(HERE_V6, "fd00:1::99"), Drop::Hairpin),
            dropped("a TTL of 1", sound().ttl(1), Drop::TtlExpired),
            dropped("a hop limit of 0", sound_v6().ttl(0), Drop::TtlExpired),
            dropped("no route", to("9.9.9.9"), Drop::NoRoute),
            dropped("a line that is dead", to("172.30.0.1"), Drop::NextHopDead),
            dropped("a line of another border gateway", to("172.31.0.1"), Drop::NextHopForeign),
            dropped("too big for the line", sound().len(1501), Drop::TooBig),
            Case::fabric(
                "too big for the other VPC",
                NESTED,
                in_vpc(underlay, NESTED, 3, &udp("10.1.7.9", HERE).len(fits + 1)),
                Want::Drop(Drop::TooBig),
            ),
        ]
    });
}

#[test]
fn congestion_that_the_underlay_marked_reaches_the_receiver() {
    // RFC 6040, figure 4: inner and outer field as they arrive, and what goes on; none is a drop.
    let table = [
        (0b00, 0b00, Some(0b00)),
        (0b00, 0b01, Some(0b00)),
        (0b00, 0b10, Some(0b00)),
        (0b00, 0b11, None),
        (0b10, 0b00, Some(0b10)),
        (0b10, 0b01, Some(0b01)),
        (0b10, 0b10, Some(0b10)),
        (0b10, 0b11, Some(0b11)),
        (0b01, 0b00, Some(0b01)),
        (0b01, 0b01, Some(0b01)),
        (0b01, 0b10, Some(0b01)),
        (0b01, 0b11, Some(0b11)),
        (0b11, 0b00, Some(0b11)),
        (0b11, 0b01, Some(0b11)),
        (0b11, 0b10, Some(0b11)),
        (0b11, 0b11, Some(0b11)),
    ];
    check(|underlay| {
        let mut cases = Vec::new();
        for (inner_ecn, outer_ecn, want) in table {
            let lines = [(sound(), VIF_A), (sound_v6(), VIF_A)];
            for (datagram, vif) in lines {
                let datagram = datagram.traffic_class(0xb8 | inner_ecn);
                let frame = marked(underlay, in_vpc(underlay, VPC, 1, &datagram), outer_ecn);
                let want = match want {
                    Some(ecn) => Want::ToLine(vif, datagram.traffic_class(0xb8 | ecn)),
                    None => Want::Drop(Drop::Congestion),
                };
                cases.push(Case::fabric("ECN of both headers", VPC, frame, want));
            }
            for destination in [ROUTER, ROUTER_V6] {
                let source = if destination == ROUTER { HERE } else { HERE_V6 };
                let datagram = udp(source, destination).traffic_class(0xb8 | inner_ecn);
                let frame = marked(underlay, in_vpc(underlay, VPC, 1, &datagram), outer_ecn);
                let want = match want {
                    Some(ecn) => Want::Punt(vpc_veth(VPC), inner(VPC, &datagram.traffic_class(0xb8 | ecn))),
                    None => Want::Drop(Drop::Congestion),
                };
                cases.push(Case::fabric("ECN of both headers, to the router", VPC, frame, want));
            }
        }
        let between = udp(HERE, "10.1.7.9").traffic_class(0x02);
        let frame = marked(underlay, in_vpc(underlay, VPC, 1, &between), 3);
        cases.push(Case::fabric(
            "ECN between VPCs",
            VPC,
            frame,
            Want::ToVpc(NESTED, &[3], between.traffic_class(0x03)),
        ));
        cases
    });
}

/// The frame with its outer ECN field set.
fn marked(underlay: Underlay, frame: Vec<u8>, ecn: u8) -> Vec<u8> {
    match underlay {
        Underlay::V4 => {
            let frame = set(frame, 15, &[ecn]);
            [&frame[..14], &with_checksum(frame[14..].to_vec())].concat()
        }
        Underlay::V6 => set(frame, 15, &[ecn << 4]),
    }
}

#[test]
fn the_world_speaks_of_the_addresses_it_has() {
    assert_eq!(address("192.0.2.10").1[..4], [192, 0, 2, 10]);
    assert_eq!(Underlay::V6.vtep(1), "2001:db8::21");
}
