//! What is shown of groups, routes and next hops, dead ones too.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use border_gw::cli::check::ideal;
use border_gw::dataplane::counters::NO_TALLY;
use border_gw::dataplane::memory::Memory;
use border_gw::intent::{Intent, load};
use border_gw::kernel::{Observed, UnderlayPath};
use border_gw::metrics;
use border_gw::reconcile::Reconciler;
use border_gw::state::State;
use border_gw::view::{self, GroupRow};
use border_gw_common::abi::{BUCKETS, Entry, TooBig, attachment_scope, retired_scope, vif_scope};
use border_gw_common::loss::{LossReason, Losses, RETIRED};
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

fn example() -> Intent {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml")).unwrap()
}

fn state(change: impl Fn(&mut Observed)) -> State {
    let intent = example();
    let mut observed = ideal(&intent);
    change(&mut observed);
    let (state, result) = Reconciler::new(Memory::default()).turn(&Arc::new(intent), observed);
    result.unwrap();
    state
}

fn group_of(state: &State, prefix: &str) -> Vec<GroupRow> {
    let route = view::routes(state).into_iter().find(|route| route.prefix == prefix).unwrap();
    view::groups(state).into_iter().filter(|row| row.group == route.group).collect()
}

/// Rows in short: owner, next hop and its gateway, port, MAC, state, buckets.
fn short(rows: &[GroupRow]) -> Vec<String> {
    rows.iter()
        .map(|row| {
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            format!(
                "{} {} {} {} via {} {} {} {}",
                row.border_gateway,
                row.owner,
                or_none(&row.next_hop),
                row.interface,
                or_none(&row.gateway),
                or_none(&row.mac),
                row.state,
                row.buckets
            )
        })
        .collect()
}

#[test]
fn members_of_groups_have_names_dead_or_alive() {
    let whole = state(|_nothing| {});
    assert_eq!(
        short(&group_of(&whole, "172.16.0.0/16")),
        [
            "bgw-1 vif-a 169.254.10.1 ens1f0 via - 02:00:00:00:00:01 live 128",
            "bgw-1 vif-b 169.254.10.5 ens1f1 via - 02:00:00:00:00:01 live 128",
        ]
    );
    let broken = state(|observed| {
        observed.ports.get_mut("ens1f0").unwrap().up = false;
        let vtep: IpAddr = "192.0.2.21".parse().unwrap();
        observed.underlay.remove(&vtep);
        let path = |interface: &str, last: u8, mac| UnderlayPath {
            interface: interface.into(),
            next_hop: IpAddr::from([198, 51, 100, last]),
            mac,
        };
        let paths = vec![path("ens2f0", 1, Some(MacAddr([2, 0, 0, 0, 0, 9]))), path("ens2f1", 5, None)];
        observed.underlay.insert("192.0.2.22".parse().unwrap(), paths);
    });
    assert_eq!(
        short(&group_of(&broken, "172.16.0.0/16")),
        [
            "bgw-1 vif-a 169.254.10.1 ens1f0 via - 02:00:00:00:00:01 dead 0",
            "bgw-1 vif-b 169.254.10.5 ens1f1 via - 02:00:00:00:00:01 live 256",
        ]
    );
    assert_eq!(
        short(&group_of(&broken, "10.1.0.0/16")),
        [
            "bgw-1 vpc-1 192.0.2.21  via - - dead 0",
            "bgw-1 vpc-1 192.0.2.22 ens2f0 via 198.51.100.1 02:00:00:00:00:09 live 256",
            "bgw-1 vpc-1 192.0.2.22 ens2f1 via 198.51.100.5 - dead 0",
        ]
    );
    // A group of which nothing is alive has its members all the same, and no bucket leads anywhere.
    let dead = group_of(&broken, "10.1.0.10/32");
    assert_eq!(short(&dead), ["bgw-1 vpc-1 192.0.2.21  via - - dead 0"]);
    let buckets: usize = group_of(&whole, "10.1.0.0/16").iter().map(|row| row.buckets).sum();
    assert_eq!(buckets, BUCKETS);
}

#[test]
fn a_route_names_the_owners_of_all_members() {
    let state = state(|observed| observed.ports.get_mut("ens1f0").unwrap().up = false);
    let routes = view::routes(&state);
    let row = |prefix: &str| {
        let row = routes.iter().find(|route| route.prefix == prefix).unwrap();
        (row.source, row.owner.as_str(), row.owners.join(","), row.live, row.declared)
    };
    assert_eq!(row("172.16.0.0/16"), ("static", "vif-a", "vif-a,vif-b".into(), 1, 2));
    assert_eq!(row("10.1.0.0/16"), ("attachment", "vpc-1", "vpc-1".into(), 2, 2));
    assert_eq!(row("10.1.0.1/32"), ("local", "vpc-1", "vpc-1".into(), 0, 0));
    assert_eq!(row("169.254.10.3/32"), ("nobody", "vif-a", "vif-a".into(), 0, 0));
    assert_eq!(routes.iter().find(|route| route.prefix == "10.1.0.1/32").unwrap().group, 0);
}

#[test]
fn every_next_hop_is_a_series_that_says_whether_it_is_up() {
    let state = state(|observed| {
        observed.neighbors.remove(&("vif-a".into(), "169.254.10.1".parse().unwrap()));
        observed.underlay.remove(&"192.0.2.23".parse().unwrap());
        // Two paths over one port are one series.
        let path = |last, mac| UnderlayPath {
            interface: "ens2f1".into(),
            next_hop: IpAddr::from([198, 51, 100, last]),
            mac,
        };
        let paths = vec![path(1, None), path(2, Some(MacAddr([2, 0, 0, 0, 0, 9]))), path(3, None)];
        observed.underlay.insert("192.0.2.24".parse().unwrap(), paths);
    });
    let page = metrics::render(&state, &Memory::default()).unwrap();
    let series: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("border_gw_next_hop_up{")).collect();
    let want = |attachment: &str, interface: &str, next_hop: &str, vif: &str, up: u8| {
        format!(
            "attachment=\"{attachment}\",border_gateway=\"bgw-1\",interface=\"{interface}\",next_hop=\"{next_hop}\",\
             vif=\"{vif}\"}} {up}"
        )
    };
    let mut series: Vec<_> = series.into_iter().map(ToOwned::to_owned).collect();
    series.sort_unstable();
    assert_eq!(
        series,
        [
            want("", "ens1f0", "169.254.10.1", "vif-a", 0),
            want("", "ens1f0", "fd00:10::1", "vif-a", 1),
            want("", "ens1f1", "169.254.10.5", "vif-b", 1),
            want("vpc-1", "ens2f0", "192.0.2.21", "", 1),
            want("vpc-1", "ens2f0", "192.0.2.22", "", 1),
            want("vpc-1", "ens2f1", "192.0.2.24", "", 1),
            want("vpc-2", "", "192.0.2.23", "", 0),
        ]
    );
}

#[test]
fn what_is_too_big_is_a_series_of_its_next_hop() {
    let state = state(|_nothing| {});
    let identities = |name: &str, address: &str| {
        let address: IpAddr = address.parse().unwrap();
        let ways =
            state.tables.ways.iter().filter(move |(_, way)| way.name == name && way.address == address);
        ways.map(|(identity, _)| *identity).collect::<Vec<_>>()
    };
    let mut memory = Memory::default();
    memory.too_big.insert(identities("vif-a", "169.254.10.1")[0], TooBig { with_df: 3, without_df: 0 });
    memory.too_big.insert(identities("vpc-1", "192.0.2.22")[0], TooBig { with_df: 1, without_df: 2 });
    // One that is gone has no name any more.
    memory.too_big.insert(1, TooBig { with_df: 9, without_df: 9 });
    let page = metrics::render(&state, &memory).unwrap();
    let series: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("border_gw_too_big_packets_total{")).collect();
    let want = |attachment: &str, df: bool, interface: &str, next_hop: &str, vif: &str, packets: u64| {
        format!(
            "attachment=\"{attachment}\",border_gateway=\"bgw-1\",df=\"{df}\",interface=\"{interface}\",\
             next_hop=\"{next_hop}\",vif=\"{vif}\"}} {packets}"
        )
    };
    assert_eq!(
        series,
        [
            want("", false, "ens1f0", "169.254.10.1", "vif-a", 0),
            want("", true, "ens1f0", "169.254.10.1", "vif-a", 3),
            want("vpc-1", false, "ens2f0", "192.0.2.22", "", 2),
            want("vpc-1", true, "ens2f0", "192.0.2.22", "", 1),
        ]
    );
}

#[test]
fn icmp_errors_are_counted_by_reason_and_whose_packet_it_was() {
    let state = state(|_nothing| {});
    let mut memory = Memory::default();
    let mut tally = |scope, reason: DropReason, packets| {
        let tally = memory.tallies.entry(scope).or_insert(NO_TALLY);
        tally.errors[reason.error_index().unwrap()] = packets;
        tally.answered += packets;
    };
    tally(vif_scope(state.slots.vifs["vif-a"]), DropReason::TtlExpired, 3);
    tally(attachment_scope(state.slots.attachments["vpc-1"]), DropReason::TooBig, 2);
    tally(retired_scope(Entry::Line), DropReason::NoRoute, 1);
    let page = metrics::render(&state, &memory).unwrap();
    let series: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("border_gw_icmp_errors_total{")).collect();
    let want = |attachment: &str, gateway: &str, program: &str, reason: &str, vif: &str, packets: u64| {
        format!(
            "attachment=\"{attachment}\",border_gateway=\"{gateway}\",program=\"{program}\",reason=\"{reason}\",\
             vif=\"{vif}\"}} {packets}"
        )
    };
    assert_eq!(
        series,
        [
            want("", "", "line", "no_route", "", 1),
            want("", "bgw-1", "line", "ttl_expired", "vif-a", 3),
            want("vpc-1", "bgw-1", "fabric", "too_big", "", 2),
        ]
    );
}

#[test]
fn losses_are_of_ports_and_veths_and_those_of_what_is_gone_stay_in_the_sum() {
    let state = state(|_nothing| {});
    let observed = &state.observed;
    let (port, found) = observed.ports.iter().next().unwrap();
    let (vif, veth) = observed.vif_veths.iter().next().unwrap();
    let of = |reason: LossReason, packets| {
        let mut losses = Losses::default();
        losses.packets[reason as usize] = packets;
        losses
    };
    let gone = 60_000;
    let memory = Memory {
        losses: [
            (found.ifindex, of(LossReason::RingFull, 9)),
            (*veth, of(LossReason::NoTransmit, 5)),
            (gone, of(LossReason::PortDown, 1)),
            (RETIRED, of(LossReason::PortDown, 2)),
        ]
        .into(),
        ..Memory::default()
    };
    let rows = view::losses(&state, &memory).unwrap();
    let short: Vec<_> =
        rows.iter().map(|row| (row.kind, row.name.as_str(), row.reason, row.packets)).collect();
    assert_eq!(
        short,
        [
            ("port", port.as_str(), "ring_full", 9),
            ("vif", vif.as_str(), "no_transmit", 5),
            ("", "", "port_down", 3)
        ]
    );
    assert_eq!(rows[0].interface, *port);
    assert!(rows[1].interface.starts_with("bgw"), "the outer end of its veth: {}", rows[1].interface);
    let page = metrics::render(&state, &memory).unwrap();
    let want = format!(
        "border_gw_lost_packets_total{{attachment=\"\",interface=\"{}\",reason=\"no_transmit\",vif=\"{vif}\"}} 5",
        rows[1].interface
    );
    assert!(page.lines().any(|line| line == want), "{want}");
}
