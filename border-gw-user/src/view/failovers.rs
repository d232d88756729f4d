//! Failovers as rows.

use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::failover::Cause;
use crate::state::State;

/// A line that was given up, and how long that took.
#[derive(Clone, Debug, Serialize)]
pub struct FailoverRow {
    /// When it was detected, in seconds since 1970.
    pub detected_at_seconds: f64,
    /// `port`, `bfd`, `neighbor` or `bird`.
    pub cause: &'static str,
    /// The port, the virtual interface, or the border gateway of a BIRD.
    pub name: String,
    /// The peer; none of a port or a BIRD.
    pub peer: Option<String>,
    /// Next-hop groups that went on without it.
    pub groups: usize,
    /// From detection until no packet went there any more; none of a BIRD.
    pub rerouted_seconds: Option<f64>,
    /// From detection until no route led there any more, or until the sessions of a BIRD were back; none while that is not so.
    pub converged_seconds: Option<f64>,
}

/// The last failovers, the newest first.
pub fn failovers(state: &State) -> Vec<FailoverRow> {
    let rows = state.failovers.last.iter().map(|failover| {
        let (name, peer) = match &failover.cause {
            Cause::Port(name) | Cause::Bird(name) => (name.clone(), None),
            Cause::Bfd(vif, peer) | Cause::Neighbor(vif, peer) => (vif.clone(), Some(peer.to_string())),
        };
        let since_epoch = failover.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        FailoverRow {
            detected_at_seconds: since_epoch.as_secs_f64(),
            cause: failover.cause.kind(),
            name,
            peer,
            groups: failover.groups,
            rerouted_seconds: failover.rerouted.map(|rerouted| rerouted.as_secs_f64()),
            converged_seconds: failover.converged.map(|converged| converged.as_secs_f64()),
        }
    });
    rows.collect()
}
