//! What is lost after the program's verdict is counted under its name, and the sum holds: `forwarded + punted + answered` is what
//! arrived at the peers and what was lost.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, Instant};

use border_gw_common::abi::VERSION;
use border_gw_tests::daemon::Daemon;
use border_gw_tests::frames::{Raw, ethernet, mac_of, set_class, udp, vxlan};
use border_gw_tests::metrics::Scrape;
use border_gw_tests::netns::{Netns, output};
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::{bad_on_line, eventually, wait_until_up};
use border_gw_tests::shim::{Arrivals, MARK};
use border_gw_tests::testbed::{STANDARD, Testbed};

/// An IPv4 datagram with [`MARK`], whose checksum is right.
fn marked(from: &str, to: &str, port: u16, len: usize) -> Vec<u8> {
    let mut packet = udp(from, to, (port, 9), 64, len).unwrap();
    set_class(&mut packet, MARK);
    packet
}

/// A frame from the VPC of customer b to him: out by `eth2`, whose peer is his `eth0`.
fn to_customer(testbed: &Testbed, port: u16, len: usize) -> Vec<u8> {
    let from = mac_of(&testbed.fabric, "f1").unwrap();
    let to = mac_of(&testbed.server, "fab1").unwrap();
    let router = [0x02, 0, 0x5e, 0, 0x50, 0x01];
    let inner = marked("10.1.0.10", "172.16.0.1", port, len);
    let inner = ethernet(router, [2, 0, 0x5e, 0, 0, 3], None, 0x0800, &inner);
    let packet = vxlan("192.0.2.22", "192.0.2.10", 5003, &inner).unwrap();
    ethernet(to, from, None, 0x0800, &packet)
}

/// A frame of customer b to his VPC: out by `fab0` or `fab1`.
fn to_vpc(testbed: &Testbed, port: u16) -> Vec<u8> {
    let from = mac_of(&testbed.cust_b, "eth0").unwrap();
    let to = mac_of(&testbed.server, "eth2").unwrap();
    ethernet(to, from, Some(100), 0x0800, &marked("172.16.0.1", "10.1.0.10", port, 18))
}

fn lost(scrape: &Scrape, interface: &str, reason: &str) -> u64 {
    scrape.sum("border_gw_lost_packets_total", &[("interface", interface), ("reason", reason)])
}

fn all_lost(scrape: &Scrape) -> u64 {
    scrape.sum("border_gw_lost_packets_total", &[])
}

/// Packets that were to go to a device: each is redirected.
fn sent_on(scrape: &Scrape) -> u64 {
    let of = |verdict| scrape.sum("border_gw_verdict_packets_total", &[("verdict", verdict)]);
    of("forwarded") + of("punted") + of("answered")
}

fn to_customer_packets(scrape: &Scrape) -> u64 {
    scrape.sum("border_gw_vif_packets_total", &[("vif", "vif-c"), ("direction", "to_customer")])
}

/// What may be lost beside a test's frames: what the kernels of the border gateways said meanwhile (ARP, neighbour discovery).
fn said_by_kernels(before: &Scrape, after: &Scrape) -> u64 {
    let of = |scrape: &Scrape| {
        scrape.sum("border_gw_verdict_packets_total", &[("program", "host"), ("verdict", "forwarded")])
    };
    of(after) - of(before)
}

/// A kind of loss: frames that are sent when it is certain, and what must be counted of them.
struct Fault<'a> {
    name: &'static str,
    reason: &'static str,
    /// What brings it about, and what ends it: `ip` or `ethtool` in a namespace.
    wrong: (&'a Netns, &'static str),
    right: (&'a Netns, &'static str),
    /// Bytes of each datagram.
    len: usize,
}

/// The MTU that is too small is large enough for IPv6, whose addresses would be gone afterwards.
fn faults(testbed: &Testbed) -> Vec<Fault<'_>> {
    let (peer, own) = (&testbed.cust_b, &testbed.server);
    let row = |name, reason, netns, wrong, right, len| Fault {
        name,
        reason,
        wrong: (netns, wrong),
        right: (netns, right),
        len,
    };
    vec![
        row(
            "the peer has neither XDP nor GRO",
            "no_transmit",
            peer,
            "ethtool -K eth0 gro off",
            "ethtool -K eth0 gro on",
            18,
        ),
        row(
            "larger than the peer's MTU",
            "ring_full",
            peer,
            "ip link set eth0 mtu 1300",
            "ip link set eth0 mtu 1508",
            1400,
        ),
        row(
            "larger than the port's own MTU",
            "port_mtu",
            own,
            "ip link set eth2 mtu 1300",
            "ip link set eth2 mtu 1508",
            1400,
        ),
        row("the port is down", "port_down", own, "ip link set eth2 down", "ip link set eth2 up", 18),
        row("the peer is down", "no_transmit", peer, "ip link set eth0 down", "ip link set eth0 up", 18),
    ]
}

/// Sends frames to customer b under a fault.
fn send_under(testbed: &Testbed, fault: &Fault<'_>, frames: u16) {
    let fabric = Raw::open(&testbed.fabric, "f1").unwrap();
    let frames: Vec<_> = (0..frames).map(|port| to_customer(testbed, port, fault.len)).collect();
    fault.wrong.0.run(fault.wrong.1).unwrap();
    assert_eq!(fabric.send(&frames), frames.len());
    // What waits in the ring of the port is worked off.
    thread::sleep(Duration::from_millis(50));
    fault.right.0.run(fault.right.1).unwrap();
}

/// Exactly the frames of a test were forwarded and lost, beside what kernels said.
fn assert_lost(before: &Scrape, after: &Scrape, reason: &str, frames: u64, name: &str) {
    let forwarded = to_customer_packets(after) - to_customer_packets(before);
    assert_eq!(forwarded, frames, "{name}: forwarded; drops {:?}", after.all_drops());
    let gone = lost(after, "eth2", reason) - lost(before, "eth2", reason);
    let most = frames + said_by_kernels(before, after);
    assert!((frames..=most).contains(&gone), "{name}: {gone} of {frames} under `{reason}`");
}

fn started() -> (Testbed, Daemon) {
    started_with(str::to_owned)
}

fn started_with(change: impl FnOnce(&str) -> String) -> (Testbed, Daemon) {
    require_root();
    let (testbed, daemon) = Testbed::started(STANDARD, change).unwrap();
    assert_eq!(
        Scrape::of(&testbed.server).unwrap().sum("border_gw_losses_counted", &[]),
        1,
        "{}",
        daemon.log()
    );
    (testbed, daemon)
}

#[test]
fn a_loss_is_counted_under_its_name_and_shown() {
    const FRAMES: u16 = 200;
    let (testbed, mut daemon) = started();
    // A daemon that runs sees what is wrong with its own ports, and with a peer that is down, before packets are lost.
    for fault in &faults(&testbed)[..2] {
        let before = Scrape::of(&testbed.server).unwrap();
        send_under(&testbed, fault, FRAMES);
        let after = Scrape::of(&testbed.server).unwrap();
        assert_lost(&before, &after, fault.reason, FRAMES.into(), fault.name);
        let shown = daemon.show("losses").unwrap();
        let row = shown.as_array().unwrap().iter().find(|row| row["reason"] == fault.reason).cloned();
        let row = row.unwrap_or_else(|| panic!("{}: {shown}", fault.name));
        assert_eq!(
            (&row["interface"], &row["kind"], &row["name"]),
            (&"eth2".into(), &"port".into(), &"eth2".into())
        );
        assert_eq!(row["packets"], lost(&after, "eth2", fault.reason));
        // Statistics of devices tell of the same packets; they count in skb mode alone.
        assert_eq!(lost(&after, "eth2", "device_dropped"), 0);
        assert!(row["help"].as_str().is_some_and(|help| help.ends_with('.')), "{row}");
    }
    assert!(!daemon.log().contains("not counted"), "{}", daemon.log());
    // In another mode nothing is forgotten, and what devices dropped before that is not counted again.
    let before = Scrape::of(&testbed.server).unwrap();
    daemon.stop().unwrap();
    let text = fs::read_to_string(&testbed.config).unwrap();
    fs::write(&testbed.config, in_skb_mode(&text)).unwrap();
    daemon.restart().unwrap();
    let after = Scrape::of(&testbed.server).unwrap();
    assert_eq!(lost(&after, "eth2", "ring_full"), lost(&before, "eth2", "ring_full"));
    assert_eq!(lost(&after, "eth2", "device_dropped"), 0);
}

fn in_skb_mode(text: &str) -> String {
    text.replace("  router_id:", "  xdp_mode: skb\n  router_id:")
}

#[test]
fn other_programs_in_the_place_of_ours_are_replaced_and_nothing_is_counted_twice() {
    const FRAMES: u16 = 100;
    let (testbed, mut daemon) = started();
    daemon.kill();
    // Each in the other's place: as an older build's would be, they are not those that belong there.
    let dir = format!("/sys/fs/bpf/border-gw/{}/v{VERSION}/losses", testbed.run);
    for (from, to) in
        [("lost_redirect", "other"), ("lost_transmit", "lost_redirect"), ("other", "lost_transmit")]
    {
        fs::rename(format!("{dir}/{from}"), format!("{dir}/{to}")).unwrap();
    }
    daemon.restart().unwrap();
    for fault in &faults(&testbed)[..2] {
        wait_until_up(&daemon).unwrap();
        let before = Scrape::of(&testbed.server).unwrap();
        send_under(&testbed, fault, FRAMES);
        let after = Scrape::of(&testbed.server).unwrap();
        assert_lost(&before, &after, fault.reason, FRAMES.into(), fault.name);
    }
    assert!(!daemon.log().contains("not counted"), "{}", daemon.log());
}

#[test]
fn losses_are_counted_without_the_daemon_and_kept_by_the_next_one() {
    const FRAMES: u16 = 100;
    let (testbed, mut daemon) = started();
    let links = format!("ls /sys/fs/bpf/border-gw/{}/v{VERSION}/losses", testbed.run);
    let pinned = testbed.server.run(&links).unwrap();
    assert_eq!(pinned.split_whitespace().collect::<Vec<_>>(), ["lost_redirect", "lost_transmit"]);
    let pins = || {
        let pin = |name| format!("/sys/fs/bpf/border-gw/{}/v{VERSION}/losses/{name}", testbed.run);
        ["lost_redirect", "lost_transmit"].map(|name| fs::metadata(pin(name)).unwrap().ino())
    };
    let first = pins();
    for fault in &faults(&testbed) {
        wait_until_up(&daemon).unwrap();
        let before = Scrape::of(&testbed.server).unwrap();
        daemon.kill();
        send_under(&testbed, fault, FRAMES);
        daemon.restart().unwrap();
        let after = Scrape::of(&testbed.server).unwrap();
        assert_lost(&before, &after, fault.reason, FRAMES.into(), fault.name);
    }
    assert_eq!(pins(), first, "the same programs are adopted, and not run anew");
    daemon.stop().unwrap();
    daemon.purge().unwrap();
    assert!(!testbed.server.succeeds(&links), "programs on tracepoints are left");
}

fn silence_outer_ends(server: &Netns) {
    let links: serde_json::Value =
        serde_json::from_str(&server.run("ip -j link show type veth").unwrap()).unwrap();
    let names = links.as_array().unwrap().iter().filter_map(|link| link["ifname"].as_str());
    let outer = names.filter(|name| name.starts_with("bgw"));
    let settings: Vec<_> = outer.map(|name| (format!("ipv6/conf/{name}/disable_ipv6"), "1")).collect();
    server.sysctl(&settings).unwrap();
}

/// Where everything that the programs sent on arrives: the other ends of all cables and veths.
struct Peers {
    /// At the ends of cables an XDP program counts: all that is tagged or tunnelled is of the gateway's programs, and nothing else.
    ports: Vec<Arrivals>,
    /// In the border gateways' namespaces device statistics do: nothing but punted packets comes there, once the outer ends of the
    /// veths have no IPv6 of their own and with it nothing to say.
    namespaces: Vec<ManuallyDrop<Netns>>,
}

impl Peers {
    fn of(testbed: &Testbed) -> Self {
        let ends = [
            (&testbed.cust_a, "eth0"),
            (&testbed.cust_a, "eth1"),
            (&testbed.cust_b, "eth0"),
            (&testbed.switch, "uplink"),
            (&testbed.fabric, "f0"),
            (&testbed.fabric, "f1"),
        ];
        let ports = ends.map(|(netns, port)| Arrivals::at(netns, port).unwrap()).into();
        silence_outer_ends(&testbed.server);
        let names = ["bgw-1", "bgw-2", "bgw-3"].map(|gateway| format!("{}.{gateway}", testbed.run));
        let namespaces = names.map(|name| ManuallyDrop::new(Netns { name })).into();
        Self { ports, namespaces }
    }

    fn arrived(&self) -> u64 {
        let ports = self.ports.iter().map(|port| port.count().unwrap()).sum::<u64>();
        let punted = self.namespaces.iter().map(|netns| {
            let text = netns.run("ip -j -s link show type veth").unwrap();
            let links: serde_json::Value = serde_json::from_str(&text).unwrap();
            let received =
                links.as_array().unwrap().iter().map(|link| link["stats64"]["rx"]["packets"].as_u64());
            received.map(Option::unwrap).sum::<u64>()
        });
        ports + punted.sum::<u64>()
    }
}

/// The sum, from a moment on at which nothing was under way.
struct Sum<'a> {
    testbed: &'a Testbed,
    peers: Peers,
    arrived: u64,
    scrape: Scrape,
}

impl<'a> Sum<'a> {
    fn from_now(testbed: &'a Testbed) -> Self {
        let peers = Peers::of(testbed);
        thread::sleep(Duration::from_millis(100));
        let (arrived, scrape) = (peers.arrived(), Scrape::of(&testbed.server).unwrap());
        Self { testbed, peers, arrived, scrape }
    }

    /// Forwarded, punted and answered; arrived; lost.
    fn now(&self) -> (u64, u64, u64) {
        // In this order: what comes in between is at most missing on the right side, and is there at the next look.
        let scrape = Scrape::of(&self.testbed.server).unwrap();
        let arrived = self.peers.arrived() - self.arrived;
        (sent_on(&scrape) - sent_on(&self.scrape), arrived, all_lost(&scrape) - all_lost(&self.scrape))
    }

    fn assert_holds(&self) {
        self.assert_holds_but_for(0);
    }

    /// The same where so many packets of the server's own kernel may be among those that are lost.
    fn assert_holds_but_for(&self, own: u64) {
        let mut seen = Vec::new();
        let holds = eventually("forwarded + punted + answered = arrived + lost", || {
            let (sent, arrived, lost) = self.now();
            seen.push((sent, arrived, lost));
            let scrape = Scrape::of(&self.testbed.server)?;
            let is_whole = (sent..=sent + own).contains(&(arrived + lost));
            Ok(is_whole && scrape.unaccounted().values().all(|left| *left == 0))
        });
        println!("forwarded, punted, answered; arrived; lost: {:?}", seen.last());
        assert!(holds.is_ok(), "{holds:?}: {:?}", &seen[seen.len().saturating_sub(5)..]);
    }
}

/// Lets the peers on the fabric work off their rings in threads, which wait while this CPU has packets to send: rings overflow.
fn slow_down(testbed: &Testbed) {
    for port in ["f0", "f1"] {
        // `ip netns exec` shows the namespace's own /sys.
        let write = format!("echo 1 > /sys/class/net/{port}/threaded");
        let mut command = std::process::Command::new("ip");
        output(command.args(["netns", "exec", &testbed.fabric.name, "sh", "-c", &write])).unwrap();
    }
}

/// Sends to VPCs, whose ports are slow, until a ring overflows, which is counted for this reason.
fn overflow(testbed: &Testbed, reason: &str) {
    slow_down(testbed);
    let line = Raw::open(&testbed.cust_b, "eth0").unwrap();
    let burst: Vec<_> = (0..1000).map(|port| to_vpc(testbed, port)).collect();
    let overflown = || {
        let scrape = Scrape::of(&testbed.server).unwrap();
        lost(&scrape, "fab0", reason) + lost(&scrape, "fab1", reason)
    };
    let started = Instant::now();
    while overflown() == 0 && started.elapsed() < Duration::from_secs(20) {
        for _ in 0..20 {
            line.send(&burst);
        }
    }
    assert!(overflown() > 0, "no ring overflowed");
}

#[test]
fn a_ring_that_overflows_loses_what_is_counted_and_nothing_else() {
    let (testbed, _daemon) = started();
    let sum = Sum::from_now(&testbed);
    overflow(&testbed, "ring_full");
    sum.assert_holds();
}

/// What a device drops behind the kernel's checks has no tracepoint in skb mode; its own statistics tell.
#[test]
fn what_devices_drop_in_skb_mode_is_counted_and_the_sum_holds() {
    const FRAMES: u16 = 200;
    // The server's kernel asks for neighbours once in a while.
    const OWN: u64 = 10;
    let (testbed, mut daemon) = started_with(in_skb_mode);
    let sum = Sum::from_now(&testbed);
    let dropped = || lost(&Scrape::of(&testbed.server).unwrap(), "eth2", "device_dropped");
    assert_eq!(dropped(), 0);
    let larger_than_the_peer = &faults(&testbed)[1];
    send_under(&testbed, larger_than_the_peer, FRAMES);
    let after = Scrape::of(&testbed.server).unwrap();
    assert_lost(&sum.scrape, &after, "device_dropped", FRAMES.into(), larger_than_the_peer.name);
    let shown = daemon.show("losses").unwrap();
    let row = shown.as_array().unwrap().iter().find(|row| row["reason"] == "device_dropped").unwrap();
    assert_eq!((&row["interface"], &row["kind"]), (&"eth2".into(), &"port".into()), "{shown}");
    // What that kernel sends itself arrives, too, and is nobody's that was forwarded.
    sum.assert_holds_but_for(OWN);
    // Also without the daemon; nothing goes back, and nothing is counted again.
    for fault in [larger_than_the_peer, &faults(&testbed)[4]] {
        wait_until_up(&daemon).unwrap();
        let before = Scrape::of(&testbed.server).unwrap();
        daemon.kill();
        send_under(&testbed, fault, FRAMES);
        daemon.restart().unwrap();
        let after = Scrape::of(&testbed.server).unwrap();
        assert_lost(&before, &after, "device_dropped", FRAMES.into(), fault.name);
    }
    // A ring that overflows, of which the server's own kernel may lose a question for a neighbour.
    overflow(&testbed, "device_dropped");
    sum.assert_holds_but_for(OWN);
    // What a device that goes had lost stays in the sum, under no name.
    let all = all_lost(&Scrape::of(&testbed.server).unwrap());
    testbed.server.ip(&["link del eth2"]).unwrap();
    eventually("the port is gone", || Ok(dropped() == 0)).unwrap();
    assert!(all_lost(&Scrape::of(&testbed.server).unwrap()) >= all);
}

/// Sends frames that are forwarded, punted, answered, dropped and lost until so many were received, and compares.
fn mixed(total: u64) {
    let (testbed, _daemon) = started();
    let sum = Sum::from_now(&testbed);
    slow_down(&testbed);
    // Of what goes to customer b, some is larger than his port takes.
    testbed.cust_b.ip(&["link set eth0 mtu 1300"]).unwrap();
    let mut from_a: Vec<Vec<u8>> = bad_on_line(&testbed).unwrap().into_iter().map(|bad| bad.frame).collect();
    let (from, to) = (mac_of(&testbed.cust_a, "eth0").unwrap(), mac_of(&testbed.server, "eth0").unwrap());
    for port in 0..20 {
        let own = marked("169.254.10.1", "169.254.10.2", port, 18);
        from_a.push(ethernet(to, from, Some(100), 0x0800, &own));
    }
    let from_b: Vec<_> = (0..512).map(|port| to_vpc(&testbed, port)).collect();
    let mut from_fabric: Vec<_> = (0..256).map(|port| to_customer(&testbed, port, 18)).collect();
    from_fabric.push(to_customer(&testbed, 0, 1400));
    let received = |scrape: &Scrape| scrape.sum("border_gw_received_packets_total", &[]);
    let before = received(&sum.scrape);
    let ports = [(&testbed.cust_a, "eth0"), (&testbed.cust_b, "eth0"), (&testbed.fabric, "f1")];
    let [line_a, line_b, fabric] = ports.map(|(netns, port)| Raw::open(netns, port).unwrap());
    let started = Instant::now();
    while received(&Scrape::of(&testbed.server).unwrap()) - before < total {
        assert!(started.elapsed() < Duration::from_mins(4), "too slow: {:?}", sum.now());
        // Two senders: frames of both sides meet on the way.
        thread::scope(|scope| {
            scope.spawn(|| (0..200).for_each(|_| assert_eq!(fabric.send(&from_fabric), from_fabric.len())));
            for _ in 0..100 {
                line_a.send(&from_a);
                line_b.send(&from_b);
            }
        });
    }
    println!("{total} in {:?}", started.elapsed());
    sum.assert_holds();
    let scrape = Scrape::of(&testbed.server).unwrap();
    for verdict in ["forwarded", "punted", "answered", "dropped"] {
        let packets =
            |scrape: &Scrape| scrape.sum("border_gw_verdict_packets_total", &[("verdict", verdict)]);
        assert!(packets(&scrape) > packets(&sum.scrape), "nothing was {verdict}");
    }
    for interface in ["eth2", "fab0", "fab1"] {
        println!("{interface}: {} lost", lost(&scrape, interface, "ring_full"));
    }
    assert!(lost(&scrape, "eth2", "ring_full") > 0, "nothing was too large for customer b");
}

#[test]
fn the_sum_holds_over_two_million_packets() {
    mixed(2_000_000);
}

#[test]
#[ignore = "long: ten million packets"]
fn the_sum_holds_over_ten_million_packets() {
    mixed(10_000_000);
}
