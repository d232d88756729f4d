//! What becomes of routing daemons and lines: crashes, drains, a daemon of the operator's own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::time::{Duration, Instant};

use border_gw_tests::customers::{self, A, B, C, D, KEY, Line, Pings, comes_up, inside, learns, router};
use border_gw_tests::daemon::{Daemon, binary};
use border_gw_tests::frames::{Raw, arp_request, ethernet, mac_of, syn, udp};
use border_gw_tests::metrics::Scrape;
use border_gw_tests::netns::{Netns, output};
use border_gw_tests::peer::{Kind, Peer, PeerConfig};
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::eventually;
use border_gw_tests::testbed::Testbed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LAN: [&str; 2] = ["172.16.0.1", "fd00:a::1"];

fn of_a(lines: &[Line]) -> PeerConfig {
    router(lines, &LAN).unwrap().announce(&["172.16.0.0/16", "fd00:a::/48"])
}

/// The only BIRD of a border gateway.
fn bird(testbed: &Testbed, gateway: &str) -> Pid {
    let found = inside(testbed, gateway).processes("bird");
    assert_eq!(found.len(), 1, "BIRDs of {gateway}");
    found[0]
}

fn is_reached(from: &Netns, daemon: &Daemon) {
    for to in LAN {
        eventually(&format!("{} reaches {to}", from.name), || {
            Ok(from.succeeds(&format!("ping -q -c 3 -i 0.05 -W 1 {to}")))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    }
}

/// A gateway and customers a and b, a with BFD on both sides (graceful), b without.
fn with_two_customers() -> (Testbed, Daemon, [Peer; 2]) {
    require_root();
    let keys = [A, B, C].map(|line| line.bgp_with_key(""));
    let bfd = "bfd: {interval: 50ms, multiplier: 3}";
    let of_vifs: [(Line, &[&str]); 3] = [(A, &[&keys[0], bfd]), (B, &[&keys[1], bfd]), (C, &[&keys[2]])];
    let (testbed, daemon) = customers::testbed(&of_vifs, |text| text).unwrap();
    let a = of_a(&[A, B]).password(KEY).bfd(50, 3);
    let a = Peer::start(&testbed.cust_a, Kind::Bird, a).unwrap();
    let c = Peer::start(&testbed.cust_b, Kind::Bird, of_a(&[C]).password(KEY)).unwrap();
    for peer in [&a, &c] {
        comes_up(peer, &daemon).unwrap();
    }
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", &["vif-a", "vif-b"]), ("fd00:a::/48", &["vif-a", "vif-b"])])
        .unwrap();
    learns(&daemon, "bgw-2", &[("172.16.0.0/16", &["vif-c"]), ("fd00:a::/48", &["vif-c"])]).unwrap();
    is_reached(&testbed.vpc(&testbed.host1, 5001), &daemon);
    is_reached(&testbed.vpc(&testbed.host2, 5003), &daemon);
    eventually("BFD is up on both lines", || {
        let said = a.birdc("show bfd sessions")?;
        Ok(said.lines().filter(|line| line.split_whitespace().nth(2) == Some("Up")).count() == 4)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", a.birdc("show bfd sessions").unwrap()));
    (testbed, daemon, [a, c])
}

/// Pings from a host of each customer's VPC.
fn pings(testbed: &Testbed) -> [Pings; 2] {
    [(&testbed.host1, 5001), (&testbed.host2, 5003)]
        .map(|(host, vni)| Pings::start(&testbed.vpc(host, vni), &LAN).unwrap())
}

fn lost(pings: [Pings; 2]) -> [u64; 2] {
    pings.map(|pings| pings.lost().unwrap())
}

#[test]
fn kill_9_of_bird_leaves_forwarding_and_sessions_come_back() {
    let (testbed, daemon, peers) = with_two_customers();
    let pings = pings(&testbed);
    for (gateway, peer) in [("bgw-1", &peers[0]), ("bgw-2", &peers[1])] {
        let killed = bird(&testbed, gateway);
        kill(killed, Signal::SIGKILL).unwrap();
        eventually("another BIRD runs", || {
            Ok(inside(&testbed, gateway).processes("bird").iter().any(|found| *found != killed))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
        comes_up(peer, &daemon).unwrap();
        // What is stale is forgotten some time after the sessions are back: nothing may go then, either.
        std::thread::sleep(Duration::from_secs(3));
        assert!(peer.is_established().unwrap());
    }
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", &["vif-a", "vif-b"]), ("fd00:a::/48", &["vif-a", "vif-b"])])
        .unwrap();
    learns(&daemon, "bgw-2", &[("172.16.0.0/16", &["vif-c"]), ("fd00:a::/48", &["vif-c"])]).unwrap();
    assert_eq!(lost(pings), [0, 0], "lost of customers with graceful BFD, and without BFD\n{}", daemon.log());
}

#[test]
fn kill_9_of_bird_with_plain_bfd_is_a_failover_that_is_measured() {
    require_root();
    let key = A.bgp_with_key("");
    let (testbed, daemon) =
        customers::testbed(&[(A, &[&key, "bfd: {interval: 50ms, multiplier: 3}"])], |text| text).unwrap();
    let peer = of_a(&[A]).password(KEY).plain_bfd(50, 3);
    let peer = Peer::start(&testbed.cust_a, Kind::Bird, peer).unwrap();
    comes_up(&peer, &daemon).unwrap();
    let host = testbed.vpc(&testbed.host1, 5001);
    is_reached(&host, &daemon);
    eventually("BFD is up", || Ok(peer.birdc("show bfd sessions")?.matches("Up").count() == 2)).unwrap();
    kill(bird(&testbed, "bgw-1"), Signal::SIGKILL).unwrap();
    let mut failovers = serde_json::Value::Null;
    eventually("the outage is told", || {
        failovers = daemon.show("failovers")?;
        Ok(failovers[0]["converged_seconds"].is_number())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{failovers}\n{}", daemon.log()));
    assert_eq!((&failovers[0]["cause"], &failovers[0]["name"]), (&"bird".into(), &"bgw-1".into()));
    assert!(failovers[0]["rerouted_seconds"].is_null(), "forwarding goes on: {failovers}");
    comes_up(&peer, &daemon).unwrap();
    is_reached(&host, &daemon);
    let restarts = Scrape::of(&testbed.server).unwrap().sum("border_gw_bird_restarts_total", &[]);
    assert_eq!(restarts, 1, "{}", daemon.log());
}

#[test]
fn kill_9_of_the_gateway_leaves_bird_its_sessions_and_forwarding() {
    let (testbed, mut daemon, peers) = with_two_customers();
    let birds = ["bgw-1", "bgw-2"].map(|gateway| bird(&testbed, gateway));
    let since = peers[0].birdc("show protocols").unwrap();
    let pings = pings(&testbed);
    daemon.kill();
    std::thread::sleep(Duration::from_secs(2));
    assert!(peers.iter().all(|peer| peer.is_established().unwrap()), "while no daemon runs");
    assert_eq!(lost(pings), [0, 0], "while no daemon runs");
    let pings = self::pings(&testbed);
    daemon.restart().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", &["vif-a", "vif-b"]), ("fd00:a::/48", &["vif-a", "vif-b"])])
        .unwrap();
    assert_eq!(["bgw-1", "bgw-2"].map(|gateway| bird(&testbed, gateway)), birds, "the BIRDs are adopted");
    assert_eq!(peers[0].birdc("show protocols").unwrap(), since, "no session was reset");
    assert_eq!(lost(pings), [0, 0], "while another daemon starts\n{}", daemon.log());
    // What runs is still ours to change.
    let text = std::fs::read_to_string(&testbed.config).unwrap();
    let text = text.replacen("    asn: 65000\n", "    asn: 65000\n    advertise: [10.99.0.0/16]\n", 1);
    std::fs::write(&testbed.config, text).unwrap();
    eventually("a new prefix is announced", || Ok(peers[0].received()?.contains("10.99.0.0/16")))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    assert!(peers[0].is_established().unwrap());
}

#[test]
fn a_daemon_that_starts_knows_whose_bfd_was_lost_before() {
    let (_testbed, mut daemon, [mut a, _c]) = with_two_customers();
    let state = |daemon: &Daemon| {
        let vifs = daemon.show("vifs")?;
        let rows = vifs.as_array().into_iter().flatten();
        let is_a = |row: &&serde_json::Value| row["name"] == "vif-a";
        anyhow::Ok(rows.into_iter().find(is_a).map(|row| row["state"].clone()))
    };
    // Whose it never was is another matter; this one was up.
    a.kill();
    eventually("BFD is lost", || Ok(state(&daemon)? == Some("bfd_down".into())))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    daemon.kill();
    daemon.restart().unwrap();
    assert_eq!(state(&daemon).unwrap(), Some("bfd_down".into()), "{}", daemon.log());
    a.restart().unwrap();
    comes_up(&a, &daemon).unwrap();
    eventually("it is up again", || Ok(state(&daemon)? == Some("up".into())))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
}

fn border_gw(testbed: &Testbed, words: &str) -> String {
    let line = format!("{} {words} --config {}", binary().display(), testbed.config.display());
    output(&mut testbed.server.command(&line)).unwrap()
}

fn packets(testbed: &Testbed, vif: &str) -> u64 {
    let scrape = Scrape::of(&testbed.server).unwrap();
    scrape.sum("border_gw_vif_packets_total", &[("vif", vif)])
}

#[test]
fn a_drained_line_loses_nothing_and_comes_back() {
    let (testbed, daemon, [peer, _other]) = with_two_customers();
    let host = testbed.vpc(&testbed.host1, 5001);
    let pings = Pings::start(&host, &LAN).unwrap();
    border_gw(&testbed, "drain vif-a");
    // RFC 8326: first it is said that the line is about to go.
    eventually("the community of a graceful shutdown, or the end of the session", || {
        let route = peer.birdc("show route protocol peer0 all")?;
        Ok(route.contains("(65535,0)") || peer.established()? == 2)
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    let both: &[&str] = &["vif-b"];
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", both), ("fd00:a::/48", both)]).unwrap();
    eventually("its sessions go down, those of the other line stay", || {
        let said = peer.birdc("show protocols")?;
        let is_up =
            |name: &str| said.lines().any(|line| line.starts_with(name) && line.contains("Established"));
        Ok(["peer0", "peer1", "peer2", "peer3"].map(is_up) == [false, true, false, true])
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
    let before = packets(&testbed, "vif-a");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(packets(&testbed, "vif-a"), before, "nothing goes over a drained line");
    border_gw(&testbed, "undrain vif-a");
    comes_up(&peer, &daemon).unwrap();
    let both: &[&str] = &["vif-a", "vif-b"];
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", both), ("fd00:a::/48", both)]).unwrap();
    assert_eq!(pings.lost().unwrap(), 0, "{}", daemon.log());
}

/// SYNs from the declared peer and from strangers, ARP requests and forwarded BFD of the declared peer: on the line of customer d.
fn flood_of(testbed: &Testbed) -> Vec<Vec<u8>> {
    let (to, from) = (mac_of(&testbed.server, "eth3").unwrap(), mac_of(&testbed.cust_d, "eth0").unwrap());
    let (peer, own) = ("169.254.13.1".parse().unwrap(), "169.254.13.2".parse().unwrap());
    let frame = |number: u16| match number % 6 {
        0 => ethernet([0xff; 6], from, Some(300), 0x0806, &arp_request(from, peer, own)),
        1 => {
            let stranger = std::net::Ipv4Addr::from(0xac12_0000 + u32::from(number));
            ethernet(to, from, Some(300), 0x0800, &syn(stranger, own, (20_000 + number, 179), 255).unwrap())
        }
        // What somebody behind the customer's router sends in its name, and what no BFD is for that.
        2 | 3 => {
            let bfd = udp("169.254.13.1", "169.254.13.2", (49_152 + number, 3784), 254, 24).unwrap();
            ethernet(to, from, Some(300), 0x0800, &bfd)
        }
        _ => ethernet(to, from, Some(300), 0x0800, &syn(peer, own, (20_000 + number, 179), 255).unwrap()),
    };
    (0..4096).map(frame).collect()
}

#[test]
#[ignore = "long: 30 seconds of a flood"]
fn a_flood_of_syns_and_arps_flaps_no_session() {
    require_root();
    let keys = [A, C, D].map(|line| line.bgp_with_key(", hold_time: 9s"));
    let bfd = "bfd: {interval: 300ms, multiplier: 3}";
    let of_vifs: [(Line, &[&str]); 3] = [(A, &[&keys[0], bfd]), (C, &[&keys[1], bfd]), (D, &[&keys[2], bfd])];
    let (testbed, daemon) = customers::testbed(&of_vifs, |text| text).unwrap();
    let start = |netns, line| {
        let config = router(&[line], &[]).unwrap().password(KEY).bfd(300, 3);
        let peer = Peer::start(netns, Kind::Bird, config).unwrap();
        comes_up(&peer, &daemon).unwrap();
        peer
    };
    let peers = [start(&testbed.cust_a, A), start(&testbed.cust_b, C), start(&testbed.cust_d, D)];
    // Protocols and BFD sessions with the times of their last changes.
    let view = |peer: &Peer| {
        let view = ["show protocols", "show bfd sessions"].map(|command| peer.birdc(command).unwrap());
        // What a session of BFD counts down is no state.
        let words = |line: &str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        view.concat().lines().map(words).collect::<Vec<_>>().join("\n")
    };
    for peer in &peers {
        eventually("BFD is up", || Ok(peer.birdc("show bfd sessions")?.matches("Up").count() == 2)).unwrap();
    }
    let before: Vec<_> = peers.iter().map(view).collect();
    let frames = flood_of(&testbed);
    let line = Raw::open(&testbed.cust_d, "eth0").unwrap();
    let (mut sent, started) = (0, Instant::now());
    while started.elapsed() < Duration::from_secs(30) {
        sent += line.send(&frames);
    }
    let after: Vec<_> = peers.iter().map(view).collect();
    let drops = Scrape::of(&testbed.server).unwrap().all_drops();
    assert_eq!(after, before, "after {sent} packets, of which were dropped {drops:?}\n{}", daemon.log());
    assert!(sent > 1_000_000, "{sent} packets are no flood");
}

#[test]
fn the_operator_s_own_frr_in_the_namespace() {
    require_root();
    let external = |text: String| {
        text.replacen(
            "  - name: bgw-1\n    asn: 65000\n",
            "  - name: bgw-1\n    asn: 65000\n    routing: external\n",
            1,
        )
    };
    let (testbed, daemon) = customers::testbed(&[], external).unwrap();
    let sessions = [A, B].iter().flat_map(|line| {
        let net = line.net;
        [
            (format!("169.254.{net}.2"), format!("169.254.{net}.1")),
            (format!("fd00:{net}::2"), format!("fd00:{net}::1")),
        ]
    });
    let sessions: Vec<_> = sessions.collect();
    let sessions: Vec<_> = sessions.iter().map(|(local, remote)| (local.as_str(), remote.as_str())).collect();
    let own = PeerConfig::new(65000, A.asn, &sessions).unwrap().announce(&["10.1.0.0/16", "fd00:1::/48"]);
    let namespace = inside(&testbed, "bgw-1");
    let own = Peer::start(&namespace, Kind::Frr, own.password(KEY)).unwrap();
    let mut peer = Peer::start(&testbed.cust_a, Kind::Bird, of_a(&[A, B]).password(KEY)).unwrap();
    comes_up(&own, &daemon).unwrap();
    comes_up(&peer, &daemon).unwrap();
    assert!(namespace.processes("bird").is_empty(), "no BIRD runs beside it");
    let both: &[&str] = &["vif-a", "vif-b"];
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", both), ("fd00:a::/48", both)])
        .unwrap_or_else(|error| panic!("{error:#}\n{}", namespace.run("ip route").unwrap()));
    let host = testbed.vpc(&testbed.host1, 5001);
    is_reached(&host, &daemon);
    // What FRR takes is looked at again: a host of a VPC is nobody else's.
    peer.announce(&["10.1.0.10/32".into(), "172.20.0.0/16".into()]).unwrap();
    let all: [(&str, &[&str]); 3] = [("172.16.0.0/16", both), ("172.20.0.0/16", both), ("fd00:a::/48", both)];
    learns(&daemon, "bgw-1", &all).unwrap();
    // Of several routes to a prefix that of the lowest metric counts.
    let by = |net: u8, metric: u32| format!("172.21.0.0/16 via 169.254.{net}.1 proto static metric {metric}");
    let [lan, more, v6] = all;
    for (net, metric, vif) in [(10, 3000, "vif-a"), (11, 5000, "vif-a"), (11, 1000, "vif-b")] {
        namespace.ip(&[&format!("route add {}", by(net, metric))]).unwrap();
        learns(&daemon, "bgw-1", &[lan, more, ("172.21.0.0/16", &[vif]), v6]).unwrap();
    }
    let remove =
        [(10, 3000), (11, 5000), (11, 1000)].map(|(net, metric)| format!("route del {}", by(net, metric)));
    namespace.ip(&[&remove[0], &remove[1], &remove[2]]).unwrap();
    learns(&daemon, "bgw-1", &all).unwrap();
    peer.withdraw(&["172.16.0.0/16", "172.20.0.0/16"]).unwrap();
    learns(&daemon, "bgw-1", &[("fd00:a::/48", both)]).unwrap();
}
