//! Which member each bucket of a group leads to: even, and with the fewest flows moved.

use std::collections::BTreeMap;

use border_gw_common::abi::BUCKETS;

use super::Identity;

/// The buckets of one group, by next hop; 0 is none.
pub type Buckets = [Identity; BUCKETS];

/// Spreads the buckets over `live`, whose order decides nothing but ties.
///
/// Each member gets `BUCKETS / n` buckets, or one more. A bucket whose member is still alive stays where it is unless that
/// member has more than its share: losing a member moves only that member's flows.
pub fn assign(previous: &Buckets, live: &[Identity]) -> Buckets {
    let mut buckets = [0; BUCKETS];
    if live.is_empty() {
        return buckets;
    }
    let mut room = shares(previous, live);
    for (bucket, member) in buckets.iter_mut().zip(previous) {
        if let Some(left) = room.get_mut(member).filter(|left| **left > 0) {
            *left -= 1;
            *bucket = *member;
        }
    }
    // What is left goes to the members in turn, so that neighbours in the table differ.
    let mut turn = live.iter().cycle();
    for bucket in buckets.iter_mut().filter(|bucket| **bucket == 0) {
        for member in turn.by_ref().take(live.len()) {
            if let Some(left) = room.get_mut(member).filter(|left| **left > 0) {
                *left -= 1;
                *bucket = *member;
                break;
            }
        }
    }
    buckets
}

/// How many buckets each member is to have; the ones that do not divide evenly go to those who have most already.
fn shares(previous: &Buckets, live: &[Identity]) -> BTreeMap<Identity, usize> {
    let held = |member: &Identity| previous.iter().filter(|bucket| *bucket == member).count();
    let mut order: Vec<_> = live.iter().map(|member| (std::cmp::Reverse(held(member)), *member)).collect();
    order.sort_unstable();
    let extra = BUCKETS % live.len();
    order
        .into_iter()
        .enumerate()
        .map(|(place, (_, member))| (member, BUCKETS / live.len() + usize::from(place < extra)))
        .collect()
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
        fn a_member_that_comes_back_takes_no_more_than_its_share(members in 2_u64..=64) {
            let live: Vec<_> = (1..=members).collect();
            let without = assign(&[0; BUCKETS], &live[1..]);
            let with = assign(&without, &live);
            let moved = without.iter().zip(&with).filter(|(old, new)| old != new).count();
            prop_assert!(moved <= BUCKETS.div_ceil(live.len()));
        }
    }
}
