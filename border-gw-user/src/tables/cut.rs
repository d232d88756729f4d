//! Next hops that carry nothing any more leave their groups' buckets: the fast part of a failover, as long as the groups are
//! many, however many routes there are.

use border_gw_common::abi::{Group, NextHop};

use super::buckets::assign;
use super::{Identity, Installed, Op};

/// The operations that take dead next hops out of all buckets. The other members take over their flows; no other flow moves.
pub fn cut(installed: &Installed, is_dead: impl Fn(&NextHop) -> bool) -> Vec<Op> {
    let leads_to = |hop: &u16| installed.next_hops.get(hop);
    let dead = |hop: &u16| leads_to(hop).is_some_and(&is_dead);
    let hit = installed.groups.iter().filter(|(_, group)| group.buckets.iter().any(dead));
    hit.map(|(index, group)| {
        let previous = group.buckets.map(|hop| leads_to(&hop).map_or(0, |next_hop| next_hop.identity));
        let mut live: Vec<(Identity, u16)> = group
            .buckets
            .iter()
            .filter(|hop| !dead(hop))
            .filter_map(|hop| Some((leads_to(hop)?.identity, *hop)))
            .collect();
        live.sort_unstable();
        live.dedup();
        let members: Vec<Identity> = live.iter().map(|(identity, _)| *identity).collect();
        let index_of = |member: Identity| live.iter().find(|(identity, _)| *identity == member);
        let buckets = assign(&previous, &members).map(|member| index_of(member).map_or(0, |(_, hop)| *hop));
        Op::Group(*index, Some(Box::new(Group { identity: group.identity, buckets })))
    })
    .collect()
}
