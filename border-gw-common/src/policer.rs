//! The generic cell rate algorithm (ITU-T I.371, annex A), virtual scheduling, on one 64-bit number.
//!
//! The state is the theoretical arrival time (TAT): when the bucket will be full again. It is kept in units of 2^-8 ns,
//! wraps after 833 days, and is compared by signed difference, so that wrapping does no harm.

use crate::abi::Policer;

/// Fraction bits of the time units of the state.
const TIME_BITS: u32 = 8;
/// Fraction bits of a byte's cost.
const COST_BITS: u32 = 24;

/// Deepest bucket: 73 minutes, in units of the state.
const DEEPEST: u64 = 1 << 50;
/// What no live state is ahead of the clock.
const STALE: u64 = 1 << 52;

/// Time that `bytes` cost, in units of the state.
#[inline(always)]
pub fn cost(policer: &Policer, bytes: u32) -> u64 {
    policer.cost.wrapping_mul(u64::from(bytes)) >> (COST_BITS - TIME_BITS)
}

/// The state after a packet of `bytes` at `now` (in ns); none when the packet does not conform.
#[inline(always)]
pub fn conform(state: u64, policer: &Policer, bytes: u32, now: u64) -> Option<u64> {
    let now = now << TIME_BITS;
    // Further ahead than any bucket is deep: a TAT in the past, so that the bucket is full. Ahead by more than this bucket
    // is deep: its depth was just made smaller, so that it is empty.
    let ahead = state.wrapping_sub(now);
    let ahead = if ahead > STALE {
        0
    } else if ahead > policer.depth {
        policer.depth
    } else {
        ahead
    };
    let after = ahead + cost(policer, bytes);
    if after > policer.depth { None } else { Some(now.wrapping_add(after)) }
}

/// The policer of a `rate` in bits a second and a bucket of `burst` bytes. For a limiter of packets, whose packets are
/// charged as one byte each, the rate is eight times the packets a second.
pub const fn policer(rate: u64, burst: u64) -> Policer {
    const NS: u128 = 1_000_000_000;
    let cost = ((8 * NS) << COST_BITS) / rate as u128;
    let depth = ((8 * NS * burst as u128) << TIME_BITS) / rate as u128;
    let depth = if depth > DEEPEST as u128 { DEEPEST } else { depth as u64 };
    Policer { cost: cost as u64, depth }
}

/// The state that keeps a bucket's fill, in bytes, when its rate changes.
pub fn rescale(state: u64, old: &Policer, new: &Policer, now: u64) -> u64 {
    let now = now << TIME_BITS;
    let ahead = state.wrapping_sub(now);
    if old.cost == 0 || new.cost == 0 || ahead > STALE {
        return now;
    }
    let ahead = u128::from(ahead.min(old.depth)) * u128::from(new.cost) / u128::from(old.cost);
    now.wrapping_add((ahead as u64).min(new.depth))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    /// Bytes that pass when packets of `bytes` are offered every `gap` ns for `span` ns.
    fn pass(policer: &Policer, bytes: u32, gap: u64, start: u64, span: u64) -> u64 {
        let mut state = 0;
        let mut passed = 0;
        let mut now = start;
        while now < start + span {
            if let Some(next) = conform(state, policer, bytes, now) {
                state = next;
                passed += u64::from(bytes);
            }
            now += gap;
        }
        passed
    }

    #[test]
    fn what_passes_is_the_burst_and_the_rate() {
        for (rate, burst, bytes, gap) in [
            (100_000_000, 250_000, 1_500, 40_000),
            (1_000_000_000, 2_500_000, 1_500, 4_000),
            (10_000_000_000, 25_000_000, 64, 40),
            (1_000, 1_500, 100, 10_000_000),
        ] {
            let passed = pass(&policer(rate, burst), bytes, gap, 5 * SECOND, SECOND);
            let want = burst + rate / 8;
            // A packet's time is cut to 2^-8 ns: 16 in a million at 64 bytes and 10 Gbps.
            assert!(passed <= want + want / 50_000 + u64::from(bytes), "{rate}: {passed} > {want}");
            assert!(passed + 2 * u64::from(bytes) >= want * 999 / 1000, "{rate}: {passed} < {want}");
        }
    }

    #[test]
    fn an_idle_bucket_never_holds_more_than_its_burst() {
        let policer = policer(8_000_000, 10_000);
        let state = conform(0, &policer, 10_000, SECOND).unwrap();
        assert_eq!(conform(state, &policer, 1, SECOND), None, "empty");
        let later = SECOND + 3_600 * SECOND;
        let state = conform(state, &policer, 10_000, later).unwrap();
        assert_eq!(conform(state, &policer, 1, later), None, "full again, and no more than full");
    }

    #[test]
    fn a_refused_packet_takes_nothing() {
        let policer = policer(8_000_000, 10_000);
        let state = conform(0, &policer, 6_000, SECOND).unwrap();
        assert_eq!(conform(state, &policer, 6_000, SECOND), None);
        assert!(conform(state, &policer, 4_000, SECOND).is_some());
    }

    #[test]
    fn a_state_that_nobody_touched_for_years_is_a_full_bucket() {
        const DAY: u64 = 86_400 * SECOND;
        let policer = policer(8_000_000, 10_000);
        let state = conform(0, &policer, 10_000, SECOND).unwrap();
        for days in [1, 100, 400, 500, 700, 800, 1_000] {
            let state = conform(state, &policer, 10_000, SECOND + days * DAY);
            assert!(state.is_some(), "{days} days");
        }
    }

    proptest! {
        #[test]
        fn a_change_of_rate_keeps_the_fill(old in 1_000_000_u64..10_000_000_000, new in 1_000_000_u64..10_000_000_000, used in 1_u32..100_000) {
            let (before, after) = (policer(old, 100_000), policer(new, 100_000));
            let state = conform(0, &before, used, SECOND).unwrap();
            let state = rescale(state, &before, &after, SECOND);
            let left = 100_000 - used;
            prop_assert!(left < 200 || conform(state, &after, left - left / 100, SECOND).is_some());
            prop_assert!(conform(state, &after, left + left / 100 + 100, SECOND).is_none());
        }
    }
}
