//! From intent to maps, on the dataplane in memory: what is installed, in which order, and that no step is unsafe.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use border_gw::dataplane::memory::Memory;
use border_gw::intent::{Intent, StaticRoute, VirtualInterface, VpcAttachment};
use border_gw::kernel::Observed;
use border_gw::reconcile::Reconciler;
use border_gw::tables::{Installed, Op};
use border_gw::view;
use border_gw_common::abi::{
    Attachment, BUCKETS, Entry, HashMode, NEXT_HOP_DSCP, OWNER_ATTACHMENT, OWNER_LOCAL_ROUTER,
    OWNER_LOCAL_VIF, OWNER_VIF, Owner, SOURCE_FORBIDDEN, SOURCE_LINK, SOURCE_OWN, SOURCE_PEER, SOURCE_ROUTED,
    TO_CUSTOMER, TO_VPC, VIF_DSCP_TO_VPC, Vif, attachment_scope, dscp_index, entry_scope, vif_scope,
};
use border_gw_common::verdict::DropReason;
use proptest::prelude::*;

#[path = "plan/server.rs"]
mod server;
use server::*;

fn reconcile(dataplane: Memory, intent: &Intent, observed: &Observed) -> Memory {
    let mut reconciler = Reconciler::new(dataplane);
    let (_, result) = reconciler.turn(&Arc::new(intent.clone()), observed.clone());
    result.unwrap();
    let mut after = reconciler.into_dataplane();
    // Whatever was planned, a second look finds nothing to do.
    let log = std::mem::take(&mut after.log);
    let mut again = Reconciler::new(after);
    let (_, result) = again.turn(&Arc::new(intent.clone()), observed.clone());
    assert_eq!(result.unwrap(), 0, "the second turn changes something");
    let mut after = again.into_dataplane();
    after.log = log;
    after
}

/// Owners of the next hops that the buckets of a route lead to, with how many buckets each has.
fn shares(installed: &Installed, domain: u32, prefix: &str) -> BTreeMap<u32, usize> {
    let route = installed.routes[&domain][&prefix.parse().unwrap()];
    let mut shares = BTreeMap::new();
    for bucket in installed.groups[&route.group].buckets {
        let egress = installed.next_hops.get(&bucket).map_or(0, |next_hop| next_hop.egress_ifindex);
        *shares.entry(egress).or_default() += 1;
    }
    shares
}

#[test]
fn the_tables_say_what_the_intent_says() {
    let intent = intent();
    let installed = reconcile(Memory::default(), &intent, &observed(&intent)).installed;
    assert_eq!((installed.vifs.len(), installed.attachments.len(), installed.domains.len()), (3, 2, 2));
    let kind = |domain: u32, prefix: &str| installed.routes[&domain][&prefix.parse().unwrap()].owner.kind();
    assert_eq!(kind(0, "10.1.0.0/16"), OWNER_ATTACHMENT);
    assert_eq!(kind(0, "10.1.0.10/32"), OWNER_ATTACHMENT);
    assert_eq!(kind(0, "10.1.0.1/32"), OWNER_LOCAL_ROUTER);
    assert_eq!(kind(0, "169.254.10.2/32"), OWNER_LOCAL_VIF);
    assert_eq!(kind(0, "169.254.10.1/32"), OWNER_VIF);
    assert_eq!(kind(1, "172.16.0.0/16"), OWNER_VIF);
    let source = |prefix: &str| installed.sources[&0][&prefix.parse().unwrap()];
    assert_eq!(source("169.254.10.0/30"), SOURCE_LINK);
    assert_eq!(source("169.254.10.1/32"), SOURCE_PEER);
    assert_eq!(source("169.254.10.2/32"), SOURCE_OWN);
    assert_eq!(source("172.16.0.0/16"), SOURCE_ROUTED);
    assert_eq!(shares(&installed, 0, "172.16.0.0/16"), BTreeMap::from([(2, BUCKETS / 2), (3, BUCKETS / 2)]));
    assert_eq!(shares(&installed, 1, "172.16.0.0/16"), BTreeMap::from([(4, BUCKETS)]));
}

#[test]
fn every_bucket_of_a_border_gateway_leads_to_its_own_next_hops() {
    let intent = intent();
    let installed = reconcile(Memory::default(), &intent, &observed(&intent)).installed;
    for (domain, routes) in &installed.routes {
        for route in routes.values().filter(|route| route.group != 0) {
            for bucket in installed.groups[&route.group].buckets {
                assert_eq!(installed.next_hops[&bucket].domain, *domain);
            }
        }
    }
}

#[test]
fn a_dead_line_rewrites_buckets_and_no_route() {
    let intent = intent();
    let mut seen = observed(&intent);
    let mut before = reconcile(Memory::default(), &intent, &seen);
    before.log.clear();
    seen.ports.get_mut("eth0").unwrap().up = false;
    let after = reconcile(before.clone(), &intent, &seen);
    assert_eq!(shares(&after.installed, 0, "172.16.0.0/16"), BTreeMap::from([(3, BUCKETS)]));
    let only = |op: &Op| matches!(op, Op::Group(..) | Op::Wait | Op::NextHop(_, None));
    assert!(after.log.iter().all(only), "{:?}", after.log);
    let first_removed = after.log.iter().position(|op| matches!(op, Op::NextHop(_, None))).unwrap();
    let last_group = after.log.iter().rposition(|op| matches!(op, Op::Group(..))).unwrap();
    let waits: Vec<_> = (0..after.log.len()).filter(|at| after.log[*at] == Op::Wait).collect();
    assert_eq!(
        waits,
        [last_group + 1],
        "a next hop goes only when no program holds a bucket that leads to it"
    );
    assert_eq!(first_removed, last_group + 2);
    // And back: the same members, half of the flows return, nobody else's do.
    seen.ports.get_mut("eth0").unwrap().up = true;
    let back = reconcile(after, &intent, &seen);
    assert_eq!(
        shares(&back.installed, 0, "172.16.0.0/16"),
        BTreeMap::from([(2, BUCKETS / 2), (3, BUCKETS / 2)])
    );
}

#[test]
fn an_unknown_neighbor_is_no_member_and_the_last_one_leaves_empty_buckets() {
    let intent = intent();
    let mut seen = observed(&intent);
    seen.neighbors.clear();
    let installed = reconcile(Memory::default(), &intent, &seen).installed;
    assert_eq!(shares(&installed, 0, "172.16.0.0/16"), BTreeMap::from([(0, BUCKETS)]));
}

#[test]
fn a_disabled_vif_carries_nothing_but_keeps_its_place() {
    let mut intent = intent();
    intent.border_gateways[0].virtual_interfaces[0].enabled = false;
    let installed = reconcile(Memory::default(), &intent, &observed(&intent)).installed;
    assert_eq!(shares(&installed, 0, "172.16.0.0/16"), BTreeMap::from([(3, BUCKETS)]));
    assert_eq!(installed.vifs[&0].flags & border_gw_common::abi::VIF_ENABLED, 0);
}

#[test]
fn a_changed_tag_keeps_index_and_counters() {
    let mut intent = intent();
    let seen = observed(&intent);
    let mut before = reconcile(Memory::default(), &intent, &seen);
    before.log.clear();
    intent.border_gateways[0].virtual_interfaces[0].tag.outer = 101.try_into().unwrap();
    let after = reconcile(before, &intent, &seen);
    assert!(
        !after
            .log
            .iter()
            .any(|op| matches!(op, Op::Reset(_) | Op::Retire(_) | Op::Policer(..) | Op::Route(..))),
        "{:?}",
        after.log
    );
    let tags: Vec<_> =
        after.installed.vif_by_tag.iter().map(|(key, index)| (key.ifindex, key.outer, *index)).collect();
    assert_eq!(tags, [(2, 101, 0), (3, 100, 1), (4, 100, 2)]);
}

/// What a plan does to the entrances and records of VIFs and attachments, a word each.
fn words(log: &[Op]) -> Vec<&'static str> {
    let word = |op: &Op| match op {
        Op::VifByTag(_, None) | Op::AttachmentByVni(_, None) => Some("close"),
        Op::HostPort(_, None) => Some("close veth"),
        Op::Wait => Some("wait"),
        Op::Retire(_) => Some("retire"),
        Op::Vif(_, Some(_)) | Op::Attachment(_, Some(_)) => Some("write"),
        Op::Vif(_, None) | Op::Attachment(_, None) => Some("remove"),
        Op::VifByTag(_, Some(_)) | Op::AttachmentByVni(_, Some(_)) => Some("open"),
        Op::HostPort(_, Some(_)) => Some("open veth"),
        _ => None,
    };
    log.iter().filter_map(word).collect()
}

#[test]
fn a_record_changes_under_no_packet() {
    type Change = fn(&mut Intent, &mut Observed);
    let closed = &["close", "close veth", "wait", "write", "open", "open veth"][..];
    let moved = [closed, &["wait"]].concat();
    let rows: [(&str, Change, &[&str]); 9] = [
        ("another tag", |intent, _| vif_a(intent).tag.outer = 101.try_into().unwrap(), &moved),
        ("another MAC", |_, seen| seen.ports.get_mut("eth0").unwrap().mac = mac(99), &moved),
        ("another VNI", |intent, _| vpc_1(intent).vni = 5009.try_into().unwrap(), &moved),
        ("another router MAC", |intent, _| vpc_1(intent).router.mac = mac(99), &moved),
        ("disabled", |intent, _| vif_a(intent).enabled = false, &["write", "wait"]),
        ("not validated", |intent, _| vif_a(intent).source_validation = false, &["write"]),
        ("no clamp", |intent, _| intent.border_gateways[0].mss_clamp = false, &["write", "write", "write"]),
        ("a new port", |to, _| to.fabric.interfaces.push("a0".into()), &["write", "write", "write", "wait"]),
        ("another hash", |intent, _| intent.border_gateways[1].hash = HashMode::L3, &["write", "write"]),
    ];
    for (name, change, want) in rows {
        let mut intent = intent();
        let mut seen = observed(&intent);
        let mut before = reconcile(Memory::default(), &intent, &seen);
        before.log.clear();
        change(&mut intent, &mut seen);
        let after = reconcile(before.clone(), &intent, &seen);
        assert_eq!(words(&after.log), want, "{name}");
        assert_no_step_leaks(&before.installed, &after.log);
    }
}

fn vif_a(intent: &mut Intent) -> &mut VirtualInterface {
    &mut intent.border_gateways[0].virtual_interfaces[0]
}

fn vpc_1(intent: &mut Intent) -> &mut VpcAttachment {
    &mut intent.border_gateways[0].vpc_attachments[0]
}

#[test]
fn a_record_stays_while_its_port_or_veth_is_missing() {
    let intent = intent();
    let seen = observed(&intent);
    let mut before = reconcile(Memory::default(), &intent, &seen);
    before.log.clear();
    let mut missing = seen.clone();
    missing.ports.remove("eth0");
    missing.vif_veths.remove("vif-b");
    missing.attachment_veths.remove("vpc-1");
    let without = reconcile(before.clone(), &intent, &missing);
    assert_eq!((without.installed.vifs.len(), without.installed.attachments.len()), (3, 2));
    let ports = |index: u32| {
        (without.installed.vifs[&index].port_ifindex, without.installed.vifs[&index].veth_ifindex)
    };
    assert_eq!((ports(0), ports(1)), ((0, 100), (3, 0)));
    assert_eq!(without.installed.vif_by_tag.values().collect::<Vec<_>>(), [&2]);
    assert_eq!(without.installed.attachment_by_vni.values().collect::<Vec<_>>(), [&1]);
    let back = reconcile(without, &intent, &seen);
    assert_eq!(back.installed.vifs, before.installed.vifs);
    assert!(!back.log.iter().any(|op| matches!(op, Op::Reset(_) | Op::Retire(_))), "{:?}", back.log);
    assert_no_step_leaks(&before.installed, &back.log);
}

/// One turn of the loop, and what is shown afterwards: summary and drops.
fn shown(memory: Memory, intent: &Intent, seen: &Observed) -> (Memory, serde_json::Value, serde_json::Value) {
    let mut reconciler = Reconciler::new(memory);
    let (state, result) = reconciler.turn(&Arc::new(intent.clone()), seen.clone());
    result.unwrap();
    let memory = reconciler.into_dataplane();
    let summary = serde_json::to_value(view::summary(&state, &memory).unwrap()).unwrap();
    let drops = serde_json::to_value(view::drops(&state, &memory).unwrap()).unwrap();
    (memory, summary, drops)
}

#[test]
fn what_leaves_is_retired_and_the_sums_hold() {
    let mut intent = intent();
    let seen = observed(&intent);
    let mut memory = reconcile(Memory::default(), &intent, &seen);
    let none = border_gw::dataplane::counters::NO_TALLY;
    let no_route = DropReason::NoRoute as usize;
    for (entry, scope) in [
        (Entry::Line, entry_scope(Entry::Line)),
        (Entry::Line, vif_scope(1)),
        (Entry::Fabric, attachment_scope(0)),
    ] {
        let mut tally =
            border_gw_common::abi::Tally { forwarded: 10, punted: 5, passed: 3, answered: 2, ..none };
        tally.drops[no_route] = 7;
        memory.tallies.insert(scope, tally);
        *memory.received.entry(entry).or_default() += 27;
    }
    memory.traffic.insert(Owner::new(OWNER_VIF, 1), border_gw_common::abi::Traffic::default());
    let (mut memory, before, _) = shown(memory, &intent, &seen);
    // A VIF and an attachment leave; the attachment comes back.
    let (vif, vpc) = (
        intent.border_gateways[0].virtual_interfaces.remove(1),
        intent.border_gateways[0].vpc_attachments.remove(0),
    );
    intent.border_gateways[0].routes[0].via.truncate(1);
    memory.log.clear();
    let (mut memory, gone, drops) = shown(memory, &intent, &seen);
    assert_eq!(gone, before, "totals change when something leaves");
    let last: Vec<_> = words(&memory.log);
    assert_eq!(
        last,
        ["close", "close", "close veth", "close veth", "wait", "retire", "retire", "remove", "remove"]
    );
    assert!(memory.traffic.is_empty());
    let rows = drops.as_array().unwrap();
    assert_eq!(rows.len(), 2, "one row a program, and no labels: {rows:?}");
    assert_eq!(
        (&rows[0]["packets"], &rows[0]["vif"], &rows[0]["program"]),
        (&14.into(), &"".into(), &"line".into())
    );
    intent.border_gateways[0].virtual_interfaces.push(vif);
    intent.border_gateways[0].vpc_attachments.push(vpc);
    memory.log.clear();
    let (memory, back, _) = shown(memory, &intent, &seen);
    assert_eq!(back, before, "totals change when something comes back");
    assert!(!memory.tallies.contains_key(&vif_scope(1)), "a scope that is used again starts at nothing");
}

#[test]
fn a_vpc_is_forbidden_as_a_source_before_a_route_covers_it_and_until_none_does() {
    let cidr: ipnet::IpNet = "10.1.0.0/16".parse().unwrap();
    let covering: ipnet::IpNet = "10.0.0.0/8".parse().unwrap();
    let narrow = intent();
    let mut wide = narrow.clone();
    wide.border_gateways[0].routes.push(StaticRoute { prefix: covering, via: vec!["vif-a".into()] });
    let memory = reconcile(Memory::default(), &narrow, &observed(&narrow));
    let at = |log: &[Op], wanted: &dyn Fn(&Op) -> bool| log.iter().position(wanted).unwrap();

    let mut memory = reconcile(memory, &wide, &observed(&wide));
    let log = std::mem::take(&mut memory.log);
    let forbidden =
        at(&log, &|op| matches!(op, Op::Source(_, prefix, Some(SOURCE_FORBIDDEN)) if *prefix == cidr));
    let allowed =
        at(&log, &|op| matches!(op, Op::Source(_, prefix, Some(SOURCE_ROUTED)) if *prefix == covering));
    assert!(forbidden < allowed, "{log:?}");

    let log = reconcile(memory, &narrow, &observed(&narrow)).log;
    let allowed = at(&log, &|op| matches!(op, Op::Source(_, prefix, None) if *prefix == covering));
    let forbidden = at(&log, &|op| matches!(op, Op::Source(_, prefix, None) if *prefix == cidr));
    assert!(allowed < forbidden, "{log:?}");
}

#[test]
fn a_vif_that_replaces_another_gets_another_index_and_empty_counters() {
    let mut intent = intent();
    let seen = observed(&intent);
    let mut before = reconcile(Memory::default(), &intent, &seen);
    before.log.clear();
    // The second customer's VIF goes, and a third customer gets its line and tag.
    intent.border_gateways[1].virtual_interfaces[0].name = "vif-d".into();
    intent.border_gateways[1].routes.clear();
    let mut seen_after = seen.clone();
    seen_after.vif_veths.insert("vif-d".into(), 200);
    seen_after.neighbors.insert(("vif-d".into(), "169.254.10.1".parse().unwrap()), mac(200));
    let after = reconcile(before, &intent, &seen_after);
    let index = *after.installed.vif_by_tag.iter().find(|(key, _)| key.ifindex == 4).unwrap().1;
    assert_eq!(index, 3, "index 2 may still be in a packet's hand");
    assert!(after.log.iter().any(|op| *op == Op::Reset(border_gw_common::abi::Owner::new(OWNER_VIF, 3))));
}

#[test]
fn a_next_hop_that_changes_gets_a_new_index() {
    let intent = intent();
    let mut seen = observed(&intent);
    let before = reconcile(Memory::default(), &intent, &seen);
    let peer = ("vif-c".to_owned(), "169.254.10.1".parse::<IpAddr>().unwrap());
    seen.neighbors.insert(peer, mac(77));
    let after = reconcile(before.clone(), &intent, &seen);
    for (index, next_hop) in &after.installed.next_hops {
        let same = before.installed.next_hops.get(index).is_none_or(|old| old == next_hop);
        assert!(same, "next hop {index} was rewritten in place");
    }
}

/// What programs can hold: what entrances and routes lead to.
#[derive(Clone, Default)]
struct Held {
    vifs: BTreeSet<u32>,
    attachments: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    next_hops: BTreeSet<u16>,
}

impl Held {
    /// Adds what a program that starts now can find.
    fn add(&mut self, now: &Installed) {
        let veths = |kind| {
            let owners = now.host_ports.values().map(|port| port.owner);
            owners.filter(move |owner| owner.kind() == kind).map(|owner| owner.index())
        };
        self.vifs.extend(now.vif_by_tag.values().copied().chain(veths(OWNER_VIF)));
        self.attachments.extend(now.attachment_by_vni.values().copied().chain(veths(OWNER_ATTACHMENT)));
        let routes = now.routes.values().flat_map(|routes| routes.values());
        self.groups.extend(routes.map(|route| route.group));
        let groups = self.groups.iter().filter_map(|group| now.groups.get(group));
        self.next_hops.extend(groups.flat_map(|group| group.buckets));
    }

    /// Whether an operation changes, in more than one field, what a program may be reading, or counting for.
    fn changes(&self, op: &Op, now: &Installed) -> bool {
        match op {
            Op::Vif(index, new) => now.vifs.get(index).is_some_and(|old| {
                let in_place =
                    new.map(|new| Vif { flags: new.flags, hash_mode: new.hash_mode, port: new.port, ..*old });
                self.vifs.contains(index) && (in_place != *new || new.is_none())
            }),
            Op::Attachment(index, new) => now.attachments.get(index).is_some_and(|old| {
                let in_place =
                    new.map(|new| Attachment { flags: new.flags, hash_mode: new.hash_mode, ..*old });
                self.attachments.contains(index) && (in_place != *new || new.is_none())
            }),
            Op::Retire(owner) if owner.kind() == OWNER_VIF => self.vifs.contains(&owner.index()),
            Op::Retire(owner) => self.attachments.contains(&owner.index()),
            Op::Group(index, None) => self.groups.contains(index),
            Op::NextHop(index, _) => now.next_hops.contains_key(index) && self.next_hops.contains(index),
            _ => false,
        }
    }
}

/// Follows a plan step by step and checks after each that no packet of one border gateway can meet another's table.
fn assert_no_step_leaks(before: &Installed, log: &[Op]) {
    let mut now = before.clone();
    let mut held = Held::default();
    held.add(&now);
    for op in log {
        assert!(!held.changes(op, &now), "{op:?} changes what a program may hold");
        now.apply(op);
        if *op == Op::Wait {
            held = Held::default();
        }
        held.add(&now);
        for (domain, routes) in &now.routes {
            for route in routes.values().filter(|route| route.group != 0) {
                let Some(group) = now.groups.get(&route.group) else { continue };
                let domains: BTreeSet<u32> = group
                    .buckets
                    .iter()
                    .filter_map(|hop| now.next_hops.get(hop))
                    .map(|hop| hop.domain)
                    .collect();
                assert!(
                    domains.iter().all(|found| found == domain),
                    "after {op:?}: {domain} leads to {domains:?}"
                );
            }
        }
        for index in now.vif_by_tag.values() {
            assert!(now.vifs.contains_key(index), "after {op:?}: a tag leads to an empty record");
        }
        let translates = |index: &u32| now.vifs[index].flags & VIF_DSCP_TO_VPC != 0;
        for index in now.vif_by_tag.values().filter(|index| translates(index)) {
            assert!(now.dscp.contains_key(&dscp_index(*index, TO_VPC)), "after {op:?}: no table yet");
        }
        for next_hop in now.next_hops.values().filter(|next_hop| next_hop.flags & NEXT_HOP_DSCP != 0) {
            let table = dscp_index(next_hop.owner.index(), TO_CUSTOMER);
            assert!(now.dscp.contains_key(&table), "after {op:?}: no table yet");
        }
        for index in now.attachment_by_vni.values() {
            assert!(now.attachments.contains_key(index), "after {op:?}: a VNI leads to an empty record");
        }
        for (key, index) in &now.vif_by_tag {
            assert_eq!(key.ifindex, now.vifs[index].port_ifindex, "after {op:?}: a tag of another port");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_step_of_a_change_leaks(
        keep in proptest::array::uniform2(any::<bool>()),
        swap in any::<bool>(),
        ports in proptest::array::uniform3(0..3),
        no_vtep in any::<bool>(),
    ) {
        let first = intent();
        let before = reconcile(Memory::default(), &first, &observed(&first));
        let mut second = first.clone();
        // Border gateways go, customers swap lines, ports go down.
        if swap {
            second.border_gateways[0].virtual_interfaces[0].connection = "line-c".into();
            second.border_gateways[1].virtual_interfaces[0].connection = "line-a".into();
        }
        let mut kept = keep.iter();
        second.border_gateways.retain(|_| *kept.next().unwrap());
        let mut seen = observed(&second);
        // Up, down, or missing.
        for (port, state) in ["eth0", "eth1", "eth2"].into_iter().zip(ports) {
            seen.ports.get_mut(port).unwrap().up = state != 1;
            if state == 2 {
                seen.ports.remove(port);
            }
        }
        if no_vtep {
            seen.underlay.clear();
        }
        let mut start = before.clone();
        start.log.clear();
        let after = reconcile(start, &second, &seen);
        assert_no_step_leaks(&before.installed, &after.log);
    }
}
