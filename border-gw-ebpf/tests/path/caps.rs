//! Caps: all that a packet meets are charged, or none; each in its own direction.

use std::collections::BTreeMap;

use border_gw_common::abi::{
    Entry, Flow, INTO, OUT_OF, OWNER_ATTACHMENT, OWNER_VIF, Owner, TO_CUSTOMER, TO_VPC, VIF_TRANSIT,
    VifPolicer, connection_policer, port_policer, vif_policer,
};
use border_gw_common::verdict::{DropReason as Drop, Verdict};
use border_gw_ebpf::policer::{cost, policer};

use crate::support::case::run;
use crate::support::datagram::udp;
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::send::{in_vpc, on_vif};
use crate::support::wire::padded;
use crate::support::world::{
    CONNECTION, FABRIC, NESTED, PORT_A, PORT_B, Underlay, VIF_A, VIF_B, VPC, port_index, vif_port, world,
};

/// A way through the gateway.
struct Way {
    name: &'static str,
    entry: Entry,
    ifindex: u32,
    packet: Vec<u8>,
    ends: [(Owner, u32); 2],
    /// The caps on it, in the order in which they refuse.
    caps: Vec<Cap>,
}

/// A policer, the name of what it refuses, and for whom, and in which direction, that counts as refused.
type Cap = (u32, Drop, Option<(Owner, u32)>);

/// Bytes of the IP packet on every way.
const BYTES: u64 = 60;

fn owner_of(index: u32) -> Owner {
    Owner::new(OWNER_VIF, index)
}

fn ways() -> Vec<Way> {
    let vpc = |index| Owner::new(OWNER_ATTACHMENT, index);
    let out_of = |vif: u32| {
        [
            (vif_policer(vif, VifPolicer::ToVpc), Drop::VifCap, Some((owner_of(vif), TO_VPC))),
            (
                connection_policer(CONNECTION[vif as usize], TO_VPC),
                Drop::ConnectionCap,
                Some((owner_of(vif), TO_VPC)),
            ),
        ]
    };
    let into = |vif: u32| {
        [
            (vif_policer(vif, VifPolicer::ToCustomer), Drop::VifCap, Some((owner_of(vif), TO_CUSTOMER))),
            (
                connection_policer(CONNECTION[vif as usize], TO_CUSTOMER),
                Drop::ConnectionCap,
                Some((owner_of(vif), TO_CUSTOMER)),
            ),
        ]
    };
    let port = |ifindex| [(port_policer(port_index(ifindex)), Drop::PortCap, None)];
    let to_vpc = padded(on_vif(VIF_A, &udp("172.16.0.5", "10.1.2.3")), 30);
    let to_customer = in_vpc(Underlay::V4, VPC, 1, &udp("10.1.2.3", "172.16.0.5"));
    let between = in_vpc(Underlay::V4, VPC, 1, &udp("10.1.2.3", "10.1.7.9"));
    let transit = on_vif(VIF_A, &udp("172.16.0.5", "172.17.0.5"));
    vec![
        Way {
            name: "to a VPC; padding is not counted",
            entry: Entry::Line,
            ifindex: PORT_A,
            packet: to_vpc,
            ends: [(owner_of(VIF_A), TO_VPC), (vpc(VPC), INTO)],
            caps: [&out_of(VIF_A)[..], &port(FABRIC)].concat(),
        },
        Way {
            name: "to a customer",
            entry: Entry::Fabric,
            ifindex: FABRIC,
            packet: to_customer,
            ends: [(vpc(VPC), OUT_OF), (owner_of(VIF_A), TO_CUSTOMER)],
            caps: [&into(VIF_A)[..], &port(PORT_A)].concat(),
        },
        Way {
            name: "between VPCs",
            entry: Entry::Fabric,
            ifindex: FABRIC,
            packet: between,
            ends: [(vpc(VPC), OUT_OF), (vpc(NESTED), INTO)],
            caps: port(FABRIC).to_vec(),
        },
        Way {
            name: "from line to line, where both VIFs are charged",
            entry: Entry::Line,
            ifindex: PORT_A,
            packet: transit,
            ends: [(owner_of(VIF_A), TO_VPC), (owner_of(VIF_B), TO_CUSTOMER)],
            caps: [&out_of(VIF_A)[..], &into(VIF_B), &port(PORT_B)].concat(),
        },
    ]
}

fn transit_world() -> Memory {
    let mut world = world(Underlay::V4);
    world.vifs.values_mut().for_each(|vif| vif.flags |= VIF_TRANSIT);
    world
}

fn send(way: &Way, world: &Memory) -> Verdict {
    run(way.entry, &mut Frame::new(&way.packet), world, way.ifindex).verdict
}

#[test]
fn every_cap_on_the_way_is_charged_and_no_other() {
    for way in ways() {
        let world = transit_world();
        for packets in 1..=3 {
            assert!(matches!(send(&way, &world), Verdict::Forward(_)), "{}", way.name);
            let missing = |(cap, ..): &Cap| (*cap, packets * cost(&world.policers[cap], BYTES as u32));
            let want: BTreeMap<u32, u64> = way.caps.iter().map(missing).collect();
            assert_eq!(world.charged(), want, "{}", way.name);
            let flow = Flow { packets, bytes: packets * BYTES, ..Flow::default() };
            assert_eq!(world.traffic(), way.ends.map(|end| (end, flow)).into(), "{}", way.name);
        }
    }
}

#[test]
fn a_cap_that_refuses_counts_for_its_owner_and_leaves_the_others_as_they_were() {
    for way in ways() {
        for (full, reason, payer) in &way.caps {
            let mut world = transit_world();
            // One packet, and a byte less than a second one needs.
            world.policers.insert(*full, policer(8_000, 2 * BYTES - 1));
            assert!(matches!(send(&way, &world), Verdict::Forward(_)), "{}", way.name);
            let before = world.charged();
            for _ in 0..3 {
                assert_eq!(send(&way, &world), Verdict::Drop(*reason), "{}", way.name);
                assert_eq!(world.charged(), before, "{}: {reason:?}", way.name);
            }
            let flow = |end| {
                let refused = if *payer == Some(end) { 3 } else { 0 };
                Flow { packets: 1, bytes: BYTES, policed_packets: refused, policed_bytes: refused * BYTES }
            };
            let want = way.ends.map(|end| (end, flow(end)));
            assert_eq!(world.traffic(), want.into(), "{}: {reason:?}", way.name);
            // The bucket fills again at its rate: the byte that was missing is a millisecond.
            world.clock.set(world.clock.get() + 1_000_000);
            assert!(matches!(send(&way, &world), Verdict::Forward(_)), "{}: {reason:?}", way.name);
        }
    }
}

#[test]
fn of_two_full_caps_the_first_gives_its_name() {
    for way in ways() {
        for (place, (first, reason, _)) in way.caps.iter().enumerate() {
            for (second, ..) in &way.caps[place + 1..] {
                let mut world = transit_world();
                for cap in [first, second] {
                    world.policers.insert(*cap, policer(8_000, 1));
                }
                assert_eq!(send(&way, &world), Verdict::Drop(*reason), "{}", way.name);
                assert_eq!(world.charged(), [].into(), "{}", way.name);
            }
        }
    }
}

#[test]
fn a_cap_of_one_direction_does_not_touch_the_other() {
    for way in ways() {
        let mut world = transit_world();
        let caps: Vec<u32> = way.caps.iter().map(|(cap, ..)| *cap).collect();
        for (index, policer) in &mut world.policers {
            if !caps.contains(index) {
                *policer = self::policer(8, 0);
            }
        }
        assert!(matches!(send(&way, &world), Verdict::Forward(_)), "{}", way.name);
    }
}

#[test]
fn two_vifs_of_a_connection_share_its_cap() {
    let mut world = world(Underlay::V4);
    world.vifs.get_mut(&VIF_B).unwrap().connection = CONNECTION[VIF_A as usize];
    world.policers.insert(connection_policer(CONNECTION[VIF_A as usize], TO_VPC), policer(8_000, 10 * BYTES));
    let mut sent = 0;
    for turn in 0..20 {
        let (vif, source) = if turn % 2 == 0 { (VIF_A, "172.16.0.5") } else { (VIF_B, "172.17.0.5") };
        let packet = on_vif(vif, &udp(source, "10.1.2.3"));
        let verdict = run(Entry::Line, &mut Frame::new(&packet), &world, vif_port(vif)).verdict;
        assert!(matches!(verdict, Verdict::Forward(_) | Verdict::Drop(Drop::ConnectionCap)), "{verdict:?}");
        sent += u32::from(verdict == Verdict::Forward(FABRIC));
    }
    assert_eq!(sent, 10);
}

#[test]
fn what_cannot_be_rewritten_is_given_back() {
    let world = world(Underlay::V4);
    let way = &ways()[0];
    let mut frame = Frame::with_room(&way.packet, 0, 0);
    assert_eq!(run(way.entry, &mut frame, &world, way.ifindex).verdict, Verdict::Drop(Drop::Headroom));
    assert_eq!((world.charged(), world.traffic()), ([].into(), [].into()));
}
