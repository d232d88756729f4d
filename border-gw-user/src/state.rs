//! What the loop knows after a turn, for everybody who only reads: metrics, the read-only API.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::failover::Failovers;
use crate::intent::{Intent, XdpMode};
use crate::kernel::Observed;
use crate::probe;
use crate::routing::{Restart, SessionStatus};
use crate::tables::{Installed, Slots, Tables};

/// One turn's outcome. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    /// What is declared.
    pub intent: Arc<Intent>,
    /// What the kernel says.
    pub observed: Arc<Observed>,
    /// Indexes by name.
    pub slots: Arc<Slots>,
    /// What the maps are to hold.
    pub tables: Arc<Tables>,
    /// What they hold.
    pub installed: Arc<Installed>,
    /// How the programs run, by interface index.
    pub modes: Arc<BTreeMap<u32, XdpMode>>,
    /// Turns of the loop since the start.
    pub turns: u64,
    /// Turns that failed.
    pub failures: u64,
    /// Why the last turn failed.
    pub last_failure: Option<String>,
    /// Why the files could not be loaded again: what runs is what was there before.
    pub config_error: Option<String>,
    /// Virtual interfaces out of service by command: `draining`, `drained` or `drill`.
    pub maintenance: Arc<BTreeMap<String, &'static str>>,
    /// Sessions of VIFs, by VIF name, as BIRD said last.
    pub sessions: Arc<BTreeMap<String, SessionStatus>>,
    /// Probes, by VIF name and peer.
    pub probes: Arc<probe::Known>,
    /// Why routing daemons are not what they should be.
    pub routing_error: Option<Arc<str>>,
    /// How often the BIRD of each border gateway was found dead and started again, and the last time of that.
    pub restarts: Arc<BTreeMap<String, (u64, Option<Restart>)>>,
    /// When the daemon started; none where that does not matter.
    pub started: Option<Instant>,
    /// Failovers since the daemon's start.
    pub failovers: Arc<Failovers>,
}
