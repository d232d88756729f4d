//! ICMP errors: each from both sides and in both families, what it holds, and how many there are.

use border_gw_common::abi::{
    AttachmentPolicer, BUCKETS, Entry, VIF_TRANSIT, VifPolicer, attachment_policer, vif_policer,
};
use border_gw_common::verdict::{DropReason as Drop, Verdict};

use crate::support::case::{Case, Told, Want, asking_vtep, check, run};
use crate::support::datagram::{Datagram, transport, udp};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::send::{in_vpc, inner_to, marked, on_vif, tunnelled};
use crate::support::wire::{address, padded};
use crate::support::world::{
    FABRIC, NESTED, Underlay, VIF_A, VIF_OTHER, VPC, VPC_OTHER, router_mac, vif_port, world,
};

/// Somebody who sends, and the one who tells them what became of it.
#[derive(Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) name: &'static str,
    /// A VIF or an attachment.
    pub(crate) index: u32,
    pub(crate) entry: Entry,
    /// Sender, by family.
    pub(crate) hosts: [&'static str; 2],
    /// Others' addresses, which they may not use.
    pub(crate) strangers: [&'static str; 2],
    /// Where their packets may go.
    pub(crate) beyond: [&'static str; 2],
    /// Who tells them, by family.
    pub(crate) gateway: [&'static str; 2],
}

/// One and two tags; of the VIF with two, IPv4 errors come from an address that is no VIF's, as where a VIF has IPv6 alone.
pub(crate) const ASKERS: [Asker; 5] = [
    Asker {
        name: "line",
        index: VIF_A,
        entry: Entry::Line,
        hosts: ["172.16.0.5", "fd00:172:16::5"],
        strangers: ["172.17.0.5", "fd00:172:17::5"],
        beyond: ["10.1.2.3", "fd00:1::33"],
        gateway: ["169.254.10.2", "fd00:10::2"],
    },
    Asker {
        name: "line with two tags",
        index: VIF_OTHER,
        entry: Entry::Line,
        hosts: ["172.16.0.5", "fd00:172:16::5"],
        strangers: ["172.17.0.5", "fd00:172:17::5"],
        beyond: ["10.1.2.3", "fd00:1::33"],
        gateway: ["192.0.2.250", "fd00:10::2"],
    },
    Asker {
        name: "VPC",
        index: VPC,
        entry: Entry::Fabric,
        hosts: ["10.1.2.3", "fd00:1::33"],
        strangers: ["10.1.7.9", "fd00:1:0:7::9"],
        beyond: ["172.16.0.5", "fd00:172:16::5"],
        gateway: ["10.1.0.1", "fd00:1::1"],
    },
    Asker {
        name: "nested VPC",
        index: NESTED,
        entry: Entry::Fabric,
        hosts: ["10.1.7.9", "fd00:1:0:7::9"],
        strangers: ["10.1.2.3", "fd00:1::33"],
        beyond: ["172.16.0.5", "fd00:172:16::5"],
        gateway: ["10.1.7.1", "fd00:1:0:7::1"],
    },
    Asker {
        name: "VPC of another border gateway",
        index: VPC_OTHER,
        entry: Entry::Fabric,
        hosts: ["10.1.2.3", "fd00:1::33"],
        strangers: ["10.2.2.3", "fd00:2::33"],
        beyond: ["172.16.0.5", "fd00:172:16::5"],
        gateway: ["10.1.0.1", "fd00:1::1"],
    },
];

/// IPv4 and IPv6, as places in the fields of [`Asker`].
pub(crate) const FAMILIES: [usize; 2] = [0, 1];

/// The gateway tells what becomes of packets.
pub(crate) fn speak(world: &mut Memory) {
    let addresses = |asker: &Asker| asker.gateway.map(|text| address(text).1);
    for asker in &ASKERS {
        let [error_v4, error_v6] = addresses(asker);
        if asker.entry == Entry::Line {
            let vif = world.vifs.get_mut(&asker.index).unwrap();
            (vif.error_v4, vif.error_v6) = (error_v4, error_v6);
        } else {
            let attachment = world.attachments.get_mut(&asker.index).unwrap();
            (attachment.error_v4, attachment.error_v6) = (error_v4, error_v6);
        }
    }
}

/// Nothing that a packet could leave by is alive.
fn die(world: &mut Memory) {
    world.groups.values_mut().for_each(|buckets| *buckets = [0; BUCKETS]);
}

impl Asker {
    /// A packet that would be sent on.
    pub(crate) fn sound(&self, family: usize) -> Datagram {
        udp(self.hosts[family], self.beyond[family])
    }

    pub(crate) fn to(&self, family: usize, destinations: [&str; 2]) -> Datagram {
        udp(self.hosts[family], destinations[family])
    }

    /// The frame in which they send a packet.
    pub(crate) fn frame(&self, underlay: Underlay, datagram: &Datagram) -> Vec<u8> {
        if self.entry == Entry::Line {
            on_vif(self.index, datagram)
        } else {
            in_vpc(underlay, self.index, asking_vtep(self.index), datagram)
        }
    }

    /// Largest packet that fits through the way to [`Self::beyond`].
    pub(crate) fn fits(&self, underlay: Underlay) -> u16 {
        if self.entry == Entry::Line { underlay.mtu() } else { 1500 }
    }

    /// Of all errors but those that tell an MTU.
    pub(crate) fn limiter(&self) -> u32 {
        if self.entry == Entry::Line {
            vif_policer(self.index, VifPolicer::Error)
        } else {
            attachment_policer(self.index, AttachmentPolicer::Error)
        }
    }

    /// Of errors that tell an MTU.
    pub(crate) fn too_big_limiter(&self) -> u32 {
        if self.entry == Entry::Line {
            vif_policer(self.index, VifPolicer::TooBig)
        } else {
            attachment_policer(self.index, AttachmentPolicer::TooBig)
        }
    }

    pub(crate) fn ifindex(&self) -> u32 {
        if self.entry == Entry::Line { vif_port(self.index) } else { FABRIC }
    }

    /// A row; `name` is a sentence, to which is added who asks.
    pub(crate) fn case(&self, name: &str, family: usize, frame: Vec<u8>, want: Want) -> Case {
        let name = format!("{}, {}: {name}", self.name, ["IPv4", "IPv6"][family]);
        let case = if self.entry == Entry::Line {
            Case::line(name, self.index, frame, want)
        } else {
            Case::fabric(name, self.index, frame, want)
        };
        case.when(speak)
    }

    pub(crate) fn told(
        &self,
        underlay: Underlay,
        name: &str,
        family: usize,
        about: Datagram,
        (reason, v4, v6, mtu): Answer,
    ) -> Case {
        let frame = self.frame(underlay, &about);
        let want = Told { reason, message: [v4, v6][family], mtu, from: self.gateway[family], about };
        self.case(name, family, frame, Want::Refused(want))
    }

    pub(crate) fn silent(
        &self,
        underlay: Underlay,
        name: &str,
        family: usize,
        about: &Datagram,
        why: Drop,
    ) -> Case {
        self.case(name, family, self.frame(underlay, about), Want::Drop(why))
    }
}

/// Every asker in both families.
pub(crate) fn everybody(rows: impl Fn(Asker, usize) -> Vec<Case>) -> Vec<Case> {
    let pairs = ASKERS.into_iter().flat_map(|asker| FAMILIES.map(|family| (asker, family)));
    pairs.flat_map(|(asker, family)| rows(asker, family)).collect()
}

/// A reason, type and code in both families, and MTU.
pub(crate) type Answer = (Drop, (u8, u8), (u8, u8), u16);

pub(crate) const EXPIRED: Answer = (Drop::TtlExpired, (11, 0), (3, 0), 0);
const NO_ROUTE: Answer = (Drop::NoRoute, (3, 0), (1, 0), 0);
const DEAD: Answer = (Drop::NextHopDead, (3, 1), (1, 3), 0);
const SOURCE: Answer = (Drop::SourceInvalid, (3, 13), (1, 5), 0);
const TRANSIT: Answer = (Drop::Transit, (3, 13), (1, 1), 0);
pub(crate) const fn too_big(mtu: u16) -> Answer {
    (Drop::TooBig, (3, 4), (2, 0), mtu)
}

pub(crate) const NOWHERE: [&str; 2] = ["9.9.9.9", "2001:db8:7::1"];

#[test]
fn a_sender_is_told_why_its_packet_goes_nowhere() {
    check(|underlay| {
        everybody(|asker, family| {
            let told = |name, about, what| asker.told(underlay, name, family, about, what);
            let sound = asker.sound(family);
            let fits = asker.fits(underlay);
            let large = sound.clone().len(usize::from(fits) + 1);
            let stranger = udp(asker.strangers[family], asker.beyond[family]);
            let mut rows = vec![
                told("a TTL of 1", sound.clone().ttl(1), EXPIRED),
                told("a TTL of 0", sound.clone().ttl(0), EXPIRED),
                told("no route", asker.to(family, NOWHERE), NO_ROUTE),
                told("a group without a live member", sound.clone(), DEAD).when(|world| {
                    speak(world);
                    die(world);
                }),
                told("another's source", stranger.clone(), SOURCE),
                told("one byte too many", large.clone(), too_big(fits)),
                told("a source comes before a TTL", stranger.ttl(1), SOURCE),
                told("a TTL comes before a route", asker.to(family, NOWHERE).ttl(1), EXPIRED),
                told("a TTL comes before a size", large.ttl(1), EXPIRED),
                told(
                    "a traffic class is none of the error's",
                    sound.clone().ttl(1).traffic_class(0xbb),
                    EXPIRED,
                ),
                told(
                    "a TCP segment",
                    transport(asker.hosts[family], asker.beyond[family], 6, 1, 2).ttl(1),
                    EXPIRED,
                ),
            ];
            if family == 0 {
                let whole = Datagram { fragment: [0xab, 0xcd, 0, 0], ..sound.clone() };
                rows.extend([
                    told(
                        "one byte too many that might be fragmented",
                        whole.len(fits.into()).len(usize::from(fits) + 1),
                        too_big(fits),
                    ),
                    told("options are quoted", sound.options(&[7, 4, 4, 0]).ttl(1), EXPIRED),
                ]);
            } else {
                let extended = sound.extension(60, &[0, 1, 4, 0, 0, 0, 0]).ttl(1);
                rows.push(told("extension headers are quoted", extended, EXPIRED));
            }
            if asker.entry == Entry::Line {
                let lines = ["172.16.0.9", "fd00:172:16::9"];
                rows.push(told("a VIF without transit", asker.to(family, lines), TRANSIT));
            }
            rows
        })
    });
}

#[test]
fn the_mtu_is_that_of_the_next_hop() {
    check(|underlay| {
        let [line, two_tags, vpc, nested, _] = ASKERS;
        let told = |name, asker: Asker, family, destination, len, mtu| {
            let about = udp(asker.hosts[family], destination).len(len);
            asker.told(underlay, name, family, about, too_big(mtu))
        };
        let inside = usize::from(underlay.mtu()) + 1;
        vec![
            told("into another VPC", vpc, 0, "10.1.7.9", inside, underlay.mtu()),
            told("into another VPC", nested, 1, "fd00:1::33", inside, underlay.mtu()),
            told("a line of 1,400 bytes", vpc, 0, "172.16.0.5", 1401, 1400).when(|world| {
                speak(world);
                world.next_hops.get_mut(&1).unwrap().mtu = 1400;
            }),
            told("a line of 1,280 bytes", vpc, 1, "fd00:172:16::5", 1281, 1280).when(|world| {
                speak(world);
                world.next_hops.get_mut(&1).unwrap().mtu = 1280;
            }),
            told("a VTEP of 1,399 bytes, by a line with two tags", two_tags, 1, "fd00:1::33", 1400, 1399)
                .when(|world| {
                    speak(world);
                    world.next_hops.get_mut(&301).unwrap().mtu = 1399;
                }),
            told("with transit, to the other line", line, 0, "172.17.0.1", 1501, 1500).when(|world| {
                speak(world);
                world.vifs.values_mut().for_each(|vif| vif.flags |= VIF_TRANSIT);
            }),
        ]
    });
}

#[test]
fn an_error_holds_as_much_of_the_packet_as_the_rfcs_allow() {
    check(|underlay| {
        everybody(|asker, family| {
            let mut rows = Vec::new();
            let header = Datagram::new(asker.hosts[family], asker.beyond[family], 253, vec![]).ttl(1);
            rows.push(asker.told(underlay, "a header alone", family, header.clone(), EXPIRED));
            let shortest = header.bytes().len();
            let lengths = [1, 2, 3, 8, 9, 11].map(|more| shortest + more);
            let limits = [547, 548, 549, 575, 576, 577, 1231, 1232, 1233, 1279, 1280, 1281, 1500];
            for len in lengths.into_iter().chain(limits) {
                // Bytes that differ, so that none is taken for another.
                let mut about = header.clone();
                about.body = (0..len - shortest).map(|at| (at * 7 + at / 256) as u8).collect();
                let name = format!("{len} bytes");
                rows.push(asker.told(underlay, &name, family, about.clone(), EXPIRED));
                for pad in [1, 18] {
                    let want = Told {
                        reason: Drop::TtlExpired,
                        message: [(11, 0), (3, 0)][family],
                        mtu: 0,
                        from: asker.gateway[family],
                        about: about.clone(),
                    };
                    let frame = padded(asker.frame(underlay, &about), pad);
                    let name = format!("{len} bytes and {pad} of padding");
                    rows.push(asker.case(&name, family, frame, Want::Refused(want)));
                }
            }
            rows
        })
    });
}

#[test]
fn padding_inside_a_tunnel_is_not_quoted() {
    check(|underlay| {
        let vpcs = ASKERS.into_iter().filter(|asker| asker.entry == Entry::Fabric);
        let pairs = vpcs.flat_map(|asker| FAMILIES.map(|family| (asker, family)));
        let row = |(asker, family): (Asker, usize), inside, behind| {
            let about = asker.sound(family).ttl(1).len(61);
            let router = router_mac(asker.index);
            let inner = padded(inner_to(router, &about), inside);
            let frame = padded(tunnelled(underlay, asker.index, asking_vtep(asker.index), &inner), behind);
            let want = Told {
                reason: Drop::TtlExpired,
                message: [(11, 0), (3, 0)][family],
                mtu: 0,
                from: asker.gateway[family],
                about,
            };
            let name = format!("{inside} bytes of padding inside, {behind} behind");
            asker.case(&name, family, frame, Want::Refused(want))
        };
        pairs.flat_map(|pair| [row(pair, 7, 0), row(pair, 7, 9), row(pair, 1400, 1)]).collect()
    });
}

#[test]
fn an_error_leaves_marks_of_congestion_behind() {
    check(|underlay| {
        let vpcs = ASKERS.into_iter().filter(|asker| asker.entry == Entry::Fabric);
        let pairs = vpcs.flat_map(|asker| FAMILIES.map(|family| (asker, family)));
        pairs
            .map(|(asker, family)| {
                let about = asker.sound(family).ttl(1).traffic_class(0xb9);
                let want = Told {
                    reason: Drop::TtlExpired,
                    message: [(11, 0), (3, 0)][family],
                    mtu: 0,
                    from: asker.gateway[family],
                    about: about.clone(),
                };
                let frame = marked(underlay, asker.frame(underlay, &about));
                asker.case("a packet whose tunnel was marked", family, frame, Want::Refused(want))
            })
            .collect()
    });
}

#[test]
fn an_error_needs_room_in_front_or_costs_nothing() {
    for underlay in Underlay::ALL {
        for (asker, family) in ASKERS.into_iter().flat_map(|asker| FAMILIES.map(|family| (asker, family))) {
            let mut world = world(underlay);
            speak(&mut world);
            let frame = asker.frame(underlay, &asker.sound(family).ttl(1));
            let verdict = |headroom| {
                let mut frame = Frame::with_room(&frame, headroom, 0);
                run(asker.entry, &mut frame, &world, asker.ifindex()).verdict
            };
            let header = [28, 48][family];
            assert_eq!(verdict(header - 1), Verdict::Drop(Drop::Headroom), "{}", asker.name);
            assert_eq!(world.charged(), [].into(), "{}", asker.name);
            assert_eq!(verdict(header), Verdict::Refuse(Drop::TtlExpired), "{}", asker.name);
        }
    }
}
