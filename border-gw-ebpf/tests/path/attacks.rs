//! What somebody on a line or in a VPC could try to reach what is not theirs; docs/security.md has the list.

use border_gw_common::verdict::DropReason as Drop;

use crate::support::case::{Case, Want, check};
use crate::support::datagram::{Datagram, icmp, transport, udp};
use crate::support::send::{in_vpc, inner, on_vif, tagged, tunnelled};
use crate::support::wire::{ethernet, set};
use crate::support::world::{
    CUSTOMER, HOST, NESTED, PORT_A, PORT_B, Underlay, VIF_A, VIF_B, VIF_OTHER, VPC, VPC_OTHER, port_mac,
    router_mac, vif_veth, vpc_veth,
};

const BGP: u16 = 179;
const BFD: u16 = 3784;

/// A sound packet of the first customer behind some tags.
fn behind(tags: &[u8]) -> Vec<u8> {
    tagged(port_mac(PORT_A), tags, 0x0800, &udp("172.16.0.5", "10.1.2.3").bytes())
}

#[test]
fn tags_lead_to_no_other_customer() {
    check(|_| {
        let of = |vif, name, tags: &[u8]| Case::line(name, vif, behind(tags), Want::Drop(Drop::EtherType));
        let dropped =
            |name, tags: &[u8], why| Case::line(name, VIF_A, behind(tags), Want::Drop(why)).of_nobody();
        vec![
            dropped(
                "another's tag behind the own one",
                &[0x81, 0, 0, 100, 0x81, 0, 0, 200],
                Drop::UnknownVlan,
            ),
            dropped(
                "the own tag behind a priority tag",
                &[0x81, 0, 0xe0, 0, 0x81, 0, 0, 100],
                Drop::UnknownVlan,
            ),
            dropped(
                "a priority tag behind the own one",
                &[0x81, 0, 0, 100, 0x81, 0, 0, 0],
                Drop::UnknownVlan,
            ),
            dropped("the own tag twice", &[0x81, 0, 0, 100, 0x81, 0, 0, 100], Drop::UnknownVlan),
            dropped("the own tag as a service tag", &[0x88, 0xa8, 0, 100], Drop::UnknownVlan),
            dropped(
                "another's two tags in the wrong order",
                &[0x88, 0xa8, 0, 100, 0x81, 0, 0, 200],
                Drop::UnknownVlan,
            ),
            dropped(
                "another's two tags, both customer tags",
                &[0x81, 0, 0, 200, 0x81, 0, 0, 100],
                Drop::UnknownVlan,
            ),
            dropped("another's outer tag alone", &[0x88, 0xa8, 0, 200], Drop::UnknownVlan),
            dropped("a tag of old equipment (0x9100)", &[0x91, 0, 0, 100], Drop::Untagged),
            of(VIF_A, "a tag of old equipment behind the own one", &[0x81, 0, 0, 100, 0x91, 0, 0, 100]),
            of(VIF_OTHER, "three tags", &[0x88, 0xa8, 0, 200, 0x81, 0, 0, 100, 0x81, 0, 0, 100]),
            dropped("the reserved tag", &[0x81, 0, 0x0f, 0xff], Drop::UnknownVlan),
            dropped("no tag", &[], Drop::Untagged),
            dropped("the own tag on the port of another", &[0x81, 0, 1, 44], Drop::UnknownVlan)
                .on_port(PORT_B),
        ]
    });
}

#[test]
fn a_vni_and_a_tunnel_address_alone_open_nothing() {
    check(|underlay| {
        let packet = inner(VPC, &udp("10.1.2.3", "172.16.0.5"));
        let tunnel = |attachment, vtep| tunnelled(underlay, attachment, vtep, &packet);
        let vni = if underlay == Underlay::V4 { 14 + 20 + 8 + 4 } else { 14 + 40 + 8 + 4 };
        let tagged_inside = ethernet(
            router_mac(VPC),
            HOST,
            &[0x81, 0, 0, 100],
            0x0800,
            &udp("10.1.2.3", "172.16.0.5").bytes(),
        );
        let inner_tag = tunnelled(underlay, VPC, 1, &tagged_inside);
        let nested = in_vpc(underlay, VPC, 1, &udp("10.1.7.9", "172.16.0.5"));
        vec![
            Case::fabric(
                "a VNI that nobody has",
                VPC,
                set(tunnel(VPC, 1), vni, &[0xff, 0xff, 0xff]),
                Want::Drop(Drop::UnknownVni),
            )
            .of_nobody(),
            Case::fabric(
                "the VNI of an attachment, from a VTEP of another",
                NESTED,
                tunnel(NESTED, 1),
                Want::Drop(Drop::UnknownVtep),
            ),
            Case::fabric(
                "the VNI of another border gateway, from a VTEP that it lacks",
                VPC_OTHER,
                tunnel(VPC_OTHER, 3),
                Want::Drop(Drop::UnknownVtep),
            ),
            Case::fabric("a stranger's tunnel", VPC, tunnel(VPC, 9), Want::Drop(Drop::UnknownVtep)),
            Case::fabric("a tag inside the tunnel", VPC, inner_tag, Want::Drop(Drop::EtherType)),
            Case::fabric(
                "the address of a VPC inside the own one",
                VPC,
                nested,
                Want::Drop(Drop::SourceInvalid),
            ),
        ]
    });
}

#[test]
fn nobody_speaks_as_another_s_router() {
    check(|underlay| {
        let to_a = |protocol, port| transport("169.254.10.1", "169.254.10.2", protocol, 40_000, port);
        let from = |name, vif, datagram: Datagram, want| Case::line(name, vif, on_vif(vif, &datagram), want);
        let forbidden = || Want::Drop(Drop::SourceInvalid);
        let from_vpc = |datagram: &Datagram| {
            let packet = in_vpc(underlay, VPC, 1, datagram);
            (packet, ethernet(router_mac(VPC), HOST, &[], 0x0800, &datagram.bytes()))
        };
        let bgp = transport("10.1.2.3", "169.254.10.2", 6, 40_000, BGP);
        let (asked, handed_over) = from_vpc(&bgp);
        let spoofed = in_vpc(underlay, VPC, 1, &to_a(6, BGP));
        let own = ethernet(port_mac(PORT_A), CUSTOMER, &[], 0x0800, &to_a(6, BGP).bytes());
        vec![
            from("BGP with the address of another line's peer", VIF_B, to_a(6, BGP), forbidden()),
            from("BFD with the address of another line's peer", VIF_B, to_a(17, BFD), forbidden()),
            from(
                "BGP of the other customer's peer, who has the same address",
                VIF_OTHER,
                to_a(6, BGP),
                Want::Punt(vif_veth(VIF_OTHER), own),
            ),
            from(
                "BGP by a peer to another line's address",
                VIF_A,
                transport("169.254.10.1", "169.254.20.2", 6, 40_000, BGP),
                {
                    let sent = transport("169.254.10.1", "169.254.20.2", 6, 40_000, BGP).bytes();
                    Want::Punt(vif_veth(VIF_A), ethernet(port_mac(PORT_A), CUSTOMER, &[], 0x0800, &sent))
                },
            ),
            Case::fabric(
                "BGP of a host in a VPC arrives where nobody listens",
                VPC,
                asked,
                Want::Punt(vpc_veth(VPC), handed_over),
            ),
            Case::fabric("BGP of a host in a VPC with a peer's address", VPC, spoofed, forbidden()),
            from(
                "a VPC's router as a source",
                VIF_A,
                udp("10.1.0.1", "10.1.2.3"),
                Want::Drop(Drop::MartianSource),
            ),
            from(
                "a redirect",
                VIF_A,
                icmp("169.254.10.1", "169.254.10.2", 5, &[0; 32]),
                Want::Drop(Drop::Redirect),
            ),
        ]
    });
}

#[test]
fn fragments_are_forwarded_and_reassembled_by_nobody_here() {
    check(|_| {
        let sent = |name, datagram: Datagram| {
            Case::line(name, VIF_A, on_vif(VIF_A, &datagram), Want::ToVpc(VPC, &[1, 2], datagram))
        };
        vec![
            sent(
                "one that would write over the header of the first (RFC 1858)",
                udp("172.16.0.5", "10.1.2.3").fragment(1, false),
            ),
            sent(
                "a first one without a whole header",
                Datagram::new("172.16.0.5", "10.1.2.3", 6, vec![0; 8]).fragment(0, true),
            ),
            sent("one that ends beyond 65,535 bytes", udp("172.16.0.5", "10.1.2.3").fragment(0x1fff, false)),
            sent("the same in IPv6", udp("fd00:172:16::5", "fd00:1::33").fragment(0x1fff, false)),
        ]
    });
}
