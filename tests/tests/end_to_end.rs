//! Each proof of `border_gw_tests::proof`, in a testbed of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;

use border_gw_tests::daemon::Daemon;
use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::{PROOFS, wait_until_up};
use border_gw_tests::testbed::{STANDARD, Testbed, Underlay};

/// Runs one proof, or says why it cannot be run.
fn prove(name: &str) {
    require_root();
    let (_, proof) = PROOFS.iter().find(|(other, _)| *other == name).expect("a proof of this name");
    let (testbed, mut daemon) = Testbed::with_gateway().unwrap();
    wait_until_up(&daemon).unwrap();
    if let Err(error) = proof(&testbed, &mut daemon) {
        panic!("{name}: {error:#}\n{}", daemon.log());
    }
}

macro_rules! proofs {
    ($($test:ident: $name:literal;)+) => {
        $(#[test]
        fn $test() {
            prove($name);
        })+

        #[test]
        fn every_proof_is_a_test() {
            let mut tests = vec![$($name),+];
            let mut proofs: Vec<_> = PROOFS.iter().map(|(name, _)| *name).collect();
            tests.sort_unstable();
            proofs.sort_unstable();
            assert_eq!(tests, proofs);
        }
    };
}

proofs! {
    reach: "customers and VPC hosts reach each other, IPv4 and IPv6, ping and TCP";
    isolation: "identical addresses of two customers stay apart";
    flows: "64 flows use both lines, and a flow stays on its line";
    asymmetry: "a packet that leaves by one line is answered on the other";
    abuse: "what may not pass is dropped under its own name";
    transit: "virtual interfaces do not reach each other without transit";
    conservation: "every packet is accounted for, after a million";
    metrics: "Prometheus and promtool read the metrics";
    crash: "kill -9 leaves forwarding as it was, and a new daemon adopts it";
    fabric_failures: "a fabric port or a VTEP's neighbour goes, and traffic goes on";
    line_failure: "a line goes, and traffic goes on over the other";
}

/// Pings and TCP, both ways and in both families, in a testbed that is not the standard one; the daemon still runs.
fn reach_in(testbed: &Testbed) -> Daemon {
    let (_, reach) = PROOFS[0];
    let mut daemon = Daemon::start(&testbed.server, &testbed.config).unwrap();
    wait_until_up(&daemon).unwrap();
    if let Err(error) = reach(testbed, &mut daemon) {
        panic!("{error:#}\n{}", daemon.log());
    }
    daemon
}

#[test]
fn an_ipv6_underlay_carries_the_same() {
    require_root();
    drop(reach_in(&Testbed::over(Underlay::V6, STANDARD).unwrap()));
}

#[test]
fn skb_mode_forwards_the_same_and_is_shown() {
    require_root();
    let testbed = Testbed::new().unwrap();
    let text = fs::read_to_string(&testbed.config).unwrap();
    fs::write(&testbed.config, text.replace("  router_id:", "  xdp_mode: skb\n  router_id:")).unwrap();
    let daemon = reach_in(&testbed);
    let port = testbed.server.run("ip -d link show eth0").unwrap();
    assert!(port.contains("xdpgeneric"), "{port}");
    assert_eq!(daemon.show("vifs").unwrap()[0]["xdp_mode"], "skb");
}
