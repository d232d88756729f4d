//! What keeps a virtual interface from carrying traffic is named, from the port upward, and so is what makes a server unfit.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use border_gw::cli::check::ideal;
use border_gw::dataplane::memory::Memory;
use border_gw::health::{summary, unfit};
use border_gw::intent::{Accept, Bgp, Intent, load};
use border_gw::kernel::{Hop, Learned, Observed};
use border_gw::probe::Probe;
use border_gw::reconcile::Reconciler;
use border_gw::routing::{BgpState, FamilyStatus, SessionStatus};
use border_gw::state::State;
use ipnet::IpNet;

fn peer() -> IpAddr {
    "169.254.10.1".parse().unwrap()
}

/// The documented example, in which `vif-a` speaks BGP and has nothing but what it learns.
fn intent() -> Intent {
    let mut intent = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml")).unwrap();
    intent.border_gateways[0].routes.clear();
    intent.border_gateways[0].virtual_interfaces[0].bgp = Some(Bgp {
        asn: 65010,
        password: None,
        max_prefixes: 100,
        hold_time: Duration::from_secs(90),
        local_preference: 100,
        prepend: 0,
        ttl_security: false,
        graceful_restart: true,
        accept: Accept::default(),
    });
    intent
}

fn session(state: BgpState) -> SessionStatus {
    let family = FamilyStatus {
        peer: peer(),
        state,
        since: None,
        last_error: None,
        negotiated: true,
        accepted: 1,
        refused_by_filter: 0,
        refused_by_limit: 0,
        invalid: 0,
        announced: 1,
        limit: 100,
        limit_hit: false,
        overflow: false,
    };
    SessionStatus { answered: true, ipv4: Some(family), ipv6: None, bfd: BTreeMap::new() }
}

/// All is well, but for what is changed before the turn and after it.
fn state(before: impl Fn(&mut Intent, &mut Observed), after: impl Fn(&mut State)) -> State {
    let mut intent = intent();
    let mut observed = ideal(&intent);
    let mut learned = Learned::default();
    let prefix: IpNet = "172.20.0.0/16".parse().unwrap();
    learned.sources.insert("vif-a".into(), [prefix].into());
    learned.routes.insert(prefix, [Hop { vif: "vif-a".into(), is_v4: true }].into());
    observed.learned.insert("bgw-1".into(), Arc::new(learned));
    before(&mut intent, &mut observed);
    let (mut state, result) = Reconciler::new(Memory::default()).turn(&Arc::new(intent), observed);
    result.unwrap();
    state.sessions = Arc::new(BTreeMap::from([("vif-a".into(), session(BgpState::Established))]));
    after(&mut state);
    state
}

fn summary_of(state: &State) -> &'static str {
    let gateway = &state.intent.border_gateways[0];
    summary(state, gateway, &gateway.virtual_interfaces[0])
}

type Before = fn(&mut Intent, &mut Observed);
type After = fn(&mut State);

#[test]
fn a_virtual_interface_is_up_only_when_nothing_drops_its_traffic() {
    let rows: [(&str, Before, After); 14] = [
        ("up", |_, _| (), |_| ()),
        (
            "drill",
            |_, _| (),
            |state| state.maintenance = Arc::new(BTreeMap::from([("vif-a".into(), "drill")])),
        ),
        ("admin_down", |intent, _| intent.border_gateways[0].virtual_interfaces[0].enabled = false, |_| ()),
        ("port_down", |_, observed| observed.ports.get_mut("ens1f0").unwrap().up = false, |_| ()),
        ("not_installed", |_, _| (), |state| state.last_failure = Some("no".into())),
        ("no_program", |_, _| (), |state| state.modes = Arc::default()),
        ("no_neighbor", |_, observed| observed.neighbors.retain(|(vif, _), _| vif != "vif-a"), |_| ()),
        ("bfd_down", |_, observed| observed.bfd_down.extend([("vif-a".to_owned(), peer())]), |_| ()),
        (
            "bgp_down",
            |_, _| (),
            |state| state.sessions = Arc::new(BTreeMap::from([("vif-a".into(), session(BgpState::Active))])),
        ),
        ("no_routes", |_, observed| observed.learned.clear(), |_| ()),
        // Accepted, and in no table: somebody took it out of the kernel.
        (
            "no_routes",
            |_, observed| {
                let learned = observed.learned.get_mut("bgw-1").unwrap();
                *learned = Arc::new(Learned { routes: BTreeMap::new(), ..Learned::clone(learned) });
            },
            |_| (),
        ),
        // A session of IPv6 that brings nothing.
        (
            "no_routes",
            |_, _| (),
            |state| {
                let mut both = session(BgpState::Established);
                both.ipv6.clone_from(&both.ipv4);
                state.sessions = Arc::new(BTreeMap::from([("vif-a".into(), both)]));
            },
        ),
        (
            "no_answer",
            |_, _| (),
            |state| {
                let answers = [Some(Duration::from_millis(1)), None, None, None];
                let probe = answers.iter().fold(Probe::default(), |probe, answer| probe.after(*answer));
                state.probes = Arc::new(BTreeMap::from([(("vif-a".into(), peer()), probe)]));
            },
        ),
        ("no_fabric", |_, observed| observed.underlay.clear(), |_| ()),
    ];
    for (want, before, after) in rows {
        assert_eq!(summary_of(&state(before, after)), want);
    }
}

#[test]
fn a_server_is_unfit_for_a_reason_that_it_names() {
    let now = Instant::now();
    let rows: [(&str, Before, After); 6] = [
        ("", |_, _| (), |_| ()),
        ("no VPC can be reached", |_, observed| observed.underlay.clear(), |_| ()),
        ("no line carries traffic", |_, _| (), |state| state.modes = Arc::default()),
        ("the last turn", |_, _| (), |state| state.last_failure = Some("the last turn".into())),
        (
            "no routing daemon answers",
            |_, _| (),
            |state| {
                let silent = SessionStatus { answered: false, ..session(BgpState::Unknown) };
                state.sessions = Arc::new(BTreeMap::from([("vif-a".into(), silent)]));
            },
        ),
        (
            "1 virtual interfaces wait for BGP",
            |_, observed| observed.learned.clear(),
            |state| state.started = Some(Instant::now()),
        ),
    ];
    for (want, before, after) in rows {
        let why = unfit(&state(before, after), now);
        assert_eq!(why.is_empty(), want.is_empty(), "{want}: {why:?}");
        assert!(want.is_empty() || why.iter().any(|line| line.contains(want)), "{want}: {why:?}");
    }
    let later = now + Duration::from_mins(2);
    let waits = state(|_, observed| observed.learned.clear(), |state| state.started = Some(Instant::now()));
    assert!(unfit(&waits, later).is_empty(), "not for ever");
}
