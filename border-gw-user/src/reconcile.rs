//! The one loop that owns the state: see, compile, plan, apply; then wait for the next change.

use std::collections::BTreeSet;
use std::sync::Arc;

use border_gw_common::abi::Entry;

use crate::compile::{compile, way_to_peer};
use crate::dataplane::{self, Dataplane};
use crate::intent::Intent;
use crate::kernel::{Lost, Observed};
use crate::state::State;
use crate::tables::cut::cut;
use crate::tables::plan::TooMany;
use crate::tables::slots::Full;
use crate::tables::{Identity, Installed, Slots, Tables, plan};

/// Why a turn failed. Nothing of the plan is lost: the next turn reads the maps again and goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's packet path.
    #[error(transparent)]
    Dataplane(#[from] dataplane::Error),
    /// More objects than a map has room for.
    #[error(transparent)]
    Full(#[from] Full),
    /// More table entries than a map has room for.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// Owns the installed tables.
pub struct Reconciler<D> {
    dataplane: D,
    /// Follows every operation; read from the maps again after a failure.
    installed: Option<Installed>,
    /// What the maps were last made from; none if they are not, or may not be, what that says.
    last: Option<Last>,
    published: Arc<Installed>,
    turns: u64,
    failures: u64,
    last_failure: Option<String>,
}

/// One turn's input and outcome.
struct Last {
    intent: Arc<Intent>,
    observed: Arc<Observed>,
    slots: Arc<Slots>,
    tables: Arc<Tables>,
}

impl<D: Dataplane> Reconciler<D> {
    /// Of a dataplane, whatever is in it.
    pub fn new(dataplane: D) -> Self {
        Self {
            dataplane,
            installed: None,
            last: None,
            published: Arc::default(),
            turns: 0,
            failures: 0,
            last_failure: None,
        }
    }

    /// The dataplane, with everything that is in it.
    pub fn into_dataplane(self) -> D {
        self.dataplane
    }

    /// Takes next hops that carry nothing any more out of all buckets, before anything else is looked at. Returns how many
    /// groups changed.
    pub fn cut(&mut self, lost: &Lost) -> Result<usize, Error> {
        self.last = None;
        let Some(mut installed) = self.installed.take() else { return Ok(0) };
        let ports: BTreeSet<u32> = lost.ports.values().copied().collect();
        let peers = lost.bfd.iter().chain(&lost.neighbors);
        let ways: BTreeSet<Identity> =
            peers.map(|peer| way_to_peer(&peer.border_gateway, &peer.vif, peer.address)).collect();
        let ops = cut(&installed, |next_hop| {
            ports.contains(&next_hop.egress_ifindex) || ways.contains(&next_hop.identity)
        });
        for op in &ops {
            self.dataplane.apply(op)?;
            installed.apply(op);
        }
        self.installed = Some(installed);
        Ok(ops.len())
    }

    /// One turn: makes the maps what `intent` and `observed` say. The returned state is true even when the turn failed.
    pub fn turn(&mut self, intent: &Arc<Intent>, observed: Observed) -> (State, Result<usize, Error>) {
        self.turns += 1;
        let same = self
            .last
            .take()
            .filter(|last| self.installed.is_some() && last.intent == *intent && *last.observed == observed);
        let (last, result) = match same {
            // Programs may have been detached, which shows nowhere else.
            Some(last) => {
                (last, self.dataplane.attach(&entries(intent, &observed)).map(|()| 0).map_err(Error::from))
            }
            None => self.new_turn(intent, observed),
        };
        match &result {
            Ok(_) => self.last_failure = None,
            Err(error) => {
                self.installed = None;
                self.failures += 1;
                self.last_failure = Some(error.to_string());
            }
        }
        let state = State {
            intent: Arc::clone(intent),
            observed: Arc::clone(&last.observed),
            slots: Arc::clone(&last.slots),
            tables: Arc::clone(&last.tables),
            installed: Arc::clone(&self.published),
            modes: Arc::new(self.dataplane.modes()),
            turns: self.turns,
            failures: self.failures,
            last_failure: self.last_failure.clone(),
            config_error: None,
            failovers: Arc::default(),
            maintenance: Arc::default(),
            sessions: Arc::default(),
            probes: Arc::default(),
            routing_error: None,
            restarts: Arc::default(),
            started: None,
        };
        self.last = Some(last);
        (state, result)
    }

    fn new_turn(&mut self, intent: &Arc<Intent>, observed: Observed) -> (Last, Result<usize, Error>) {
        let mut slots = Slots::default();
        let mut tables = Tables::default();
        let result = self.try_turn(intent, &observed, &mut slots, &mut tables);
        let last = Last {
            intent: Arc::clone(intent),
            observed: Arc::new(observed),
            slots: Arc::new(slots),
            tables: Arc::new(tables),
        };
        (last, result)
    }

    fn try_turn(
        &mut self,
        intent: &Intent,
        observed: &Observed,
        slots: &mut Slots,
        tables: &mut Tables,
    ) -> Result<usize, Error> {
        let fresh = self.installed.is_none();
        let mut installed = match self.installed.take() {
            Some(installed) => installed,
            None => self.dataplane.read()?,
        };
        *slots = Slots::assign(&installed, intent)?;
        *tables = compile(intent, observed, slots);
        let ops = plan(&installed, tables)?;
        for op in &ops {
            self.dataplane.apply(op)?;
            installed.apply(op);
        }
        // Programs last: the first packet meets tables that are whole.
        self.dataplane.attach(&entries(intent, observed))?;
        if fresh || !ops.is_empty() {
            self.published = Arc::new(installed.clone());
        }
        self.installed = Some(installed);
        Ok(ops.len())
    }
}

/// Which program runs where.
fn entries(intent: &Intent, observed: &Observed) -> Vec<(u32, Entry)> {
    let fabric = &intent.fabric.interfaces;
    let ports = observed
        .ports
        .iter()
        .map(|(name, port)| (port.ifindex, if fabric.contains(name) { Entry::Fabric } else { Entry::Line }));
    let veths = observed.vif_veths.values().chain(observed.attachment_veths.values());
    ports.chain(veths.map(|ifindex| (*ifindex, Entry::Host))).collect()
}
