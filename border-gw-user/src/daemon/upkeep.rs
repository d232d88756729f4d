//! What the loop does beside its turns: lines that die, and lines that are taken out of service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use border_gw::control::Order;
use border_gw::kernel::Lost;
use border_gw::routing::BfdState;
use border_gw_common::abi::{OWNER_VIF, Owner};
use log::{error, info, warn};

use super::Daemon;
use super::sessions::{Known, Wanted};

/// Between two looks at the traffic of what is being drained.
const LOOK: Duration = Duration::from_secs(1);

/// Lines of the log that a customer can cause: so many a minute about each thing, so that nobody's are lost among another's, and
/// the rest is counted.
#[derive(Default)]
pub(super) struct Complaints {
    since: Option<Instant>,
    said: BTreeMap<String, u32>,
    left_out: u32,
}

impl Complaints {
    const MINUTE: Duration = Duration::from_mins(1);
    const MOST: u32 = 4;

    fn say(&mut self, about: String, sentence: &str) {
        if self.since.is_none_or(|since| since.elapsed() >= Self::MINUTE) {
            if self.left_out > 0 {
                warn!("{} more such lines were left out", self.left_out);
            }
            *self = Self { since: Some(Instant::now()), ..Self::default() };
        }
        let said = self.said.entry(about).or_default();
        *said += 1;
        if *said <= Self::MOST {
            warn!("{sentence}");
        } else {
            self.left_out += 1;
        }
    }
}

impl Daemon {
    /// Takes what carries nothing any more out of the buckets, before anything else is looked at.
    /// Says whether anything was.
    pub(super) async fn give_up_lines(&mut self) -> bool {
        let lost = match self.kernel.lost(&self.intent, &self.observed).await {
            Ok(lost) => lost.without(&self.given_up),
            Err(error) => {
                warn!("cannot look for lines that went down: {error}");
                return true;
            }
        };
        self.give_up(&lost);
        !lost.is_empty()
    }

    /// Takes what was lost out of the buckets. It is not looked for again until a turn has seen it.
    pub(super) fn give_up(&mut self, lost: &Lost) {
        if lost.is_empty() {
            return;
        }
        let (at, detected) = (SystemTime::now(), Instant::now());
        match self.reconciler.cut(lost) {
            Ok(groups) => {
                self.given_up.add(lost);
                self.failovers.rerouted(&self.intent, lost, groups, at, (detected, Instant::now()));
                for cause in lost.causes() {
                    let sentence = format!("{cause}; {groups} next-hop groups go on without it");
                    self.complaints.say(cause.to_string(), &sentence);
                }
            }
            Err(error) => error!("cannot take lines that went down out of their groups: {error}"),
        }
    }

    /// Lets routing daemons be made what is in force.
    pub(super) fn want_sessions(&self) {
        let wanted =
            Wanted { intent: Some(Arc::clone(&self.intent)), numbers: self.kernel.numbers(&self.intent) };
        self.wanted.send_if_modified(|before| {
            let differs = *before != wanted;
            *before = wanted;
            differs
        });
    }

    /// Takes what is new of sessions. A peer whose BGP came up after BFD lost it, and without BFD, speaks BFD no more.
    pub(super) fn learn_of_sessions(&mut self, known: Known) {
        self.known = known;
        let restarts =
            self.known.restarts.iter().filter_map(|(gateway, (_, last))| Some((gateway, last.as_ref()?)));
        for (gateway, restart) in restarts {
            if self.failovers.restarted(gateway, restart)
                && let Some(back) = restart.back
            {
                info!(
                    "sessions of border gateway {gateway} were back {:.1} s after its BIRD was gone",
                    back.as_secs_f64()
                );
            }
        }
        for peer in &self.observed.bfd_down {
            let Some(status) = self.known.sessions.get(&peer.0) else { continue };
            let Some(bfd) = status.bfd.get(&peer.1).filter(|bfd| bfd.state != BfdState::Up) else { continue };
            let mut families = [&status.ipv4, &status.ipv6].into_iter().flatten();
            // BFD takes BGP down when it loses the peer: what is up came up later.
            let is_back = families.any(|family| {
                family.peer == peer.1 && family.is_up() && bfd.since.is_some() && family.since >= bfd.since
            });
            if is_back {
                info!("BGP with peer {} of {} is up again without BFD, which counts no more", peer.1, peer.0);
                self.kernel.forget_bfd(&self.intent, &peer.0, peer.1);
            }
        }
    }

    /// When maintenance has to be looked at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let drain = self.maintenance.draining().next().map(|_| self.drain_look);
        self.maintenance.next_end().into_iter().chain(drain).min()
    }

    /// Carries out an order; the answer goes out when what is returned is called, after the turn that makes it true.
    pub(super) fn order(&mut self, order: Order) -> impl FnOnce() + use<> {
        let Order { vif, command, answer } = order;
        let (clock, now) = (SystemTime::now(), Instant::now());
        let done = self.maintenance.command(&self.declared, &vif, command, clock, now);
        match &done {
            Ok(done) => info!("{done}"),
            Err(refused) => info!("an order is refused: {refused}"),
        }
        self.intent = Arc::new(self.maintenance.applied(&self.declared));
        let done = done.map_err(|refused| refused.to_string());
        // Who asked may be gone by then.
        move || drop(answer.send(done))
    }

    /// Goes on with drains and drills; true when something changed.
    pub(super) fn advance_maintenance(&mut self) -> bool {
        self.drain_look = Instant::now() + LOOK;
        let mut packets = BTreeMap::new();
        for vif in self.maintenance.draining() {
            let Some(slot) = self.slots.vifs.get(vif) else { continue };
            match self.counters.traffic(Owner::new(OWNER_VIF, *slot)) {
                Ok(traffic) => {
                    packets.insert(vif.to_owned(), traffic.flows.iter().map(|flow| flow.packets).sum());
                }
                Err(error) => warn!("cannot see whether traffic of {vif} has gone: {error}"),
            }
        }
        let changes = self.maintenance.advance(&packets, Instant::now());
        if changes.is_empty() {
            return false;
        }
        for change in &changes {
            info!("{change}");
        }
        self.intent = Arc::new(self.maintenance.applied(&self.declared));
        true
    }
}
