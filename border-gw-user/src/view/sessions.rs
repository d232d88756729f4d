//! Sessions and health of virtual interfaces as rows.

use serde::Serialize;

use super::all_vifs;
use crate::health::{probe, summary};
use crate::routing::FamilyStatus;
use crate::state::State;

/// A family of a session.
#[derive(Clone, Debug, Serialize)]
pub struct BgpRow {
    /// Border gateway.
    pub border_gateway: String,
    /// Virtual interface.
    pub vif: String,
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// The peer's autonomous system.
    pub asn: u32,
    /// What is known of it.
    #[serde(flatten)]
    pub status: FamilyStatus,
}

/// Every session, a row for each family that it carries.
pub fn bgp(state: &State) -> Vec<BgpRow> {
    let mut rows = Vec::new();
    for (gateway, vif) in all_vifs(state) {
        let (Some(bgp), Some(status)) = (&vif.bgp, state.sessions.get(&vif.name)) else { continue };
        for (family, status) in [("ipv4", &status.ipv4), ("ipv6", &status.ipv6)] {
            let Some(status) = status.clone() else { continue };
            rows.push(BgpRow {
                border_gateway: gateway.name.clone(),
                vif: vif.name.clone(),
                family,
                asn: bgp.asn,
                status,
            });
        }
    }
    rows
}

/// One peer of a virtual interface, from the port upward.
#[derive(Clone, Debug, Serialize)]
pub struct HealthRow {
    /// Virtual interface.
    pub vif: String,
    /// The peer.
    pub peer: String,
    /// Whether the port is up, with carrier.
    pub port: &'static str,
    /// Whether the peer answers ARP or neighbour solicitations.
    pub neighbor: &'static str,
    /// State of the BFD session; none where there is to be none.
    pub bfd: Option<&'static str>,
    /// State of the BGP session; none where there is to be none.
    pub bgp: Option<&'static str>,
    /// Prefixes that are accepted from it.
    pub routes: Option<u32>,
    /// What pings say: `answers`, `lost`, or `silent` where it never answered.
    pub probe: &'static str,
    /// Of the last ping that was answered, in seconds.
    pub round_trip_seconds: Option<f64>,
    /// Of the whole virtual interface, as in `show vifs`.
    pub state: &'static str,
}

/// Every peer.
pub fn health(state: &State) -> Vec<HealthRow> {
    let mut rows = Vec::new();
    for (gateway, vif) in all_vifs(state) {
        let interface = state.intent.connection(&vif.connection).map_or("", |line| &line.interface);
        let is_up = state.observed.ports.get(interface).is_some_and(|port| port.up);
        let sessions = state.sessions.get(&vif.name);
        for link in &vif.addresses {
            let key = (vif.name.clone(), link.peer);
            let families: Vec<&FamilyStatus> = sessions
                .into_iter()
                .flat_map(|status| [&status.ipv4, &status.ipv6])
                .flatten()
                .filter(|family| family.peer == link.peer)
                .collect();
            let bfd = vif.bfd.and_then(|_| sessions?.bfd.get(&link.peer));
            rows.push(HealthRow {
                vif: vif.name.clone(),
                peer: link.peer.to_string(),
                port: if is_up { "up" } else { "down" },
                neighbor: if state.observed.neighbors.contains_key(&key) { "up" } else { "down" },
                bfd: bfd.map(|bfd| bfd.state.name()),
                bgp: families.first().map(|family| family.state.name()),
                routes: (!families.is_empty()).then(|| families.iter().map(|family| family.accepted).sum()),
                probe: probe(state, &key).name(),
                round_trip_seconds: state
                    .probes
                    .get(&key)
                    .and_then(|probe| Some(probe.round_trip?.as_secs_f64())),
                state: summary(state, gateway, vif),
            });
        }
    }
    rows
}
