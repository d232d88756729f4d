//! Where the program that makes ICMP errors is not there: a refused packet is dropped under its reason.

use border_gw_common::abi::{Entry, attachment_scope, vif_scope};
use border_gw_common::verdict::DropReason as Drop;

use crate::errors::{ASKERS, FAMILIES, NOWHERE, speak};
use crate::support::datagram::udp;
use crate::support::frame::Frame;
use crate::support::world::{Underlay, world};
use crate::witness::dropped_without_errors;

#[test]
fn without_the_program_for_errors_a_packet_is_dropped_under_its_reason() {
    let mut world = world(Underlay::V4);
    speak(&mut world);
    for (asker, family) in ASKERS.into_iter().flat_map(|asker| FAMILIES.map(|family| (asker, family))) {
        let scope = match asker.entry {
            Entry::Line => vif_scope(asker.index),
            _ => attachment_scope(asker.index),
        };
        let stranger = udp(asker.strangers[family], asker.beyond[family]);
        for (packet, reason) in [
            (asker.sound(family).ttl(1), Drop::TtlExpired),
            (asker.to(family, NOWHERE), Drop::NoRoute),
            (stranger, Drop::SourceInvalid),
        ] {
            let frame = Frame::new(&asker.frame(Underlay::V4, &packet));
            dropped_without_errors((asker.entry, asker.ifindex()), &frame, &world, scope, reason);
        }
    }
}
