//! Which member of a group a flow takes: always the same, whatever a fragment holds, and evenly spread.

use std::collections::{BTreeMap, BTreeSet};

use border_gw_common::abi::{BUCKETS, Entry, HashMode};
use border_gw_common::verdict::Verdict;

use crate::support::case::run;
use crate::support::datagram::{Datagram, icmp, transport, udp};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::seen;
use crate::support::send::{in_vpc, on_vif};
use crate::support::wire::padded;
use crate::support::world::{FABRIC, PORT_A, PORT_B, Underlay, VIF_A, VPC, vpc_group, vpc_next_hop, world};

/// What the outside sees of a flow: the UDP source port and the VTEP.
fn path(world: &Memory, underlay: Underlay, packet: &[u8]) -> (u16, String) {
    let mut frame = Frame::new(packet);
    assert_eq!(run(Entry::Line, &mut frame, world, PORT_A).verdict, Verdict::Forward(FABRIC));
    let outer = seen::tunnel(underlay, frame.bytes());
    (outer.udp_source, outer.destination.to_string())
}

fn mode(world: &mut Memory, mode: HashMode) {
    for vif in world.vifs.values_mut() {
        vif.hash_mode = mode as u32;
    }
}

const SOURCES: [&str; 2] = ["172.16.0.5", "fd00:172:16::5"];
const DESTINATIONS: [&str; 2] = ["10.1.2.3", "fd00:1::33"];

#[test]
fn what_a_mode_looks_at_moves_a_flow_and_nothing_else_does() {
    use HashMode::{FiveTuple, L3, ThreeTuple};
    let modes = [FiveTuple, ThreeTuple, L3];
    for underlay in Underlay::ALL {
        for (source, destination) in SOURCES.into_iter().zip(DESTINATIONS) {
            let flow = |protocol, from, to| transport(source, destination, protocol, from, to);
            // A sentence, two packets, and in which modes they are of one flow.
            let rows: [(&str, Datagram, Datagram, [bool; 3]); 12] = [
                ("another length", flow(6, 1, 2), flow(6, 1, 2).len(900), [true; 3]),
                ("another traffic class", flow(6, 1, 2), flow(6, 1, 2).traffic_class(0xb8), [true; 3]),
                ("another TTL", flow(6, 1, 2), flow(6, 1, 2).ttl(9), [true; 3]),
                ("another TCP source port", flow(6, 1, 2), flow(6, 3, 2), [false, true, true]),
                ("another UDP destination port", flow(17, 1, 2), flow(17, 1, 3), [false, true, true]),
                ("another SCTP port", flow(132, 1, 2), flow(132, 1, 3), [false, true, true]),
                ("another DCCP port", flow(33, 1, 2), flow(33, 1, 3), [false, true, true]),
                ("another UDP-Lite port", flow(136, 1, 2), flow(136, 1, 3), [false, true, true]),
                ("another protocol", flow(6, 1, 2), flow(17, 1, 2), [false, false, true]),
                ("ESP has no ports", flow(50, 1, 2), flow(50, 3, 4), [true; 3]),
                (
                    "ICMP has no ports",
                    icmp(source, destination, 8, &[0; 8]),
                    icmp(source, destination, 8, &[1; 8]),
                    [true; 3],
                ),
                (
                    "a fragment is not of the flow of its ports",
                    flow(17, 1, 2),
                    flow(17, 1, 2).fragment(0, true),
                    [false, true, true],
                ),
            ];
            for (name, one, other, same) in rows {
                for (mode, same) in modes.into_iter().zip(same) {
                    let mut world = world(underlay);
                    self::mode(&mut world, mode);
                    let paths = [one.clone(), other.clone()]
                        .map(|each| path(&world, underlay, &on_vif(VIF_A, &each)));
                    assert_eq!(paths[0] == paths[1], same, "{name}, {mode:?}, {source}, {underlay:?}");
                }
            }
        }
    }
}

#[test]
fn all_fragments_of_a_datagram_take_one_path() {
    for underlay in Underlay::ALL {
        let world = world(underlay);
        let rows: [(&str, Vec<Datagram>); 4] = [
            ("IPv4", (0..5).map(|n| udp(SOURCES[0], DESTINATIONS[0]).fragment(n, n < 4)).collect()),
            ("IPv6", (0..5).map(|n| udp(SOURCES[1], DESTINATIONS[1]).fragment(n, n < 4)).collect()),
            ("IPv6 with options in front of the fragment header", {
                let whole = udp(SOURCES[1], DESTINATIONS[1]).extension(0, &[0, 1, 4, 0, 0, 0, 0]);
                (0..5).map(|n| whole.clone().fragment(n, n < 4)).collect()
            }),
            ("IPv6 with options behind it, which only the first fragment holds", {
                let first =
                    udp(SOURCES[1], DESTINATIONS[1]).fragment(0, true).extension(60, &[0, 1, 4, 0, 0, 0, 0]);
                let later =
                    |n| Datagram::new(SOURCES[1], DESTINATIONS[1], 60, vec![0x99; 40]).fragment(n, n < 4);
                [first].into_iter().chain((1..5).map(later)).collect()
            }),
        ];
        for (name, fragments) in rows {
            // What stands where the ports would be is different in each.
            let differing = |(n, mut fragment): (usize, Datagram)| {
                fragment.body[..4].fill(n as u8);
                path(&world, underlay, &on_vif(VIF_A, &fragment))
            };
            let paths: BTreeSet<_> = fragments.into_iter().enumerate().map(differing).collect();
            assert_eq!(paths.len(), 1, "{name}");
        }
    }
}

#[test]
fn padding_is_no_port() {
    let world = world(Underlay::V4);
    let short = on_vif(VIF_A, &Datagram::new(SOURCES[0], DESTINATIONS[0], 17, vec![1, 2]));
    let zeros = [&short[..], &[0; 20]].concat();
    assert_eq!(path(&world, Underlay::V4, &padded(short, 20)), path(&world, Underlay::V4, &zeros));
}

#[test]
fn flows_spread_evenly_over_members_and_ports() {
    let mut world = world(Underlay::V6);
    let mut members = BTreeMap::<String, u32>::new();
    let mut ports = BTreeSet::new();
    for flow in 0..4_000_u16 {
        let packet = on_vif(VIF_A, &transport(SOURCES[0], DESTINATIONS[0], 6, 1_024 + flow, 443));
        let (port, vtep) = path(&world, Underlay::V6, &packet);
        *members.entry(vtep).or_default() += 1;
        ports.insert(port);
    }
    assert!(
        members.len() == 2 && members.values().all(|count| (1_850..2_150).contains(count)),
        "{members:?}"
    );
    assert!(ports.len() > 3_300, "of 16384 ports, 4000 balls hit {}", ports.len());
    // A bucket that is empty loses its own flows and no other.
    let mut buckets = world.groups[&vpc_group(VPC)];
    buckets[..BUCKETS / 4].fill(0);
    buckets[BUCKETS / 4..].fill(vpc_next_hop(VPC, 2));
    world.groups.insert(vpc_group(VPC), buckets);
    let lost = (0..4_000).filter(|flow| {
        let packet = on_vif(VIF_A, &transport(SOURCES[0], DESTINATIONS[0], 6, 1_024 + flow, 443));
        run(Entry::Line, &mut Frame::new(&packet), &world, PORT_A).verdict != Verdict::Forward(FABRIC)
    });
    assert!((850..1_150).contains(&lost.count()));
}

#[test]
fn equal_lines_share_the_flows_of_a_vpc() {
    let world = world(Underlay::V4);
    let mut lines = BTreeMap::<u32, u32>::new();
    for flow in 0..1_000 {
        let packet =
            in_vpc(Underlay::V4, VPC, 1, &transport("10.1.2.3", "172.18.0.9", 6, 443, 10_000 + flow));
        let Verdict::Forward(port) = run(Entry::Fabric, &mut Frame::new(&packet), &world, FABRIC).verdict
        else {
            panic!("flow {flow}");
        };
        *lines.entry(port).or_default() += 1;
    }
    assert_eq!(lines.keys().copied().collect::<Vec<_>>(), [PORT_A, PORT_B]);
    assert!(lines.values().all(|count| (400..600).contains(count)), "{lines:?}");
}
