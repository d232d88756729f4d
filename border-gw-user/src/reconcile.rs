//! The one loop that owns the state: see, compile, plan, apply; then wait for the next change.

use std::sync::Arc;

use border_gw_common::abi::Entry;

use crate::compile::compile;
use crate::dataplane::{self, Dataplane};
use crate::intent::Intent;
use crate::kernel::Observed;
use crate::state::State;
use crate::tables::plan::TooMany;
use crate::tables::slots::Full;
use crate::tables::{Installed, Slots, Tables, plan};

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
    published: Arc<Installed>,
    turns: u64,
    failures: u64,
    last_failure: Option<String>,
}

impl<D: Dataplane> Reconciler<D> {
    /// Of a dataplane, whatever is in it.
    pub fn new(dataplane: D) -> Self {
        Self {
            dataplane,
            installed: None,
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

    /// One turn: makes the maps what `intent` and `observed` say. The returned state is true even when the turn failed.
    pub fn turn(&mut self, intent: &Arc<Intent>, observed: Observed) -> (State, Result<usize, Error>) {
        self.turns += 1;
        let mut slots = Slots::default();
        let mut tables = Tables::default();
        let result = self.try_turn(intent, &observed, &mut slots, &mut tables);
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
            observed: Arc::new(observed),
            slots: Arc::new(slots),
            tables: Arc::new(tables),
            installed: Arc::clone(&self.published),
            modes: Arc::new(self.dataplane.modes()),
            turns: self.turns,
            failures: self.failures,
            last_failure: self.last_failure.clone(),
            config_error: None,
        };
        (state, result)
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
