//! What a router owes its neighbours: errors that traceroute, tracepath, ping and TCP make use of.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::thread;
use std::time::Duration;

use border_gw_tests::caps;
use border_gw_tests::daemon::Daemon;
use border_gw_tests::frames::{Raw, ethernet, mac_of, udp};
use border_gw_tests::metrics::Scrape;
use border_gw_tests::netns::Netns;
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::wait_until_up;
use border_gw_tests::testbed::{JUMBO, STANDARD, Sizes, TIGHT, Testbed, Underlay};

/// A running testbed of these sizes.
fn testbed(sizes: Sizes) -> (Testbed, Daemon) {
    require_root();
    let testbed = Testbed::over(Underlay::V4, sizes).unwrap();
    let daemon = start(&testbed);
    (testbed, daemon)
}

fn start(testbed: &Testbed) -> Daemon {
    let daemon = Daemon::start(&testbed.server, &testbed.config).unwrap();
    wait_until_up(&daemon).unwrap();
    daemon
}

/// What a command prints, whether it succeeds or not.
fn said(at: &Netns, line: &str) -> String {
    let output = at.command(line).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn told(testbed: &Testbed, reason: &str) -> u64 {
    Scrape::of(&testbed.server).unwrap().sum("border_gw_icmp_errors_total", &[("reason", reason)])
}

#[test]
fn traceroute_and_tracepath_see_the_gateway_from_both_sides() {
    let (testbed, _daemon) = testbed(STANDARD);
    let host = testbed.vpc(&testbed.host1, 5001);
    for (from, to, hops) in [
        (&testbed.cust_b, "10.1.0.10", ["169.254.10.2"].as_slice()),
        (&testbed.cust_b, "fd00:1::10", &["fd00:10::2"]),
        (&testbed.cust_a, "10.1.0.10", &["169.254.10.2", "169.254.11.2"]),
        (&*host, "172.16.0.1", &["10.1.0.1"]),
        (&*host, "fd00:a::1", &["fd00:1::1"]),
    ] {
        let trace = said(from, &format!("traceroute -n -q 1 -w 1 -m 4 {to}"));
        let lines: Vec<_> = trace.lines().skip(1).collect();
        assert!(hops.iter().any(|hop| lines[0].contains(&format!(" {hop} "))), "{trace}");
        assert!(lines.len() == 2 && lines[1].contains(&format!(" {to} ")), "{trace}");
        let path = said(from, &format!("tracepath -n {to}"));
        assert!(hops.iter().any(|hop| path.contains(hop)), "{path}");
        assert!(path.contains("pmtu 1500 hops 2 back 2"), "{path}");
    }
}

#[test]
fn who_sends_into_nowhere_is_told() {
    let (testbed, _daemon) = testbed(STANDARD);
    let host = testbed.vpc(&testbed.host1, 5001);
    for (to, from, what) in [
        ("10.99.0.1", "10.1.0.1", "Destination Net Unreachable"),
        ("fd00:99::1", "fd00:1::1", "Destination unreachable: No route"),
    ] {
        let ping = said(&host, &format!("ping -n -c 1 -W 1 {to}"));
        assert!(ping.contains(&format!("From {from} ")) && ping.contains(what), "{ping}");
    }
    testbed.cust_b.ip(&["route add 192.88.99.0/24 via 169.254.10.2 src 172.16.0.1"]).unwrap();
    let ping = said(&testbed.cust_b, "ping -n -c 1 -W 1 192.88.99.1");
    assert!(ping.contains("From 169.254.10.2 ") && ping.contains("Destination Net Unreachable"), "{ping}");
    // A source that the line may not use.
    testbed.cust_b.ip(&["address add 203.0.113.9/32 dev lo"]).unwrap();
    let ping = said(&testbed.cust_b, "ping -n -c 1 -W 1 -I 203.0.113.9 10.1.0.10");
    assert!(ping.contains("From 169.254.10.2 ") && ping.contains("Packet filtered"), "{ping}");
}

#[test]
fn a_packet_that_does_not_fit_the_fabric_is_told_what_fits() {
    let (testbed, _daemon) = testbed(TIGHT);
    for (to, what) in
        [("10.1.0.10", "Frag needed and DF set (mtu = 1450)"), ("fd00:1::10", "Packet too big: mtu=1450")]
    {
        let ping = said(&testbed.cust_b, &format!("ping -n -c 1 -W 1 -M do -s 1440 {to}"));
        assert!(ping.contains(what), "{ping}");
        let path = said(&testbed.cust_b, &format!("tracepath -n {to}"));
        assert!(path.contains("pmtu 1450"), "{path}");
    }
    let fits = said(&testbed.cust_b, "ping -n -c 2 -i 0.2 -W 1 -M do -s 1422 10.1.0.10");
    assert!(fits.contains(" 2 received"), "{fits}");
}

/// TCP over a fabric of 1,500 bytes; what flows, and how many packets were too big for it.
fn tcp_over_a_tight_fabric(clamp: bool, from_vpc: bool) -> (f64, u64) {
    require_root();
    let testbed = Testbed::over(Underlay::V4, TIGHT).unwrap();
    let text = fs::read_to_string(&testbed.config).unwrap();
    fs::write(
        &testbed.config,
        text.replace("    asn: 65000\n", &format!("    asn: 65000\n    mss_clamp: {clamp}\n")),
    )
    .unwrap();
    let _daemon = start(&testbed);
    let host = testbed.vpc(&testbed.host2, 5003);
    let rate = if from_vpc {
        caps::tcp(&host, &testbed.cust_b, "172.16.0.1", 2)
    } else {
        caps::tcp(&testbed.cust_b, &host, "10.1.0.10", 2)
    };
    (rate.unwrap_or(0.0), told(&testbed, "too_big"))
}

#[test]
fn tcp_fits_by_its_mss_alone_both_ways() {
    for from_vpc in [false, true] {
        let (rate, too_big) = tcp_over_a_tight_fabric(true, from_vpc);
        assert!(
            rate > 10e6 && too_big == 0,
            "{rate} bits a second, {too_big} too big; from the VPC: {from_vpc}"
        );
    }
}

#[test]
fn tcp_fits_by_packet_too_big_alone() {
    let (rate, too_big) = tcp_over_a_tight_fabric(false, false);
    assert!(rate > 10e6 && too_big > 0, "{rate} bits a second, {too_big} too big");
}

#[test]
fn jumbo_frames_and_full_frames_with_two_tags_pass() {
    let (jumbo, daemon) = testbed(JUMBO);
    let host = jumbo.vpc(&jumbo.host2, 5003);
    for to in ["10.1.0.10", "fd00:1::10"] {
        let size = if to.contains(':') { 9000 - 48 } else { 9000 - 28 };
        let ping = said(&jumbo.cust_b, &format!("ping -n -c 3 -i 0.2 -W 1 -M do -s {size} {to}"));
        assert!(ping.contains(" 3 received"), "{ping}");
    }
    assert!(caps::tcp(&jumbo.cust_b, &host, "10.1.0.10", 2).unwrap() > 50e6);
    assert!(caps::tcp(&host, &jumbo.cust_b, "172.16.0.1", 2).unwrap() > 50e6);
    // A time exceeded about a jumbo frame quotes what fits into 576 bytes.
    let trace = said(&jumbo.cust_b, "traceroute -n -q 1 -w 1 -m 1 10.1.0.10 9000");
    assert!(trace.contains("169.254.10.2"), "{trace}");
    drop(daemon);
    drop(jumbo);

    let (standard, _daemon) = testbed(STANDARD);
    let host = standard.vpc(&standard.host2, 5004);
    for (from, to) in [(&standard.cust_e, "10.4.0.10"), (&*host, "172.19.0.1")] {
        let ping = said(from, &format!("ping -n -c 3 -i 0.2 -W 1 -M do -s 1472 {to}"));
        assert!(ping.contains(" 3 received"), "{ping}");
    }
}

#[test]
fn a_storm_of_errors_on_one_line_leaves_the_others_alone() {
    let (testbed, _daemon) = testbed(STANDARD);
    let (to, from) = (mac_of(&testbed.server, "eth2").unwrap(), mac_of(&testbed.cust_b, "eth0").unwrap());
    let expired = udp("172.16.0.1", "10.1.0.10", (1, 9), 1, 32).unwrap();
    let frame = ethernet(to, from, Some(100), 0x0800, &expired);
    let line = Raw::open(&testbed.cust_b, "eth0").unwrap();
    let storm = thread::spawn(move || {
        let batch = vec![frame; 64];
        for _ in 0..2_000 {
            line.send(&batch);
            thread::sleep(Duration::from_micros(500));
        }
    });
    thread::sleep(Duration::from_millis(300));
    for _ in 0..3 {
        let trace = said(&testbed.cust_a, "traceroute -n -q 1 -w 1 -m 2 10.1.0.10");
        assert!(trace.contains(" 169.254.1"), "{trace}");
    }
    let ping = said(&testbed.cust_a, "ping -n -c 5 -i 0.2 -W 1 10.1.0.10");
    assert!(ping.contains(" 5 received"), "{ping}");
    assert!(!storm.is_finished(), "the storm was over before the others were looked at");
    storm.join().unwrap();
    let scrape = Scrape::of(&testbed.server).unwrap();
    let (told, dropped) = (
        scrape.sum("border_gw_icmp_errors_total", &[("vif", "vif-c")]),
        scrape.sum("border_gw_dropped_packets_total", &[("vif", "vif-c"), ("reason", "ttl_expired")]),
    );
    assert!(told > 0 && dropped > 10 * told, "{told} told, {dropped} dropped");
}
