//! Which member each bucket of a group leads to: even, and with the fewest flows moved.

use std::collections::BTreeMap;

use border_gw_common::abi::BUCKETS;

use super::Identity;

/// The buckets of one group, by next hop; 0 is none.
pub type Buckets = [Identity; BUCKETS];

/// Spreads the buckets over `live`, whose order decides nothing but ties.
///
/// Each member gets `BUCKETS / n` buckets, or one more. A bucket whose member is still alive stays where it is unless that
/// member has more than its share: losing a member moves only that member's flows. What a member gives up, when another comes
/// back, is what the other had before: flows of lines that never died stay where they are all the time.
pub fn assign(previous: &Buckets, live: &[Identity]) -> Buckets {
    if live.is_empty() {
        return [0; BUCKETS];
    }
    if is_even(previous, live) {
        return *previous;
    }
    let mut buckets = [0; BUCKETS];
    let fresh = fresh(live);
    let mut room = shares(previous, &fresh, live);
    let mut keep = |buckets: &mut Buckets, bucket: usize, member: Identity| {
        if buckets[bucket] == 0
            && let Some(left) = room.get_mut(&member).filter(|left| **left > 0)
        {
            *left -= 1;
            buckets[bucket] = member;
        }
    };
    for bucket in (0..BUCKETS).filter(|bucket| previous[*bucket] == fresh[*bucket]) {
        keep(&mut buckets, bucket, fresh[bucket]);
    }
    for (bucket, member) in previous.iter().enumerate() {
        keep(&mut buckets, bucket, *member);
    }
    for (bucket, member) in by_rank(live) {
        keep(&mut buckets, bucket, member);
    }
    buckets
}

/// Whether the members share the buckets evenly already.
fn is_even(buckets: &Buckets, live: &[Identity]) -> bool {
    let counts = live.iter().map(|member| buckets.iter().filter(|bucket| *bucket == member).count());
    let even = BUCKETS / live.len()..=BUCKETS.div_ceil(live.len());
    let held: Vec<_> = counts.collect();
    held.iter().all(|count| even.contains(count)) && held.iter().sum::<usize>() == BUCKETS
}

/// The buckets of members that share them for the first time.
fn fresh(live: &[Identity]) -> Buckets {
    let mut buckets = [0; BUCKETS];
    let mut held: BTreeMap<Identity, usize> = live.iter().map(|member| (*member, 0)).collect();
    let (share, mut extra) = (BUCKETS / live.len(), BUCKETS % live.len());
    for (bucket, member) in by_rank(live) {
        let Some(held) = held.get_mut(&member).filter(|_| buckets[bucket] == 0) else { continue };
        if *held < share || *held == share && extra > 0 {
            extra -= usize::from(*held == share);
            *held += 1;
            buckets[bucket] = member;
        }
    }
    buckets
}

/// Each bucket with each member, in the order in which they fit together: which of two members a bucket prefers does not depend on
/// who else is there (rendezvous hashing, Thaler and Ravishankar 1998).
fn by_rank(live: &[Identity]) -> impl Iterator<Item = (usize, Identity)> {
    let pairs = (0..BUCKETS).flat_map(|bucket| live.iter().map(move |member| (bucket, *member)));
    let mut pairs: Vec<_> = pairs.map(|(bucket, member)| (rank(bucket, member), bucket, member)).collect();
    pairs.sort_unstable_by(|one, other| other.cmp(one));
    pairs.into_iter().map(|(_, bucket, member)| (bucket, member))
}

/// A number that looks like chance (the finalizer of `SplitMix64`).
fn rank(bucket: usize, member: Identity) -> u64 {
    let mut mixed = member ^ (bucket as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How many buckets each member is to have; the ones that do not divide evenly go to those who would have to give up one of the
/// first hour otherwise, then to those who have most.
fn shares(previous: &Buckets, fresh: &Buckets, live: &[Identity]) -> BTreeMap<Identity, usize> {
    let (share, extra) = (BUCKETS / live.len(), BUCKETS % live.len());
    let mut order: Vec<_> = live
        .iter()
        .map(|member| {
            let held = || (0..BUCKETS).filter(|bucket| previous[*bucket] == *member);
            let since_ever = held().filter(|bucket| fresh[*bucket] == *member).count();
            let at_first = fresh.iter().filter(|first| *first == member).count();
            (since_ever > share, held().count(), at_first, std::cmp::Reverse(*member))
        })
        .collect();
    order.sort_unstable_by(|one, other| other.cmp(one));
    let members = order.into_iter().enumerate();
    members.map(|(place, (.., member))| (member.0, share + usize::from(place < extra))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(buckets: &Buckets) -> BTreeMap<Identity, usize> {
        let mut counts = BTreeMap::new();
        for bucket in buckets {
            *counts.entry(*bucket).or_default() += 1;
        }
        counts
    }

    #[test]
    fn no_member_means_no_bucket() {
        assert_eq!(assign(&[7; BUCKETS], &[]), [0; BUCKETS]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn shares_differ_by_one_at_most(members in 1_u64..=64) {
            let live: Vec<_> = (1..=members).collect();
            let counts = counts(&assign(&[0; BUCKETS], &live));
            prop_assert_eq!(counts.len(), live.len());
            let (low, high) = (counts.values().min().copied().unwrap(), counts.values().max().copied().unwrap());
            prop_assert!(high - low <= 1);
        }

        #[test]
        fn losing_a_member_moves_only_its_buckets(members in 2_u64..=64, lost in 0_usize..64) {
            let live: Vec<_> = (1..=members).collect();
            let before = assign(&[0; BUCKETS], &live);
            let lost = live[lost % live.len()];
            let rest: Vec<_> = live.iter().copied().filter(|member| *member != lost).collect();
            let after = assign(&before, &rest);
            for (old, new) in before.iter().zip(&after) {
                prop_assert!(*new != lost && *new != 0);
                prop_assert!(old == new || *old == lost);
            }
        }

        #[test]
        fn members_that_come_back_move_no_flow_of_those_that_stayed(
            members in 2_u64..=16,
            lost in prop::collection::vec(0_usize..16, 1..4),
        ) {
            let live: Vec<_> = (1..=members).map(|member| member.wrapping_mul(0x0100_0000_01b3)).collect();
            let before = assign(&[0; BUCKETS], &live);
            let gone: Vec<_> = lost.iter().map(|index| live[index % live.len()]).collect();
            let mut rest = live.clone();
            let mut buckets = before;
            for member in &gone {
                rest.retain(|other| other != member);
                buckets = assign(&buckets, &rest);
            }
            prop_assume!(!rest.is_empty());
            let after = assign(&buckets, &live);
            for (old, new) in before.iter().zip(&after).filter(|(old, _)| !gone.contains(old)) {
                prop_assert_eq!(old, new);
            }
        }

        #[test]
        fn a_member_that_comes_back_takes_no_more_than_its_share(members in 2_u64..=64) {
            let live: Vec<_> = (1..=members).collect();
            let without = assign(&[0; BUCKETS], &live[1..]);
            let with = assign(&without, &live);
            let moved = without.iter().zip(&with).filter(|(old, new)| old != new).count();
            prop_assert!(moved <= BUCKETS.div_ceil(live.len()));
        }
    }
}
