//! The routing daemon: its configuration, its process, its state.
//!
//! One BIRD 2 a border gateway runs in the border gateway's network namespace, and goes on when the gateway's daemon ends.

mod bird;
pub mod conf;
mod control;
mod error;
mod life;
mod process;
pub mod refusal;
pub mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Instant;

use futures::{FutureExt as _, StreamExt as _};
use log::warn;
use serde::Serialize;

use self::bird::Bird;
pub use self::control::ControlError;
pub use self::error::RoutingError;
pub use self::life::Restart;
pub use self::refusal::Refusal;
pub use self::status::{BfdState, BfdStatus, BgpState, FamilyStatus, RefusedRoute, SessionStatus};
use crate::intent::{BorderGateway, Intent, VirtualInterface};

/// BIRD processes that are dealt with at a time.
const AT_A_TIME: usize = 8;

/// What a virtual interface's limit and filters refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// How many prefixes are refused and remembered.
    pub count: u32,
    /// Some of them.
    pub routes: Vec<RefusedRoute>,
}

/// Every BIRD of a gateway.
#[derive(Debug)]
pub struct Routing {
    gateway: String,
    /// By border gateway.
    birds: BTreeMap<String, Bird>,
    /// What was said last about those that do not answer: it is said once.
    complaints: Vec<String>,
}

impl Routing {
    /// Starts nothing, and adopts nothing yet.
    pub fn new(gateway_name: &str) -> Self {
        Self { gateway: gateway_name.to_owned(), birds: BTreeMap::new(), complaints: Vec::new() }
    }

    /// Makes the BIRD of each border gateway run with the configuration that the intent asks for, and ends those that are
    /// wanted no more. May be repeated at any time.
    ///
    /// # Errors
    ///
    /// The first of what went wrong; all others were dealt with, and what else went wrong is in the log.
    pub async fn ensure(
        &mut self,
        intent: &Intent,
        numbers: &BTreeMap<String, BTreeMap<String, u32>>,
    ) -> Result<(), RoutingError> {
        let mut before = std::mem::take(&mut self.birds);
        let none = BTreeMap::new();
        for gateway in intent.border_gateways.iter().filter(|gateway| conf::wants_bird(gateway)) {
            let numbers = numbers.get(&gateway.name).unwrap_or(&none);
            let text = conf::text(intent, gateway, numbers);
            let bird = Bird::new(&self.gateway, gateway, text, numbers.clone(), before.remove(&gateway.name));
            self.birds.insert(gateway.name.clone(), bird);
        }
        let ended = self.end_unwanted().await;
        let settled = self.settle().await;
        first([ended, settled])
    }

    /// Ends what runs and is not wanted, and what it wrote to the kernel.
    async fn end_unwanted(&self) -> Result<(), RoutingError> {
        let started = process::started(&self.gateway);
        let unwanted = started.into_iter().filter(|name| !self.birds.contains_key(name));
        let ends = unwanted.map(|name| bird::end(&self.gateway, name));
        let results: Vec<_> = futures::stream::iter(ends).buffer_unordered(AT_A_TIME).collect().await;
        first(results)
    }

    /// Starts what does not run, and changes what runs with another configuration.
    async fn settle(&mut self) -> Result<(), RoutingError> {
        let work = self.birds.values_mut().map(Bird::settle);
        let results: Vec<_> = futures::stream::iter(work).buffer_unordered(AT_A_TIME).collect().await;
        first(results)
    }

    /// Asks every BIRD how its sessions are, by virtual interface. One whose process is gone is started again first.
    pub async fn status(&mut self, intent: &Intent) -> BTreeMap<String, SessionStatus> {
        let mut errors = self.keep().await;
        let mut all = BTreeMap::new();
        let mut questions = Vec::new();
        for gateway in &intent.border_gateways {
            let vifs = gateway.virtual_interfaces.iter().filter(|vif| vif.bgp.is_some() || vif.bfd.is_some());
            let vifs: Vec<&VirtualInterface> = vifs.collect();
            all.extend(vifs.iter().map(|vif| (vif.name.clone(), SessionStatus::unknown(vif))));
            if let Some(bird) = self.birds.get(&gateway.name) {
                let name = gateway.name.clone();
                questions.push(bird.status(vifs).map(|answer| (name, answer)));
            }
        }
        let answers: Vec<_> = futures::stream::iter(questions).buffer_unordered(AT_A_TIME).collect().await;
        let now = Instant::now();
        for (gateway, answer) in answers {
            match answer {
                Ok(known) => {
                    if let Some(bird) = self.birds.get_mut(&gateway) {
                        bird.life.saw(&known, now);
                    }
                    all.extend(known);
                }
                Err(error) => {
                    if let Some(bird) = self.birds.get_mut(&gateway) {
                        bird.note_silence(&error);
                    }
                    errors.push(error);
                }
            }
        }
        self.complain(&errors);
        all
    }

    /// Starts what does not run, and ends recoveries.
    async fn keep(&mut self) -> Vec<RoutingError> {
        let work = self.birds.values_mut().map(Bird::keep);
        let results: Vec<_> = futures::stream::iter(work).buffer_unordered(AT_A_TIME).collect().await;
        results.into_iter().filter_map(Result::err).collect()
    }

    /// Says what is wrong, unless it was said the last time.
    fn complain(&mut self, errors: &[RoutingError]) {
        let complaints: Vec<String> = errors.iter().map(ToString::to_string).collect();
        complaints.iter().filter(|text| !self.complaints.contains(text)).for_each(|text| warn!("{text}"));
        self.complaints = complaints;
    }

    /// How often the BIRD of each border gateway was found dead and started again by this daemon, and the last time of that.
    pub fn restarts(&self) -> BTreeMap<String, (u64, Option<Restart>)> {
        let of = |bird: &Bird| (bird.life.restarts, bird.life.restart.clone());
        self.birds.iter().map(|(name, bird)| (name.clone(), of(bird))).collect()
    }

    /// Waits until a BIRD that is watched ends; for ever where none is. Its border gateway, for [`Routing::look_again`].
    pub async fn ended(&self) -> String {
        let watched = self.birds.iter().filter_map(|(name, bird)| Some((name, bird.life.end.as_ref()?)));
        let ends: Vec<_> = watched
            .map(|(name, end)| {
                Box::pin(async {
                    end.readable().await.ok();
                    name.clone()
                })
            })
            .collect();
        if ends.is_empty() {
            std::future::pending::<()>().await;
        }
        futures::future::select_all(ends).await.0
    }

    /// The process of this border gateway that was watched is gone: the next one is.
    pub fn look_again(&mut self, border_gateway: &str) {
        if let Some(bird) = self.birds.get_mut(border_gateway) {
            bird.life.end = None;
        }
    }

    /// What was refused from a virtual interface: how many, and at most so many of them.
    pub async fn refused(&self, intent: &Intent, vif: &str, most: usize) -> Result<Refused, RoutingError> {
        let (bird, vif) = self.speaker(intent, vif)?;
        bird.refused(vif, most).await
    }

    /// Lets a virtual interface's peers announce everything again, so that what the limit refused is taken where there is room.
    pub async fn reload_in(&self, intent: &Intent, vif: &str) -> Result<(), RoutingError> {
        let (bird, vif) = self.speaker(intent, vif)?;
        bird.reload_in(vif).await
    }

    /// A virtual interface that has sessions, and who speaks for it.
    fn speaker<'a>(
        &self,
        intent: &'a Intent,
        name: &str,
    ) -> Result<(&Bird, &'a VirtualInterface), RoutingError> {
        let of = |gateway: &'a BorderGateway| {
            let vif = gateway.virtual_interfaces.iter().find(|vif| vif.name == name && vif.bgp.is_some())?;
            Some((self.birds.get(&gateway.name)?, vif))
        };
        let found = intent.border_gateways.iter().find_map(of);
        found.ok_or_else(|| RoutingError::NoSession(name.to_owned()))
    }

    /// Ends every BIRD of a gateway, and removes its files. Kernel routes go with the namespaces.
    pub async fn purge(gateway_name: &str) -> Result<(), RoutingError> {
        let ends = process::started(gateway_name).into_iter().map(|name| bird::end(gateway_name, name));
        let results: Vec<_> = futures::stream::iter(ends).buffer_unordered(AT_A_TIME).collect().await;
        first(results)?;
        // Where other files are in it, it stays.
        std::fs::remove_dir(conf::directory(gateway_name, "")).ok();
        Ok(())
    }
}

/// The first error; the others go to the log.
fn first(results: impl IntoIterator<Item = Result<(), RoutingError>>) -> Result<(), RoutingError> {
    let mut errors = results.into_iter().filter_map(Result::err);
    let Some(error) = errors.next() else { return Ok(()) };
    errors.for_each(|error| warn!("{error}"));
    Err(error)
}
