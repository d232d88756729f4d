//! Whether a virtual interface carries traffic, and whether the server is fit to be given any. Pure.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use border_gw_common::abi::{OWNER_ATTACHMENT, Owner};
use ipnet::IpNet;

use crate::intent::{BorderGateway, Routing, VirtualInterface};
use crate::probe::ProbeState;
use crate::state::State;

/// How long after the start the server waits for sessions, before it is ready without them.
const CONVERGENCE: Duration = Duration::from_mins(1);

/// The first thing that keeps a VIF from carrying traffic, from the port upward; `up` where nothing does.
pub fn summary(state: &State, gateway: &BorderGateway, vif: &VirtualInterface) -> &'static str {
    if let Some(maintenance) = state.maintenance.get(&vif.name) {
        return maintenance;
    }
    let interface = state.intent.connection(&vif.connection).map_or("", |line| &line.interface);
    let port = state.observed.ports.get(interface);
    let peers = || vif.addresses.iter().map(|link| (vif.name.clone(), link.peer));
    let checks = [
        ("admin_down", vif.enabled),
        ("port_down", port.is_some_and(|port| port.up)),
        ("not_installed", state.last_failure.is_none()),
        ("no_program", port.is_some_and(|port| state.modes.contains_key(&port.ifindex))),
        ("no_neighbor", peers().all(|peer| state.observed.neighbors.contains_key(&peer))),
        ("bfd_down", peers().all(|peer| !state.observed.bfd_down.contains(&peer))),
        ("bgp_down", sessions_are_up(state, vif)),
        ("no_routes", has_routes(state, gateway, vif)),
        ("no_answer", peers().all(|peer| probe(state, &peer) != ProbeState::Lost)),
        ("no_fabric", has_fabric(state, gateway)),
    ];
    checks.iter().find(|(_, good)| !good).map_or("up", |(name, _)| name)
}

/// What probes say of a peer.
pub fn probe(state: &State, peer: &(String, IpAddr)) -> ProbeState {
    state.probes.get(peer).map_or(ProbeState::Silent, |probe| probe.state)
}

fn sessions_are_up(state: &State, vif: &VirtualInterface) -> bool {
    if vif.bgp.is_none() {
        return true;
    }
    let Some(status) = state.sessions.get(&vif.name) else { return false };
    [&status.ipv4, &status.ipv6].into_iter().flatten().all(|family| family.is_up())
}

/// Whether something behind the peers may speak, and be spoken to: in each family that has a session. That it is spoken to by
/// another line does not matter, but that it is.
fn has_routes(state: &State, gateway: &BorderGateway, vif: &VirtualInterface) -> bool {
    let learns = vif.bgp.is_some() || gateway.routing == Routing::External;
    if !learns || gateway.routes.iter().any(|route| route.via.contains(&vif.name)) {
        // A line without any route is there for the peer alone.
        return true;
    }
    let sources =
        state.observed.learned.get(&gateway.name).and_then(|learned| learned.sources.get(&vif.name));
    let routes = state.slots.domains.get(&gateway.name).and_then(|slot| state.tables.routes.get(slot));
    let (Some(sources), Some(routes)) = (sources, routes) else { return false };
    let is_reached = |is_meant: &dyn Fn(&IpNet) -> bool| {
        sources.iter().any(|prefix| is_meant(prefix) && routes.contains_key(prefix))
    };
    match state.sessions.get(&vif.name).filter(|_| vif.bgp.is_some()) {
        Some(status) => {
            let families = [(true, &status.ipv4), (false, &status.ipv6)];
            let mut wanted = families.into_iter().filter(|(_, family)| family.is_some());
            wanted.all(|(is_v4, _)| is_reached(&|prefix| prefix.addr().is_ipv4() == is_v4))
        }
        None => is_reached(&|_| true),
    }
}

/// Whether every attachment of a border gateway has a place that can be sent to.
fn has_fabric(state: &State, gateway: &BorderGateway) -> bool {
    let ports = state.intent.fabric.interfaces.iter().filter_map(|name| state.observed.ports.get(name));
    let runs = { ports }.any(|port| state.modes.contains_key(&port.ifindex));
    runs && gateway.vpc_attachments.iter().all(|vpc| {
        let Some(slot) = state.slots.attachments.get(&vpc.name) else { return false };
        let owner = Owner::new(OWNER_ATTACHMENT, *slot);
        state.tables.next_hops.values().any(|next_hop| next_hop.owner == owner)
    })
}

/// Why the server should not be given traffic; none where it should.
pub fn unfit(state: &State, now: Instant) -> Vec<String> {
    let mut why = Vec::new();
    why.extend(state.last_failure.clone());
    let gateways = || state.intent.border_gateways.iter();
    let vpcs: Vec<_> = gateways().filter(|gateway| !gateway.vpc_attachments.is_empty()).collect();
    if !vpcs.is_empty() && !vpcs.iter().any(|gateway| has_fabric(state, gateway)) {
        why.push("no VPC can be reached over the fabric".to_owned());
    }
    let all: Vec<_> = gateways()
        .flat_map(|gateway| gateway.virtual_interfaces.iter().map(move |vif| (gateway, vif)))
        .filter(|(_, vif)| vif.enabled)
        .collect();
    let summaries: Vec<_> = all.iter().map(|(gateway, vif)| summary(state, gateway, vif)).collect();
    let dead = ["port_down", "no_program", "no_neighbor", "bfd_down"];
    if !summaries.is_empty() && summaries.iter().all(|summary| dead.contains(summary)) {
        why.push("no line carries traffic".to_owned());
    }
    // One border gateway's trouble is no reason to take the others out of service.
    if !state.sessions.is_empty() && state.sessions.values().all(|status| !status.answered) {
        why.push("no routing daemon answers".to_owned());
        why.extend(state.routing_error.as_ref().map(ToString::to_string));
    }
    let waits = summaries.iter().filter(|summary| matches!(**summary, "bgp_down" | "no_routes")).count();
    let is_new = state.started.is_some_and(|started| now.saturating_duration_since(started) < CONVERGENCE);
    if waits > 0 && is_new {
        why.push(format!("{waits} virtual interfaces wait for BGP"));
    }
    why
}
