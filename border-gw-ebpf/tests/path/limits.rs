//! How many ICMP errors there are: limits of each sender, and of the ports by which they leave.

use border_gw_common::abi::port_policer;
use border_gw_common::verdict::{DropReason as Drop, Verdict};
use border_gw_ebpf::policer::policer;

use crate::errors::{ASKERS, Asker, EXPIRED, everybody, speak, too_big};
use crate::support::case::{check, run};
use crate::support::datagram::{Datagram, icmp};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::world::{Underlay, port_index, world};

/// Index of the policer of the port by which they are told.
fn port(asker: Asker) -> u32 {
    port_policer(port_index(asker.ifindex()))
}

fn ask(world: &Memory, asker: Asker, about: &Datagram) -> Verdict {
    let mut frame = Frame::new(&asker.frame(Underlay::V4, about));
    run(asker.entry, &mut frame, world, asker.ifindex()).verdict
}

#[test]
fn errors_have_a_limiter_of_their_own() {
    check(|underlay| {
        everybody(|asker, family| {
            let about = asker.sound(family).ttl(1);
            let fits = asker.fits(underlay);
            let large = asker.sound(family).len(usize::from(fits) + 1);
            let limiter = asker.limiter();
            let exhausted = policer(8, 0);
            let echo = icmp(asker.hosts[family], asker.beyond[family], [3, 1][family], &[0; 4]).ttl(1);
            vec![
                asker.silent(underlay, "over the limiter", family, &about, Drop::TtlExpired).when(
                    move |world| {
                        speak(world);
                        world.policers.insert(limiter, exhausted);
                    },
                ),
                asker
                    .told(underlay, "over every other limiter and cap", family, about.clone(), EXPIRED)
                    .when(move |world| {
                        speak(world);
                        for (index, policer) in &mut world.policers {
                            if ![limiter, port(asker)].contains(index) {
                                *policer = exhausted;
                            }
                        }
                    }),
                asker.told(underlay, "over the limiter of MTUs", family, about.clone(), EXPIRED).when(
                    move |world| {
                        speak(world);
                        world.policers.insert(asker.too_big_limiter(), exhausted);
                    },
                ),
                asker
                    .told(
                        underlay,
                        "an MTU, over the limiter of others",
                        family,
                        large.clone(),
                        too_big(fits),
                    )
                    .when(move |world| {
                        speak(world);
                        world.policers.insert(limiter, exhausted);
                    }),
                asker.silent(underlay, "an MTU, over its limiter", family, &large, Drop::TooBig).when(
                    move |world| {
                        speak(world);
                        world.policers.insert(asker.too_big_limiter(), exhausted);
                    },
                ),
                asker.silent(underlay, "what nobody is told costs nothing", family, &echo, Drop::TtlExpired),
            ]
        })
    });
}

#[test]
fn a_storm_of_errors_is_the_senders_alone() {
    for (asker, neighbor) in [(ASKERS[0], ASKERS[1]), (ASKERS[2], ASKERS[3])] {
        let mut world = world(Underlay::V4);
        speak(&mut world);
        // Two errors, and then one a second.
        world.policers.insert(asker.limiter(), policer(8, 2));
        let expired = asker.sound(0).ttl(1);
        let refused = Verdict::Refuse(Drop::TtlExpired);
        let dropped = Verdict::Drop(Drop::TtlExpired);
        let storm: Vec<_> = (0..4).map(|_| ask(&world, asker, &expired)).collect();
        assert_eq!(storm, [refused, refused, dropped, dropped], "{}", asker.name);
        assert_eq!(ask(&world, neighbor, &neighbor.sound(0).ttl(1)), refused, "{}", neighbor.name);
        for sender in [asker, neighbor] {
            assert!(matches!(ask(&world, sender, &sender.sound(0)), Verdict::Forward(_)), "{}", sender.name);
        }
        world.clock.set(world.clock.get() + 1_000_000_000);
        assert_eq!(ask(&world, asker, &expired), refused, "one a second: {}", asker.name);
        assert_eq!(ask(&world, asker, &expired), dropped, "and no more: {}", asker.name);
    }
}

#[test]
fn a_storm_of_errors_does_not_hide_what_would_fit() {
    for asker in ASKERS {
        let mut world = world(Underlay::V4);
        speak(&mut world);
        for limiter in [asker.limiter(), asker.too_big_limiter()] {
            world.policers.insert(limiter, policer(8, 2));
        }
        let expired = asker.sound(0).ttl(1);
        let large = asker.sound(0).len(usize::from(asker.fits(Underlay::V4)) + 1);
        let storms = [(&expired, Drop::TtlExpired), (&large, Drop::TooBig)];
        for (about, reason) in storms {
            let got: Vec<_> = (0..4).map(|_| ask(&world, asker, about)).collect();
            let (refused, dropped) = (Verdict::Refuse(reason), Verdict::Drop(reason));
            assert_eq!(got, [refused, refused, dropped, dropped], "{}", asker.name);
        }
    }
}

#[test]
fn errors_leave_room_in_the_ring_of_their_port() {
    check(|underlay| {
        everybody(|asker, family| {
            let about = asker.sound(family).ttl(1);
            // Errors have a header of 20 or 40 bytes and one of ICMP in front of all of this packet.
            let bytes = (about.bytes().len() + [28, 48][family]) as u64;
            let room = move |bytes| {
                move |world: &mut Memory| {
                    speak(world);
                    world.policers.insert(port(asker), policer(8, bytes));
                }
            };
            vec![
                asker.told(underlay, "just enough room", family, about.clone(), EXPIRED).when(room(bytes)),
                asker
                    .silent(underlay, "a byte too little", family, &about, Drop::TtlExpired)
                    .when(room(bytes - 1)),
            ]
        })
    });
}
