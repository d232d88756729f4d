//! What an operator does wrong, and what must stay as it was.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use border_gw_tests::config;
use border_gw_tests::daemon::{Daemon, binary};
use border_gw_tests::netns::output;
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::wait_until_up;
use border_gw_tests::testbed::Testbed;

/// True, or the end of the test: see [`require_root`].
fn is_root() -> bool {
    require_root();
    true
}

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
    if !is_root() {
        return;
    }
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
    if !is_root() {
        return;
    }
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
    if !is_root() {
        return;
    }
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
        ("a BGP section", "        bandwidth: 100Mbps\n", "        bgp: {asn: 65010}\n", "bgp"),
    ];
    for (name, from, to, want) in rows {
        let output = refused(&testbed, from, to);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(want), "{name}: {said}");
        let left =
            output_of("ip netns list").lines().any(|line| line.starts_with(&format!("{}.", testbed.run)));
        assert!(!left, "{name}: a namespace is left");
        let pins = Path::new("/sys/fs/bpf/border-gw").join(&testbed.run).join("v1/links");
        assert_eq!(fs::read_dir(&pins).map_or(0, Iterator::count), 0, "{name}: a program is attached");
    }
}

fn output_of(line: &str) -> String {
    let mut words = line.split(' ');
    output(Command::new(words.next().unwrap()).args(words)).unwrap()
}

#[test]
fn without_privileges_it_says_so() {
    if !is_root() {
        return;
    }
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
    if !is_root() {
        return;
    }
    let (testbed, daemon) = Testbed::with_gateway().unwrap();
    wait_until_up(&daemon).unwrap();
    let good = config::standard(&testbed.run);
    let limit = |daemon: &Daemon| daemon.show("vifs").unwrap()[0]["to_vpc_limit_bps"].as_u64();
    fs::write(&testbed.config, good.replace("bandwidth: 100Mbps", "bandwidth: 100")).unwrap();
    border_gw_tests::proof::eventually("the error is in the log", || {
        Ok(daemon.log().contains("stays as it was"))
    })
    .unwrap();
    fs::write(&testbed.config, good.replacen("bandwidth: 100Mbps", "bandwidth: 50Mbps", 1)).unwrap();
    border_gw_tests::proof::eventually("the new cap", || Ok(limit(&daemon) == Some(50_000_000))).unwrap();
    assert!(testbed.cust_a.succeeds("ping -c 1 -W 1 10.1.0.10"));
}

#[test]
fn a_second_daemon_of_the_same_gateway_is_refused() {
    if !is_root() {
        return;
    }
    let (testbed, daemon) = Testbed::with_gateway().unwrap();
    let line = format!("timeout 20 {} run --config {}", binary().display(), testbed.config.display());
    let output = testbed.server.command(&line).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("has a daemon already"), "{said}");
    drop(daemon);
}
