//! From what is installed to what is wanted: operations, in an order in which no packet meets a wrong table.
//!
//! Targets come before what names them, and go after it. An index that is in use is never given to something else in the
//! same plan: a packet that found it under its old name would leave by it under the new one.

use std::collections::{BTreeMap, BTreeSet};

use border_gw_common::abi::{
    Attachment, BUCKETS, Connection, Domain, Dscp, Group, HostPort, MAX_GROUPS, MAX_NEXT_HOPS, NextHop,
    OWNER_ATTACHMENT, OWNER_VIF, Owner, Policer, Port, Route, SOURCE_FORBIDDEN, SOURCE_MARTIAN, SOURCE_OWN,
    Settings, SourceClass, Vif, VifKey, VtepKey,
};
use ipnet::IpNet;

use super::buckets::{Buckets, assign};
use super::{Identity, Installed, Members, Tables};

/// One change of one map; `None` and `false` remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// What all programs know.
    Settings(Settings),
    /// A port.
    Port(u32, Option<Port>),
    /// The outer end of a veth.
    HostPort(u32, Option<HostPort>),
    /// An interface to redirect to.
    Device(u32, bool),
    /// A tag.
    VifByTag(VifKey, Option<u32>),
    /// A VIF.
    Vif(u32, Option<Vif>),
    /// A VNI.
    AttachmentByVni(u32, Option<u32>),
    /// An attachment.
    Attachment(u32, Option<Attachment>),
    /// An allowed VTEP.
    Vtep(VtepKey, bool),
    /// A border gateway.
    Domain(u32, Option<Domain>),
    /// A connection.
    Connection(u32, Option<Connection>),
    /// A route of a border gateway.
    Route(u32, IpNet, Option<Route>),
    /// A source of a VIF.
    Source(u32, IpNet, Option<SourceClass>),
    /// A group.
    Group(u32, Option<Box<Group>>),
    /// A next hop.
    NextHop(u16, Option<Box<NextHop>>),
    /// A table of DSCP.
    Dscp(u32, Option<Dscp>),
    /// A policer; its fill is kept.
    Policer(u32, Policer),
    /// Policers of a VIF or attachment that is new in its place start at nothing.
    Reset(Owner),
    /// A connection's policers that are new in their place start at nothing.
    ResetPolicer(u32),
    /// Until no program that started before is still running: none holds what nothing leads to any more.
    Wait,
    /// What a VIF or attachment counted that goes is added to what is retired, and its counters start at nothing.
    Retire(Owner),
}

/// More than a map can hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the tables want more {what} than the {limit} places of the map: nothing was changed")]
pub struct TooMany {
    what: &'static str,
    limit: u32,
}

/// The operations that make `installed` like `wanted`.
pub fn plan(installed: &Installed, wanted: &Tables) -> Result<Vec<Op>, TooMany> {
    let next_hops = next_hop_indexes(installed, wanted)?;
    let groups = group_indexes(installed, wanted)?;
    let rewritten = rewritten(installed, wanted);
    let stays = |owner: Owner| match owner.kind() {
        OWNER_VIF => wanted.vifs.contains_key(&owner.index()),
        _ => wanted.attachments.contains_key(&owner.index()),
    };
    let lasting = Entrances::of(installed, stays);
    let open = Entrances::of(installed, |owner| stays(owner) && !rewritten.contains(&owner)).wanted(wanted);
    let mut plan = Plan { installed, wanted, rewritten, open, ops: Vec::new() };
    plan.limits();
    plan.next_hops(&next_hops);
    plan.groups(&groups, &next_hops);
    // What goes is closed before anything that it has goes: no packet meets half of it.
    Entrances::of(installed, |_| true).close(&lasting, &mut plan.ops);
    plan.owners();
    // What is rewritten, and tags and VNIs that lead nowhere any more.
    lasting.close(&plan.open, &mut plan.ops);
    plan.records_rewritten();
    plan.routes(&groups);
    plan.entrances_opened();
    plan.leftovers(&groups, &next_hops);
    Ok(plan.ops)
}

/// Indexes of the next hops that are wanted. A record is never rewritten in place: one that changes gets a new index.
fn next_hop_indexes(installed: &Installed, wanted: &Tables) -> Result<BTreeMap<Identity, u16>, TooMany> {
    let held: BTreeMap<Identity, u16> = installed
        .next_hops
        .iter()
        .filter(|(_, next_hop)| wanted.next_hops.get(&next_hop.identity) == Some(next_hop))
        .map(|(index, next_hop)| (next_hop.identity, *index))
        .collect();
    let mut free = (1..=(MAX_NEXT_HOPS - 1) as u16).filter(|index| !installed.next_hops.contains_key(index));
    wanted
        .next_hops
        .keys()
        .map(|identity| {
            let index = held.get(identity).copied().or_else(|| free.next());
            Ok((*identity, index.ok_or(TooMany { what: "next hops", limit: MAX_NEXT_HOPS })?))
        })
        .collect()
}

/// Indexes of the groups that are wanted; 0 is left empty, for routes that need no group.
fn group_indexes(installed: &Installed, wanted: &Tables) -> Result<BTreeMap<Identity, u32>, TooMany> {
    let held: BTreeMap<Identity, u32> =
        installed.groups.iter().map(|(index, group)| (group.identity, *index)).collect();
    let mut free = (1..MAX_GROUPS).filter(|index| !installed.groups.contains_key(index));
    wanted
        .groups
        .keys()
        .map(|identity| {
            let index = held.get(identity).copied().or_else(|| free.next());
            Ok((*identity, index.ok_or(TooMany { what: "next-hop groups", limit: MAX_GROUPS })?))
        })
        .collect()
}

/// VIFs and attachments whose records change in what a program reads one field after the other: the new tag on the old port
/// could be another customer's line. Flags, the hash mode and the limit of the port stand alone, and change in place.
fn rewritten(installed: &Installed, wanted: &Tables) -> BTreeSet<Owner> {
    let vifs = installed.vifs.iter().filter_map(|(index, old)| {
        let new = wanted.vifs.get(index)?;
        let in_place = Vif { flags: new.flags, hash_mode: new.hash_mode, port: new.port, ..*old };
        (in_place != *new).then(|| Owner::new(OWNER_VIF, *index))
    });
    let vpcs = installed.attachments.iter().filter_map(|(index, old)| {
        let new = wanted.attachments.get(index)?;
        let in_place = Attachment { flags: new.flags, hash_mode: new.hash_mode, ..*old };
        (in_place != *new).then(|| Owner::new(OWNER_ATTACHMENT, *index))
    });
    vifs.chain(vpcs).collect()
}

/// What leads a program to the record of a VIF or attachment.
struct Entrances {
    vif_by_tag: BTreeMap<VifKey, u32>,
    attachment_by_vni: BTreeMap<u32, u32>,
    host_ports: BTreeMap<u32, HostPort>,
}

impl Entrances {
    /// Those of what `stays`.
    fn of(installed: &Installed, stays: impl Fn(Owner) -> bool) -> Self {
        Self {
            vif_by_tag: chosen(&installed.vif_by_tag, |_, vif| stays(Owner::new(OWNER_VIF, *vif))),
            attachment_by_vni: chosen(&installed.attachment_by_vni, |_, vpc| {
                stays(Owner::new(OWNER_ATTACHMENT, *vpc))
            }),
            host_ports: chosen(&installed.host_ports, |_, port| stays(port.owner)),
        }
    }

    /// Less those that are wanted no more.
    fn wanted(mut self, wanted: &Tables) -> Self {
        self.vif_by_tag.retain(|key, _| wanted.vif_by_tag.contains_key(key));
        self.attachment_by_vni.retain(|key, _| wanted.attachment_by_vni.contains_key(key));
        self.host_ports.retain(|key, _| wanted.host_ports.contains_key(key));
        self
    }

    /// The operations after which only those of `rest` are open.
    fn close(&self, rest: &Self, ops: &mut Vec<Op>) {
        removed(&self.vif_by_tag, &rest.vif_by_tag, ops, Op::VifByTag);
        removed(&self.attachment_by_vni, &rest.attachment_by_vni, ops, Op::AttachmentByVni);
        removed(&self.host_ports, &rest.host_ports, ops, Op::HostPort);
    }
}

struct Plan<'a> {
    installed: &'a Installed,
    wanted: &'a Tables,
    rewritten: BTreeSet<Owner>,
    open: Entrances,
    ops: Vec<Op>,
}

impl Plan<'_> {
    /// Caps first, and tables of DSCP: nobody passes a new entrance before its cap is there.
    fn limits(&mut self) {
        let (installed, wanted) = (self.installed, self.wanted);
        let new_vifs = wanted.vifs.keys().filter(|index| !installed.vifs.contains_key(index));
        self.ops.extend(new_vifs.map(|index| Op::Reset(Owner::new(OWNER_VIF, *index))));
        let new_vpcs = wanted.attachments.keys().filter(|index| !installed.attachments.contains_key(index));
        self.ops.extend(new_vpcs.map(|index| Op::Reset(Owner::new(OWNER_ATTACHMENT, *index))));
        let new_lines = wanted.connections.keys().filter(|index| !installed.connections.contains_key(index));
        self.ops.extend(new_lines.map(|index| Op::ResetPolicer(*index)));
        for (index, policer) in &wanted.policers {
            if installed.policers.get(index) != Some(policer) {
                self.ops.push(Op::Policer(*index, *policer));
            }
        }
        let gone = installed.policers.keys().filter(|index| !wanted.policers.contains_key(index));
        self.ops.extend(gone.map(|index| Op::Policer(*index, Policer::default())));
        added(&installed.dscp, &wanted.dscp, &mut self.ops, Op::Dscp);
        if installed.settings != wanted.settings {
            self.ops.push(Op::Settings(wanted.settings));
        }
    }

    fn next_hops(&mut self, indexes: &BTreeMap<Identity, u16>) {
        let new = self.wanted.devices.difference(&self.installed.devices);
        self.ops.extend(new.map(|device| Op::Device(*device, true)));
        for (identity, next_hop) in &self.wanted.next_hops {
            let index = indexes[identity];
            if self.installed.next_hops.get(&index) != Some(next_hop) {
                self.ops.push(Op::NextHop(index, Some(Box::new(*next_hop))));
            }
        }
    }

    fn groups(&mut self, groups: &BTreeMap<Identity, u32>, next_hops: &BTreeMap<Identity, u16>) {
        for (identity, members) in &self.wanted.groups {
            let previous = self.previous(groups[identity], *identity, members);
            let buckets = assign(&previous, &members.live);
            let buckets = buckets.map(|member| next_hops.get(&member).copied().unwrap_or(0));
            let group = Group { identity: *identity, buckets };
            if self.installed.groups.get(&groups[identity]) != Some(&group) {
                self.ops.push(Op::Group(groups[identity], Some(Box::new(group))));
            }
        }
    }

    /// The members that the buckets of a group lead to now. A group that is new starts from one that is being given up
    /// and has most members in common with it: its flows stay where they are.
    fn previous(&self, index: u32, identity: Identity, members: &Members) -> Buckets {
        let leads_to = |group: &Group| {
            group
                .buckets
                .map(|hop| self.installed.next_hops.get(&hop).map_or(0, |next_hop| next_hop.identity))
        };
        if let Some(group) = self.installed.groups.get(&index).filter(|group| group.identity == identity) {
            return leads_to(group);
        }
        let given_up =
            self.installed.groups.values().filter(|group| !self.wanted.groups.contains_key(&group.identity));
        given_up
            .map(|group| {
                let buckets = leads_to(group);
                let common = buckets.iter().filter(|member| members.declared.contains(member)).count();
                (common, buckets)
            })
            .max_by_key(|(common, _)| *common)
            .filter(|(common, _)| *common > 0)
            .map_or([0; BUCKETS], |(_, buckets)| buckets)
    }

    /// Records that entrances lead to.
    fn owners(&mut self) {
        let (installed, wanted) = (self.installed, self.wanted);
        added(&installed.domains, &wanted.domains, &mut self.ops, Op::Domain);
        added(&installed.connections, &wanted.connections, &mut self.ops, Op::Connection);
        added(&installed.ports, &wanted.ports, &mut self.ops, Op::Port);
        // Whoever may speak less, does so before anything else changes for his VIF.
        self.sources_added(is_refused);
        self.sources_removed(|class| !is_refused(class));
        let gone = installed.vteps.difference(&wanted.vteps);
        self.ops.extend(gone.map(|vtep| Op::Vtep(*vtep, false)));
        self.records(false);
    }

    fn sources_added(&mut self, is_meant: impl Fn(SourceClass) -> bool) {
        for (slot, sources) in &self.wanted.sources {
            let installed = self.installed.sources.get(slot);
            let held = |prefix| installed.and_then(|installed| installed.get(prefix));
            let new =
                sources.iter().filter(|(prefix, class)| is_meant(**class) && held(prefix) != Some(class));
            self.ops.extend(new.map(|(prefix, class)| Op::Source(*slot, *prefix, Some(*class))));
        }
    }

    fn sources_removed(&mut self, is_meant: impl Fn(SourceClass) -> bool) {
        for (slot, sources) in &self.installed.sources {
            let wanted = self.wanted.sources.get(slot);
            let held = |prefix| wanted.is_some_and(|wanted| wanted.contains_key(prefix));
            let gone = sources.iter().filter(|(prefix, class)| is_meant(**class) && !held(prefix));
            self.ops.extend(gone.map(|(prefix, _)| Op::Source(*slot, *prefix, None)));
        }
    }

    /// Records of VIFs and attachments that are new or differ: those that are rewritten, or all others.
    fn records(&mut self, rewritten: bool) {
        let of = |kind| {
            let owners = &self.rewritten;
            move |index: &u32| owners.contains(&Owner::new(kind, *index)) == rewritten
        };
        let (vif, vpc) = (of(OWNER_VIF), of(OWNER_ATTACHMENT));
        let vifs = chosen(&self.wanted.vifs, |index, _| vif(index));
        let vpcs = chosen(&self.wanted.attachments, |index, _| vpc(index));
        added(&self.installed.vifs, &vifs, &mut self.ops, Op::Vif);
        added(&self.installed.attachments, &vpcs, &mut self.ops, Op::Attachment);
    }

    /// Records that no program may read while they change.
    fn records_rewritten(&mut self) {
        if !self.rewritten.is_empty() {
            self.ops.push(Op::Wait);
            self.records(true);
        }
    }

    fn routes(&mut self, groups: &BTreeMap<Identity, u32>) {
        for (slot, routes) in &self.wanted.routes {
            let installed = self.installed.routes.get(slot);
            for (prefix, target) in routes {
                let group = target.group.and_then(|group| groups.get(&group).copied()).unwrap_or(0);
                let route = Route { group, owner: target.owner };
                if installed.and_then(|installed| installed.get(prefix)) != Some(&route) {
                    self.ops.push(Op::Route(*slot, *prefix, Some(route)));
                }
            }
        }
        for (slot, routes) in &self.installed.routes {
            let wanted = self.wanted.routes.get(slot);
            let gone =
                routes.keys().filter(|prefix| !wanted.is_some_and(|wanted| wanted.contains_key(*prefix)));
            self.ops.extend(gone.map(|prefix| Op::Route(*slot, *prefix, None)));
        }
    }

    /// Sources, VTEPs, and then the tags and VNIs themselves.
    fn entrances_opened(&mut self) {
        let (installed, wanted) = (self.installed, self.wanted);
        self.sources_added(|class| !is_refused(class));
        self.sources_removed(is_refused);
        self.ops.extend(wanted.vteps.difference(&installed.vteps).map(|vtep| Op::Vtep(*vtep, true)));
        let open = &self.open;
        added(&open.vif_by_tag, &wanted.vif_by_tag, &mut self.ops, Op::VifByTag);
        added(&open.attachment_by_vni, &wanted.attachment_by_vni, &mut self.ops, Op::AttachmentByVni);
        added(&open.host_ports, &wanted.host_ports, &mut self.ops, Op::HostPort);
    }

    /// What nothing leads to any more. A program that started before may still hold it, and count for it.
    fn leftovers(&mut self, groups: &BTreeMap<Identity, u32>, next_hops: &BTreeMap<Identity, u16>) {
        let (installed, wanted) = (self.installed, self.wanted);
        let mut held = Vec::new();
        let used: BTreeSet<u32> = groups.values().copied().collect();
        let gone = installed.groups.keys().filter(|index| !used.contains(index));
        held.extend(gone.map(|index| Op::Group(*index, None)));
        let used: BTreeSet<u16> = next_hops.values().copied().collect();
        let gone = installed.next_hops.keys().filter(|index| !used.contains(index));
        held.extend(gone.map(|index| Op::NextHop(*index, None)));
        removed(&installed.vifs, &wanted.vifs, &mut held, |index, _| {
            Op::Retire(Owner::new(OWNER_VIF, index))
        });
        removed(&installed.attachments, &wanted.attachments, &mut held, |index, _| {
            Op::Retire(Owner::new(OWNER_ATTACHMENT, index))
        });
        removed(&installed.vifs, &wanted.vifs, &mut held, Op::Vif);
        removed(&installed.attachments, &wanted.attachments, &mut held, Op::Attachment);
        if !held.is_empty() {
            self.ops.push(Op::Wait);
            self.ops.append(&mut held);
        }
        removed(&installed.dscp, &wanted.dscp, &mut self.ops, Op::Dscp);
        removed(&installed.ports, &wanted.ports, &mut self.ops, Op::Port);
        removed(&installed.connections, &wanted.connections, &mut self.ops, Op::Connection);
        removed(&installed.domains, &wanted.domains, &mut self.ops, Op::Domain);
        let gone = installed.devices.difference(&wanted.devices);
        self.ops.extend(gone.map(|device| Op::Device(*device, false)));
    }
}

/// Whether a source of this class is never let in.
fn is_refused(class: SourceClass) -> bool {
    matches!(class, SOURCE_OWN | SOURCE_FORBIDDEN | SOURCE_MARTIAN)
}

/// Some of the entries.
fn chosen<K: Ord + Copy, V: Copy>(
    all: &BTreeMap<K, V>,
    is_chosen: impl Fn(&K, &V) -> bool,
) -> BTreeMap<K, V> {
    let chosen = all.iter().filter(|(key, value)| is_chosen(key, value));
    chosen.map(|(key, value)| (*key, *value)).collect()
}

/// Records that are new or differ.
fn added<K: Ord + Copy, V: Copy + PartialEq>(
    installed: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
    ops: &mut Vec<Op>,
    op: impl Fn(K, Option<V>) -> Op,
) {
    let changed = wanted.iter().filter(|(key, value)| installed.get(key) != Some(value));
    ops.extend(changed.map(|(key, value)| op(*key, Some(*value))));
}

/// Records that are wanted no more.
fn removed<K: Ord + Copy, V: Copy>(
    installed: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
    ops: &mut Vec<Op>,
    op: impl Fn(K, Option<V>) -> Op,
) {
    let gone = installed.keys().filter(|key| !wanted.contains_key(key));
    ops.extend(gone.map(|key| op(*key, None)));
}
