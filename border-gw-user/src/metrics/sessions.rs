//! Sessions, BFD and probes.

use super::{Error, Page};
use crate::health;
use crate::probe::ProbeState;
use crate::routing::BfdState;
use crate::state::State;
use crate::view;

/// Gauges of each session and peer.
pub(super) fn sessions(page: &Page, state: &State) -> Result<(), Error> {
    bgp(page, state)?;
    let restarts = page.counter(
        "border_gw_bird_restarts_total",
        "Times that the BIRD of a border gateway was found dead and was started again.",
        &["border_gateway"],
    )?;
    for (gateway, (count, _)) in &*state.restarts {
        restarts.with_label_values(&[gateway]).inc_by(*count);
    }
    let labels = ["border_gateway", "vif", "peer"];
    let bfd = page.gauge("border_gw_bfd_up", "1 while the BFD session with a peer is up.", &labels)?;
    let probe =
        page.gauge("border_gw_probe_up", "1 while a peer answers pings, 0 when it stopped to.", &labels)?;
    let round_trip =
        page.real("border_gw_probe_round_trip_seconds", "Of the last ping that a peer answered.", &labels)?;
    for (gateway, vif) in view::all_vifs(state) {
        for link in &vif.addresses {
            let key = (vif.name.clone(), link.peer);
            let peer = link.peer.to_string();
            let labels = [gateway.name.as_str(), &vif.name, &peer];
            if vif.bfd.is_some() {
                let status = state.sessions.get(&vif.name).and_then(|status| status.bfd.get(&link.peer));
                let is_up = status.is_some_and(|status| status.state == BfdState::Up);
                bfd.with_label_values(&labels).set(i64::from(is_up));
            }
            let known = health::probe(state, &key);
            if known != ProbeState::Silent {
                probe.with_label_values(&labels).set(i64::from(known == ProbeState::Answers));
            }
            if let Some(time) = state.probes.get(&key).and_then(|probe| probe.round_trip) {
                round_trip.with_label_values(&labels).set(time.as_secs_f64());
            }
        }
    }
    Ok(())
}

fn bgp(page: &Page, state: &State) -> Result<(), Error> {
    let labels = ["border_gateway", "vif", "peer", "family"];
    let up = page.gauge(
        "border_gw_bgp_session_up",
        "1 while the session with a peer is up and carries this family.",
        &labels,
    )?;
    let limit =
        page.gauge("border_gw_bgp_prefix_limit", "Most prefixes that are taken from a peer.", &labels)?;
    let near = page.gauge(
        "border_gw_bgp_near_prefix_limit",
        "1 when a peer announces four fifths of what it may, or more.",
        &labels,
    )?;
    let labels = ["border_gateway", "vif", "peer", "family", "state"];
    let prefixes = page.gauge("border_gw_bgp_prefixes", "Prefixes of a session.", &labels)?;
    for row in view::bgp(state) {
        let peer = row.status.peer.to_string();
        let labels = [row.border_gateway.as_str(), &row.vif, &peer, row.family];
        up.with_label_values(&labels).set(i64::from(row.status.is_up()));
        limit.with_label_values(&labels).set(i64::from(row.status.limit));
        let is_near = row.status.is_near_limit() || row.status.limit_hit;
        near.with_label_values(&labels).set(i64::from(is_near));
        for (name, count) in [
            ("accepted", row.status.accepted),
            ("refused_by_filter", row.status.refused_by_filter),
            ("refused_by_limit", row.status.refused_by_limit),
            ("announced", row.status.announced),
        ] {
            let labels = [labels[0], labels[1], labels[2], labels[3], name];
            prefixes.with_label_values(&labels).set(i64::from(count));
        }
    }
    Ok(())
}
