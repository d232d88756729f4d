//! Of two faults the one that the design checks first gives the drop its name: every pair is tried.

use border_gw_common::abi::{
    Entry, TO_CUSTOMER, TO_VPC, VIF_ENABLED, VifPolicer, connection_policer, port_policer, vif_policer,
};
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::{DropReason as Drop, Verdict};
use border_gw_ebpf::policer::policer;

use crate::support::case::run;
use crate::support::datagram::{Datagram, udp, with_checksum};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::send::outer_len;
use crate::support::wire::{ethernet, set, tunnel};
use crate::support::world::{
    CONNECTION, CUSTOMER, FABRIC, PORT_A, SPINE, Underlay, VIF_A, VNI, VPC, port_index, port_mac, router_mac,
    tags, world,
};

/// A frame in the making; each fault spoils one field.
struct Draft {
    tags: &'static [u8],
    to: MacAddr,
    from: MacAddr,
    ether_type: u16,
    datagram: Datagram,
    version: u8,
    header_words: u8,
    longer: u16,
    bad_sum: bool,
    flags: u8,
    vni: u32,
    vtep: usize,
    outer_ecn: u8,
    room: usize,
    world: Memory,
}

/// The name of a fault's drop, the field that it spoils, and how.
type Fault = (Drop, &'static str, fn(&mut Draft));

impl Draft {
    fn new(source: &str, destination: &str, to: MacAddr) -> Self {
        Self {
            tags: tags(VIF_A),
            to,
            from: CUSTOMER,
            ether_type: 0x0800,
            datagram: udp(source, destination),
            version: 4,
            header_words: 5,
            longer: 0,
            bad_sum: false,
            flags: 8,
            vni: VNI[VPC as usize],
            vtep: 1,
            outer_ecn: 0,
            room: 256,
            world: world(Underlay::V4),
        }
    }

    fn source(&mut self, source: &str) {
        self.datagram.source = source.parse().unwrap();
    }

    fn destination(&mut self, destination: &str) {
        self.datagram.destination = destination.parse().unwrap();
    }

    fn full(&mut self, cap: u32) {
        self.world.policers.insert(cap, policer(8, 0));
    }

    fn packet(&self) -> Vec<u8> {
        let packet = self.datagram.bytes();
        let len = packet.len() as u16 + self.longer;
        let words = self.header_words + (self.datagram.options.len() / 4) as u8;
        let packet = set(packet, 0, &[self.version << 4 | words]);
        let packet = with_checksum(set(packet, 2, &len.to_be_bytes()));
        if self.bad_sum { set(packet.clone(), 10, &[packet[10] ^ 1]) } else { packet }
    }

    fn line(&self) -> Verdict {
        let frame = ethernet(self.to, self.from, self.tags, self.ether_type, &self.packet());
        run(Entry::Line, &mut Frame::with_room(&frame, self.room, 0), &self.world, PORT_A).verdict
    }

    fn fabric(&self) -> Verdict {
        let inner = ethernet(self.to, self.from, &[], self.ether_type, &self.packet());
        let macs = (port_mac(FABRIC), SPINE);
        let frame = tunnel(macs, &self.world.settings, &Underlay::V4.vtep(self.vtep), self.vni, &inner);
        let frame = set(set(frame, 15, &[self.outer_ecn]), outer_len(Underlay::V4) - 8, &[self.flags]);
        let frame = [&frame[..14], &with_checksum(frame[14..].to_vec())].concat();
        run(Entry::Fabric, &mut Frame::with_room(&frame, self.room, 0), &self.world, FABRIC).verdict
    }
}

/// What is wrong with an IP packet itself, in the order of the design.
const IP: [Fault; 11] = [
    (Drop::EtherType, "type", |draft| draft.ether_type = 0x8137),
    (Drop::IpVersion, "version", |draft| draft.version = 7),
    (Drop::IpHeaderLength, "words", |draft| draft.header_words = 0),
    (Drop::IpTotalLength, "length", |draft| draft.longer = 1),
    (Drop::IpChecksum, "sum", |draft| draft.bad_sum = true),
    (Drop::SourceRoute, "options", |draft| draft.datagram.options = vec![131, 3, 4, 0]),
    (Drop::MartianSource, "source", |draft| draft.source("127.0.0.1")),
    (Drop::Multicast, "destination", |draft| draft.destination("239.1.1.1")),
    (Drop::Broadcast, "destination", |draft| draft.destination("255.255.255.255")),
    (Drop::MartianDestination, "destination", |draft| draft.destination("127.0.0.1")),
    (Drop::UnicastInBroadcast, "to", |draft| draft.to = MacAddr::BROADCAST),
];

/// Tries every fault alone, and every two that can be in one packet.
fn every_pair(faults: &[Fault], draft: fn() -> Draft, run: fn(&Draft) -> Verdict) {
    assert!(matches!(run(&draft()), Verdict::Forward(_)), "without a fault");
    for (place, (reason, field, spoil)) in faults.iter().enumerate() {
        let mut one = draft();
        spoil(&mut one);
        assert_eq!(run(&one), Verdict::Drop(*reason), "alone");
        for (other, other_field, spoil_more) in &faults[place + 1..] {
            if field == other_field {
                continue;
            }
            let mut two = draft();
            spoil(&mut two);
            spoil_more(&mut two);
            assert_eq!(run(&two), Verdict::Drop(*reason), "{reason:?} comes before {other:?}");
            assert_eq!(two.world.charged(), [].into(), "{reason:?} and {other:?}");
        }
    }
}

#[test]
fn on_a_line_faults_are_named_in_the_order_of_the_design() {
    let before: [Fault; 5] = [
        (Drop::Untagged, "tags", |draft| draft.tags = &[]),
        (Drop::UnknownVlan, "tags", |draft| draft.tags = &[0x81, 0, 9, 9]),
        (Drop::VifDown, "vif", |draft| draft.world.vifs.get_mut(&VIF_A).unwrap().flags &= !VIF_ENABLED),
        (Drop::WrongMac, "to", |draft| draft.to = CUSTOMER),
        (Drop::GroupSource, "from", |draft| draft.from = MacAddr::BROADCAST),
    ];
    let after: [Fault; 12] = [
        (Drop::SourceInvalid, "source", |draft| draft.source("10.9.9.9")),
        (Drop::TtlExpired, "ttl", |draft| draft.datagram.ttl = 1),
        (Drop::NoRoute, "destination", |draft| draft.destination("9.9.9.9")),
        (Drop::Transit, "destination", |draft| draft.destination("172.17.0.1")),
        (Drop::NextHopDead, "destination", |draft| draft.destination("10.90.0.1")),
        (Drop::NextHopForeign, "destination", |draft| draft.destination("10.91.0.1")),
        (Drop::TooBig, "size", |draft| draft.datagram = draft.datagram.clone().len(1451)),
        (Drop::VifCap, "vif cap", |draft| draft.full(vif_policer(VIF_A, VifPolicer::ToVpc))),
        (Drop::ConnectionCap, "connection cap", |draft| {
            draft.full(connection_policer(CONNECTION[VIF_A as usize], TO_VPC));
        }),
        (Drop::PortCap, "port cap", |draft| draft.full(port_policer(port_index(FABRIC)))),
        (Drop::Headroom, "room", |draft| draft.room = 41),
        (Drop::NoEgress, "record", |draft| {
            draft.world.next_hops.values_mut().for_each(|each| each.header_len = 20);
        }),
    ];
    let draft = || Draft::new("172.16.0.5", "10.1.2.3", port_mac(PORT_A));
    // The last two are of one step, and a record that is wrong is seen when it is used.
    every_pair(&[&before[..], &IP, &after[..11]].concat(), draft, Draft::line);
    every_pair(&[&before[..], &IP, &after[..10], &after[11..]].concat(), draft, Draft::line);
}

#[test]
fn on_the_fabric_faults_are_named_in_the_order_of_the_design() {
    let before: [Fault; 5] = [
        (Drop::VxlanMalformed, "flags", |draft| draft.flags = 0),
        (Drop::UnknownVni, "vni", |draft| draft.vni = 77),
        (Drop::UnknownVtep, "vtep", |draft| draft.vtep = 9),
        (Drop::WrongMac, "to", |draft| draft.to = CUSTOMER),
        (Drop::GroupSource, "from", |draft| draft.from = MacAddr::BROADCAST),
    ];
    let after: [Fault; 11] = [
        (Drop::SourceInvalid, "source", |draft| draft.source("10.1.7.9")),
        (Drop::TtlExpired, "ttl", |draft| draft.datagram.ttl = 1),
        (Drop::NoRoute, "destination", |draft| draft.destination("9.9.9.9")),
        (Drop::Hairpin, "destination", |draft| draft.destination("10.1.9.9")),
        (Drop::Congestion, "ecn", |draft| draft.outer_ecn = 3),
        (Drop::NextHopDead, "destination", |draft| draft.destination("172.30.0.1")),
        (Drop::NextHopForeign, "destination", |draft| draft.destination("172.31.0.1")),
        (Drop::TooBig, "size", |draft| draft.datagram = draft.datagram.clone().len(1501)),
        (Drop::VifCap, "vif cap", |draft| draft.full(vif_policer(VIF_A, VifPolicer::ToCustomer))),
        (Drop::ConnectionCap, "connection cap", |draft| {
            draft.full(connection_policer(CONNECTION[VIF_A as usize], TO_CUSTOMER));
        }),
        (Drop::PortCap, "port cap", |draft| draft.full(port_policer(port_index(PORT_A)))),
    ];
    let draft = || Draft::new("10.1.2.3", "172.16.0.5", router_mac(VPC));
    every_pair(&[&before[..], &IP, &after].concat(), draft, Draft::fabric);
}
