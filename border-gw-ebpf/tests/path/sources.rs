//! Rows about source validation on lines.

use border_gw_common::abi::{SOURCE_FORBIDDEN, SOURCE_ROUTED, VIF_VALIDATE};
use border_gw_common::verdict::DropReason as Drop;

use crate::errors::speak;
use crate::line::{sound, sound_v6};
use crate::support::case::{Case, Want, check};
use crate::support::datagram::{Datagram, udp};
use crate::support::memory::Memory;
use crate::support::send::on_vif;
use crate::support::wire::address;
use crate::support::world::{VIF_A, VIF_B, VPC};

#[test]
fn a_source_is_one_that_the_vif_may_use() {
    check(|_| {
        let dropped = |name, vif, datagram: Datagram, why| {
            Case::line(name, vif, on_vif(vif, &datagram), Want::Drop(why))
        };
        let sent = |name, vif, datagram: Datagram| {
            Case::line(name, vif, on_vif(vif, &datagram), Want::ToVpc(VPC, &[1], datagram))
        };
        let covering = |world: &mut Memory| {
            let sources = world.sources.get_mut(&VIF_A).unwrap();
            sources.add("10.0.0.0/8", SOURCE_ROUTED);
            sources.add("10.1.0.0/16", SOURCE_FORBIDDEN);
        };
        // Nobody is silent only because there is no address to speak from.
        let tell = |world: &mut Memory| {
            let vif = world.vifs.get_mut(&VIF_B).unwrap();
            (vif.error_v4, vif.error_v6) = (address("169.254.20.2").1, address("fd00:20::2").1);
        };
        vec![
            dropped(
                "a source behind another VIF",
                VIF_A,
                udp("172.17.0.5", "10.1.0.10"),
                Drop::SourceInvalid,
            ),
            dropped("a source in a VPC", VIF_A, udp("10.1.0.11", "10.1.0.10"), Drop::SourceInvalid),
            dropped(
                "an IPv6 source of nobody",
                VIF_A,
                udp("2001:db8:9::1", "fd00:1::10"),
                Drop::SourceInvalid,
            ),
            dropped("our own address", VIF_A, udp("169.254.10.2", "10.1.0.10"), Drop::MartianSource)
                .when(speak),
            dropped("our own IPv6 address", VIF_A, udp("fd00:10::2", "fd00:1::10"), Drop::MartianSource)
                .when(speak),
            dropped(
                "our own address where sources are not validated",
                VIF_B,
                udp("169.254.20.2", "10.1.0.10"),
                Drop::MartianSource,
            )
            .when(tell),
            dropped(
                "another VIF's own address where sources are not validated",
                VIF_B,
                udp("169.254.10.2", "10.1.0.10"),
                Drop::MartianSource,
            )
            .when(tell),
            dropped(
                "the address of a VPC's router where sources are not validated",
                VIF_B,
                udp("fd00:1::1", "fd00:1::10"),
                Drop::MartianSource,
            )
            .when(tell),
            dropped(
                "a VPC's address where sources are not validated",
                VIF_B,
                udp("10.1.0.11", "10.1.0.10"),
                Drop::SourceInvalid,
            ),
            dropped(
                "a VPC's IPv6 address where sources are not validated",
                VIF_B,
                udp("fd00:1::11", "fd00:1::10"),
                Drop::SourceInvalid,
            ),
            dropped(
                "another line's router where sources are not validated",
                VIF_B,
                udp("169.254.10.1", "10.1.0.10"),
                Drop::SourceInvalid,
            ),
            dropped(
                "a VPC's address that a prefix of the VIF covers",
                VIF_A,
                udp("10.1.0.11", "10.1.0.10"),
                Drop::SourceInvalid,
            )
            .when(covering),
            sent("what else that prefix covers", VIF_A, udp("10.2.0.11", "10.1.0.10")).when(covering),
            dropped(
                "a link-local source beyond the link",
                VIF_A,
                udp("fe80::1", "fd00:1::10"),
                Drop::LinkLocalSource,
            ),
            dropped(
                "the link's broadcast address where sources are not validated",
                VIF_B,
                udp("169.254.20.7", "10.1.0.10"),
                Drop::MartianSource,
            ),
            dropped(
                "the broadcast address of another link",
                VIF_A,
                udp("169.254.20.7", "10.1.0.10"),
                Drop::MartianSource,
            )
            .when(speak),
            dropped(
                "the anycast address of another link where sources are not validated",
                VIF_B,
                udp("fd00:10::", "fd00:1::10"),
                Drop::MartianSource,
            )
            .when(tell),
            sent("an accepted prefix", VIF_A, sound()),
            sent("an accepted IPv6 prefix", VIF_A, sound_v6()),
            sent("the peer itself", VIF_A, udp("169.254.10.1", "10.1.0.10")),
            sent("another host of the link", VIF_A, udp("169.254.10.3", "10.1.0.10")),
            sent("anything where sources are not validated", VIF_B, udp("198.51.100.7", "10.1.0.10")),
            sent("anything after validation was turned off", VIF_A, udp("172.17.0.5", "10.1.0.10"))
                .when(|world| world.vifs.get_mut(&VIF_A).unwrap().flags &= !VIF_VALIDATE),
            dropped("nothing where there is no table", VIF_A, sound(), Drop::SourceInvalid)
                .when(|world| world.sources.remove(&VIF_A)),
        ]
    });
}
