//! Real BIRDs, as border-gw configures and runs them, with customers' routers in network namespaces. Takes root.
#![expect(clippy::unwrap_used, reason = "a test that fails here fails")]

#[path = "bird/net.rs"]
mod net;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use border_gw::intent::Drain;
use border_gw::kernel::{BFD_TABLE, SOURCES_TABLE};
use border_gw::routing::{BfdState, BgpState, Refusal, Routing, RoutingError, SessionStatus, conf};
use net::{Net, ensure, eventually, numbers, output, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Both families, a key and BFD.
const VIF_A: &str = "{name: vif-a, connection: line-a, vlan: 100, bgp: {asn: 65010, password_file: a.key, max_prefixes: 3}, \
     bfd: {interval: 100ms}, addresses: [{local: 169.254.10.2/29, peer: 169.254.10.1}, {local: \"fd00:10::2/126\", peer: \"fd00:10::1\"}]}";
/// IPv6 alone.
const VIF_B: &str = "{name: vif-b, connection: line-a, vlan: 200, bgp: {asn: 4200000020}, \
     addresses: [{local: \"fd00:20::2/126\", peer: \"fd00:20::1\"}]}";

/// The router behind `vif-a`, which announces these IPv4 routes.
fn router_a(routes: &str) -> String {
    format!(
        "router id 10.0.0.1;
protocol static s4 {{ ipv4; {routes} }}
protocol static s6 {{ ipv6; route fd00:a::/48 blackhole; route fd00:1:0:2::/64 blackhole; route ::/0 blackhole; route 0:1::/32 blackhole; }}
protocol bfd {{ interface \"*\" {{ interval 100 ms; multiplier 3; }}; neighbor 169.254.10.2 dev \"line\"; neighbor fd00:10::2 dev \"line\"; }}
template bgp ours {{ password \"k3y of vif-a\"; bfd graceful; graceful restart on; connect delay time 1; connect retry time 1; error wait time 1, 2; }}
protocol bgp gw4 from ours {{ local 169.254.10.1 as 65010; neighbor 169.254.10.2 as 65000;
  ipv4 {{ next hop keep; import all; export where source = RTS_STATIC; }}; }}
protocol bgp gw6 from ours {{ local fd00:10::1 as 65010; neighbor fd00:10::2 as 65000;
  ipv6 {{ import all; export where source = RTS_STATIC; }}; }}
"
    )
}

/// Routes that are all refused by what they are, and why.
const REFUSED: [(&str, &str, Refusal); 5] = [
    ("0.0.0.0/0", "", Refusal::DefaultRoute),
    ("10.1.2.3/32", "", Refusal::Ours),
    ("203.0.113.0/25", "", Refusal::Bogon),
    ("172.30.0.0/16", "bgp_path.prepend(65000);", Refusal::OwnAsn),
    ("172.31.0.0/16", "bgp_next_hop = 169.254.10.3;", Refusal::NextHop),
];

/// Those, and these.
fn routes(good: &[&str]) -> String {
    let bad = REFUSED.iter().map(|(prefix, set, _)| format!("route {prefix} blackhole {{ {set} }};"));
    good.iter().map(|prefix| format!("route {prefix} blackhole;")).chain(bad).collect::<Vec<_>>().join(" ")
}

/// The router behind `vif-b`: IPv4 goes by its IPv6 session, and a path that does not begin with it is no path.
const ROUTER_B: &str = "router id 10.0.0.2;
protocol static s4 { ipv4; route 172.16.0.0/16 blackhole { bgp_path.prepend(4200000020); }; route 172.17.0.0/16 blackhole { bgp_path.prepend(64999); }; }
protocol static s6 { ipv6; route fd00:b::/48 blackhole { bgp_path.prepend(4200000020); }; }
protocol bgp gw6 { local fd00:20::1 as 4200000020; neighbor fd00:20::2 as 65000; rs client; graceful restart on;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; extended next hop; }; ipv6 { import all; export where source = RTS_STATIC; }; }
";

fn is_up(status: &BTreeMap<String, SessionStatus>) -> bool {
    let up = |vif: &str| {
        let status = &status[vif];
        let families = [&status.ipv4, &status.ipv6];
        families
            .iter()
            .all(|family| family.as_ref().is_some_and(|family| family.is_up() && family.accepted > 0))
            && status.bfd.values().all(|bfd| bfd.state == BfdState::Up)
    };
    up("vif-a") && up("vif-b")
}

/// Both customers, and a BIRD that knows them.
async fn start(net: &mut Net) -> (Routing, border_gw::intent::Intent) {
    net.customer(1, &["169.254.10.2/29", "fd00:10::2/126"], &["169.254.10.1/29", "fd00:10::1/126"]);
    net.customer(2, &["fd00:20::2/126"], &["fd00:20::1/126"]);
    net.speak(1, &router_a(&routes(&["172.16.0.0/16", "10.9.0.0/16"])));
    net.speak(2, ROUTER_B);
    let intent = net.intent(&format!("[{VIF_A}, {VIF_B}]"));
    let mut routing = Routing::new(&net.gateway);
    ensure(&mut routing, &intent, &[]).await.unwrap();
    until("sessions come up", &mut routing, &intent, is_up).await;
    (routing, intent)
}

const LEARNED: [&str; 4] = [
    "10.9.0.0/16 via 169.254.10.1 dev vif1",
    "172.16.0.0/16 nexthop via 169.254.10.1 dev vif1 weight 1 nexthop via inet6 fd00:20::1 dev vif2 weight 1",
    "fd00:a::/48 via fd00:10::1 dev vif1",
    "fd00:b::/48 via fd00:20::1 dev vif2",
];
const FROM_A: [&str; 3] = [
    "10.9.0.0/16 via 169.254.10.1 dev vif1",
    "172.16.0.0/16 via 169.254.10.1 dev vif1",
    "fd00:a::/48 via fd00:10::1 dev vif1",
];
const SENTINELS: [&str; 2] = ["169.254.10.1 via 169.254.10.1 dev vif1", "fd00:10::1 via fd00:10::1 dev vif1"];

#[tokio::test]
async fn sessions_come_up_and_routes_reach_the_kernel() {
    let mut net = Net::new("up");
    let (mut routing, intent) = start(&mut net).await;
    eventually("the main table", Vec::from(LEARNED.map(str::to_owned)), || net.routes(254)).await;
    eventually("all of vif-a", Vec::from(FROM_A.map(str::to_owned)), || net.routes(SOURCES_TABLE + 1)).await;
    let from_b = ["172.16.0.0/16 via inet6 fd00:20::1 dev vif2", "fd00:b::/48 via fd00:20::1 dev vif2"];
    eventually("all of vif-b", Vec::from(from_b.map(str::to_owned)), || net.routes(SOURCES_TABLE + 2)).await;
    eventually("sentinels", Vec::from(SENTINELS.map(str::to_owned)), || net.routes(BFD_TABLE)).await;

    // What is announced, also what the peer itself announces.
    let heard = net.ask(1, "show route all protocol gw4");
    for want in ["10.1.0.0/16", "10.9.0.0/16", "BGP.as_path: 65000\n", "(65000,100)", "(65000, 1, 2)"] {
        assert!(heard.contains(want), "{want}: {heard}");
    }
    assert!(!heard.contains("172.16.0.0/16"), "customers do not hear one another: {heard}");
    assert!(net.ask(2, "show route protocol gw6").contains("10.1.0.0/16"), "IPv4 by IPv6");
    let bound = output(&format!("ip netns exec {} ss -Hltn", net.namespace()));
    assert!(bound.contains("169.254.10.2%vif1:179") && bound.contains("[fd00:20::2]%vif2:179"), "{bound}");
    assert!(bound.lines().all(|line| line.contains("%vif")), "on its own addresses alone: {bound}");

    // What comes last may come after the sessions are up.
    until("all that is refused", &mut routing, &intent, |status| {
        let vif = &status["vif-a"];
        let filtered = [&vif.ipv4, &vif.ipv6].into_iter().flatten().map(|family| family.refused_by_filter);
        filtered.sum::<u32>() == 8
    })
    .await;
    let refused = routing.refused(&intent, "vif-a", 100).await.unwrap();
    let mut want: Vec<_> = REFUSED.iter().map(|(prefix, _, why)| (prefix.parse().unwrap(), *why)).collect();
    want.extend([
        ("::/0".parse().unwrap(), Refusal::DefaultRoute),
        ("fd00:1:0:2::/64".parse().unwrap(), Refusal::Ours),
        ("0:1::/32".parse().unwrap(), Refusal::Special),
    ]);
    let mut found: Vec<_> = refused.routes.iter().map(|route| (route.prefix, route.why)).collect();
    want.sort();
    found.sort();
    assert_eq!(found, want);
    assert_eq!(refused.count, 8);
    let some = routing.refused(&intent, "vif-a", 2).await.unwrap();
    assert_eq!((some.count, some.routes.len()), (8, 2), "bounded");
    let refused = routing.refused(&intent, "vif-b", 100).await.unwrap();
    assert_eq!(refused.routes[0].why, Refusal::FirstAsn);

    let status = routing.status(&intent).await;
    let ipv4 = status["vif-a"].ipv4.clone().unwrap();
    assert_eq!((ipv4.accepted, ipv4.refused_by_filter, ipv4.refused_by_limit, ipv4.announced), (2, 5, 0, 2));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(ipv4.since.is_some_and(|since| since <= now && now - since < 20), "{ipv4:?} at {now}");

    let mode = |name: &str| fs::metadata(net.state().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("bird.conf")), (0o700, 0o600), "keys are in there");
}

#[tokio::test]
async fn over_the_limit_what_is_there_stays_and_the_rest_waits_for_room() {
    let mut net = Net::new("limit");
    let (mut routing, intent) = start(&mut net).await;
    let five = ["172.16.0.0/16", "10.9.0.0/16", "172.20.0.0/24", "172.20.1.0/24", "172.20.2.0/24"];
    net.speak(1, &router_a(&routes(&five)));
    let status = until("the limit", &mut routing, &intent, |status| {
        status["vif-a"]
            .ipv4
            .as_ref()
            .is_some_and(|ipv4| (ipv4.refused_by_limit, ipv4.refused_by_filter) == (2, 5))
    })
    .await;
    let ipv4 = status["vif-a"].ipv4.clone().unwrap();
    assert_eq!((ipv4.accepted, ipv4.refused_by_filter, ipv4.limit, ipv4.limit_hit), (3, 5, 3, true));
    assert!(ipv4.is_near_limit() && !ipv4.has_room() && ipv4.is_up(), "{ipv4:?}");
    eventually("what was there is there", true, || {
        FROM_A.iter().all(|route| net.routes(SOURCES_TABLE + 1).contains(&(*route).to_owned()))
    })
    .await;
    let refused = routing.refused(&intent, "vif-a", 100).await.unwrap();
    assert_eq!(refused.routes.iter().filter(|route| route.why == Refusal::Limit).count(), 2);

    net.speak(1, &router_a(&routes(&five[2..])));
    let room = |status: &BTreeMap<String, SessionStatus>| {
        status["vif-a"].ipv4.as_ref().is_some_and(|ipv4| ipv4.has_room())
    };
    until("room", &mut routing, &intent, room).await;
    routing.reload_in(&intent, "vif-a").await.unwrap();
    let status = until("taken in", &mut routing, &intent, |status| {
        status["vif-a"].ipv4.as_ref().is_some_and(|ipv4| ipv4.accepted == 3)
    })
    .await;
    let ipv4 = status["vif-a"].ipv4.clone().unwrap();
    assert_eq!((ipv4.refused_by_limit, ipv4.limit_hit, ipv4.has_room()), (0, false, false));
}

/// Whether two times are the same: BIRD counts from another clock, which makes a difference of a second.
fn is_same_time(one: Option<u64>, other: Option<u64>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one.abs_diff(other) <= 1)
}

fn is_same_bfd(one: &SessionStatus, other: &SessionStatus) -> bool {
    one.bfd.iter().all(|(peer, bfd)| {
        bfd.state == other.bfd[peer].state && is_same_time(bfd.since, other.bfd[peer].since)
    })
}

/// Whether the sessions of a virtual interface are the same, and not new ones.
fn is_same(
    one: &BTreeMap<String, SessionStatus>,
    other: &BTreeMap<String, SessionStatus>,
    vif: &str,
) -> bool {
    let (one, other) = (&one[vif], &other[vif]);
    let families = [(&one.ipv4, &other.ipv4), (&one.ipv6, &other.ipv6)];
    let mut pairs = families.into_iter().filter_map(|(one, other)| one.as_ref().zip(other.as_ref()));
    is_same_bfd(one, other)
        && pairs.all(|(one, other)| one.state == other.state && is_same_time(one.since, other.since))
}

#[tokio::test]
async fn a_change_of_one_interface_leaves_the_other_alone() {
    let mut net = Net::new("change");
    let (mut routing, intent) = start(&mut net).await;
    let before = routing.status(&intent).await;
    tokio::time::sleep(Duration::from_millis(2100)).await;

    // Drained: both sides prefer other ways, and no session is reset.
    ensure(&mut routing, &intent, &[("vif-b", Drain::Announced)]).await.unwrap();
    eventually("the peer is told", true, || net.ask(2, "show route all protocol gw6").contains("(65535,0)"))
        .await;
    eventually("we prefer the other", true, || {
        net.routes(254).contains(&"172.16.0.0/16 via 169.254.10.1 dev vif1".to_owned())
    })
    .await;
    let drained = routing.status(&intent).await;
    for vif in ["vif-a", "vif-b"] {
        assert!(is_same(&drained, &before, vif), "{vif}: {drained:#?}, and before {before:#?}");
    }
    assert_eq!(net.routes(SOURCES_TABLE + 2).len(), 2, "its sources go on");

    ensure(&mut routing, &intent, &[("vif-b", Drain::Down)]).await.unwrap();
    let down = until("no session", &mut routing, &intent, |status| {
        status["vif-b"].ipv6.as_ref().is_some_and(|ipv6| ipv6.state == BgpState::Down)
    })
    .await;
    assert!(is_same(&down, &before, "vif-a"), "{down:#?}");
    eventually("its routes are gone", 0, || net.routes(SOURCES_TABLE + 2).len()).await;

    // A key, and then no BGP at all.
    let with_key = VIF_B.replace("asn: 4200000020", "asn: 4200000020, password_file: a.key");
    let intent = net.intent(&format!("[{VIF_A}, {with_key}]"));
    ensure(&mut routing, &intent, &[]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let keyed = routing.status(&intent).await;
    assert_ne!(keyed["vif-b"].ipv6.as_ref().unwrap().state, BgpState::Established, "the peer has no key");
    assert!(is_same(&keyed, &before, "vif-a"), "{keyed:#?}");
    let without = VIF_A.replace("bgp: {asn: 65010, password_file: a.key, max_prefixes: 3}, ", "");
    let intent = net.intent(&format!("[{without}, {with_key}]"));
    ensure(&mut routing, &intent, &[]).await.unwrap();
    eventually("nothing of vif-a is left in the kernel", (0, 0), || {
        (net.routes(SOURCES_TABLE + 1).len(), net.routes(254).len())
    })
    .await;
    let status = routing.status(&intent).await;
    assert!(is_same_bfd(&status["vif-a"], &before["vif-a"]), "{status:#?}");
    assert_eq!(net.routes(BFD_TABLE), SENTINELS);

    // Nothing that needs BIRD.
    let intent = net.intent("[]");
    let pid = net.pid();
    ensure(&mut routing, &intent, &[]).await.unwrap();
    assert!(!fs::exists(format!("/proc/{pid}/exe")).unwrap() && !net.state().exists());
    assert_eq!(net.routes(BFD_TABLE).len(), 0, "and nothing in the kernel");
}

#[tokio::test]
async fn what_was_killed_is_back_and_the_kernel_keeps_its_routes() {
    let mut net = Net::new("kill");
    let (mut routing, intent) = start(&mut net).await;
    eventually("the main table", 4, || net.routes(254).len()).await;
    eventually("sentinels", 2, || net.routes(BFD_TABLE).len()).await;
    let pid = net.pid();

    // Another daemon finds the same process, and changes nothing.
    let mut other = Routing::new(&net.gateway);
    ensure(&mut other, &intent, &[]).await.unwrap();
    assert_eq!(net.pid(), pid);
    let log = fs::read_to_string(net.state().join("bird.log")).unwrap();
    assert!(!log.contains("Reconfigur"), "{log}");

    // Killed, and asked to end: the one leaves its process number behind, the other does not.
    for (number, signal) in [(1, Signal::SIGKILL), (2, Signal::SIGTERM)] {
        let pid = net.pid();
        kill(Pid::from_raw(pid), signal).unwrap();
        let keeps = || {
            assert_eq!(net.routes(254), LEARNED, "{signal}");
            assert_eq!(net.routes(SOURCES_TABLE + 1), FROM_A, "{signal}");
            assert_eq!(net.routes(BFD_TABLE), SENTINELS, "{signal}");
        };
        keeps();
        let killed = Instant::now();
        let mut is_back = false;
        while !is_back || killed.elapsed() < Duration::from_secs(4) {
            is_back = is_up(&other.status(&intent).await);
            keeps();
            assert!(killed.elapsed() < Duration::from_secs(15), "not back after {signal}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_ne!(net.pid(), pid);
        let (restarts, last) = other.restarts().remove("bgw-1").unwrap();
        assert!(restarts == number && last.as_ref().unwrap().back.is_some(), "{signal}: {last:?}");
    }
    let config = fs::read_to_string(net.state().join("bird.conf")).unwrap();
    assert!(config.contains("define recovering = 0;"), "the recovery is over");

    // The first daemon's view is the same; a line that is cut leaves the sentinels.
    ensure(&mut routing, &intent, &[]).await.unwrap();
    output(&format!("ip -n {}-c1 link set line down", net.gateway));
    eventually("sentinels are gone", 0, || net.routes(BFD_TABLE).len()).await;
    eventually("so are the routes", 0, || net.routes(SOURCES_TABLE + 1).len()).await;

    let pid = net.pid();
    Routing::purge(&net.gateway).await.unwrap();
    assert!(!fs::exists(format!("/proc/{pid}/exe")).unwrap() && !net.state().exists());
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_no_session() {
    let mut net = Net::new("key");
    net.customer(1, &["169.254.10.2/29"], &["169.254.10.1/29"]);
    let vif = "[{name: vif-a, connection: line-a, vlan: 100, bgp: {asn: 65010, password_file: a.key, ttl_security: true, hold_time: 3s}, \
               addresses: [{local: 169.254.10.2/29, peer: 169.254.10.1}]}]";
    let intent = net.intent(vif);
    let mut routing = Routing::new(&net.gateway);
    ensure(&mut routing, &intent, &[]).await.unwrap();
    let router = |options: &str| {
        format!(
            "router id 10.0.0.1; protocol bgp gw4 {{ local 169.254.10.1 as 65010; neighbor 169.254.10.2 as 65000; {options} \
             connect delay time 1; connect retry time 1; error wait time 1, 1; ipv4 {{ import all; export none; }}; }}"
        )
    };
    for options in [
        "ttl security on;",
        "ttl security on; password \"another\";",
        "multihop 2; password \"k3y of vif-a\";",
    ] {
        net.speak(1, &router(options));
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(1500) {
            let status = routing.status(&intent).await;
            assert_ne!(status["vif-a"].ipv4.as_ref().unwrap().state, BgpState::Established, "{options}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    net.speak(1, &router("ttl security on; password \"k3y of vif-a\";"));
    until("the right one", &mut routing, &intent, |status| {
        status["vif-a"].ipv4.as_ref().is_some_and(|ipv4| ipv4.is_up())
    })
    .await;
}

#[tokio::test]
async fn bird_takes_every_option_and_a_wrong_configuration_leaves_what_runs() {
    let net = Net::new("wide");
    let bgp = "bgp: {asn: 4200000010, password_file: a.key, max_prefixes: 100000, hold_time: 3s, local_preference: 4294967295, \
               prepend: 10, ttl_security: true, graceful_restart: false, accept: [default_route, bogons, own_asn]}";
    let vif = |name: &str, vlan: u32, sections: &str, addresses: &str| {
        format!("{{name: {name}, connection: line-a, vlan: {vlan}, {sections}, addresses: [{addresses}]}}")
    };
    let v4 = "{local: 169.254.10.2/31, peer: 169.254.10.3}";
    let v6 = "{local: \"fd00:20::2/127\", peer: \"fd00:20::3\"}";
    let vifs = [
        vif("vif-a", 100, bgp, v4),
        vif("vif-b", 200, &format!("{bgp}, bfd: {{interval: 10ms, multiplier: 50}}, enabled: false"), v6),
    ];
    let intent = net.intent(&format!("[{}]", vifs.join(", ")));
    for drain in [None, Some(Drain::Announced), Some(Drain::Down)] {
        let mut intent = intent.clone();
        intent.drained.extend(drain.map(|drain| ("vif-b".to_owned(), drain)));
        let text = conf::text(&intent, &intent.border_gateways[0], &numbers()["bgw-1"]);
        let file = net.write("wide.conf", &text);
        output(&format!("bird -p -c {}", file.display()));
    }
    // Descriptors that a library forgot to close at `exec`.
    let (_reader, writer) = nix::unistd::pipe().unwrap();
    let open = |pid: &str| -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect()
    };
    let ours = fs::read_link(format!("/proc/self/fd/{}", writer.as_raw_fd())).unwrap();
    assert!(open("self").contains(&ours));
    let mut routing = Routing::new(&net.gateway);
    ensure(&mut routing, &intent, &[]).await.unwrap();
    let pid = net.pid();
    let theirs = open(&pid.to_string());
    assert!(!theirs.contains(&ours), "{theirs:?}");
    let session = nix::unistd::getsid(Some(Pid::from_raw(pid))).unwrap();
    assert_eq!(session.as_raw(), pid, "a session of its own");

    // A name that BIRD cannot read: nothing that the intent lets through does that.
    let mut wrong = intent.clone();
    wrong.border_gateways[0].virtual_interfaces[0].name = "k3y of vif-a\" oops".into();
    let numbers = [("bgw-1".to_owned(), [("k3y of vif-a\" oops".to_owned(), 1)].into())].into();
    let error = routing.ensure(&wrong, &numbers).await.unwrap_err();
    assert!(matches!(error, RoutingError::Invalid { .. }), "{error}");
    assert!(!error.to_string().contains("k3y of vif-a"), "{error}");
    assert_eq!(net.pid(), pid);
    let kept = fs::read_to_string(net.state().join("bird.conf")).unwrap();
    assert!(kept.contains("description \"vif-a\"") && !kept.contains("oops"), "{kept}");
    ensure(&mut routing, &intent, &[]).await.unwrap();
    assert_eq!(net.pid(), pid);
    Routing::purge(&net.gateway).await.unwrap();
    assert!(!net.state().parent().unwrap().exists());

    // The number of a process that is another by now.
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    fs::create_dir_all(net.state()).unwrap();
    fs::write(net.state().join("bird.pid"), format!("{}\n", stranger.id())).unwrap();
    fs::write(net.state().join("bird.conf"), "").unwrap();
    Routing::purge(&net.gateway).await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "it lives");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
