//! What the program `host` does with what the kernel sends.

use border_gw_common::abi::{HostPort, OWNER_LOCAL_VIF, Owner};
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason as Drop;
use border_gw_ebpf::policer::policer;

use crate::support::case::{Case, Want, check};
use crate::support::datagram::{Datagram, icmp, transport, udp};
use crate::support::memory::Memory;
use crate::support::wire::{ether_type, ethernet, padded};
use crate::support::world::{
    CUSTOMER, NESTED, PORT_A, VIF_A, VIF_B, VIF_DOWN, VIF_OTHER, VPC, VPC_OTHER, port_mac, router_mac,
    vif_port, vif_veth, vpc_veth,
};

fn on_veth(vif: u32, datagram: &Datagram) -> Vec<u8> {
    let packet = datagram.bytes();
    ethernet(CUSTOMER, port_mac(vif_port(vif)), &[], ether_type(&packet), &packet)
}

fn into_vpc(vpc: u32, datagram: &Datagram) -> Vec<u8> {
    let packet = datagram.bytes();
    ethernet(MacAddr([0; 6]), router_mac(vpc), &[], ether_type(&packet), &packet)
}

#[test]
fn what_the_kernel_sends_gets_tags_or_a_tunnel() {
    check(|underlay| {
        let to_line = |name, vif, datagram: Datagram| {
            Case::host(name, vif_veth(vif), on_veth(vif, &datagram), Want::ToLine(vif, datagram))
        };
        let to_vpc = |name, vpc, datagram: Datagram, vteps| {
            Case::host(name, vpc_veth(vpc), into_vpc(vpc, &datagram), Want::ToVpc(vpc, vteps, datagram))
        };
        let dropped =
            |name, ifindex, packet: Vec<u8>, why| Case::host(name, ifindex, packet, Want::Drop(why));
        let from_router = |destination| udp("10.1.0.1", destination);
        let lost =
            |name, datagram: Datagram, why| dropped(name, vpc_veth(VPC), into_vpc(VPC, &datagram), why);
        let fits = usize::from(underlay.mtu());
        let exhausted =
            |world: &mut Memory| world.policers.values_mut().for_each(|each| *each = policer(8, 0));
        let bgp = || transport("169.254.10.2", "169.254.10.1", 6, 179, 40_000);
        vec![
            to_line("a tag", VIF_A, bgp().ttl(1)),
            to_line("two tags", VIF_OTHER, bgp()),
            to_line("IPv6", VIF_B, transport("fd00:20::2", "fd00:20::1", 6, 179, 1)),
            to_line("when every bucket is empty", VIF_A, bgp()).when(exhausted),
            to_vpc("a tunnel", VPC, from_router("10.1.2.3"), &[1, 2]),
            to_vpc("a host's own VTEP", VPC, from_router("10.1.0.10").ttl(1), &[1]),
            to_vpc("IPv6 in a tunnel", VPC_OTHER, icmp("fd00:1::1", "fd00:1::33", 129, &[0; 60]), &[1]),
            to_vpc("the nested VPC", NESTED, udp("10.1.7.1", "10.1.7.9").traffic_class(0xc1), &[3]),
            to_vpc("a tunnel when every bucket is empty", VPC, from_router("10.1.2.3"), &[1, 2])
                .when(exhausted),
            to_vpc("the largest packet", VPC, from_router("10.1.2.3").len(fits), &[1, 2]),
            Case::host(
                "padding is cut in front of a tunnel",
                vpc_veth(VPC),
                padded(into_vpc(VPC, &from_router("10.1.2.3")), 6),
                Want::ToVpc(VPC, &[1, 2], from_router("10.1.2.3")),
            ),
            dropped("an interface of nobody", 999, on_veth(VIF_A, &bgp()), Drop::UnknownHostPort),
            dropped(
                "an interface of an unknown kind",
                vif_veth(VIF_A),
                on_veth(VIF_A, &bgp()),
                Drop::UnknownHostPort,
            )
            .when(|world| {
                (world
                    .host_ports
                    .insert(vif_veth(VIF_A), HostPort { owner: Owner::new(OWNER_LOCAL_VIF, VIF_A) }),)
            }),
            dropped(
                "a VIF without its record",
                vif_veth(VIF_A),
                on_veth(VIF_A, &bgp()),
                Drop::UnknownHostPort,
            )
            .when(|world| world.vifs.remove(&VIF_A)),
            dropped(
                "an attachment without its record",
                vpc_veth(VPC),
                into_vpc(VPC, &from_router("10.1.2.3")),
                Drop::UnknownHostPort,
            )
            .when(|world| world.attachments.remove(&VPC)),
            dropped("a VIF that is down", vif_veth(VIF_DOWN), on_veth(VIF_DOWN, &bgp()), Drop::VifDown),
            dropped("no room for a tag", vif_veth(VIF_A), on_veth(VIF_A, &bgp()), Drop::Headroom)
                .with_room(3, 0),
            dropped("a frame of 11 bytes", vif_veth(VIF_A), vec![0; 11], Drop::Truncated),
            dropped("a frame of 13 bytes into a VPC", vpc_veth(VPC), vec![0; 13], Drop::Truncated),
            dropped(
                "ARP into a VPC",
                vpc_veth(VPC),
                ethernet(MacAddr::BROADCAST, router_mac(VPC), &[], 0x0806, &[0; 28]),
                Drop::EtherType,
            ),
            lost("a group", icmp("fe80::1", "ff02::2", 133, &[0; 4]), Drop::Multicast),
            lost("broadcast", from_router("255.255.255.255"), Drop::Multicast),
            lost("no route", from_router("9.9.9.9"), Drop::NoRoute),
            lost("an address of another VPC", from_router("10.1.7.9"), Drop::KernelNotForwarded),
            lost("an address behind a line", from_router("172.16.0.5"), Drop::KernelNotForwarded),
            lost("the router's own address", from_router("10.1.0.1"), Drop::KernelNotForwarded),
            lost("a dead VTEP", from_router("10.90.0.1"), Drop::NextHopDead),
            lost("a next hop of another border gateway", from_router("10.91.0.1"), Drop::NextHopForeign),
            lost("one byte too many", from_router("10.1.2.3").len(fits + 1), Drop::TooBig),
            lost("no room for a tunnel", from_router("10.1.0.10"), Drop::Headroom).with_room(49, 0),
        ]
    });
}

#[test]
fn a_frame_on_a_vif_goes_out_as_it_is() {
    check(|_| {
        let packet = icmp("fe80::1", "ff02::1", 136, &[0; 20]);
        let want = Want::ToLine(VIF_A, packet.clone());
        vec![Case::host(
            "any packet that the kernel addressed",
            vif_veth(VIF_A),
            on_veth(VIF_A, &packet),
            want,
        )]
    });
    assert_eq!(vif_port(VIF_A), PORT_A);
}
