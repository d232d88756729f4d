//! How large packets may be: senders on both sides learn it by ICMP, TCP fits by that or by its MSS, and full frames pass.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use border_gw_tests::caps;
use border_gw_tests::daemon::Daemon;
use border_gw_tests::datagrams::learned_mtu;
use border_gw_tests::metrics::Scrape;
use border_gw_tests::netns::Netns;
use border_gw_tests::privileges::require_root;
use border_gw_tests::testbed::{JUMBO, STANDARD, Sizes, TIGHT, Testbed};

/// Bits a second that TCP does not reach while its full segments are lost.
const FLOWS: f64 = 10e6;

fn testbed(sizes: Sizes, change: impl FnOnce(&str) -> String) -> (Testbed, Daemon) {
    require_root();
    Testbed::started(sizes, change).unwrap()
}

fn without_clamp(text: &str) -> String {
    text.replace("    asn: 65000\n", "    asn: 65000\n    mss_clamp: false\n")
}

/// What a host has learned of ways is forgotten.
fn forget(host: &Netns) {
    for family in ["-4", "-6"] {
        host.run(&format!("ip {family} route flush cache")).unwrap();
    }
}

fn assert_told(from: &Netns, size: u16, to: &str, what: &str) {
    let ping = from.said(&format!("ping -n -c 1 -W 1 -M do -s {size} {to}"));
    assert!(ping.contains(what), "{ping}");
}

fn assert_fits(from: &Netns, size: u16, to: &str) {
    let ping = from.said(&format!("ping -n -c 3 -i 0.2 -W 1 -M do -s {size} {to}"));
    assert!(ping.contains(" 3 received"), "{ping}");
}

/// Packets that were too big for a way, with and without DF.
fn too_big(testbed: &Testbed, labels: &[(&str, &str)]) -> [u64; 2] {
    let scrape = Scrape::of(&testbed.server).unwrap();
    ["true", "false"].map(|df| {
        let labels: Vec<_> = labels.iter().copied().chain([("df", df)]).collect();
        scrape.sum("border_gw_too_big_packets_total", &labels)
    })
}

/// Headers of IPv4 and TCP, and its timestamps.
const HEADERS_V4: u64 = 20 + 20 + 12;
/// The same over IPv6.
const HEADERS_V6: u64 = 40 + 20 + 12;

#[test]
fn a_customer_is_told_what_fits_the_fabric() {
    let (testbed, _daemon) = testbed(TIGHT, str::to_owned);
    let customer = &testbed.cust_b;
    for (to, what) in
        [("10.1.0.10", "Frag needed and DF set (mtu = 1450)"), ("fd00:1::10", "Packet too big: mtu=1450")]
    {
        assert_told(customer, 1440, to, what);
        let path = customer.said(&format!("tracepath -n {to}"));
        assert!(path.contains("pmtu 1450"), "{path}");
    }
    assert_fits(customer, 1422, "10.1.0.10");
    assert_fits(customer, 1402, "fd00:1::10");
    // What TCP learns by its MSS: nothing is ever too big.
    forget(customer);
    let host = testbed.vpc(&testbed.host2, 5003);
    let before = Scrape::of(&testbed.server).unwrap().refused("too_big");
    for (from, to, address) in [
        (customer, &*host, "10.1.0.10"),
        (customer, &host, "fd00:1::10"),
        (&host, customer, "172.16.0.1"),
        (&host, customer, "fd00:a::1"),
    ] {
        let rate = caps::tcp(from, to, address, 1).unwrap();
        assert!(rate > FLOWS, "{rate} bits a second to {address}");
    }
    assert_eq!(Scrape::of(&testbed.server).unwrap().refused("too_big"), before, "the MSS is held");
}

#[test]
fn tcp_of_a_customer_fits_by_packet_too_big_alone() {
    let (testbed, _daemon) = testbed(TIGHT, without_clamp);
    let host = testbed.vpc(&testbed.host2, 5003);
    for (next_hop, address) in [("192.0.2.22", "10.1.0.10"), ("192.0.2.22", "fd00:1::10")] {
        let way = [("border_gateway", "bgw-2"), ("attachment", "vpc-3"), ("vif", ""), ("next_hop", next_hop)];
        let before = too_big(&testbed, &way);
        let rate = caps::tcp(&testbed.cust_b, &host, address, 1).unwrap();
        let after = too_big(&testbed, &way);
        assert!(
            rate > FLOWS && after[0] > before[0],
            "{rate} bits a second to {address}, {before:?} {after:?}"
        );
    }
}

/// Where a VIF is small, and the fabric is not.
#[test]
fn a_host_of_a_vpc_is_told_what_fits_a_virtual_interface_and_makes_use_of_it() {
    let small = "      - name: vif-c\n        mtu: 1400\n";
    let (testbed, _daemon) =
        testbed(STANDARD, |text| without_clamp(&text.replace("      - name: vif-c\n", small)));
    let host = testbed.vpc(&testbed.host2, 5003);
    let way = |peer| {
        [
            ("border_gateway", "bgw-2"),
            ("attachment", ""),
            ("vif", "vif-c"),
            ("next_hop", peer),
            ("interface", "eth2"),
        ]
    };
    for (size, own, to, peer, what) in [
        (
            1472,
            "10.1.0.10",
            "172.16.0.1",
            "169.254.10.1",
            "From 10.1.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)",
        ),
        (1452, "fd00:1::10", "fd00:a::1", "fd00:10::1", "From fd00:1::1 icmp_seq=1 Packet too big: mtu=1400"),
    ] {
        let v6 = to.contains(':');
        assert_told(&host, size, to, what);
        assert_eq!(too_big(&testbed, &way(peer)), [1, 0], "{to}");
        let path = host.said(&format!("tracepath -n {to}"));
        assert!(path.contains("pmtu 1400"), "{path}");
        assert_fits(&host, size - 100, to);
        forget(&host);
        if !v6 {
            // Who lets routers fragment is told as well.
            let before = too_big(&testbed, &way(peer));
            let ping = host.said(&format!("ping -n -c 1 -W 1 -M dont -s {size} {to}"));
            assert!(ping.contains("(mtu = 1400)"), "{ping}");
            assert_eq!(too_big(&testbed, &way(peer)), [before[0], before[1] + 1], "{to}");
            forget(&host);
        }
        assert_eq!(learned_mtu(&host, own, to, size.into()).unwrap(), 1400, "{to}");
        forget(&host);
        let before = too_big(&testbed, &way(peer));
        let rate = caps::tcp(&host, &testbed.cust_b, to, 1).unwrap();
        let after = too_big(&testbed, &way(peer));
        assert!(rate > FLOWS && after[0] > before[0], "{rate} bits a second to {to}, {before:?} {after:?}");
    }
}

#[test]
fn jumbo_frames_pass() {
    let (testbed, _daemon) = testbed(JUMBO, str::to_owned);
    let host = testbed.vpc(&testbed.host2, 5003);
    assert_fits(&testbed.cust_b, 9000 - 28, "10.1.0.10");
    assert_fits(&testbed.cust_b, 9000 - 48, "fd00:1::10");
    let (customer, vpc) = (&testbed.cust_b, &*host);
    for (from, to, v4, v6) in
        [(customer, vpc, "10.1.0.10", "fd00:1::10"), (vpc, customer, "172.16.0.1", "fd00:a::1")]
    {
        for (address, headers) in [(v4, HEADERS_V4), (v6, HEADERS_V6)] {
            let (rate, segment) = caps::segments(from, to, address).unwrap();
            assert!(
                rate > FLOWS && segment == 9000 - headers,
                "{rate} bits a second, {segment} bytes to {address}"
            );
        }
    }
    // A time exceeded about a jumbo frame quotes what fits into 576 bytes.
    let trace = testbed.cust_b.said("traceroute -n -q 1 -w 1 -m 1 10.1.0.10 9000");
    assert!(trace.contains("169.254.10.2"), "{trace}");
}

/// With the 1,500 bytes of IP and two tags a frame has 1,522 bytes.
#[test]
fn full_frames_with_two_tags_pass() {
    let (testbed, _daemon) = testbed(STANDARD, str::to_owned);
    let (customer, host) = (&testbed.cust_e, &*testbed.vpc(&testbed.host2, 5004));
    for (from, to, v4, v6) in
        [(customer, host, "10.4.0.10", "fd00:4::10"), (host, customer, "172.19.0.1", "fd00:e::1")]
    {
        assert_fits(from, 1472, v4);
        assert_fits(from, 1452, v6);
        for (address, headers) in [(v4, HEADERS_V4), (v6, HEADERS_V6)] {
            let (rate, segment) = caps::segments(from, to, address).unwrap();
            assert!(
                rate > FLOWS && segment == 1500 - headers,
                "{rate} bits a second, {segment} bytes to {address}"
            );
        }
    }
    assert_eq!(Scrape::of(&testbed.server).unwrap().refused("too_big"), 0);
}
