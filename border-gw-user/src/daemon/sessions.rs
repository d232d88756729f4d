//! Routing daemons and probes, looked after beside the loop: neither may keep it waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use border_gw::control::Question;
use border_gw::intent::Intent;
use border_gw::probe::{self, Probes};
use border_gw::routing::{FamilyStatus, Restart, Routing, SessionStatus};
use border_gw::state::State;
use log::{error, info, warn};
use tokio::sync::{mpsc, watch};

/// Between two looks at routing daemons.
const LOOK: Duration = Duration::from_secs(1);
/// The same while sessions are expected back after a restart.
const CLOSE_LOOK: Duration = Duration::from_millis(200);
/// For how long: all are asked, and what BIRD answers takes time from what it does.
const CLOSELY: Duration = Duration::from_secs(10);
/// Between two rounds of probes.
const PROBE: Duration = Duration::from_secs(5);
/// Between two attempts to make routing daemons what they should be.
const RETRY: Duration = Duration::from_secs(10);
/// Shortest time between two words about the limit of a VIF and family.
const BETWEEN_WORDS: Duration = Duration::from_mins(1);
/// Shortest time between two requests to announce everything again, of one VIF.
const RELOAD: Duration = Duration::from_secs(30);

/// What routing daemons are to be made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) intent: Option<Arc<Intent>>,
    /// N of the interface `vifN` of each VIF, by border gateway.
    pub(super) numbers: BTreeMap<String, BTreeMap<String, u32>>,
}

/// What is known of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) sessions: Arc<BTreeMap<String, SessionStatus>>,
    pub(super) probes: Arc<probe::Known>,
    /// Why they are not what they should be.
    pub(super) error: Option<Arc<str>>,
    /// How often each was found dead, by border gateway, and the last time of that.
    pub(super) restarts: Arc<BTreeMap<String, (u64, Option<Restart>)>>,
}

impl Known {
    /// Puts it where everybody sees it.
    pub(super) fn fill(&self, state: &mut State) {
        state.sessions = Arc::clone(&self.sessions);
        state.probes = Arc::clone(&self.probes);
        state.routing_error.clone_from(&self.error);
        state.restarts = Arc::clone(&self.restarts);
    }
}

/// Looks after them until `wanted` is dropped; the daemons themselves go on then.
pub(super) async fn look_after(
    gateway: String,
    mut wanted: watch::Receiver<Wanted>,
    known: watch::Sender<Known>,
    mut questions: mpsc::Receiver<Question>,
) {
    let (found, mut probed) = watch::channel(probe::Known::default());
    let probing = tokio::spawn(probe_all(wanted.clone(), found));
    let _ended_with_this = AbortOnDrop(probing.abort_handle());
    let mut keeper = Keeper {
        routing: Routing::new(&gateway),
        tried: None,
        reloaded: BTreeMap::new(),
        near_limit: BTreeMap::new(),
        said: BTreeMap::new(),
    };
    // What was wanted before this task began is to be looked after as well.
    wanted.mark_changed();
    let mut looked = Instant::now();
    loop {
        let next = tokio::time::Instant::from_std(looked + keeper.pause());
        let changed = tokio::select! {
            changed = wanted.changed() => match changed {
                Ok(()) => true,
                Err(_closed) => return,
            },
            Some(question) = questions.recv() => {
                let now = wanted.borrow().clone();
                keeper.answer(now, question).await;
                continue;
            }
            Ok(()) = probed.changed() => {
                let probes = probed.borrow_and_update().clone();
                known.send_modify(|known| known.probes = Arc::new(probes));
                continue;
            }
            name = keeper.routing.ended() => {
                keeper.routing.look_again(&name);
                false
            }
            () = tokio::time::sleep_until(next) => false,
        };
        let now = wanted.borrow_and_update().clone();
        if let Some(intent) = now.intent.clone() {
            keeper.turn(&intent, &now, changed, &known).await;
        }
        looked = Instant::now();
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks all peers again and again: those that are silent take their time, and keep nobody else waiting.
async fn probe_all(mut wanted: watch::Receiver<Wanted>, found: watch::Sender<probe::Known>) {
    let mut probes = Probes::default();
    let mut due = tokio::time::interval(PROBE);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if wanted.has_changed().unwrap_or(false) {
            probes.reopen();
        }
        let now = wanted.borrow_and_update().clone();
        let Some(intent) = now.intent else { continue };
        let round = probes.round(&intent).await;
        found.send_if_modified(|before| {
            let differs = *before != round;
            *before = round;
            differs
        });
    }
}

struct Keeper {
    routing: Routing,
    /// When routing daemons were last made what they should be.
    tried: Option<Instant>,
    reloaded: BTreeMap<String, Instant>,
    /// VIFs and families that have most of the prefixes that they may have, and when that was said last of each.
    near_limit: BTreeMap<(String, &'static str), Nearness>,
    said: BTreeMap<(String, &'static str), Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nearness {
    Near,
    Over,
}

impl Keeper {
    /// Until the next look.
    fn pause(&self) -> Duration {
        let now = Instant::now();
        let mut restarts = self.routing.restarts().into_values().filter_map(|(_, last)| last);
        let is_close = |restart: Restart| restart.is_open(now) && now - restart.detected < CLOSELY;
        if restarts.any(is_close) { CLOSE_LOOK } else { LOOK }
    }

    async fn turn(&mut self, intent: &Intent, wanted: &Wanted, changed: bool, known: &watch::Sender<Known>) {
        let mut error = known.borrow().error.clone();
        if changed || error.is_some() && self.tried.is_none_or(|tried| tried.elapsed() >= RETRY) {
            let result = self.routing.ensure(intent, &wanted.numbers).await;
            self.tried = Some(Instant::now());
            error = result.err().map(|error| error.to_string().into());
        }
        let sessions = self.routing.status(intent).await;
        self.limits(intent, &sessions).await;
        known.send_if_modified(|known| {
            let restarts = self.routing.restarts();
            let differs = *known.sessions != sessions || known.error != error || *known.restarts != restarts;
            if let Some(error) = error.as_ref().filter(|error| known.error.as_ref() != Some(error)) {
                error!("{error}");
            }
            if differs {
                *known = Known {
                    sessions: Arc::new(sessions),
                    error,
                    restarts: Arc::new(restarts),
                    probes: Arc::clone(&known.probes),
                };
            }
            differs
        });
    }

    /// Says when a limit comes near, is reached, and is far again; takes in what was refused when there is room.
    async fn limits(&mut self, intent: &Intent, sessions: &BTreeMap<String, SessionStatus>) {
        for (vif, status) in sessions {
            let families = [("IPv4", &status.ipv4), ("IPv6", &status.ipv6)];
            for (name, family) in
                families.into_iter().filter_map(|(name, family)| Some((name, family.as_ref()?)))
            {
                self.limit(vif, name, family);
                let waited = self.reloaded.get(vif).is_none_or(|reloaded| reloaded.elapsed() >= RELOAD);
                if family.has_room() && waited {
                    self.reloaded.insert(vif.clone(), Instant::now());
                    match self.routing.reload_in(intent, vif).await {
                        Ok(()) => info!(
                            "{vif} has room for {name} prefixes again: its peer is asked for all of them"
                        ),
                        Err(error) => warn!("{error}"),
                    }
                }
            }
        }
    }

    fn limit(&mut self, vif: &str, name: &'static str, family: &FamilyStatus) {
        let nearness = if family.limit_hit || family.overflow {
            Some(Nearness::Over)
        } else {
            family.is_near_limit().then_some(Nearness::Near)
        };
        let key = (vif.to_owned(), name);
        // Who goes to and fro is told of once a minute.
        let rests = self.said.get(&key).is_some_and(|said| said.elapsed() < BETWEEN_WORDS);
        if self.near_limit.get(&key).copied() == nearness || rests {
            return;
        }
        match nearness {
            Some(nearness) => self.near_limit.insert(key.clone(), nearness),
            None => self.near_limit.remove(&key),
        };
        self.said.insert(key, Instant::now());
        let (accepted, limit) = (family.accepted, family.limit);
        match nearness {
            Some(Nearness::Over) => warn!(
                "{vif} announces more than its {limit} {name} prefixes: {accepted} stay, the rest is refused (`border-gw show bgp \
                 {vif} --refused`); raise `max_prefixes`, or ask the customer to announce less"
            ),
            Some(Nearness::Near) => {
                warn!("{vif} announces {accepted} {name} prefixes of the {limit} that it may");
            }
            None => info!("{vif} announces {accepted} {name} prefixes, less than four fifths of its {limit}"),
        }
    }

    async fn answer(&self, wanted: Wanted, question: Question) {
        let Some(intent) = wanted.intent else { return };
        let refused = self.routing.refused(&intent, &question.vif, question.most).await;
        // Who asked may be gone by then.
        drop(question.answer.send(refused.map_err(|error| error.to_string())));
    }
}
