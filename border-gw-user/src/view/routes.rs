//! Routes, next-hop groups and next hops as rows.

use std::collections::{BTreeMap, BTreeSet};

use border_gw_common::abi::{
    BUCKETS, Group, OWNER_ATTACHMENT, OWNER_LOCAL_ROUTER, OWNER_LOCAL_VIF, OWNER_NOBODY, OWNER_VIF, Owner,
};
use ipnet::IpNet;
use serde::Serialize;

use super::{domain, peers};
use crate::state::State;
use crate::tables::{Identity, Members, WayInfo, text};

/// A route.
#[derive(Clone, Debug, Serialize)]
pub struct RouteRow {
    /// Its border gateway.
    pub border_gateway: String,
    /// Destination.
    pub prefix: String,
    /// `attachment`, `static`, `learned`, `peer`, `local`, or `nobody` (no host's: the ends of a link subnet).
    pub source: &'static str,
    /// Attachment or virtual interface that it belongs to (the first, where there are several).
    pub owner: String,
    /// All of them, in the order of their names: the owners of the group's members, dead ones too.
    pub owners: Vec<String>,
    /// Index of the group, as in `show groups`; 0 for what is local.
    pub group: u32,
    /// Members that carry traffic.
    pub live: usize,
    /// Members that are declared.
    pub declared: usize,
}

/// A member of a next-hop group.
#[derive(Clone, Debug, Serialize)]
pub struct GroupRow {
    /// Its border gateway.
    pub border_gateway: String,
    /// Index of the group.
    pub group: u32,
    /// Attachment or virtual interface.
    pub owner: String,
    /// The peer's address, or the VTEP's.
    pub next_hop: Option<String>,
    /// The underlay's next hop toward a VTEP that is not on-link.
    pub gateway: Option<String>,
    /// Port that it leaves by; empty where the underlay has no path.
    pub interface: String,
    /// Ethernet address that frames are sent to; none while it is unknown.
    pub mac: Option<String>,
    /// `live` or `dead`.
    pub state: &'static str,
    /// Buckets that lead to it.
    pub buckets: usize,
    /// The same, of all buckets, in percent.
    pub share_percent: f64,
}

/// A next hop, dead or alive.
pub struct NextHopRow<'a> {
    /// Its border gateway.
    pub border_gateway: String,
    /// Tells it again.
    pub identity: Identity,
    /// What it is.
    pub way: &'a WayInfo,
    /// Whether it carries traffic.
    pub live: bool,
}

/// Where routes of a border gateway come from.
pub struct Origins {
    peers: BTreeSet<IpNet>,
    declared: BTreeSet<IpNet>,
}

impl Origins {
    /// Of the border gateway with this slot.
    pub fn of(state: &State, slot: u32) -> Self {
        let name = domain(state, slot);
        let gateway = state.intent.border_gateways.iter().find(|gateway| gateway.name == name);
        let routes = gateway.iter().flat_map(|gateway| &gateway.routes);
        let peers = peers(state, slot).into_iter().map(IpNet::from).collect();
        Self { peers, declared: routes.map(|route| route.prefix).collect() }
    }

    /// `attachment`, `peer`, `static`, `learned`, `local` or `nobody`.
    pub fn source(&self, prefix: IpNet, owner: Owner) -> &'static str {
        match owner.kind() {
            OWNER_ATTACHMENT => "attachment",
            OWNER_VIF if self.peers.contains(&prefix) => "peer",
            OWNER_VIF if self.declared.contains(&prefix) => "static",
            OWNER_VIF => "learned",
            OWNER_NOBODY => "nobody",
            _ => "local",
        }
    }
}

/// All routes, as they are installed.
pub fn routes(state: &State) -> Vec<RouteRow> {
    let mut rows = Vec::new();
    // A hundred thousand routes share few groups.
    let mut owners: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for (slot, routes) in &state.installed.routes {
        let (border_gateway, origins) = (domain(state, *slot), Origins::of(state, *slot));
        for (prefix, route) in routes {
            let group = state.installed.groups.get(&route.group);
            let members = group.and_then(|group| state.tables.groups.get(&group.identity));
            let owner = owner_name(state, route.owner);
            let of_members = || members.map_or_else(|| vec![owner.clone()], |members| names(state, members));
            let owners = match group {
                Some(_) => owners.entry(route.group).or_insert_with(of_members).clone(),
                None => vec![owner.clone()],
            };
            rows.push(RouteRow {
                border_gateway: border_gateway.clone(),
                prefix: prefix.to_string(),
                source: origins.source(*prefix, route.owner),
                owner,
                owners,
                group: route.group,
                live: members.map_or(0, |members| members.live.len()),
                declared: members.map_or(0, |members| members.declared.len()),
            });
        }
    }
    rows
}

/// Names of the owners of a group's members, each once.
fn names(state: &State, members: &Members) -> Vec<String> {
    let ways = members.declared.iter().filter_map(|way| state.tables.ways.get(way));
    let mut names: Vec<_> = ways.map(|way| way.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn owner_name(state: &State, owner: Owner) -> String {
    match owner.kind() {
        OWNER_VIF | OWNER_LOCAL_VIF | OWNER_NOBODY => {
            state.installed.vifs.get(&owner.index()).map(|vif| text(&vif.name))
        }
        OWNER_ATTACHMENT | OWNER_LOCAL_ROUTER => {
            state.installed.attachments.get(&owner.index()).map(|vpc| text(&vpc.name))
        }
        _ => None,
    }
    .unwrap_or_default()
}

/// All members of all groups, with their shares; dead ones have none.
pub fn groups(state: &State) -> Vec<GroupRow> {
    let mut rows = Vec::new();
    for (index, group) in &state.installed.groups {
        let members = state.tables.groups.get(&group.identity);
        let mut shares = shares(state, group);
        for way in members.into_iter().flat_map(|members| &members.declared) {
            shares.entry(*way).or_default();
        }
        let border_gateway = members.map(|members| domain(state, members.domain)).unwrap_or_default();
        let from = rows.len();
        rows.extend(shares.into_iter().map(|(way, buckets)| GroupRow {
            border_gateway: border_gateway.clone(),
            group: *index,
            buckets,
            share_percent: buckets as f64 * 100.0 / BUCKETS as f64,
            ..member(state, way)
        }));
        let order = |row: &GroupRow| (row.owner.clone(), row.next_hop.clone(), row.interface.clone());
        rows[from..].sort_by_cached_key(order);
    }
    rows
}

/// Buckets by next hop, as they are installed.
fn shares(state: &State, group: &Group) -> BTreeMap<Identity, usize> {
    let mut shares = BTreeMap::new();
    for hop in group.buckets.iter().filter_map(|bucket| state.installed.next_hops.get(bucket)) {
        *shares.entry(hop.identity).or_default() += 1;
    }
    shares
}

/// A next hop as a row that has no buckets yet.
fn member(state: &State, way: Identity) -> GroupRow {
    let info = state.tables.ways.get(&way);
    let hop = state.installed.next_hops.values().find(|hop| info.is_none() && hop.identity == way);
    GroupRow {
        border_gateway: String::new(),
        group: 0,
        owner: match (info, hop) {
            (Some(info), _) => info.name.clone(),
            (None, hop) => hop.map(|hop| owner_name(state, hop.owner)).unwrap_or_default(),
        },
        next_hop: info.map(|info| info.address.to_string()),
        gateway: info.and_then(|info| info.gateway).map(|gateway| gateway.to_string()),
        interface: info.and_then(|info| info.interface.clone()).unwrap_or_default(),
        mac: info.and_then(|info| info.mac).map(|mac| mac.to_string()),
        state: if is_live(state, way) || hop.is_some() { "live" } else { "dead" },
        buckets: 0,
        share_percent: 0.0,
    }
}

fn is_live(state: &State, way: Identity) -> bool {
    state.tables.next_hops.contains_key(&way)
}

/// Every next hop that is declared.
pub fn next_hops(state: &State) -> impl Iterator<Item = NextHopRow<'_>> {
    state.tables.ways.iter().map(|(identity, way)| NextHopRow {
        border_gateway: domain(state, way.domain),
        identity: *identity,
        way,
        live: is_live(state, *identity),
    })
}
