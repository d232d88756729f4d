//! What is known of a BIRD's life from one look to the next: when it was started, when it was found dead, who was up then.
//!
//! Pure: time is an argument.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::unix::AsyncFd;

use super::status::SessionStatus;

/// A family of a virtual interface whose session is up: its name, and whether that is IPv4.
type Up = BTreeSet<(String, bool)>;

/// A BIRD that was found dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// When that was.
    pub at: SystemTime,
    /// The same, on the clock that nobody sets.
    pub detected: Instant,
    /// From then until every session that had been up was up again; none while one is not.
    pub back: Option<Duration>,
}

/// What outlives a change of the configuration.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// When it was started last by this daemon.
    pub(super) started: Option<Instant>,
    /// It was started again, and sentinels are left as they are.
    pub(super) recovering: bool,
    /// How often it was started again.
    pub(super) restarts: u64,
    /// What tells that it ended; none where that is not watched.
    pub(super) end: Option<AsyncFd<OwnedFd>>,
    /// The last time that it was found dead.
    pub(super) restart: Option<Restart>,
    up: Up,
}

impl Life {
    /// It was found dead. A restart that has not brought all sessions back goes on.
    pub(super) fn died(&mut self, at: SystemTime, now: Instant) {
        self.end = None;
        if self.restart.as_ref().is_none_or(|restart| restart.back.is_some()) {
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
        let open = self.restart.as_mut().filter(|restart| restart.back.is_none());
        let Some(restart) = open else {
            self.up = up;
            return;
        };
        // What is wanted no more does not come back.
        self.up.retain(|(vif, _)| sessions.iter().any(|(name, _)| name == vif));
        if self.up.is_subset(&up) {
            restart.back = Some(now - restart.detected);
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
        life.died(SystemTime::UNIX_EPOCH, after(3));
        life.saw(&vifs(&[Established, Established], &[Down]), after(5));
        assert_eq!(life.restart.as_ref().unwrap().back, Some(Duration::from_secs(4)));
        life.died(SystemTime::UNIX_EPOCH, after(6));
        life.saw(&vifs(&[Down], &[])[1..], after(7));
        assert_eq!(
            life.restart.unwrap().back,
            Some(Duration::from_secs(1)),
            "what is gone is not waited for"
        );
    }
}
