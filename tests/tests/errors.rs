//! What a router owes its neighbours: errors that traceroute, tracepath, ping and TCP make use of.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use border_gw_tests::daemon::Daemon;
use border_gw_tests::datagrams::{Echo, stream};
use border_gw_tests::frames::{Raw, ethernet, mac_of, udp};
use border_gw_tests::metrics::Scrape;
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::eventually;
use border_gw_tests::testbed::{STANDARD, Testbed};

fn testbed() -> (Testbed, Daemon) {
    require_root();
    Testbed::started(STANDARD, str::to_owned).unwrap()
}

#[test]
fn traceroute_and_tracepath_see_the_gateway_from_both_sides() {
    let (testbed, _daemon) = testbed();
    let host = testbed.vpc(&testbed.host1, 5001);
    for (from, to, hops) in [
        (&testbed.cust_b, "10.1.0.10", ["169.254.10.2"].as_slice()),
        (&testbed.cust_b, "fd00:1::10", &["fd00:10::2"]),
        (&testbed.cust_a, "10.1.0.10", &["169.254.10.2", "169.254.11.2"]),
        (&*host, "172.16.0.1", &["10.1.0.1"]),
        (&*host, "fd00:a::1", &["fd00:1::1"]),
    ] {
        let trace = from.said(&format!("traceroute -n -q 1 -w 1 -m 4 {to}"));
        let lines: Vec<_> = trace.lines().skip(1).collect();
        assert!(hops.iter().any(|hop| lines[0].contains(&format!(" {hop} "))), "{trace}");
        assert!(lines.len() == 2 && lines[1].contains(&format!(" {to} ")), "{trace}");
        let path = from.said(&format!("tracepath -n {to}"));
        assert!(hops.iter().any(|hop| path.contains(hop)), "{path}");
        assert!(path.contains("pmtu 1500 hops 2 back 2"), "{path}");
    }
}

#[test]
fn who_sends_into_nowhere_is_told() {
    let (testbed, _daemon) = testbed();
    let host = testbed.vpc(&testbed.host1, 5001);
    for (to, from, what) in [
        ("10.99.0.1", "10.1.0.1", "Destination Net Unreachable"),
        ("fd00:99::1", "fd00:1::1", "Destination unreachable: No route"),
    ] {
        let ping = host.said(&format!("ping -n -c 1 -W 1 {to}"));
        assert!(ping.contains(&format!("From {from} ")) && ping.contains(what), "{ping}");
    }
    testbed.cust_b.ip(&["route add 192.88.99.0/24 via 169.254.10.2 src 172.16.0.1"]).unwrap();
    let ping = testbed.cust_b.said("ping -n -c 1 -W 1 192.88.99.1");
    assert!(ping.contains("From 169.254.10.2 ") && ping.contains("Destination Net Unreachable"), "{ping}");
    // A source that the line may not use.
    testbed.cust_b.ip(&["address add 203.0.113.9/32 dev lo"]).unwrap();
    let ping = testbed.cust_b.said("ping -n -c 1 -W 1 -I 203.0.113.9 10.1.0.10");
    assert!(ping.contains("From 169.254.10.2 ") && ping.contains("Packet filtered"), "{ping}");
}

/// A virtual interface without an IPv4 address, on which IPv4 is routed over the IPv6 next hop (RFC 8950).
#[test]
fn a_virtual_interface_without_ipv4_answers_it_from_the_router_id() {
    require_root();
    let only_v6 = |text: &str| {
        let (before, after) = text.split_once("      - name: vif-c\n").unwrap();
        let v4 = "          - {local: 169.254.10.2/30, peer: 169.254.10.1}\n";
        let after =
            after.replacen(v4, "", 1).replacen("      - {prefix: 172.16.0.0/16, via: [vif-c]}\n", "", 1);
        format!("{before}      - name: vif-c\n{after}")
    };
    let (testbed, daemon) = Testbed::started(STANDARD, only_v6).unwrap();
    let customer = &testbed.cust_b;
    customer.ip(&["route replace 10.1.0.0/16 via inet6 fd00:10::2 dev eth0 src 172.16.0.1"]).unwrap();
    // No route leads to the source, so that it is none.
    let ping = customer.said("ping -n -c 1 -W 1 10.1.0.10");
    assert!(ping.contains("From 10.255.0.1 ") && ping.contains("Packet filtered"), "{ping}");
    let text = fs::read_to_string(&testbed.config).unwrap();
    let any_source = "      - name: vif-c\n        source_validation: off\n";
    fs::write(&testbed.config, text.replace("      - name: vif-c\n", any_source)).unwrap();
    let mut said = String::new();
    eventually("a packet whose time is up is one that is told so", || {
        said = customer.said("ping -n -c 1 -W 1 -t 1 10.1.0.10");
        Ok(said.contains("From 10.255.0.1 ") && said.contains("Time to live exceeded"))
    })
    .unwrap_or_else(|error| panic!("{error:#}: {said}\n{}", daemon.log()));
    let trace = customer.said("traceroute -n -q 1 -w 1 -m 1 10.1.0.10");
    assert!(trace.contains(" 10.255.0.1 "), "{trace}");
    let trace = customer.said("traceroute -n -q 1 -w 1 -m 1 fd00:1::10");
    assert!(trace.contains(" fd00:10::2 "), "{trace}");
}

/// Packets whose time is up, from customer b, as fast as they go until this is dropped.
struct Storm {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    fn of(testbed: &Testbed) -> Self {
        let (to, from) = (mac_of(&testbed.server, "eth2").unwrap(), mac_of(&testbed.cust_b, "eth0").unwrap());
        let expired = udp("172.16.0.1", "10.1.0.10", (1, 9), 1, 32).unwrap();
        let batch = vec![ethernet(to, from, Some(100), 0x0800, &expired); 64];
        let line = Raw::open(&testbed.cust_b, "eth0").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                line.send(&batch);
                thread::sleep(Duration::from_micros(500));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[test]
fn a_storm_of_errors_on_one_line_leaves_the_others_alone() {
    const DATAGRAMS: u32 = 4000;
    let (testbed, _daemon) = testbed();
    let of_c = |family, reason| {
        let scrape = Scrape::of(&testbed.server).unwrap();
        scrape.sum(family, &[("vif", "vif-c"), ("reason", reason)])
    };
    let host = testbed.vpc(&testbed.host1, 5001);
    let _echo = Echo::at(&host, "10.1.0.10").unwrap();
    let storm = Storm::of(&testbed);
    thread::sleep(Duration::from_millis(300));
    for _ in 0..3 {
        let trace = testbed.cust_a.said("traceroute -n -q 1 -w 1 -m 2 10.1.0.10");
        assert!(trace.contains(" 169.254.1"), "{trace}");
    }
    let before = of_c("border_gw_dropped_packets_total", "ttl_expired");
    let every = Duration::from_micros(500);
    let back = stream(&testbed.cust_a, "172.16.0.1", "10.1.0.10", DATAGRAMS, every).unwrap();
    let during = of_c("border_gw_dropped_packets_total", "ttl_expired") - before;
    drop(storm);
    assert_eq!(back, DATAGRAMS, "datagrams to the VPC and back; lost {:?}", lost(&testbed));
    assert!(during > 10 * u64::from(DATAGRAMS), "{during} packets are no storm");
    let told = of_c("border_gw_icmp_errors_total", "ttl_expired");
    assert!(told > 0 && during > 10 * told, "{told} told, {during} dropped");
}

fn lost(testbed: &Testbed) -> u64 {
    Scrape::of(&testbed.server).unwrap().sum("border_gw_lost_packets_total", &[])
}
