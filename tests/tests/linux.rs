//! Linux as the judge: what plain routing is, the kernel of this machine knows. The same packets go through its forwarding, in a
//! namespace with the same routes, and through the packet path; what comes out differs only where a row says why.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use border_gw_common::abi::Entry;
use border_gw_common::verdict::Verdict;

#[path = "../../border-gw-ebpf/tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests of the path use more")]
mod support;
#[path = "../../border-gw-ebpf/tests/path/witness.rs"]
mod witness;

#[path = "linux/differences.rs"]
mod differences;
#[path = "linux/packets.rs"]
mod packets;
#[path = "linux/router.rs"]
mod router;

use differences::{DIFFERENCES, Difference};
use packets::{Packet, Side, damaged, packets};
use router::Router;
use support::case::run;
use support::frame::Frame;
use support::memory::Memory;
use support::send::{in_vpc, on_vif};
use support::wire::address;
use support::world::{FABRIC, Underlay, VIF_A, VPC, vif_port, world};

/// What becomes of an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It comes out at the other side, as this.
    Forwarded(Vec<u8>),
    /// It comes out in pieces.
    Fragmented,
    /// Its sender is told: type and code, the MTU, and as much of the packet as is quoted.
    Told { kind: (u8, u8), mtu: u16, quoted: Vec<u8> },
    /// Nothing comes out.
    Nothing,
    /// It is for the router itself.
    Local,
}

impl Fate {
    /// Reads an ICMP error.
    fn told(packet: &[u8]) -> Self {
        let at = if packet[0] >> 4 == 4 { usize::from(packet[0] & 15) * 4 } else { 40 };
        let message = &packet[at..];
        let mtu = u16::from_be_bytes([message[6], message[7]]);
        Self::Told { kind: (message[0], message[1]), mtu, quoted: message[8..].to_vec() }
    }

    /// The kind, for people and for the rows of differences.
    fn name(&self) -> String {
        match self {
            Self::Forwarded(_) => "forwarded".into(),
            Self::Told { kind, .. } => format!("told {}.{}", kind.0, kind.1),
            Self::Fragmented => "fragmented".into(),
            Self::Nothing => "nothing".into(),
            Self::Local => "local".into(),
        }
    }
}

/// The world of the tests of the path, without what plain routing has not: no source validation, but for errors' senders.
fn plain() -> Memory {
    let mut world = world(Underlay::V4);
    for vif in world.vifs.values_mut() {
        vif.flags &= !border_gw_common::abi::VIF_VALIDATE;
        vif.error_v4 = address("169.254.10.2").1;
        vif.error_v6 = address("fd00:10::2").1;
    }
    for attachment in world.attachments.values_mut() {
        attachment.error_v4 = address("10.1.0.1").1;
        attachment.error_v6 = address("fd00:1::1").1;
    }
    world
}

/// What the packet path makes of a packet, with the name of a drop.
fn ours(world: &mut Memory, packet: &Packet) -> (Fate, &'static str) {
    world.forget();
    let (entry, ifindex, bytes) = match packet.from {
        Side::Customer => (Entry::Line, vif_port(VIF_A), on_vif(VIF_A, &packet.datagram)),
        Side::Vpc => (Entry::Fabric, FABRIC, in_vpc(Underlay::V4, VPC, 1, &packet.datagram)),
    };
    // The packet stands at the end of its frame; what was damaged stands there in the place of the sound one.
    let sound = packet.datagram.bytes().len();
    let mut bytes = bytes;
    bytes.truncate(bytes.len() - sound);
    bytes.extend(&packet.bytes);
    let mut frame = Frame::new(&bytes);
    let outcome = run(entry, &mut frame, world, ifindex);
    let out = frame.bytes();
    // Ethernet and a tag, or Ethernet, IPv4, UDP, VXLAN and Ethernet.
    let (line, tunnel) = (18, 14 + 20 + 8 + 8 + 14);
    match outcome.verdict {
        Verdict::Forward(to) => {
            (Fate::Forwarded(out[if to == FABRIC { tunnel } else { line }..].to_vec()), "")
        }
        Verdict::Refuse(reason) => {
            let at = if packet.from == Side::Customer { line } else { tunnel };
            (Fate::told(&out[at..]), reason.label())
        }
        Verdict::Drop(reason) => (Fate::Nothing, reason.label()),
        Verdict::Punt(_) | Verdict::Answer | Verdict::Pass | Verdict::Complain => (Fate::Local, ""),
    }
}

/// The row that explains a difference.
fn explained(packet: &Packet, ours: &(Fate, &str), linux: &Fate) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|row| {
        (row.ours == ours.0.name() || row.ours == ours.1) && row.linux == linux.name() && (row.when)(packet)
    })
}

/// Compares; the rows that were needed.
fn judge(packets: &[Packet]) -> BTreeSet<&'static str> {
    let router = Router::new();
    let mut world = plain();
    let (mut used, mut wrong) = (BTreeSet::new(), Vec::new());
    for packet in packets {
        let ours = ours(&mut world, packet);
        let mut linux = router.judge(packet);
        if linux == Fate::Nothing && ours.0 != linux {
            // The kernel limits what it tells, a thousand a second: it may have had nothing left.
            thread::sleep(Duration::from_millis(100));
            linux = router.judge(packet);
        }
        if matches!(linux, Fate::Told { .. }) {
            thread::sleep(Duration::from_millis(2));
        }
        if ours.0 == linux {
            continue;
        }
        match explained(packet, &ours, &linux) {
            Some(row) => drop(used.insert(row.why)),
            None => wrong.push(format!(
                "{}: {:02x?}\n  ours {} ({}) {:02x?}\n  Linux {} {linux:02x?}",
                packet.name,
                packet.bytes,
                ours.0.name(),
                ours.1,
                ours.0,
                linux.name()
            )),
        }
    }
    let shown: Vec<_> = wrong.iter().take(10).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), packets.len(), shown.join("\n"));
    used
}

/// Rows that explain nothing have to go.
fn needed(damaged: bool, used: &BTreeSet<&str>) {
    let rows = DIFFERENCES.iter().filter(|row| row.damaged == damaged).map(|row| row.why);
    let stale: Vec<_> = rows.filter(|why| !used.contains(why)).collect();
    assert!(stale.is_empty(), "differences that are none any more: {stale:#?}");
}

#[test]
fn linux_routes_the_same_packets_the_same_way() {
    needed(false, &judge(&packets()));
}

#[test]
fn linux_makes_the_same_of_damaged_packets() {
    needed(true, &judge(&damaged(&packets(), 4_000)));
}

#[test]
fn the_judge_sees_what_is_wrong() {
    let router = Router::new();
    let mut world = plain();
    let packet = packets().into_iter().find(|packet| packet.name == "v4 customer: udp").unwrap();
    let (Fate::Forwarded(mut out), _) = ours(&mut world, &packet) else { panic!("it is not forwarded") };
    let linux = router.judge(&packet);
    assert_eq!(Fate::Forwarded(out.clone()), linux);
    out[8] += 1;
    assert_ne!(Fate::Forwarded(out), linux, "a TTL that is not one less");
}
