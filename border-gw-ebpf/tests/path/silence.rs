//! What nobody is told by an ICMP error: errors, fragments, groups; and whom nobody can tell.

use border_gw_common::abi::{Complaint, Entry, VifPolicer, vif_policer};
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::{DropReason as Drop, Verdict};
use border_gw_ebpf::policer::policer;
use border_gw_ebpf::screen::{Reach, Screened};
use border_gw_ebpf::tables::Tables as _;
use border_gw_ebpf::{error, headers};

use crate::errors::{ASKERS, Asker, EXPIRED, FAMILIES, NOWHERE, everybody, speak};
use crate::support::case::{Want, asking_vtep, check};
use crate::support::datagram::{Datagram, icmp, udp};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::send::{inner_to, on_vif, on_vif_to, outer_len, tunnelled};
use crate::support::wire::set;
use crate::support::world::{Underlay, world};

/// ICMP messages that ask or answer (IANA, ICMP parameters); all others are errors, or may be.
const QUERIES: [u8; 12] = [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43];

#[test]
fn errors_are_never_about_errors() {
    check(|underlay| {
        everybody(|asker, family| {
            let mut rows = Vec::new();
            for kind in 0..=255_u8 {
                let about = icmp(asker.hosts[family], asker.beyond[family], kind, &[0; 24]).ttl(1);
                let name = format!("an ICMP message of type {kind}");
                let told = |about| asker.told(underlay, &name, family, about, EXPIRED);
                let silent = |why| asker.silent(underlay, &name, family, &about, why);
                rows.push(match (family, kind) {
                    (0, 5) | (1, 137) => silent(Drop::Redirect),
                    (1, 134) => silent(Drop::RouterAdvertisement),
                    (1, 135) => silent(Drop::NeighborMalformed),
                    (0, _) if QUERIES.contains(&kind) => told(about),
                    (1, 128..) => told(about),
                    _ => silent(Drop::TtlExpired),
                });
            }
            rows
        })
    });
}

#[test]
fn errors_are_about_whole_packets_or_first_fragments() {
    check(|underlay| {
        everybody(|asker, family| {
            let told = |name, about| asker.told(underlay, name, family, about, EXPIRED);
            let silent = |name, about, why| asker.silent(underlay, name, family, &about, why);
            let sound = asker.sound(family).ttl(1);
            let echo = [8, 128][family];
            let unreachable = [3, 1][family];
            let message = |kind| icmp(asker.hosts[family], asker.beyond[family], kind, &[0; 28]).ttl(1);
            let short = Datagram { body: vec![echo, 0, 0], ..message(echo) };
            let extended = |kind| message(kind).extension(60, &[0, 1, 4, 0, 0, 0, 0]);
            let mut rows = vec![
                told("a first fragment", sound.clone().fragment(0, true)),
                told("a fragment that is all of its packet", sound.clone().fragment(0, false)),
                silent("a second fragment", sound.clone().fragment(5, true), Drop::TtlExpired),
                silent("a last fragment", sound.clone().fragment(1, false), Drop::TtlExpired),
                told("a first fragment of an echo", message(echo).fragment(0, true)),
                silent("a last fragment of an echo", message(echo).fragment(4, false), Drop::TtlExpired),
                silent(
                    "a first fragment of an error",
                    message(unreachable).fragment(0, true),
                    Drop::TtlExpired,
                ),
                silent(
                    "a last fragment of an error",
                    message(unreachable).fragment(4, false),
                    Drop::TtlExpired,
                ),
                silent("a message that ends in its checksum", short, Drop::IpTotalLength),
                silent(
                    "an error to nowhere",
                    icmp(asker.hosts[family], NOWHERE[family], unreachable, &[0; 4]),
                    Drop::NoRoute,
                ),
                silent("a fragment to nowhere", asker.to(family, NOWHERE).fragment(1, false), Drop::NoRoute),
                silent(
                    "an error with another's source",
                    icmp(asker.strangers[family], asker.beyond[family], unreachable, &[0; 4]),
                    Drop::SourceInvalid,
                ),
                silent(
                    "an error that is too big",
                    message(unreachable).ttl(64).len(usize::from(asker.fits(underlay)) + 1),
                    Drop::TooBig,
                ),
            ];
            if family == 0 {
                rows.push(silent(
                    "an error behind options",
                    message(3).options(&[8, 4, 0, 0]),
                    Drop::TtlExpired,
                ));
                rows.push(told("a query behind options", message(8).options(&[3, 4, 0, 0])));
                // The other family's numbers mean nothing.
                rows.push(told("ICMPv6 in IPv4", Datagram { protocol: 58, ..message(3) }));
            } else {
                rows.push(silent("an error behind an extension", extended(1), Drop::TtlExpired));
                rows.push(told("a query behind an extension", extended(128)));
                rows.push(told("ICMP in IPv6", Datagram { protocol: 1, ..message(1) }));
            }
            rows
        })
    });
}

#[test]
fn errors_are_for_hosts_alone() {
    check(|underlay| {
        let mut rows = Vec::new();
        for asker in ASKERS {
            let mut silent = |name, family, source: &str, destination: &str, why| {
                rows.push(asker.silent(underlay, name, family, &udp(source, destination).ttl(1), why));
            };
            let [host, host_v6] = asker.hosts;
            let [beyond, beyond_v6] = asker.beyond;
            silent("from a group", 0, "224.0.0.5", beyond, Drop::MartianSource);
            silent("from broadcast", 0, "255.255.255.255", beyond, Drop::MartianSource);
            silent("from loopback", 0, "127.0.0.1", beyond, Drop::MartianSource);
            silent("from nobody", 0, "0.0.0.0", beyond, Drop::MartianSource);
            silent("from an IPv6 group", 1, "ff02::1", beyond_v6, Drop::MartianSource);
            silent("from nobody in IPv6", 1, "::", beyond_v6, Drop::MartianSource);
            silent("from a link-local address", 1, "fe80::5", beyond_v6, Drop::LinkLocalSource);
            silent("to a group", 0, host, "239.1.1.1", Drop::Multicast);
            silent("to broadcast", 0, host, "255.255.255.255", Drop::Broadcast);
            silent("to loopback", 0, host, "127.0.0.1", Drop::MartianDestination);
            silent("to an IPv6 group", 1, host_v6, "ff05::2", Drop::Multicast);
            silent("to a link-local address", 1, host_v6, "fe80::1234", Drop::MartianDestination);
            // Whatever comes from us goes nowhere else than what comes to us.
            silent("from a VIF's own address", 0, "169.254.10.2", beyond, Drop::MartianSource);
            silent("from a VIF's own IPv6 address", 1, "fd00:10::2", beyond_v6, Drop::MartianSource);
            silent("from a router of a VPC", 0, "10.1.0.1", beyond, Drop::MartianSource);
            silent("from a router of a VPC in IPv6", 1, "fd00:1::1", beyond_v6, Drop::MartianSource);
            silent("from the network address of a link", 0, "169.254.10.0", beyond, Drop::MartianSource);
            silent("from the broadcast address of a link", 0, "169.254.10.7", beyond, Drop::MartianSource);
            silent("to the network address of a link", 0, host, "169.254.10.0", Drop::MartianDestination);
            silent("to the broadcast address of a link", 0, host, "169.254.10.7", Drop::MartianDestination);
            silent("from the anycast address of a link", 1, "fd00:10::", beyond_v6, Drop::MartianSource);
            silent("to the anycast address of a link", 1, host_v6, "fd00:10::", Drop::MartianDestination);
            // Source validation comes first on lines.
            if asker.entry == Entry::Line {
                let [stranger, stranger_v6] = asker.strangers;
                silent(
                    "from a stranger to a group of the link",
                    0,
                    stranger,
                    "224.0.0.5",
                    Drop::SourceInvalid,
                );
                silent(
                    "from a stranger to an IPv6 group of the link",
                    1,
                    stranger_v6,
                    "ff02::5",
                    Drop::SourceInvalid,
                );
                silent(
                    "from a stranger to a link-local address",
                    1,
                    stranger_v6,
                    "fe80::1",
                    Drop::SourceInvalid,
                );
            }
            for family in FAMILIES {
                let about = asker.sound(family).ttl(1);
                let frame = if asker.entry == Entry::Line {
                    on_vif_to(MacAddr::BROADCAST, asker.index, &about)
                } else {
                    let inner = inner_to(MacAddr::BROADCAST, &about);
                    tunnelled(underlay, asker.index, asking_vtep(asker.index), &inner)
                };
                let want = Want::Drop(Drop::UnicastInBroadcast);
                rows.push(asker.case("in a broadcast frame", family, frame, want));
                let sound = asker.frame(underlay, &about);
                let inside = if asker.entry == Entry::Line { 0 } else { outer_len(underlay) };
                let want = Want::Drop(Drop::GroupSource);
                let group = set(sound.clone(), inside + 6, &[1]);
                rows.push(asker.case("from a group's MAC address", family, group, want));
                if asker.entry == Entry::Fabric {
                    let outside = set(sound, 6, &[0xff; 6]);
                    let want = Want::Drop(Drop::GroupSource);
                    rows.push(asker.case("in a tunnel from broadcast", family, outside, want).of_nobody());
                }
            }
        }
        rows
    });
}

#[test]
fn who_has_no_address_tells_nobody() {
    check(|underlay| {
        everybody(|asker, family| {
            let about = asker.sound(family).ttl(1);
            let other = asker.sound(1 - family).ttl(1);
            let forget = move |world: &mut Memory| {
                speak(world);
                let none = [0; 16];
                for vif in world.vifs.values_mut() {
                    *(if family == 0 { &mut vif.error_v4 } else { &mut vif.error_v6 }) = none;
                }
                for vpc in world.attachments.values_mut() {
                    *(if family == 0 { &mut vpc.error_v4 } else { &mut vpc.error_v6 }) = none;
                }
            };
            vec![
                asker
                    .silent(underlay, "no address of the family", family, &about, Drop::TtlExpired)
                    .when(forget),
                asker.told(underlay, "the other family has one", 1 - family, other, EXPIRED).when(forget),
            ]
        })
    });
}

#[test]
fn some_reasons_are_nobodys_business() {
    check(|underlay| {
        let [line, _, vpc, ..] = ASKERS;
        let silent = |name, asker: Asker, destination, why| {
            asker.silent(underlay, name, 0, &udp(asker.hosts[0], destination), why)
        };
        let cap = |asker: Asker, which| vif_policer(asker.index, which);
        let to_vpc = cap(line, VifPolicer::ToVpc);
        vec![
            silent("a next hop of another border gateway", line, "10.91.0.1", Drop::NextHopForeign),
            silent("back into the attachment", vpc, "10.1.9.9", Drop::Hairpin),
            silent("a next hop of no known kind", line, "10.1.2.3", Drop::NoEgress).when(|world| {
                speak(world);
                world.next_hops.values_mut().for_each(|next_hop| next_hop.encapsulation = 9);
            }),
            silent("a next hop of no known kind", vpc, "172.16.0.5", Drop::NoEgress).when(|world| {
                speak(world);
                world.next_hops.values_mut().for_each(|next_hop| next_hop.header_len = 20);
            }),
            silent("over a cap", line, "10.1.2.3", Drop::VifCap).when(move |world| {
                speak(world);
                world.policers.insert(to_vpc, policer(8, 0));
            }),
        ]
    });
}

/// What the programs refuse under other names before they come to a reason that is told: whatever comes first there, these
/// conditions hold by themselves.
#[test]
fn only_whole_messages_between_hosts_are_told_of() {
    let [line, ..] = ASKERS;
    let mut world = world(Underlay::V4);
    speak(&mut world);
    let bytes = on_vif(line.index, &icmp(line.hosts[0], line.beyond[0], 8, &[0; 24]).ttl(1));
    let mut frame = Frame::new(&bytes);
    let ip = headers::ip(&mut frame, 0x0800, 18, bytes.len()).unwrap();
    let reaches = [Reach::Global, Reach::LinkLocal, Reach::LinkGroup, Reach::Group, Reach::Unspecified];
    for (source, destination) in reaches.into_iter().flat_map(|from| reaches.map(|to| (from, to))) {
        let screened = Screened { source, destination, icmpv6: 0 };
        let origin = (Entry::Line, line.index);
        let verdict = error::complain(&world, origin, None, &ip, screened, Drop::TtlExpired.into());
        let hosts = source == Reach::Global && destination == Reach::Global;
        let want = if hosts { Ok(Verdict::Complain) } else { Err(Drop::TtlExpired) };
        assert_eq!(verdict, want, "from {source:?} to {destination:?}");
    }
    let complaint = world.complaint().unwrap();
    for (len, want) in [
        (20, Verdict::Drop(Drop::TtlExpired)),
        (21, Verdict::Drop(Drop::TtlExpired)),
        (22, Verdict::Refuse(Drop::TtlExpired)),
    ] {
        world.complain(&Complaint { len, ..complaint });
        let mut frame = Frame::new(&set(bytes.clone(), 18 + 2, &(len as u16).to_be_bytes()));
        assert_eq!(error::error(&mut frame, &world, line.ifindex()).verdict, want, "a packet of {len} bytes");
    }
}
