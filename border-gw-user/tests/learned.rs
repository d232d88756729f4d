//! What routing daemons wrote, compiled: which routes and sources it makes, and what no customer can say.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use border_gw::compile::compile;
use border_gw::dataplane::Dataplane as _;
use border_gw::dataplane::memory::Memory;
use border_gw::intent::{Accept, Bgp, Intent, Routing, VirtualInterface, load};
use border_gw::kernel::{Hop, Learned, Lost, Observed, PortState};
use border_gw::reconcile::Reconciler;
use border_gw::tables::cut::cut;
use border_gw::tables::{Installed, Op, Slots, Tables, plan};
use border_gw_common::abi::{MAX_SOURCES, OWNER_VIF, Owner, SOURCE_FORBIDDEN, SOURCE_ROUTED};
use border_gw_common::net::MacAddr;
use ipnet::IpNet;

fn session() -> Bgp {
    Bgp {
        asn: 65010,
        password: None,
        max_prefixes: 100,
        hold_time: Duration::from_secs(90),
        local_preference: 100,
        prepend: 0,
        ttl_security: false,
        graceful_restart: true,
        accept: Accept::default(),
    }
}

/// The documented example, `vif-a` (IPv4 and IPv6) and `vif-b` (IPv4) with BGP; everything is up, and every peer known.
fn world() -> (Intent, Observed) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml");
    let mut intent = load(&example).unwrap();
    let mut observed = Observed::default();
    for (interface, ifindex) in [("ens1f0", 2), ("ens1f1", 3), ("ens2f0", 4), ("ens2f1", 5)] {
        let mac = MacAddr([2, 0, 0, 0, 0, ifindex as u8]);
        observed.ports.insert(interface.into(), PortState { ifindex, mac, up: true, mtu: 1600, speed: None });
    }
    for vif in &mut intent.border_gateways[0].virtual_interfaces {
        vif.bgp = Some(session());
        for link in &vif.addresses {
            observed.neighbors.insert((vif.name.clone(), link.peer), MacAddr([2, 0, 0, 0, 0, 0x77]));
        }
    }
    (intent, observed)
}

fn vif<'a>(intent: &'a mut Intent, name: &str) -> &'a mut VirtualInterface {
    intent.border_gateways[0].virtual_interfaces.iter_mut().find(|vif| vif.name == name).unwrap()
}

/// Routes as `PREFIX VIF,VIF`, a hop in IPv6 as `VIF/6`; each VIF may speak for what leads to it.
fn learn(observed: &mut Observed, routes: &[&str]) {
    let mut learned = Learned::default();
    for route in routes {
        let (prefix, vifs) = route.split_once(' ').unwrap();
        let prefix = prefix.parse().unwrap();
        let hops: BTreeSet<Hop> = vifs
            .split(',')
            .map(|vif| Hop { vif: vif.trim_end_matches("/6").into(), is_v4: !vif.ends_with("/6") })
            .collect();
        for hop in &hops {
            learned.sources.entry(hop.vif.to_string()).or_default().insert(prefix);
        }
        learned.routes.insert(prefix, hops.into_iter().collect());
    }
    observed.learned.insert("bgw-1".into(), Arc::new(learned));
}

fn slots(intent: &Intent) -> Slots {
    Slots::assign(&Installed::default(), intent).unwrap()
}

/// Names of the VIFs over which a route leads, and those among them that are alive.
fn leads(intent: &Intent, tables: &Tables, prefix: &str) -> Option<(Vec<String>, usize)> {
    let target = tables.routes[&slots(intent).domains["bgw-1"]].get(&prefix.parse().unwrap())?;
    let members = &tables.groups[&target.group.unwrap()];
    let mut names: Vec<_> = members.declared.iter().map(|way| tables.ways[way].name.clone()).collect();
    names.sort();
    Some((names, members.live.len()))
}

fn is_source(intent: &Intent, tables: &Tables, vif: &str, prefix: &str) -> bool {
    let sources = &tables.sources[&slots(intent).vifs[vif]];
    sources.get(&prefix.parse().unwrap()) == Some(&SOURCE_ROUTED)
}

#[test]
fn a_learned_route_leads_to_the_peers_it_came_from() {
    let (intent, mut observed) = world();
    learn(
        &mut observed,
        &[
            "172.20.0.0/16 vif-a,vif-b",
            "172.21.0.0/16 vif-b",
            "2001:db8:20::/48 vif-a/6",
            "172.22.0.0/16 vif-a/6",
        ],
    );
    let tables = compile(&intent, &observed, &slots(&intent));
    for (prefix, vifs, live) in [
        ("172.20.0.0/16", &["vif-a", "vif-b"][..], 2),
        ("172.21.0.0/16", &["vif-b"], 1),
        ("2001:db8:20::/48", &["vif-a"], 1),
        ("172.22.0.0/16", &["vif-a"], 1),
    ] {
        let want = (vifs.iter().map(|vif| (*vif).to_owned()).collect(), live);
        assert_eq!(leads(&intent, &tables, prefix), Some(want), "{prefix}");
    }
    // RFC 8950: IPv4 by a next hop of IPv6 goes to the IPv6 peer.
    let target = tables.routes[&slots(&intent).domains["bgw-1"]][&"172.22.0.0/16".parse().unwrap()];
    let way = tables.groups[&target.group.unwrap()].declared[0];
    assert_eq!(tables.ways[&way].address, "fd00:10::1".parse::<IpAddr>().unwrap());
    assert!(is_source(&intent, &tables, "vif-a", "172.20.0.0/16"));
    assert!(!is_source(&intent, &tables, "vif-a", "172.21.0.0/16"));
}

#[test]
fn what_no_customer_can_say_is_no_route_and_no_source() {
    let rows = [
        ("a host of a VPC", "10.1.0.10/32"),
        ("a VPC itself", "10.1.0.0/16"),
        ("a host of another attachment", "10.2.0.10/32"),
        ("a host of an IPv6 VPC", "fd00:1::10/128"),
        ("the own link", "169.254.10.0/30"),
        ("another line's router", "169.254.10.5/32"),
        ("a default route", "0.0.0.0/0"),
        ("half of one", "128.0.0.0/1"),
        ("an IPv6 default route", "::/0"),
        ("loopback", "127.0.0.0/8"),
        ("a group", "239.1.0.0/16"),
        ("IPv6 link-local", "fe80::/64"),
    ];
    for (sentence, prefix) in rows {
        let (intent, mut observed) = world();
        let hop = if prefix.contains(':') { "vif-a/6" } else { "vif-a" };
        let before = compile(&intent, &observed, &slots(&intent));
        learn(&mut observed, &[&format!("{prefix} {hop}")]);
        let after = compile(&intent, &observed, &slots(&intent));
        assert_eq!(before.routes, after.routes, "{sentence}");
        assert_eq!(before.sources, after.sources, "{sentence}");
    }
}

#[test]
fn a_default_route_is_taken_where_it_is_asked_for_and_makes_nobody_a_source() {
    let (mut intent, mut observed) = world();
    vif(&mut intent, "vif-a").bgp.as_mut().unwrap().accept.default_route = true;
    learn(&mut observed, &["0.0.0.0/0 vif-a"]);
    let tables = compile(&intent, &observed, &slots(&intent));
    assert_eq!(leads(&intent, &tables, "0.0.0.0/0"), Some((vec!["vif-a".into()], 1)));
    let sources = &tables.sources[&slots(&intent).vifs["vif-a"]];
    for inside in ["10.1.0.0/16", "10.2.0.0/16", "169.254.10.4/30"] {
        assert_eq!(sources.get(&inside.parse().unwrap()), Some(&SOURCE_FORBIDDEN), "{inside}");
    }
}

#[test]
fn static_beats_learned_and_silent_interfaces_teach_nothing() {
    let (mut intent, mut observed) = world();
    learn(&mut observed, &["172.16.0.0/16 vif-b", "172.20.0.0/16 vif-a"]);
    let tables = compile(&intent, &observed, &slots(&intent));
    // The example routes it over both.
    assert_eq!(leads(&intent, &tables, "172.16.0.0/16"), Some((vec!["vif-a".into(), "vif-b".into()], 2)));
    vif(&mut intent, "vif-a").bgp = None;
    let tables = compile(&intent, &observed, &slots(&intent));
    assert_eq!(leads(&intent, &tables, "172.20.0.0/16"), None);
    assert!(!is_source(&intent, &tables, "vif-a", "172.20.0.0/16"));
    intent.border_gateways[0].routing = Routing::External;
    let tables = compile(&intent, &observed, &slots(&intent));
    assert!(leads(&intent, &tables, "172.20.0.0/16").is_some(), "the operator's own daemon needs no section");
}

#[test]
fn a_peer_that_bfd_lost_is_declared_and_not_alive() {
    let (intent, mut observed) = world();
    learn(&mut observed, &["172.20.0.0/16 vif-a,vif-b"]);
    observed.bfd_down.insert(("vif-a".into(), "169.254.10.1".parse().unwrap()));
    let tables = compile(&intent, &observed, &slots(&intent));
    assert_eq!(leads(&intent, &tables, "172.20.0.0/16"), Some((vec!["vif-a".into(), "vif-b".into()], 1)));
}

/// Installs tables into nothing.
fn install(tables: &Tables) -> Installed {
    let mut installed = Installed::default();
    for op in plan(&installed.clone(), tables).unwrap() {
        installed.apply(&op);
    }
    installed
}

/// How many buckets of a route lead to each VIF.
fn buckets(intent: &Intent, installed: &Installed, prefix: &str) -> BTreeMap<Owner, usize> {
    let route = installed.routes[&slots(intent).domains["bgw-1"]][&prefix.parse().unwrap()];
    let mut counts = BTreeMap::new();
    for hop in installed.groups[&route.group].buckets {
        if let Some(next_hop) = installed.next_hops.get(&hop) {
            *counts.entry(next_hop.owner).or_default() += 1;
        }
    }
    counts
}

#[test]
fn cutting_a_port_moves_its_flows_alone_and_writes_groups_alone() {
    let (intent, mut observed) = world();
    learn(&mut observed, &["172.20.0.0/16 vif-a,vif-b", "172.21.0.0/16 vif-a"]);
    let mut installed = install(&compile(&intent, &observed, &slots(&intent)));
    let before = installed.clone();
    let ops = cut(&installed, |next_hop| next_hop.egress_ifindex == 2);
    assert!(ops.iter().all(|op| matches!(op, Op::Group(_, Some(_)))), "{ops:?}");
    for op in &ops {
        installed.apply(op);
    }
    let owner = |name: &str| Owner::new(OWNER_VIF, slots(&intent).vifs[name]);
    let all = buckets(&intent, &installed, "172.20.0.0/16");
    assert_eq!(all.keys().collect::<Vec<_>>(), [&owner("vif-b")], "only the other line is left");
    assert!(buckets(&intent, &installed, "172.21.0.0/16").is_empty(), "the only line is gone");
    let route = before.routes[&slots(&intent).domains["bgw-1"]][&"172.20.0.0/16".parse().unwrap()];
    let pairs = before.groups[&route.group].buckets.iter().zip(installed.groups[&route.group].buckets);
    for (old, new) in pairs {
        assert!(
            before.next_hops[old].owner == owner("vif-a") || *old == new,
            "a flow of the other line moved"
        );
    }
    // The turn that follows comes to the same buckets.
    observed.ports.get_mut("ens1f0").unwrap().up = false;
    let ops = plan(&installed, &compile(&intent, &observed, &slots(&intent))).unwrap();
    assert!(!ops.iter().any(|op| matches!(op, Op::Group(..))), "{ops:?}");
}

#[test]
fn a_line_that_is_back_before_anybody_looked_gets_its_flows_again() {
    let (intent, mut observed) = world();
    learn(&mut observed, &["172.20.0.0/16 vif-a,vif-b"]);
    let intent = Arc::new(intent);
    let mut reconciler = Reconciler::new(Memory::default());
    reconciler.turn(&intent, observed.clone()).1.unwrap();
    let lost = Lost { ports: BTreeMap::from([("ens1f0".to_owned(), 2)]), ..Lost::default() };
    assert!(reconciler.cut(&lost).unwrap() > 0);
    // It flapped: what is seen is what was seen before, and the maps are not what they were made then.
    assert!(reconciler.turn(&intent, observed.clone()).1.unwrap() > 0);
    let installed = reconciler.into_dataplane().read().unwrap();
    assert_eq!(buckets(&intent, &installed, "172.20.0.0/16").len(), 2);
}

#[test]
fn what_has_no_room_is_left_out_and_the_rest_stays() {
    let (mut intent, mut observed) = world();
    intent.border_gateways[0].routing = Routing::External;
    let mut learned = Learned::default();
    let prefix =
        |number: u32| IpNet::new(IpAddr::from((0xac10_0000_u32 + number * 4).to_be_bytes()), 30).unwrap();
    learned.sources.insert("vif-a".into(), (0..MAX_SOURCES).map(prefix).collect());
    observed.learned.insert("bgw-1".into(), Arc::new(learned));
    let tables = compile(&intent, &observed, &slots(&intent));
    let sources = &tables.sources[&slots(&intent).vifs["vif-a"]];
    let routed = sources.values().filter(|class| **class == SOURCE_ROUTED).count();
    assert!(tables.left_out > 0 && routed < MAX_SOURCES as usize, "{} of {routed}", tables.left_out);
    assert!(sources.len() < 2 * MAX_SOURCES as usize);
}

#[test]
fn customers_make_no_more_groups_than_there_is_room_for() {
    let (mut intent, mut observed) = world();
    let model = intent.border_gateways[0].virtual_interfaces[1].clone();
    let (mut routes, count) = (Vec::new(), 12);
    intent.border_gateways[0].virtual_interfaces = (0..count)
        .map(|index| {
            let mut vif = VirtualInterface { name: format!("line-{index}"), ..model.clone() };
            vif.addresses[0].local = format!("169.254.20.{}/31", 2 * index).parse().unwrap();
            vif.addresses[0].peer = format!("169.254.20.{}", 2 * index + 1).parse().unwrap();
            vif
        })
        .collect();
    intent.border_gateways[0].routes.clear();
    for set in 1..1 << count {
        let vifs: Vec<_> =
            (0..count).filter(|bit| set >> bit & 1 == 1).map(|bit| format!("line-{bit}")).collect();
        routes.push(format!("172.{}.{}.0/24 {}", 16 + set / 256, set % 256, vifs.join(",")));
    }
    learn(&mut observed, &routes.iter().map(String::as_str).collect::<Vec<_>>());
    let tables = compile(&intent, &observed, &slots(&intent));
    let several = |prefix: &str| leads(&intent, &tables, prefix).unwrap().0.len() > 1;
    let prefixes: Vec<_> = routes.iter().map(|route| route.split(' ').next().unwrap()).collect();
    assert!(prefixes.iter().all(|prefix| leads(&intent, &tables, prefix).is_some()), "none is lost");
    let grouped = prefixes.iter().filter(|prefix| several(prefix)).count();
    assert_eq!(grouped, 256, "each has a set of lines of its own");
}
