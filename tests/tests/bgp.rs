//! BGP with customers' routers of four kinds: sessions, routes both ways, preference, and what is refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::thread;
use std::time::Duration;

use border_gw_tests::customers::{
    self, A, B, C, D, E, KEY, Line, comes_up, lead_to_vpc, learned, learns, router, write_key,
};
use border_gw_tests::daemon::Daemon;
use border_gw_tests::frames::{Raw, ethernet, mac_of, udp};
use border_gw_tests::metrics::Scrape;
use border_gw_tests::netns::Netns;
use border_gw_tests::peer::{Announced, Kind, Peer, PeerConfig, Ttl};
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::eventually;
use border_gw_tests::testbed::Testbed;

/// A gateway whose VIFs have these keys.
fn testbed(keys: &[(Line, &[&str])]) -> (Testbed, Daemon) {
    require_root();
    customers::testbed(keys, |text| text).unwrap()
}

fn reaches(from: &Netns, to: &str) -> bool {
    from.succeeds(&format!("ping -q -c 3 -i 0.05 -W 1 {to}"))
}

/// It may take a moment until the last of both sides has a route.
fn comes_to_reach(from: &Netns, to: &str, daemon: &Daemon) {
    eventually(&format!("{} reaches {to}", from.name), || Ok(reaches(from, to)))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
}

fn receives(peer: &Peer, prefixes: &[&str]) {
    eventually(&format!("{:?} receives {prefixes:?}", peer.kind), || {
        Ok(peer.received()?.into_iter().collect::<Vec<_>>() == prefixes)
    })
    .unwrap_or_else(|error| panic!("{error:#}: {:?}\n{}", peer.received(), peer.log()));
}

fn lan(config: PeerConfig, net: &str, letter: &str) -> PeerConfig {
    config.announce(&[&format!("172.{net}.0.0/16"), &format!("fd00:{letter}::/48")])
}

fn vif_packets(testbed: &Testbed, vif: &str, direction: &str) -> u64 {
    let scrape = Scrape::of(&testbed.server).unwrap();
    scrape.sum("border_gw_vif_packets_total", &[("vif", vif), ("direction", direction)])
}

#[test]
fn four_daemons_speak_with_keys_and_pings_follow_what_is_learned() {
    let keys = [A, B, C, D, E].map(|line| (line, line.bgp_with_key("")));
    let keys: Vec<_> = keys.iter().map(|(line, key)| (*line, [key.as_str()])).collect();
    let keys: Vec<_> = keys.iter().map(|(line, keys)| (*line, keys.as_slice())).collect();
    let (testbed, daemon) = testbed(&keys);
    let sources = ["172.16.0.1", "fd00:a::1"];
    let start =
        |netns: &Netns, kind, config: PeerConfig| Peer::start(netns, kind, config.password(KEY)).unwrap();
    let a = start(&testbed.cust_a, Kind::Bird, lan(router(&[A, B], &sources).unwrap(), "16", "a"));
    let b = start(&testbed.cust_b, Kind::Frr, lan(router(&[C], &sources).unwrap(), "16", "a"));
    let d = start(&testbed.cust_d, Kind::Gobgp, lan(router(&[D], &[]).unwrap(), "18", "d"));
    let e = start(&testbed.cust_e, Kind::Exabgp, lan(router(&[E], &[]).unwrap(), "19", "e"));
    for peer in [&a, &b, &d, &e] {
        comes_up(peer, &daemon).unwrap();
    }
    receives(&a, &["10.1.0.0/16", "10.2.0.0/16", "fd00:1::/48", "fd00:2::/48"]);
    receives(&b, &["10.1.0.0/16", "fd00:1::/48"]);
    receives(&d, &["10.4.0.0/16", "fd00:4::/48"]);
    receives(&e, &["10.4.0.0/16", "fd00:4::/48"]);
    let both: &[&str] = &["vif-a", "vif-b"];
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", both), ("fd00:a::/48", both)]).unwrap();
    learns(&daemon, "bgw-2", &[("172.16.0.0/16", &["vif-c"]), ("fd00:a::/48", &["vif-c"])]).unwrap();
    learns(
        &daemon,
        "bgw-3",
        &[
            ("172.18.0.0/16", &["vif-d"]),
            ("172.19.0.0/16", &["vif-e"]),
            ("fd00:d::/48", &["vif-d"]),
            ("fd00:e::/48", &["vif-e"]),
        ],
    )
    .unwrap();
    lead_to_vpc(&testbed.cust_d, D, &[("10.4.0.0/16", "172.18.0.1"), ("fd00:4::/48", "fd00:d::1")]).unwrap();
    lead_to_vpc(&testbed.cust_e, E, &[("10.4.0.0/16", "172.19.0.1"), ("fd00:4::/48", "fd00:e::1")]).unwrap();
    reach_each_other(&testbed, &daemon);
}

/// Each customer and a host of its VPC, in both families; customers a and b have the same addresses and stay apart.
fn reach_each_other(testbed: &Testbed, daemon: &Daemon) {
    let [v1, v3, v4] = [(&testbed.host1, 5001), (&testbed.host2, 5003), (&testbed.host2, 5004)]
        .map(|(host, vni)| testbed.vpc(host, vni));
    for (host, customer, address, addresses) in [
        (&v1, &testbed.cust_a, ["10.1.0.10", "fd00:1::10"], ["172.16.0.1", "fd00:a::1"]),
        (&v3, &testbed.cust_b, ["10.1.0.10", "fd00:1::10"], ["172.16.0.1", "fd00:a::1"]),
        (&v4, &testbed.cust_d, ["10.4.0.10", "fd00:4::10"], ["172.18.0.1", "fd00:d::1"]),
        (&v4, &testbed.cust_e, ["10.4.0.10", "fd00:4::10"], ["172.19.0.1", "fd00:e::1"]),
    ] {
        for (address, of_customer) in address.into_iter().zip(addresses) {
            comes_to_reach(host, of_customer, daemon);
            comes_to_reach(customer, address, daemon);
        }
    }
    let a = || vif_packets(testbed, "vif-a", "to_customer") + vif_packets(testbed, "vif-b", "to_customer");
    let (of_a, of_c) = (a(), vif_packets(testbed, "vif-c", "to_customer"));
    assert!(reaches(&v3, "172.16.0.1"));
    assert_eq!(a(), of_a, "what customer b is sent is none of customer a's");
    assert!(vif_packets(testbed, "vif-c", "to_customer") >= of_c + 3);
}

/// Customer a with a BIRD on both lines, the second one's routes less preferred.
fn active_and_standby(first: &str, second: &str) -> (Testbed, Daemon, Peer) {
    let keys = [A.bgp(first), B.bgp(second)];
    let (testbed, daemon) = testbed(&[(A, &[&keys[0]]), (B, &[&keys[1]])]);
    let config = lan(router(&[A, B], &["172.16.0.1", "fd00:a::1"]).unwrap(), "16", "a");
    let peer = Peer::start(&testbed.cust_a, Kind::Bird, config).unwrap();
    comes_up(&peer, &daemon).unwrap();
    (testbed, daemon, peer)
}

#[test]
fn a_standby_line_takes_traffic_from_the_customer_and_no_spoofed_source() {
    let (testbed, daemon, _peer) = active_and_standby("", ", local_preference: 50");
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", &["vif-a"]), ("fd00:a::/48", &["vif-a"])]).unwrap();
    // The customer's packets leave by the standby line alone.
    lead_to_vpc(&testbed.cust_a, B, &[("10.1.0.10/32", "172.16.0.1"), ("fd00:1::10/128", "fd00:a::1")])
        .unwrap();
    let counts = || {
        let of = |vif, direction| vif_packets(&testbed, vif, direction);
        [of("vif-a", "to_vpc"), of("vif-b", "to_vpc"), of("vif-a", "to_customer"), of("vif-b", "to_customer")]
    };
    comes_to_reach(&testbed.cust_a, "10.1.0.10", &daemon);
    comes_to_reach(&testbed.cust_a, "fd00:1::10", &daemon);
    let before = counts();
    assert!(
        reaches(&testbed.cust_a, "10.1.0.10") && reaches(&testbed.cust_a, "fd00:1::10"),
        "{}",
        daemon.log()
    );
    let after = counts();
    let used: Vec<_> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert_eq!(used, [0, 6, 6, 0], "it leaves by vif-b, and is answered by vif-a");

    let (to, from) = (mac_of(&testbed.server, "eth1").unwrap(), mac_of(&testbed.cust_a, "eth1").unwrap());
    let refused = || Scrape::of(&testbed.server).unwrap().refused("source_invalid");
    let line = Raw::open(&testbed.cust_a, "eth1").unwrap();
    for (source, valid) in [("203.0.113.9", false), ("172.18.0.1", false), ("172.16.77.1", true)] {
        let packet = udp(source, "10.1.0.10", (4000, 9), 64, 32).unwrap();
        let (refused_before, passed_before) = (refused(), vif_packets(&testbed, "vif-b", "to_vpc"));
        line.send(&vec![ethernet(to, from, Some(100), 0x0800, &packet); 10]);
        let expected = if valid { (0, 10) } else { (10, 0) };
        let got = || (refused() - refused_before, vif_packets(&testbed, "vif-b", "to_vpc") - passed_before);
        eventually("all are counted", || Ok(got().0 + got().1 >= 10)).unwrap();
        assert_eq!(got(), expected, "from {source}");
    }
}

#[test]
fn a_customer_s_communities_choose_the_preference() {
    let (testbed, daemon, mut peer) = active_and_standby("", ", local_preference: 50");
    // By default the first line; a community of ours is above what the line has, in both directions.
    for (prefix, community) in [("172.20.0.0/16", "65000:7300"), ("172.21.0.0/16", "65000:7300:0")] {
        peer.announce(&[Announced::from(prefix).communities(&[community])]).unwrap();
    }
    let (one, both): (&[&str], &[&str]) = (&["vif-a"], &["vif-a", "vif-b"]);
    let wanted =
        [("172.16.0.0/16", one), ("172.20.0.0/16", both), ("172.21.0.0/16", both), ("fd00:a::/48", one)];
    learns(&daemon, "bgw-1", &wanted).unwrap();
    drop(testbed);
}

#[test]
fn a_host_route_inside_a_vpc_changes_nothing() {
    let keys = [A.bgp("")];
    let (testbed, daemon) = testbed(&[(A, &[&keys[0]])]);
    let config = lan(router(&[A], &["172.16.0.1", "fd00:a::1"]).unwrap(), "16", "a");
    let stolen = ["10.1.0.10/32", "10.2.0.0/24", "10.1.0.0/16", "fd00:1::10/128", "169.254.11.0/30"];
    let peer = Peer::start(&testbed.cust_a, Kind::Exabgp, config.announce(&stolen)).unwrap();
    comes_up(&peer, &daemon).unwrap();
    let only: &[&str] = &["vif-a"];
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", only), ("fd00:a::/48", only)]).unwrap();
    thread::sleep(Duration::from_millis(500));
    learns(&daemon, "bgw-1", &[("172.16.0.0/16", only), ("fd00:a::/48", only)]).unwrap();
    let before = vif_packets(&testbed, "vif-a", "to_customer");
    let v2 = testbed.vpc(&testbed.host1, 5002);
    assert!(reaches(&v2, "10.1.0.10") && reaches(&v2, "fd00:1::10"), "{}", daemon.log());
    assert_eq!(
        vif_packets(&testbed, "vif-a", "to_customer"),
        before,
        "nothing of a VPC's goes to a customer"
    );
    // Nor is it a source.
    let (to, from) = (mac_of(&testbed.server, "eth0").unwrap(), mac_of(&testbed.cust_a, "eth0").unwrap());
    let refused = Scrape::of(&testbed.server).unwrap().refused("source_invalid");
    let packet = udp("10.1.0.10", "10.2.0.10", (4000, 9), 64, 32).unwrap();
    Raw::open(&testbed.cust_a, "eth0")
        .unwrap()
        .send(&vec![ethernet(to, from, Some(100), 0x0800, &packet); 10]);
    eventually("a VPC's address is no source of a customer", || {
        Ok(Scrape::of(&testbed.server)?.refused("source_invalid") == refused + 10)
    })
    .unwrap();
}

#[test]
fn what_no_customer_may_announce_is_refused() {
    let key = E.bgp("");
    let (testbed, daemon) = testbed(&[(E, &[&key])]);
    let config = lan(router(&[E], &[]).unwrap(), "19", "e");
    let mut peer = Peer::start(&testbed.cust_e, Kind::Exabgp, config).unwrap();
    comes_up(&peer, &daemon).unwrap();
    let plain = [
        "0.0.0.0/0",
        "127.0.0.0/8",
        "127.1.0.0/16",
        "0.0.0.0/8",
        "224.0.0.0/4",
        "239.1.0.0/16",
        "240.0.0.0/4",
        "169.254.14.0/30",
        "169.254.14.1/32",
        "169.254.13.0/30",
        "198.18.0.0/15",
        "192.0.2.0/24",
        "100.64.0.0/10",
        "10.4.0.10/32",
        "10.4.0.0/16",
        "::/0",
        "::1/128",
        "ff00::/8",
        "fe80::/10",
        "2001:db8::/32",
        "fd00:4::10/128",
    ];
    let mut bad: Vec<Announced> = plain.iter().map(|&prefix| prefix.into()).collect();
    bad.push(Announced::from("172.20.0.0/16").path(&[65000]));
    bad.push(Announced::from("172.21.0.0/16").path(&[65099, 65000, 65098]));
    bad.push(Announced::from("fd00:f::/48").path(&[65000]));
    peer.announce(&bad).unwrap();
    // The last one is good: when it is there, those before it have been looked at.
    let good = [Announced::from("172.22.0.0/16").path(&[65099]), "fd00:ee::/48".into()];
    peer.announce(&good).unwrap();
    let only: &[&str] = &["vif-e"];
    let wanted =
        [("172.19.0.0/16", only), ("172.22.0.0/16", only), ("fd00:e::/48", only), ("fd00:ee::/48", only)];
    learns(&daemon, "bgw-3", &wanted).unwrap();
    thread::sleep(Duration::from_millis(500));
    learns(&daemon, "bgw-3", &wanted).unwrap();
    assert!(peer.is_established().unwrap(), "a refused route ends no session");
    let kernel = customers::inside(&testbed, "bgw-3").run("ip route show table all type unicast").unwrap();
    for refused in ["default", "127.", "10.4.0.10", "172.20.", "172.21.", "198.18.", "100.64."] {
        assert!(!kernel.lines().any(|line| line.starts_with(refused)), "{refused}: {kernel}");
    }
}

#[test]
fn what_is_asked_for_is_taken() {
    let key = E.bgp(", accept: [default_route, bogons, own_asn]");
    let (testbed, daemon) = testbed(&[(E, &[&key])]);
    let mut peer = Peer::start(&testbed.cust_e, Kind::Exabgp, router(&[E], &[]).unwrap()).unwrap();
    comes_up(&peer, &daemon).unwrap();
    let mut routes: Vec<Announced> =
        ["0.0.0.0/0", "192.0.2.0/24", "::/0", "127.0.0.0/8", "10.4.0.10/32"].map(Announced::from).to_vec();
    routes.push(Announced::from("172.20.0.0/16").path(&[65000]));
    peer.announce(&routes).unwrap();
    let only: &[&str] = &["vif-e"];
    let wanted = [("0.0.0.0/0", only), ("172.20.0.0/16", only), ("192.0.2.0/24", only), ("::/0", only)];
    learns(&daemon, "bgw-3", &wanted).unwrap();
}

#[test]
fn a_wrong_key_is_no_session_and_a_file_that_changes_is_taken() {
    let key = A.bgp_with_key("");
    let (testbed, daemon) = testbed(&[(A, &[&key])]);
    let config = lan(router(&[A], &["172.16.0.1", "fd00:a::1"]).unwrap(), "16", "a");
    let mut peer = Peer::start(&testbed.cust_a, Kind::Bird, config.password("another")).unwrap();
    thread::sleep(Duration::from_secs(6));
    assert_eq!(peer.established().unwrap(), 0, "with a wrong key");
    // Nor is there a session without one.
    peer.stop().unwrap();
    peer.config.password = None;
    peer.restart().unwrap();
    thread::sleep(Duration::from_secs(6));
    assert_eq!(peer.established().unwrap(), 0, "without a key");
    assert!(learned(&daemon, "bgw-1").unwrap().is_empty());
    peer.stop().unwrap();
    peer.config.password = Some("another".to_owned());
    peer.restart().unwrap();
    write_key(&testbed, "another").unwrap();
    comes_up(&peer, &daemon).unwrap();
}

#[test]
fn packets_from_further_away_are_no_session() {
    let key = D.bgp(", ttl_security: true, graceful_restart: false");
    let (testbed, daemon) = testbed(&[(D, &[&key])]);
    let config = PeerConfig { ttl: Ttl::Security, ..lan(router(&[D], &[]).unwrap(), "18", "d") };
    let mut peer = Peer::start(&testbed.cust_d, Kind::Gobgp, config).unwrap();
    comes_up(&peer, &daemon).unwrap();
    learns(&daemon, "bgw-3", &[("172.18.0.0/16", &["vif-d"]), ("fd00:d::/48", &["vif-d"])]).unwrap();
    // The last, since what ends such a connection is not taken, either: it blocks others until the hold timer ends it.
    peer.stop().unwrap();
    peer.config.ttl = Ttl::Sent(254);
    peer.restart().unwrap();
    thread::sleep(Duration::from_secs(10));
    assert!(learned(&daemon, "bgw-3").unwrap().is_empty(), "one hop too many");
}

#[test]
fn over_the_limit_the_first_ones_stay_and_others_come_in_when_there_is_room() {
    let key = A.bgp(", max_prefixes: 5");
    let (testbed, daemon) = testbed(&[(A, &[&key])]);
    let prefixes: Vec<String> = (0..8).map(|number| format!("172.{}.0.0/16", 16 + number)).collect();
    let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    let config = router(&[A], &[]).unwrap().announce(&prefixes[..5]);
    let mut peer = Peer::start(&testbed.cust_a, Kind::Bird, config).unwrap();
    comes_up(&peer, &daemon).unwrap();
    let only: &[&str] = &["vif-a"];
    let are_there = |some: &[&str]| {
        let wanted: Vec<_> = some.iter().map(|prefix| (*prefix, only)).collect();
        learns(&daemon, "bgw-1", &wanted).unwrap();
    };
    are_there(&prefixes[..5]);
    let more: Vec<Announced> = prefixes[5..].iter().map(|&prefix| prefix.into()).collect();
    peer.announce(&more).unwrap();
    thread::sleep(Duration::from_secs(2));
    are_there(&prefixes[..5]);
    assert!(peer.is_established().unwrap(), "who announces too much keeps his session");
    peer.withdraw(&prefixes[..3]).unwrap();
    are_there(&prefixes[3..]);
    assert!(peer.is_established().unwrap());
}

#[test]
fn ipv4_over_a_session_of_ipv6_where_there_are_no_addresses_of_ipv4() {
    require_root();
    let key = E.bgp("");
    let without_v4 =
        |text: String| text.replace("          - {local: 169.254.14.2/30, peer: 169.254.14.1}\n", "");
    let (testbed, daemon) = customers::testbed(&[(E, &[&key])], without_v4).unwrap();
    testbed.cust_e.run("ip -4 address del 169.254.14.1/30 dev eth0").ok();
    let mut config = lan(router(&[E], &["172.19.0.1", "fd00:e::1"]).unwrap(), "19", "e");
    config.sessions.remove(0);
    config.ipv4_over_ipv6 = true;
    let v4 = testbed.vpc(&testbed.host2, 5004);
    for kind in [Kind::Frr, Kind::Bird] {
        let peer = Peer::start(&testbed.cust_e, kind, config.clone()).unwrap();
        comes_up(&peer, &daemon).unwrap();
        receives(&peer, &["10.4.0.0/16", "fd00:4::/48"]);
        let only: &[&str] = &["vif-e"];
        learns(&daemon, "bgw-3", &[("172.19.0.0/16", only), ("fd00:e::/48", only)]).unwrap();
        for (from, to) in [(&*v4, "172.19.0.1"), (&*v4, "fd00:e::1"), (&testbed.cust_e, "10.4.0.10")] {
            comes_to_reach(from, to, &daemon);
        }
    }
}
