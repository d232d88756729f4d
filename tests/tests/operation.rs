//! What an operator does wrong, and what must stay as it was.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use border_gw_common::abi::VERSION;
use border_gw_tests::config;
use border_gw_tests::daemon::{Daemon, binary};
use border_gw_tests::metrics::Scrape;
use border_gw_tests::netns::Netns;
use border_gw_tests::netns::output;
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::{eventually, wait_until_up};
use border_gw_tests::testbed::Testbed;

/// Everything of the machine's own namespace that could change.
fn own_namespace() -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    for line in [
        "link show",
        "address show",
        "route show table all",
        "-6 route show table all",
        "rule show",
        "neigh show",
    ] {
        let mut ip = Command::new("ip");
        // Counters of lifetimes run by themselves.
        let text = output(ip.args(line.split(' '))).unwrap();
        let kept: Vec<_> =
            text.lines().filter(|line| !line.contains("valid_lft") && !line.contains("REACHABLE")).collect();
        seen.insert(line.to_owned(), kept.join("\n"));
    }
    sysctls(Path::new("/proc/sys/net"), &mut seen);
    seen.remove("neigh show");
    seen
}

fn sysctls(dir: &Path, seen: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sysctls(&path, seen);
        } else if let Ok(value) = fs::read_to_string(&path) {
            seen.insert(path.display().to_string(), value);
        }
    }
}

#[test]
fn the_machines_own_namespace_is_the_same_before_and_after() {
    require_root();
    let before = own_namespace();
    {
        let (_testbed, daemon) = Testbed::with_gateway().unwrap();
        wait_until_up(&daemon).unwrap();
        let during = own_namespace();
        for (what, value) in &before {
            assert_eq!(during.get(what), Some(value), "{what} changed while it ran");
        }
    }
    assert_eq!(own_namespace(), before);
}

#[test]
fn nothing_is_left_behind() {
    require_root();
    let run = {
        let (testbed, _daemon) = Testbed::with_gateway().unwrap();
        testbed.run.clone()
    };
    for place in ["/run/netns", "/sys/fs/bpf/border-gw", "/run/border-gw"] {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(!name.starts_with(&run), "{place}/{name} is left");
        }
    }
}

/// Runs `border-gw run` on a changed configuration in the server's namespace, until it gives up.
fn refused(testbed: &Testbed, from: &str, to: &str) -> Output {
    let text = config::standard(&testbed.run);
    assert!(text.contains(from), "{from}");
    let path = testbed.config.with_file_name("wrong.yaml");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let line = format!("timeout 20 {} run --config {}", binary().display(), path.display());
    testbed.server.command(&line).output().unwrap()
}

#[test]
fn what_cannot_run_says_why_in_one_sentence_and_leaves_nothing() {
    require_root();
    let testbed = Testbed::new().unwrap();
    let rows = [
        (
            "a missing interface",
            "interface: eth1",
            "interface: eth9",
            "interface `eth9` (line of connection `line-b`) does not exist",
        ),
        ("an MTU that is too small", "vlan: 300\n", "vlan: 300\n        mtu: 1800\n", "has MTU 1508"),
        ("a tag used twice", "vlan: 300", "vlan: {outer: 200, inner: 100, tpid: 0x88a8}", "200"),
        ("an unknown key", "asn: 65000", "asnn: 65000", "asnn"),
        ("a default route into a VPC", "cidrs: [10.2.0.0/16", "cidrs: [0.0.0.0/0", "0.0.0.0/0"),
        ("the same as two halves", "cidrs: [10.2.0.0/16", "cidrs: [0.0.0.0/1, 128.0.0.0/1", "0.0.0.0/1"),
        (
            "an ASN of zero",
            "        bandwidth: 100Mbps\n",
            "        bgp: {asn: 0}\n",
            "`0` is not an autonomous system",
        ),
    ];
    for (name, from, to, want) in rows {
        let output = refused(&testbed, from, to);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(want), "{name}: {said}");
        let left =
            output_of("ip netns list").lines().any(|line| line.starts_with(&format!("{}.", testbed.run)));
        assert!(!left, "{name}: a namespace is left");
        let pins = Path::new("/sys/fs/bpf/border-gw").join(&testbed.run).join(format!("v{VERSION}/links"));
        assert_eq!(fs::read_dir(&pins).map_or(0, Iterator::count), 0, "{name}: a program is attached");
    }
}

#[test]
fn a_port_with_jumbo_frames_is_refused_in_skb_mode() {
    require_root();
    let testbed = Testbed::new().unwrap();
    testbed.server.ip(&["link set eth0 mtu 4000"]).unwrap();
    let output = refused(&testbed, "  router_id:", "  xdp_mode: skb\n  router_id:");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("interface `eth0` has MTU 4000, and `xdp_mode: skb` handles at most 3500"),
        "{said}"
    );
}

fn output_of(line: &str) -> String {
    let mut words = line.split(' ');
    output(Command::new(words.next().unwrap()).args(words)).unwrap()
}

#[test]
fn without_privileges_it_says_so() {
    require_root();
    let testbed = Testbed::new().unwrap();
    // The build directory may be closed to others.
    let program = Path::new("/run/border-gw").join(&testbed.run).join("border-gw");
    fs::copy(binary(), &program).unwrap();
    let line = format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups {} run --config {}",
        program.display(),
        testbed.config.display()
    );
    let output = testbed.server.command(&line).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("takes root"), "{said}");
}

#[test]
fn usage_errors_end_with_2_and_bad_files_with_1() {
    let code = |arguments: &[&str]| Command::new(binary()).args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["fly"]), Some(2));
    assert_eq!(code(&["run"]), Some(2));
    assert_eq!(code(&["check", "--config", "/nowhere/bgw.yaml"]), Some(1));
    assert_eq!(code(&["show", "vifs", "--socket", "/nowhere/socket"]), Some(1));
}

#[test]
fn a_file_that_becomes_wrong_changes_nothing_and_one_that_is_right_is_taken() {
    require_root();
    let (testbed, daemon) = Testbed::with_gateway().unwrap();
    wait_until_up(&daemon).unwrap();
    let good = config::standard(&testbed.run);
    let limit = |daemon: &Daemon| daemon.show("vifs").unwrap()[0]["to_vpc_limit_bps"].as_u64();
    fs::write(&testbed.config, good.replace("bandwidth: 100Mbps", "bandwidth: 100")).unwrap();
    eventually("the error is in the log", || Ok(daemon.log().contains("stays as it was"))).unwrap();
    fs::write(&testbed.config, good.replacen("bandwidth: 100Mbps", "bandwidth: 50Mbps", 1)).unwrap();
    eventually("the new cap", || Ok(limit(&daemon) == Some(50_000_000))).unwrap();
    assert!(testbed.cust_a.succeeds("ping -c 1 -W 1 10.1.0.10"));
}

#[test]
fn a_second_daemon_of_the_same_gateway_is_refused() {
    require_root();
    let (testbed, daemon) = Testbed::with_gateway().unwrap();
    let line = format!("timeout 20 {} run --config {}", binary().display(), testbed.config.display());
    let output = testbed.server.command(&line).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("has a daemon already"), "{said}");
    drop(daemon);
}

/// What a program received, and what became of it: a row of `show summary` without the program's name.
type Totals = BTreeMap<String, BTreeMap<String, u64>>;

fn totals(daemon: &Daemon) -> anyhow::Result<Totals> {
    let mut totals = Totals::new();
    for row in daemon.show("summary")?.as_array().into_iter().flatten() {
        let numbers = row.as_object().into_iter().flatten();
        let numbers = numbers.filter_map(|(name, value)| Some((name.clone(), value.as_u64()?))).collect();
        totals.insert(row["program"].as_str().unwrap_or_default().to_owned(), numbers);
    }
    Ok(totals)
}

/// Every program's sum holds once it is quiet, and nothing is less than before.
fn assert_totals_went_on(daemon: &Daemon, before: &Totals, when: &str) -> Totals {
    let mut now = Totals::new();
    let held = eventually("received is the sum of all others", || {
        now = totals(daemon)?;
        let sum = |numbers: &BTreeMap<String, u64>| {
            numbers.iter().filter(|(name, _)| *name != "received").map(|(_, number)| number).sum::<u64>()
        };
        Ok(now.len() == 3 && now.values().all(|numbers| numbers["received"] == sum(numbers)))
    });
    held.unwrap_or_else(|error| panic!("{when}: {error}: {now:?}"));
    for (program, numbers) in before {
        for (name, number) in numbers {
            assert!(now[program][name] >= *number, "{when}: {program} {name} went back: {before:?}, {now:?}");
        }
    }
    now
}

fn vif_names(daemon: &Daemon) -> anyhow::Result<Vec<String>> {
    let rows = daemon.show("vifs")?;
    let names = rows.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// One row of `show vifs`.
fn vif(daemon: &Daemon, name: &str) -> anyhow::Result<serde_json::Value> {
    let rows = daemon.show("vifs")?;
    let row = rows.as_array().into_iter().flatten().find(|row| row["name"] == name);
    row.cloned().ok_or_else(|| anyhow::anyhow!("no `{name}` among the virtual interfaces"))
}

/// A few packets of everything: forwarded, punted, dropped. Some are not answered, when what they need is gone.
fn traffic(testbed: &Testbed) {
    for address in ["10.1.0.10", "10.2.0.10", "fd00:1::10", "169.254.10.2", "169.254.11.2"] {
        testbed.cust_a.succeeds(&format!("ping -q -c 5 -i 0.05 -W 1 {address}"));
    }
    testbed.cust_b.succeeds("ping -q -c 5 -i 0.05 -W 1 10.1.0.10");
    for (host, vni) in [(&testbed.host1, 5001), (&testbed.host2, 5003)] {
        testbed.vpc(host, vni).succeeds("ping -q -c 5 -i 0.05 -W 1 172.16.0.1");
        // No route.
        testbed.vpc(host, vni).succeeds("ping -q -c 3 -i 0.05 -W 1 10.99.0.1");
    }
}

#[test]
fn counters_never_go_back_and_the_sum_holds_when_objects_leave() {
    require_root();
    let (testbed, daemon) = Testbed::with_gateway().unwrap();
    wait_until_up(&daemon).unwrap();
    traffic(&testbed);
    let seen = assert_totals_went_on(&daemon, &Totals::new(), "after traffic");
    assert!(vif(&daemon, "vif-b").unwrap()["to_customer"]["packets"].as_u64() > Some(0));

    fs::write(&testbed.config, config::without_vif_b(&testbed.run)).unwrap();
    eventually("vif-b is gone", || Ok(!vif_names(&daemon)?.contains(&"vif-b".to_owned()))).unwrap();
    let seen = assert_totals_went_on(&daemon, &seen, "without vif-b");
    traffic(&testbed);
    let seen = assert_totals_went_on(&daemon, &seen, "traffic without vif-b");

    fs::write(&testbed.config, config::standard(&testbed.run)).unwrap();
    eventually("vif-b is back", || Ok(vif_names(&daemon)?.contains(&"vif-b".to_owned()))).unwrap();
    let seen = assert_totals_went_on(&daemon, &seen, "with vif-b again");
    wait_until_up(&daemon).unwrap();
    traffic(&testbed);
    let seen = assert_totals_went_on(&daemon, &seen, "traffic with vif-b again");

    let before = vif(&daemon, "vif-c").unwrap();
    testbed.server.ip(&["link del eth2"]).unwrap();
    eventually("vif-c has no port", || Ok(vif(&daemon, "vif-c")?["state"] == "port_down")).unwrap();
    eventually("no program runs there", || Ok(vif(&daemon, "vif-c")?["xdp_mode"].is_null())).unwrap();
    let seen = assert_totals_went_on(&daemon, &seen, "without eth2");
    assert_eq!(vif(&daemon, "vif-c").unwrap()["to_vpc"], before["to_vpc"], "its record, and counters, stay");
    traffic(&testbed);
    let seen = assert_totals_went_on(&daemon, &seen, "traffic without eth2");

    let _line = testbed.connect_line_c().unwrap();
    eventually(
        "the program runs on the new eth2",
        || Ok(xdp(&testbed.server, "eth2")?.contains("name line")),
    )
    .unwrap();
    traffic(&testbed);
    assert_totals_went_on(&daemon, &seen, "with eth2 again");
}

/// The lines about XDP of an interface.
fn xdp(netns: &Netns, interface: &str) -> anyhow::Result<String> {
    let text = netns.run(&format!("ip -d link show {interface}"))?;
    Ok(text.lines().filter(|line| line.contains("xdp")).collect())
}

/// The pin of program `line` on an interface of the server.
fn pin(testbed: &Testbed, interface: &str) -> PathBuf {
    let text = testbed.server.run(&format!("ip -o link show {interface}")).unwrap();
    let ifindex = text.split(':').next().unwrap();
    Path::new("/sys/fs/bpf/border-gw").join(&testbed.run).join(format!("v{VERSION}/links/line-{ifindex}"))
}

#[test]
fn a_line_that_is_removed_runs_no_program_also_after_a_restart() {
    require_root();
    let (testbed, mut daemon) = Testbed::with_gateway().unwrap();
    wait_until_up(&daemon).unwrap();
    daemon.kill();
    daemon.restart().unwrap();
    assert!(xdp(&testbed.server, "eth1").unwrap().contains("name line"));
    // The pin alone holds an adopted program: without it the program is gone, and is attached anew.
    let pin = pin(&testbed, "eth1");
    fs::remove_file(&pin).unwrap();
    eventually("the program is attached anew", || Ok(pin.exists())).unwrap();
    fs::write(&testbed.config, config::without_line_b(&testbed.run)).unwrap();
    eventually("vif-b is gone", || Ok(!vif_names(&daemon)?.contains(&"vif-b".to_owned()))).unwrap();
    assert_eq!(xdp(&testbed.server, "eth1").unwrap(), "");
    fs::write(&testbed.config, config::standard(&testbed.run)).unwrap();
    eventually("vif-b is up", || Ok(vif(&daemon, "vif-b").is_ok_and(|row| row["state"] == "up"))).unwrap();
    assert!(xdp(&testbed.server, "eth1").unwrap().contains("name line"));
    assert!(testbed.cust_a.succeeds("ping -q -c 3 -i 0.1 -W 1 169.254.11.2"));
}

#[test]
fn a_line_that_is_made_a_fabric_port_runs_the_other_program_at_once() {
    require_root();
    let (testbed, daemon) = Testbed::with_gateway().unwrap();
    let text = config::without_line_b(&testbed.run).replace("[fab0, fab1]", "[fab0, fab1, eth1]");
    fs::write(&testbed.config, text).unwrap();
    eventually("the other program", || Ok(xdp(&testbed.server, "eth1")?.contains("name fabric"))).unwrap();
    assert!(!daemon.log().contains("tried again"), "{}", daemon.log());
}

#[test]
fn another_xdp_mode_is_taken_at_a_restart_and_shown() {
    require_root();
    let (testbed, mut daemon) = Testbed::with_gateway().unwrap();
    let modes = |scrape: &Scrape, mode| scrape.sum("border_gw_xdp_info", &[("mode", mode)]);
    assert_eq!(vif(&daemon, "vif-a").unwrap()["xdp_mode"], "native");
    assert_eq!(modes(&Scrape::of(&testbed.server).unwrap(), "native"), 6, "one series a port");
    daemon.stop().unwrap();
    let text = config::standard(&testbed.run).replace("  router_id:", "  xdp_mode: skb\n  router_id:");
    fs::write(&testbed.config, text).unwrap();
    daemon.restart().unwrap();
    let all = testbed.server.run("ip link show").unwrap();
    assert!(all.contains("xdpgeneric") && !all.contains(" xdp "), "ports and veths: {all}");
    assert_eq!(vif(&daemon, "vif-a").unwrap()["xdp_mode"], "skb");
    let scrape = Scrape::of(&testbed.server).unwrap();
    assert_eq!((modes(&scrape, "native"), modes(&scrape, "skb")), (0, 6));
    assert_eq!(scrape.sum("border_gw_xdp_info", &[("interface", "eth0"), ("mode", "skb")]), 1);
    wait_until_up(&daemon).unwrap();
    assert!(testbed.cust_a.succeeds("ping -q -c 3 -i 0.1 -W 1 10.1.0.10"));
}
