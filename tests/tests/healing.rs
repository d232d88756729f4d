//! What goes wrong around a running gateway, and that it comes right again without help.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::mem::ManuallyDrop;
use std::path::Path;

use border_gw_common::abi::VERSION;
use border_gw_tests::config;
use border_gw_tests::daemon::{Daemon, binary};
use border_gw_tests::frames::{Raw, ethernet, mac_of, udp, vxlan};
use border_gw_tests::netns::Netns;
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::{eventually, wait_until_up};
use border_gw_tests::testbed::Testbed;

/// A running testbed.
fn testbed() -> (Testbed, Daemon) {
    require_root();
    let (testbed, daemon) = Testbed::with_gateway().unwrap();
    wait_until_up(&daemon).unwrap();
    (testbed, daemon)
}

fn gateway_netns(testbed: &Testbed, gateway: &str) -> ManuallyDrop<Netns> {
    ManuallyDrop::new(Netns { name: format!("{}.{gateway}", testbed.run) })
}

fn vif_state(daemon: &Daemon, vif: &str) -> String {
    let rows = daemon.show("vifs").unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == vif).unwrap();
    row["state"].as_str().unwrap().to_owned()
}

fn becomes(daemon: &Daemon, vif: &str, state: &str) {
    eventually(&format!("{vif} is {state}"), || Ok(vif_state(daemon, vif) == state))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
}

fn reaches(from: &Netns, to: &str) -> bool {
    from.succeeds(&format!("ping -c 2 -i 0.2 -W 1 {to}"))
}

#[test]
fn a_change_that_the_kernel_refuses_leaves_what_runs_and_can_be_taken_later() {
    let (testbed, daemon) = testbed();
    let inside = gateway_netns(&testbed, "bgw-1");
    inside.ip(&["link add vif-new type bridge"]).unwrap();
    let more = config::standard(&testbed.run).replacen(
        "      - name: vif-b\n",
        "      - name: vif-new\n        connection: line-b\n        vlan: 101\n        addresses: [{local: 169.254.99.2/30, \
         peer: 169.254.99.1}]\n      - name: vif-b\n",
        1,
    );
    fs::write(&testbed.config, &more).unwrap();
    eventually("the error is in the log", || Ok(daemon.log().contains("stays as it was"))).unwrap();
    wait_until_up(&daemon).unwrap();
    assert!(
        reaches(&testbed.cust_a, "10.1.0.10") && reaches(&testbed.cust_d, "10.4.0.10"),
        "{}",
        daemon.log()
    );
    inside.ip(&["link del vif-new"]).unwrap();
    fs::write(&testbed.config, more + "# again\n").unwrap();
    eventually("the new VIF", || {
        Ok(daemon.show("vifs")?.as_array().unwrap().iter().any(|row| row["name"] == "vif-new"))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
}

#[test]
fn a_veth_that_somebody_removes_is_made_again() {
    let (testbed, daemon) = testbed();
    let inside = gateway_netns(&testbed, "bgw-1");
    inside.ip(&["link del vif-a"]).unwrap();
    eventually("the veth", || Ok(inside.succeeds("ip link show vif-a"))).unwrap();
    becomes(&daemon, "vif-a", "up");
    assert!(reaches(&testbed.cust_a, "169.254.10.2"), "{}", daemon.log());
}

#[test]
fn a_storm_of_netlink_events_does_not_stop_the_loop() {
    let (testbed, daemon) = testbed();
    let add: Vec<String> = (0..60_000_u32)
        .map(|n| format!("route add 11.{}.{}.{}/32 dev lo table 777", n >> 16, n >> 8 & 255, n & 255))
        .collect();
    for _ in 0..3 {
        testbed.server.ip(&add.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        testbed.server.ip(&["route flush table 777"]).unwrap();
    }
    testbed.cust_a.ip(&["link set eth1 down"]).unwrap();
    becomes(&daemon, "vif-b", "port_down");
}

#[test]
fn a_port_that_comes_back_as_another_device_is_prepared_and_used() {
    let (testbed, daemon) = testbed();
    testbed.server.ip(&["link del eth2"]).unwrap();
    becomes(&daemon, "vif-c", "port_down");
    let _line = testbed.connect_line_c().unwrap();
    becomes(&daemon, "vif-c", "up");
    assert!(reaches(&testbed.cust_b, "10.1.0.10"), "{}", daemon.log());
    let features = testbed.server.run("ethtool -k eth2").unwrap();
    assert!(features.contains("rx-vlan-offload: off"), "{features}");
    assert!(testbed.server.run("ip -d link show eth2").unwrap().contains("ALLMULTI"));
}

#[test]
fn a_port_with_another_address_is_announced_with_it() {
    let (testbed, daemon) = testbed();
    testbed.server.ip(&["link set eth2 address 02:11:22:33:44:55"]).unwrap();
    testbed.cust_b.ip(&["neigh flush all"]).unwrap();
    let inside = gateway_netns(&testbed, "bgw-2");
    eventually("the veth has the address", || {
        Ok(inside.run("ip link show vif-c")?.contains("02:11:22:33:44:55"))
    })
    .unwrap();
    becomes(&daemon, "vif-c", "up");
    eventually("the customer reaches its VPC", || Ok(reaches(&testbed.cust_b, "10.1.0.10"))).unwrap();
}

#[test]
fn a_purge_and_a_start_that_fails_leave_nothing() {
    let (testbed, mut daemon) = testbed();
    daemon.stop().unwrap();
    daemon.purge().unwrap();
    left_nothing(&testbed, "purge");
    // A bridge runs no program in native mode: the port is refused after the kernel side was made.
    let bridge = ["link del fab1", "link add fab1 type bridge", "link set fab1 mtu 1600 up"];
    testbed.server.ip(&bridge).unwrap();
    let line = format!("timeout 20 {} run --config {}", binary().display(), testbed.config.display());
    let output = testbed.server.command(&line).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    left_nothing(&testbed, "a start that failed");
}

fn left_nothing(testbed: &Testbed, after: &str) {
    let namespaces = fs::read_dir("/run/netns").unwrap().flatten();
    let ours: Vec<_> = namespaces
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&format!("{}.", testbed.run)))
        .collect();
    assert!(ours.is_empty(), "{after}: namespaces {ours:?}");
    assert!(!Path::new("/sys/fs/bpf/border-gw").join(&testbed.run).exists(), "{after}: pins");
    assert!(!Path::new("/run/border-gw").join(format!("{}.lock", testbed.run)).exists(), "{after}: the lock");
    let neighbors = testbed.server.run("ip neigh show nud all").unwrap();
    assert!(!neighbors.contains("managed"), "{after}: {neighbors}");
    for port in ["eth0", "fab0"] {
        let link = testbed.server.run(&format!("ip -d link show {port}")).unwrap();
        assert!(!link.contains("xdp") && !link.contains("ALLMULTI"), "{after}: {link}");
    }
    let links = testbed.server.run("ip -br link").unwrap();
    assert!(!links.contains("bgw"), "{after}: {links}");
}

#[test]
fn a_port_that_becomes_too_small_for_ipv6_is_told_once() {
    let (testbed, daemon) = testbed();
    let says = |words: &str, times| {
        eventually(words, || Ok(daemon.log().contains(words)))
            .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
        assert_eq!(daemon.log().matches(words).count(), times, "{}", daemon.log());
    };
    testbed.server.ip(&["link set fab0 mtu 1329"]).unwrap();
    says(
        "`fab0` has MTU 1329 and leaves 1279 bytes to VPC attachment `vpc-1` and 3 more: IPv6 needs 1280",
        1,
    );
    // Whatever else happens, until it changes.
    testbed.cust_a.ip(&["link set eth1 down"]).unwrap();
    becomes(&daemon, "vif-b", "port_down");
    testbed.server.ip(&["link set fab0 mtu 1328", "link set eth0 mtu 1283"]).unwrap();
    says("`eth0` has MTU 1283 and leaves 1279 bytes to virtual interface `vif-a`: IPv6 needs 1280", 1);
    says("`fab0` has MTU 1328", 1);
    says("`fab0` has MTU 1329", 1);
    testbed.server.ip(&["link set fab0 mtu 1330"]).unwrap();
    says("`fab0` leaves IPv6 enough again", 1);
}

/// Whether an XDP program runs on a port of the server.
fn runs_on(testbed: &Testbed, port: &str) -> bool {
    testbed.server.run(&format!("ip -d link show {port}")).unwrap().contains("xdp")
}

/// Pins of another layout of the maps hold the ports: a daemon of this one takes them over.
#[test]
fn a_daemon_with_another_layout_of_maps_takes_over() {
    let (testbed, mut daemon) = testbed();
    daemon.stop().unwrap();
    let pins = Path::new("/sys/fs/bpf/border-gw").join(&testbed.run);
    let (own, other) = (pins.join(format!("v{VERSION}")), pins.join(format!("v{}", VERSION - 1)));
    fs::rename(&own, &other).unwrap();
    assert!(reaches(&testbed.cust_a, "10.1.0.10") && runs_on(&testbed, "eth1"), "it still forwards");
    // What the other one ran on a port that is none of ours any more goes, too.
    fs::write(&testbed.config, config::without_line_b(&testbed.run)).unwrap();
    daemon.restart().unwrap();
    wait_until_up(&daemon).unwrap();
    // Customer a would still use the other line.
    assert!(
        reaches(&testbed.cust_b, "fd00:1::10") && reaches(&testbed.cust_d, "10.4.0.10"),
        "{}",
        daemon.log()
    );
    assert!(own.join("links").exists() && !other.exists(), "{}", daemon.log());
    assert!(runs_on(&testbed, "eth0") && !runs_on(&testbed, "eth1"), "{}", daemon.log());
    let said = format!("another layout (v{})", VERSION - 1);
    assert_eq!(daemon.log().matches(&said).count(), 1, "{}", daemon.log());
    // Into a mode in which no link can be kept.
    daemon.stop().unwrap();
    fs::rename(&own, &other).unwrap();
    let text = fs::read_to_string(&testbed.config).unwrap();
    fs::write(&testbed.config, text.replace("  router_id:", "  xdp_mode: skb\n  router_id:")).unwrap();
    daemon.restart().unwrap();
    wait_until_up(&daemon).unwrap();
    assert!(reaches(&testbed.cust_b, "10.1.0.10") && !other.exists(), "{}", daemon.log());
}

#[test]
fn who_asks_the_router_of_a_vpc_makes_no_neighbor_entry() {
    let (testbed, _daemon) = testbed();
    let (to, from) = (mac_of(&testbed.server, "fab1").unwrap(), mac_of(&testbed.fabric, "f1").unwrap());
    let router = [0x02, 0, 0x5e, 0, 0x50, 0x01];
    let frames: Vec<_> = (0..300_u32)
        .map(|n| {
            let source = format!("10.1.{}.{}", 100 + n / 200, n % 200 + 1);
            let inner = udp(&source, "10.1.0.1", (4000, 4000), 64, 20).unwrap();
            let inner = ethernet(router, [2, 0, 0x5e, 0, 0, 1], None, 0x0800, &inner);
            let outer = vxlan("192.0.2.21", "192.0.2.10", 5001, &inner).unwrap();
            ethernet(to, from, None, 0x0800, &outer)
        })
        .collect();
    Raw::open(&testbed.fabric, "f1").unwrap().send(&frames);
    let inside = gateway_netns(&testbed, "bgw-1");
    let listed = inside.run("ip neigh show dev vpc-1 nud all").unwrap();
    assert!(listed.lines().filter(|line| line.contains("10.1.1")).count() == 0, "{listed}");
    // The kernel did get them, and answers.
    let host = testbed.vpc(&testbed.host1, 5001);
    assert!(reaches(&host, "10.1.0.1"));
}

#[test]
fn a_file_that_is_away_for_a_while_ends_nothing() {
    let (testbed, daemon) = testbed();
    let directory = testbed.config.parent().unwrap().join("more");
    fs::create_dir(&directory).unwrap();
    let included = directory.join("more.yaml");
    fs::write(&included, "connections: []\n").unwrap();
    let good = config::standard(&testbed.run);
    fs::write(&testbed.config, format!("include: [more/more.yaml]\n{good}")).unwrap();
    eventually("the include is loaded", || Ok(daemon.log().matches("configuration loaded").count() == 1))
        .unwrap();
    let away = directory.with_file_name("away");
    fs::rename(&directory, &away).unwrap();
    fs::write(&testbed.config, format!("include: [more/more.yaml]\n{good}# touched\n")).unwrap();
    eventually("the error is in the log", || Ok(daemon.log().contains("stays as it was"))).unwrap();
    assert!(reaches(&testbed.cust_a, "10.1.0.10"));
    fs::rename(&away, &directory).unwrap();
    fs::write(&testbed.config, good.replacen("bandwidth: 100Mbps", "bandwidth: 50Mbps", 1)).unwrap();
    eventually(
        "the new cap",
        || Ok(daemon.show("vifs")?[0]["to_vpc_limit_bps"].as_u64() == Some(50_000_000)),
    )
    .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
}

/// A document with a border gateway that is told from others by its number.
fn another_border_gateway(number: u32) -> String {
    format!(
        "border_gateways:\n  - name: more-{number}\n    asn: 65000\n    virtual_interfaces:\n      - name: vif-more-{number}\n        \
         connection: line-a\n        vlan: {}\n        addresses: [{{local: 169.254.99.2/30, peer: 169.254.99.1}}]\n",
        2000 + number
    )
}

fn is_taken(daemon: &Daemon, vif: &str) {
    eventually(vif, || Ok(daemon.show("vifs")?.as_array().unwrap().iter().any(|row| row["name"] == vif)))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", daemon.log()));
}

#[test]
fn a_file_that_comes_to_match_is_taken_and_so_is_one_that_is_mended() {
    let (testbed, daemon) = testbed();
    let directory = testbed.config.parent().unwrap().join("conf.d");
    let good = config::standard(&testbed.run);
    fs::write(&testbed.config, format!("include: [conf.d/*.yaml]\n{good}")).unwrap();
    eventually("the pattern is loaded", || Ok(daemon.log().contains("configuration loaded"))).unwrap();
    // Its directory is not there yet.
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("one.yaml"), another_border_gateway(1)).unwrap();
    is_taken(&daemon, "vif-more-1");
    // What does not match is not looked at; what matches and is wrong changes nothing.
    fs::write(directory.join("two.yaml~"), "a: [").unwrap();
    fs::write(directory.join("two.yaml"), "a: [").unwrap();
    eventually("the error is in the log", || Ok(daemon.log().contains("two.yaml:1"))).unwrap();
    assert!(!daemon.log().contains("two.yaml~"), "{}", daemon.log());
    is_taken(&daemon, "vif-more-1");
    fs::write(directory.join("two.yaml"), another_border_gateway(2)).unwrap();
    is_taken(&daemon, "vif-more-2");
    // One that is named and not there: nothing that is in force leads to them.
    let include = "include: [conf.d/*.yaml, away/three.yaml]";
    fs::write(&testbed.config, format!("{include}\n{good}")).unwrap();
    eventually("the error is in the log", || Ok(daemon.log().contains("three.yaml: No such file"))).unwrap();
    let away = testbed.config.with_file_name("away");
    fs::create_dir(&away).unwrap();
    fs::write(away.join("three.yaml"), another_border_gateway(3)).unwrap();
    is_taken(&daemon, "vif-more-3");
    // A directory that is put in the other's place.
    let next = testbed.config.with_file_name("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("four.yaml"), another_border_gateway(4)).unwrap();
    fs::rename(&directory, testbed.config.with_file_name("old")).unwrap();
    fs::rename(&next, &directory).unwrap();
    is_taken(&daemon, "vif-more-4");
    fs::write(directory.join("five.yaml"), another_border_gateway(5)).unwrap();
    is_taken(&daemon, "vif-more-5");
    assert!(reaches(&testbed.cust_a, "10.1.0.10"), "{}", daemon.log());
}

#[test]
fn where_the_pins_are_hidden_nothing_starts_and_nothing_is_removed() {
    let (testbed, mut daemon) = testbed();
    daemon.kill();
    for action in ["run", "purge"] {
        let output = std::process::Command::new("ip")
            .args(["netns", "exec", &testbed.server.name, "timeout", "20"])
            .arg(binary())
            .args([action, "--config"])
            .arg(&testbed.config)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{action}: {said}");
        assert!(said.contains("nsenter --net=/run/netns/NAME"), "{action}: {said}");
        assert!(gateway_netns(&testbed, "bgw-1").succeeds("ip link show vif-a"), "{action} removes nothing");
    }
    assert!(reaches(&testbed.cust_a, "10.1.0.10"));
    daemon.restart().unwrap();
    wait_until_up(&daemon).unwrap();
    assert!(reaches(&testbed.cust_a, "10.1.0.10"), "{}", daemon.log());
}
