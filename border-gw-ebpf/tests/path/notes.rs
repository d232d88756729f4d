//! The note about a refused packet: it is this packet's, or nobody is told anything.

use border_gw_common::abi::{Complaint, Entry, entry_scope};
use border_gw_common::verdict::{DropReason as Drop, Verdict};
use border_gw_ebpf::tables::Tables as _;
use border_gw_ebpf::{Outcome, error, fabric, line};

use crate::errors::{ASKERS, Asker, FAMILIES, speak};
use crate::support::case::{Case, Want, check};
use crate::support::datagram::{Datagram, udp};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::send::inner;
use crate::support::world::{Underlay, VPC, vpc_veth, world};

/// A frame of which a program has left a note.
fn noted(world: &Memory, underlay: Underlay, asker: Asker, about: &Datagram) -> Frame {
    let mut frame = Frame::new(&asker.frame(underlay, about));
    let outcome = match asker.entry {
        Entry::Line => line::line(&mut frame, world, asker.ifindex()),
        _ => fabric::fabric(&mut frame, world, asker.ifindex()),
    };
    assert_eq!(outcome.verdict, Verdict::Complain, "{}", asker.name);
    frame
}

/// Dropped because the note is not there, for the program that received the packet.
fn lost(asker: Asker) -> Outcome {
    Outcome { scope: entry_scope(asker.entry), verdict: Verdict::Drop(Drop::NoteLost) }
}

#[test]
fn a_note_about_another_packet_is_told_to_nobody() {
    for underlay in Underlay::ALL {
        for (asker, family) in ASKERS.into_iter().flat_map(|asker| FAMILIES.map(|family| (asker, family))) {
            let mut world = world(underlay);
            speak(&mut world);
            let tell = |name: &str, mut frame: Frame, note: Complaint| {
                world.complain(&note);
                let before = frame.bytes().to_vec();
                let outcome = error::error(&mut frame, &world, asker.ifindex());
                assert_eq!(outcome, lost(asker), "{}: {name}", asker.name);
                assert_eq!((frame.bytes(), world.charged()), (&before[..], [].into()), "{name}");
            };
            let about = asker.sound(family).ttl(1);
            let frame = noted(&world, underlay, asker, &about);
            let note = world.complaint().unwrap();
            let longer = about.clone().len(about.bytes().len() + 1);
            for (name, other) in [
                ("another source", udp(asker.strangers[family], asker.beyond[family]).ttl(1)),
                ("another length", longer),
                ("another family", asker.sound(1 - family).ttl(1)),
            ] {
                tell(name, noted(&world, underlay, asker, &other), note);
            }
            tell("another place", frame.clone(), Complaint { at: note.at + 4, ..note });
            tell("a place beyond the frame", frame.clone(), Complaint { at: 1500, ..note });
            tell("no note yet", frame.clone(), Complaint::default());
            world.complain(&note);
            let told = error::error(&mut frame.clone(), &world, asker.ifindex()).verdict;
            assert_eq!(told, Verdict::Refuse(Drop::TtlExpired), "{}: its own", asker.name);
        }
    }
}

#[test]
fn without_a_note_the_drop_is_the_programs_that_received() {
    for asker in ASKERS {
        let world = world(Underlay::V4);
        let mut frame = Frame::new(&asker.frame(Underlay::V4, &asker.sound(0).ttl(1)));
        assert_eq!(error::error(&mut frame, &world, asker.ifindex()), lost(asker), "{}", asker.name);
    }
}

/// The program `host` leaves no notes.
#[test]
fn the_kernel_is_told_nothing() {
    check(|underlay| {
        let refused = |name, datagram: &Datagram, why| {
            Case::host(name, vpc_veth(VPC), inner(VPC, datagram), Want::Drop(why)).when(speak)
        };
        let large = udp("10.1.0.1", "10.1.2.3").len(usize::from(underlay.mtu()) + 1);
        vec![
            refused("too big", &large, Drop::TooBig),
            refused("no route", &udp("10.1.0.1", "9.9.9.9"), Drop::NoRoute),
            refused("a dead next hop", &udp("10.1.0.1", "10.90.0.1"), Drop::NextHopDead),
        ]
    });
}
