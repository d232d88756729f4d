//! What is known of a BIRD's life from one look to the next: when it was started, when it was found dead, who was up then.
//!
//! Pure: time is an argument.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::unix::AsyncFd;

use super::status::SessionStatus;

/// Longest outage that is taken for that of a restart: who is away longer is away for another reason.
const LONGEST: Duration = Duration::from_mins(1);
/// How long one that did not answer is not asked again: nobody else waits for it so often.
const SILENCE: Duration = Duration::from_secs(10);

/// A family of a virtual interface whose session is up: its name, and whether that is IPv4.
type Up = BTreeSet<(String, bool)>;

/// A BIRD that was found dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When that was.
    pub at: SystemTime,
    /// The same, on the clock that nobody sets.
    pub detected: Instant,
    /// From then until every session that had been up was up again; none where one was not within a minute. Where nothing is
    /// known of before, every session counts.
    pub back: Option<Duration>,
}

impl Restart {
    /// Whether sessions are still expected back.
    pub fn is_open(&self, now: Instant) -> bool {
        self.back.is_none() && now.saturating_duration_since(self.detected) < LONGEST
    }
}

/// What outlives a change of the configuration.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// When it was started last by this daemon, and when that was tried last.
    pub(super) started: Option<Instant>,
    pub(super) tried: Option<Instant>,
    /// It was found dead, and not alive since.
    dead: bool,
    /// It was started again, and sentinels are left as they are.
    pub(super) recovering: bool,
    /// How often it was started again.
    pub(super) restarts: u64,
    /// What tells that it ended; none where that is not watched.
    pub(super) end: Option<AsyncFd<OwnedFd>>,
    /// The last time that it was found dead.
    pub(super) restart: Option<Restart>,
    /// Until then it is not asked.
    silent_until: Option<Instant>,
    /// Families that were up; none where that is not known.
    up: Option<Up>,
}

impl Life {
    /// It did not answer.
    pub(super) fn was_silent(&mut self, now: Instant) {
        self.silent_until = Some(now + SILENCE);
    }

    /// Whether it is not to be asked now.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silent_until.is_some_and(|until| now < until)
    }

    /// It was found alive.
    pub(super) fn lives(&mut self) {
        self.dead = false;
    }

    /// It was started: whatever its predecessor did not answer.
    pub(super) fn begins(&mut self, now: Instant) {
        (self.started, self.silent_until) = (Some(now), None);
    }

    /// It was found dead. A restart that has not brought all sessions back goes on.
    pub(super) fn died(&mut self, at: SystemTime, now: Instant) {
        self.end = None;
        if std::mem::replace(&mut self.dead, true) {
            return;
        }
        if self.restart.as_ref().is_none_or(|restart| !restart.is_open(now)) {
            self.restart = Some(Restart { at, detected: now, back: None });
        }
    }

    /// Takes what it says of all its sessions.
    pub(super) fn saw(&mut self, sessions: &[(String, SessionStatus)], now: Instant) {
        let up: Up = sessions
            .iter()
            .flat_map(|(vif, status)| {
                let families = [(true, &status.ipv4), (false, &status.ipv6)];
                let up = families
                    .into_iter()
                    .filter(|(_, family)| family.as_ref().is_some_and(|family| family.is_up()));
                up.map(|(is_v4, _)| (vif.clone(), is_v4))
            })
            .collect();
        let Some(restart) = self.restart.as_mut().filter(|restart| restart.is_open(now)) else {
            self.up = Some(up);
            return;
        };
        let wanted = sessions.iter().flat_map(|(vif, status)| {
            let families = [(true, &status.ipv4), (false, &status.ipv6)];
            families.into_iter().filter(|(_, family)| family.is_some()).map(|(is_v4, _)| (vif.clone(), is_v4))
        });
        // What is wanted no more does not come back.
        let mut expected = wanted.filter(|family| self.up.as_ref().is_none_or(|up| up.contains(family)));
        if expected.all(|family| up.contains(&family)) {
            restart.back = Some(now - restart.detected);
            self.up = Some(up);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::{BgpState, FamilyStatus};
    use super::*;

    fn session(states: &[BgpState]) -> SessionStatus {
        let family = |state: &BgpState| FamilyStatus {
            state: *state,
            negotiated: *state == BgpState::Established,
            ..FamilyStatus::unknown("192.0.2.1".parse().unwrap(), 100)
        };
        SessionStatus {
            ipv4: states.first().map(family),
            ipv6: states.get(1).map(family),
            ..SessionStatus::default()
        }
    }

    #[test]
    fn a_restart_ends_when_all_that_was_up_is_up() {
        use BgpState::{Down, Established};
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let vifs =
            |a: &[BgpState], b: &[BgpState]| vec![("a".to_owned(), session(a)), ("b".to_owned(), session(b))];
        let mut life = Life::default();
        life.saw(&vifs(&[Established, Established], &[Down]), start);
        life.died(SystemTime::UNIX_EPOCH, after(1));
        life.saw(&vifs(&[Established, Down], &[Established]), after(2));
        assert_eq!(life.restart.as_ref().unwrap().back, None, "one family is not back");
        // It dies once more: the outage is the same one.
        life.lives();
        life.died(SystemTime::UNIX_EPOCH, after(3));
        life.saw(&vifs(&[Established, Established], &[Down]), after(5));
        assert_eq!(life.restart.as_ref().unwrap().back, Some(Duration::from_secs(4)));
        life.died(SystemTime::UNIX_EPOCH, after(6));
        assert!(life.restart.as_ref().unwrap().back.is_some(), "it was not seen alive since");
        life.lives();
        life.died(SystemTime::UNIX_EPOCH, after(6));
        life.saw(&vifs(&[Down], &[])[1..], after(7));
        assert_eq!(
            life.restart.unwrap().back,
            Some(Duration::from_secs(1)),
            "what is gone is not waited for"
        );
    }

    #[test]
    fn who_is_away_for_long_is_not_waited_for() {
        use BgpState::{Down, Established};
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let a = |state| vec![("a".to_owned(), session(&[state]))];
        // Nothing is known of before.
        let mut life = Life::default();
        life.died(SystemTime::UNIX_EPOCH, start);
        life.saw(&a(Down), after(1));
        assert_eq!(life.restart.as_ref().unwrap().back, None, "a session that is down is waited for");
        life.saw(&a(Established), after(70));
        assert_eq!(life.restart.as_ref().unwrap().back, None, "not for ever");
        life.lives();
        life.died(SystemTime::UNIX_EPOCH, after(71));
        life.saw(&a(Established), after(73));
        let restart = life.restart.unwrap();
        assert_eq!(
            (restart.detected, restart.back),
            (after(71), Some(Duration::from_secs(2))),
            "another one"
        );
    }
}
