//! DSCP that a VIF translates: inside the packet, and outside in the tunnel.

use border_gw_common::abi::{
    DSCP_MAPPED, DSCPS, Dscp, NEXT_HOP_DSCP, TO_CUSTOMER, TO_VPC, VIF_DSCP_TO_VPC, VIF_TRANSIT, dscp_index,
};

use crate::support::case::{Case, Want, check};
use crate::support::datagram::{Datagram, udp};
use crate::support::memory::Memory;
use crate::support::send::{in_vpc, on_vif};
use crate::support::world::{VIF_A, VIF_B, VPC, vif_next_hop};

const CUSTOMER: &str = "172.16.0.5";
const CUSTOMER_V6: &str = "fd00:172:16::5";
const HOST: &str = "10.1.0.10";
const HOST_V6: &str = "fd00:1::10";

const EXPEDITED: u8 = 46;
const ASSURED: u8 = 34;

fn table(pairs: &[(u8, u8)]) -> Dscp {
    let mut table = [0; DSCPS];
    for (from, to) in pairs {
        table[usize::from(*from)] = DSCP_MAPPED | to;
    }
    table
}

/// `vif-a` translates 46 to 34, 0 to 8 and 63 to 0 toward VPCs, and 34 to 46 and 8 to 0 toward the customer.
fn translating(world: &mut Memory) {
    world.vifs.get_mut(&VIF_A).unwrap().flags |= VIF_DSCP_TO_VPC;
    world.next_hops.get_mut(&vif_next_hop(VIF_A)).unwrap().flags |= NEXT_HOP_DSCP;
    let to_vpc = table(&[(EXPEDITED, ASSURED), (0, 8), (63, 0)]);
    world.dscp.insert(dscp_index(VIF_A, TO_VPC), to_vpc);
    world.dscp.insert(dscp_index(VIF_A, TO_CUSTOMER), table(&[(ASSURED, EXPEDITED), (8, 0)]));
}

#[test]
fn code_points_are_translated_and_congestion_marks_are_kept() {
    // DSCP and ECN as they arrive, and as they go on.
    let to_vpc = [
        ((EXPEDITED, 0b00), (ASSURED, 0b00)),
        ((EXPEDITED, 0b01), (ASSURED, 0b01)),
        ((EXPEDITED, 0b10), (ASSURED, 0b10)),
        ((0, 0b11), (8, 0b11)),
        ((63, 0b10), (0, 0b10)),
        ((ASSURED, 0b11), (ASSURED, 0b11)),
        ((62, 0b00), (62, 0b00)),
    ];
    let to_customer = [
        ((ASSURED, 0b01), (EXPEDITED, 0b01)),
        ((8, 0b11), (0, 0b11)),
        ((EXPEDITED, 0b10), (EXPEDITED, 0b10)),
    ];
    let with = |datagram: Datagram, (dscp, ecn): (u8, u8)| datagram.traffic_class(dscp << 2 | ecn);
    check(|underlay| {
        let mut cases = Vec::new();
        for (sent, out) in to_vpc {
            for (from, to) in [(CUSTOMER, HOST), (CUSTOMER_V6, HOST_V6)] {
                let packet = on_vif(VIF_A, &with(udp(from, to), sent));
                let want = Want::ToVpc(VPC, &[1], with(udp(from, to), out));
                cases.push(Case::line("to a VPC", VIF_A, packet, want).when(translating));
            }
        }
        for (sent, out) in to_customer {
            for (from, to) in [(HOST, CUSTOMER), (HOST_V6, CUSTOMER_V6)] {
                let packet = in_vpc(underlay, VPC, 1, &with(udp(from, to), sent));
                let want = Want::ToLine(VIF_A, with(udp(from, to), out));
                cases.push(Case::fabric("to a customer", VPC, packet, want).when(translating));
            }
        }
        cases
    });
}

#[test]
fn only_what_is_asked_for_is_translated() {
    let expedited = |from, to| udp(from, to).traffic_class(EXPEDITED << 2 | 1);
    let assured = |from, to| udp(from, to).traffic_class(ASSURED << 2 | 1);
    check(|underlay| {
        vec![
            Case::line(
                "a VIF that does not translate, whatever its table says",
                VIF_A,
                on_vif(VIF_A, &expedited(CUSTOMER, HOST)),
                Want::ToVpc(VPC, &[1], expedited(CUSTOMER, HOST)),
            )
            .when(|world| {
                translating(world);
                world.vifs.get_mut(&VIF_A).unwrap().flags &= !VIF_DSCP_TO_VPC;
            }),
            Case::fabric(
                "a next hop that does not translate",
                VPC,
                in_vpc(underlay, VPC, 1, &assured(HOST, CUSTOMER)),
                Want::ToLine(VIF_A, assured(HOST, CUSTOMER)),
            )
            .when(|world| {
                translating(world);
                world.next_hops.get_mut(&vif_next_hop(VIF_A)).unwrap().flags = 0;
            }),
            Case::line(
                "a table that is not there yet",
                VIF_A,
                on_vif(VIF_A, &expedited(CUSTOMER, HOST)),
                Want::ToVpc(VPC, &[1], expedited(CUSTOMER, HOST)),
            )
            .when(|world| {
                translating(world);
                world.dscp.clear();
            }),
            Case::line(
                "between lines, the one that it comes from and then the one that it goes to",
                VIF_A,
                on_vif(VIF_A, &expedited(CUSTOMER, "172.17.0.1")),
                Want::ToLine(VIF_B, udp(CUSTOMER, "172.17.0.1").traffic_class(7 << 2 | 1)),
            )
            .when(|world| {
                translating(world);
                world.vifs.get_mut(&VIF_A).unwrap().flags |= VIF_TRANSIT;
                world.next_hops.get_mut(&vif_next_hop(VIF_B)).unwrap().flags |= NEXT_HOP_DSCP;
                let to_customer = table(&[(ASSURED, 7), (EXPEDITED, 9)]);
                world.dscp.insert(dscp_index(VIF_B, TO_CUSTOMER), to_customer);
            }),
        ]
    });
}
