//! The customers' routers of the tests, each against a plain BIRD: what they are asked to do they do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeSet;

use border_gw_tests::netns::{Netns, remove_run, run_name, sweep};
use border_gw_tests::peer::{Announced, Kind, Peer, PeerConfig, Ttl};
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::eventually;

/// Two namespaces with a cable.
struct Pair {
    run: String,
    left: Netns,
    right: Netns,
}

impl Pair {
    fn new() -> Self {
        require_root();
        sweep();
        let run = run_name();
        let (left, right) = (Netns::new(&run, "l").unwrap(), Netns::new(&run, "r").unwrap());
        left.ip(&[
            &format!("link add eth0 type veth peer name eth0 netns {}", right.name),
            "link set eth0 up",
            "address add 192.0.2.1/30 dev eth0",
            "address add fd00::1/126 dev eth0 nodad",
            "address add 172.20.0.1/32 dev lo",
        ])
        .unwrap();
        right
            .ip(&[
                "link set eth0 up",
                "address add 192.0.2.2/30 dev eth0",
                "address add fd00::2/126 dev eth0 nodad",
                "address add 172.21.0.1/32 dev lo",
            ])
            .unwrap();
        Self { run, left, right }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        remove_run(&self.run);
    }
}

fn gateway() -> PeerConfig {
    PeerConfig::new(65000, 4_200_000_010, &[("192.0.2.1", "192.0.2.2"), ("fd00::1", "fd00::2")])
        .unwrap()
        .announce(&["172.20.0.0/16", "fd20::/32"])
}

fn customer() -> PeerConfig {
    PeerConfig::new(4_200_000_010, 65000, &[("192.0.2.2", "192.0.2.1"), ("fd00::2", "fd00::1")])
        .unwrap()
        .announce(&["172.21.0.0/16", "fd21::/32"])
}

fn set(prefixes: &[&str]) -> BTreeSet<String> {
    prefixes.iter().map(|&prefix| prefix.to_owned()).collect()
}

fn comes_up(left: &Peer, right: &Peer) {
    let both = || Ok(left.is_established()? && right.is_established()?);
    eventually(&format!("sessions of {:?}", right.kind), both).unwrap_or_else(|error| {
        panic!("{error:#}\n{}\n{}", left.birdc("show protocols all").unwrap_or_default(), right.log())
    });
}

fn receives(peer: &Peer, prefixes: &[&str]) {
    eventually(&format!("{:?} receives {prefixes:?}", peer.kind), || Ok(peer.received()? == set(prefixes)))
        .unwrap_or_else(|error| panic!("{error:#}: {:?}\n{}", peer.received(), peer.log()));
}

fn a_session(kind: Kind) {
    let pair = Pair::new();
    let left = Peer::start(&pair.left, Kind::Bird, gateway().password("s3cret")).unwrap();
    let mut right = Peer::start(&pair.right, kind, customer().password("s3cret")).unwrap();
    comes_up(&left, &right);
    receives(&right, &["172.20.0.0/16", "fd20::/32"]);
    receives(&left, &["172.21.0.0/16", "fd21::/32"]);
    right
        .announce(&[
            Announced::from("172.22.0.0/16")
                .path(&[65099, 65098])
                .communities(&["65000:7100", "65000:7100:0"]),
            "fd22::/32".into(),
        ])
        .unwrap();
    right.withdraw(&["172.21.0.0/16"]).unwrap();
    receives(&left, &["172.22.0.0/16", "fd21::/32", "fd22::/32"]);
    let route = left.birdc("show route 172.22.0.0/16 all").unwrap();
    for part in ["BGP.as_path: 4200000010 65099 65098", "(65000,7100)", "(65000, 7100, 0)"] {
        assert!(route.contains(part), "{part} is not in {route}");
    }
    // Another key is no session; the right one again is.
    right.stop().unwrap();
    right.config.password = Some("wrong".to_owned());
    right.restart().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!((left.established().unwrap(), right.established().unwrap()), (0, 0), "with a wrong key");
    right.kill();
    right.config.password = Some("s3cret".to_owned());
    right.restart().unwrap();
    comes_up(&left, &right);
    receives(&left, &["172.22.0.0/16", "fd21::/32", "fd22::/32"]);
}

#[test]
#[ignore = "long: the testbed's own routers"]
fn bird_speaks_with_a_key_in_both_families() {
    a_session(Kind::Bird);
}

#[test]
#[ignore = "long: the testbed's own routers"]
fn frr_speaks_with_a_key_in_both_families() {
    a_session(Kind::Frr);
}

#[test]
#[ignore = "long: the testbed's own routers"]
fn gobgp_speaks_with_a_key_in_both_families() {
    a_session(Kind::Gobgp);
}

#[test]
#[ignore = "long: the testbed's own routers"]
fn exabgp_speaks_with_a_key_in_both_families() {
    a_session(Kind::Exabgp);
}

/// IPv4 in a session of IPv6, BFD, and routes in the kernels.
fn one_session_for_both_families(kind: Kind) {
    let pair = Pair::new();
    let only_v6 = |mut config: PeerConfig, source: &str| {
        config.sessions.remove(0);
        config.ipv4_over_ipv6 = true;
        config.bfd(50, 3).sources(&[source]).unwrap()
    };
    let left = Peer::start(&pair.left, Kind::Bird, only_v6(gateway(), "172.20.0.1")).unwrap();
    let right = Peer::start(&pair.right, kind, only_v6(customer(), "172.21.0.1")).unwrap();
    comes_up(&left, &right);
    receives(&right, &["172.20.0.0/16", "fd20::/32"]);
    receives(&left, &["172.21.0.0/16", "fd21::/32"]);
    eventually("BFD is up", || {
        Ok(left
            .birdc("show bfd sessions")?
            .lines()
            .any(|line| line.contains("fd00::2") && line.contains("Up")))
    })
    .unwrap();
    eventually("a ping by the learned routes", || Ok(pair.right.succeeds("ping -c 1 -W 1 172.20.0.1")))
        .unwrap_or_else(|error| {
            panic!(
                "{error:#}\n{}\n{}",
                pair.left.run("ip route").unwrap(),
                pair.right.run("ip route").unwrap()
            )
        });
    let route = pair.right.run("ip route get 172.20.0.1").unwrap();
    assert!(route.contains("src 172.21.0.1") && route.contains("via inet6"), "{route}");
}

#[test]
#[ignore = "long: the testbed's own routers"]
fn bird_carries_ipv4_in_a_session_of_ipv6() {
    one_session_for_both_families(Kind::Bird);
}

#[test]
#[ignore = "long: the testbed's own routers"]
fn frr_carries_ipv4_in_a_session_of_ipv6() {
    one_session_for_both_families(Kind::Frr);
}

#[test]
#[ignore = "long: the testbed's own routers"]
fn a_ttl_of_one_hop_too_many_is_no_session() {
    let pair = Pair::new();
    let with = |config: PeerConfig, ttl| PeerConfig { ttl, ..config };
    let left = Peer::start(&pair.left, Kind::Bird, with(gateway(), Ttl::Security)).unwrap();
    for (kind, ttl) in [
        (Kind::Bird, Ttl::Security),
        (Kind::Frr, Ttl::Security),
        (Kind::Exabgp, Ttl::Security),
        (Kind::Gobgp, Ttl::Sent(255)),
    ] {
        let mut right = Peer::start(&pair.right, kind, with(customer(), ttl)).unwrap();
        comes_up(&left, &right);
        right.stop().unwrap();
    }
    // The last, since what ends such a connection is not taken, either: it blocks others until the hold timer ends it.
    let _right = Peer::start(&pair.right, Kind::Gobgp, with(customer(), Ttl::Sent(254))).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(8));
    assert_eq!(left.established().unwrap(), 0);
}

#[test]
#[ignore = "long: the testbed's own routers"]
fn a_bird_announces_masses_and_takes_them_back() {
    let pair = Pair::new();
    let left = Peer::start(&pair.left, Kind::Bird, gateway()).unwrap();
    let right = Peer::start(&pair.right, Kind::Bird, customer()).unwrap();
    comes_up(&left, &right);
    let count = |table: &str| -> usize {
        let said = left.birdc(&format!("show route count table {table} where source = RTS_BGP")).unwrap();
        let line = said.lines().find(|line| line.contains(" of ")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    right.announce_many(2_000, 500).unwrap();
    eventually("all of them", || Ok((count("master4"), count("master6")) == (2_001, 501))).unwrap();
    right.announce_many(0, 0).unwrap();
    eventually("none of them", || Ok((count("master4"), count("master6")) == (1, 1))).unwrap();
}
