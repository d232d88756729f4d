//! DSCP and ECN of real packets: translated where a VIF says so, else kept; and marks of congestion that the underlay makes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use border_gw_tests::datagrams::{Receiver, send_marked};
use border_gw_tests::frames::{Raw, Tap, ethernet, mac_of, set_class, udp, vxlan};
use border_gw_tests::metrics::Scrape;
use border_gw_tests::privileges::require_root;
use border_gw_tests::testbed::{STANDARD, Testbed};

/// Code points of ECN (RFC 3168, section 5).
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// DSCP and ECN of an IP header.
fn class(ip: &[u8]) -> u8 {
    if ip[0] >> 4 == 4 { ip[1] } else { ip[0] << 4 | ip[1] >> 4 }
}

/// Outer and inner DSCP and ECN of the next packet in a tunnel that has an inner payload of UDP to a [`Receiver`].
fn in_tunnel(tap: &Tap) -> [u8; 2] {
    const OUTER: usize = 14;
    const INNER: usize = 14 + 20 + 8 + 8 + 14;
    let is_meant = |frame: &[u8]| {
        let port = |at: usize| frame.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let inner = if frame.get(INNER).is_some_and(|byte| byte >> 4 == 6) { 40 } else { 20 };
        // The hypervisor's own are seen, too.
        let is_ours = frame.get(OUTER + 12..OUTER + 16) == Some(&[192, 0, 2, 10]);
        is_ours && port(OUTER + 20 + 2) == Some(4789) && port(INNER + inner + 2) == Some(Receiver::port())
    };
    let frame = tap.next(is_meant).unwrap();
    [class(&frame[OUTER..]), class(&frame[INNER..])]
}

#[test]
fn marks_are_translated_kept_and_carried_over() {
    require_root();
    let mapped = "      - name: vif-c\n        dscp: {to_vpc: {46: 34, 0: 8}, to_customer: {34: 46}}\n";
    let (testbed, _daemon) =
        Testbed::started(STANDARD, |text| text.replace("      - name: vif-c\n", mapped)).unwrap();
    dscp_is_translated_for_a_virtual_interface_and_ecn_is_kept(&testbed);
    nothing_is_translated_for_another(&testbed);
    a_mark_of_congestion_that_the_underlay_makes_reaches_the_customer(&testbed);
}

fn dscp_is_translated_for_a_virtual_interface_and_ecn_is_kept(testbed: &Testbed) {
    let (customer, host) = (&testbed.cust_b, &*testbed.vpc(&testbed.host2, 5003));
    let tap = Tap::open(&testbed.host2, "eth0").unwrap();
    for (ours, theirs) in [("172.16.0.1", "10.1.0.10"), ("fd00:a::1", "fd00:1::10")] {
        let (at_customer, in_vpc) =
            (Receiver::at(customer, ours).unwrap(), Receiver::at(host, theirs).unwrap());
        for (from, to) in [(46, 34), (0, 8), (34, 34), (12, 12)] {
            for ecn in [NOT_ECT, ECT_1, ECT_0, CE] {
                let (sent, want) = (from << 2 | ecn, to << 2 | ecn);
                send_marked(customer, ours, theirs, sent).unwrap();
                assert_eq!(in_vpc.class().unwrap(), want, "{sent:#x} to {theirs}");
                assert_eq!(in_tunnel(&tap), [want, want], "{sent:#x} to {theirs}, outer and inner");
            }
        }
        for (from, to) in [(34, 46), (46, 46), (0, 0)] {
            for ecn in [NOT_ECT, ECT_1, ECT_0, CE] {
                let (sent, want) = (from << 2 | ecn, to << 2 | ecn);
                send_marked(host, theirs, ours, sent).unwrap();
                assert_eq!(at_customer.class().unwrap(), want, "{sent:#x} to {ours}");
            }
        }
    }
}

fn nothing_is_translated_for_another(testbed: &Testbed) {
    let (customer, host) = (&testbed.cust_d, &*testbed.vpc(&testbed.host2, 5004));
    let (at_customer, in_vpc) =
        (Receiver::at(customer, "172.18.0.1").unwrap(), Receiver::at(host, "10.4.0.10").unwrap());
    for sent in [46 << 2 | ECT_0, 34 << 2 | CE, 0] {
        send_marked(customer, "172.18.0.1", "10.4.0.10", sent).unwrap();
        assert_eq!(in_vpc.class().unwrap(), sent);
        send_marked(host, "10.4.0.10", "172.18.0.1", sent).unwrap();
        assert_eq!(at_customer.class().unwrap(), sent);
    }
}

/// Sends a datagram to customer b out of its VPC, whose outer packet the underlay has marked.
fn from_underlay(testbed: &Testbed, line: &Raw, inner: u8, outer: u8) {
    let mut packet = udp("10.1.0.10", "172.16.0.1", (5000, Receiver::port()), 64, 32).unwrap();
    set_class(&mut packet, inner);
    let router = [0x02, 0, 0x5e, 0, 0x50, 0x01];
    let frame = ethernet(router, [2, 0, 0x5e, 0, 0, 3], None, 0x0800, &packet);
    let mut packet = vxlan("192.0.2.22", "192.0.2.10", 5003, &frame).unwrap();
    set_class(&mut packet, outer);
    let (to, from) = (mac_of(&testbed.server, "fab1").unwrap(), mac_of(&testbed.fabric, "f1").unwrap());
    assert_eq!(line.send(&[ethernet(to, from, None, 0x0800, &packet)]), 1);
}

fn a_mark_of_congestion_that_the_underlay_makes_reaches_the_customer(testbed: &Testbed) {
    let line = Raw::open(&testbed.fabric, "f1").unwrap();
    let receiver = Receiver::at(&testbed.cust_b, "172.16.0.1").unwrap();
    // RFC 6040, section 4.2: the inner packet's DSCP stays, whatever the outer one's is.
    for (inner, outer, want) in [
        (ECT_0, CE, CE),
        (ECT_1, CE, CE),
        (CE, NOT_ECT, CE),
        (ECT_0, ECT_0, ECT_0),
        (ECT_0, ECT_1, ECT_1),
        (NOT_ECT, ECT_0, NOT_ECT),
        (46 << 2 | ECT_0, 10 << 2 | CE, 46 << 2 | CE),
    ] {
        from_underlay(testbed, &line, inner, outer);
        assert_eq!(receiver.class().unwrap(), want, "{inner:#b} in {outer:#b}");
    }
    // Who does not know ECN cannot be told but by a loss.
    let dropped = || Scrape::of(&testbed.server).unwrap().refused("congestion");
    let before = dropped();
    from_underlay(testbed, &line, NOT_ECT, CE);
    from_underlay(testbed, &line, ECT_0, NOT_ECT);
    assert_eq!(receiver.class().unwrap(), ECT_0, "the one behind it arrives first");
    assert_eq!(dropped(), before + 1);
}
