//! The testbed as a program: `run` keeps it, `check` proves it, `bench` measures in it.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use border_gw_common::abi::VERSION;
use border_gw_tests::caps;
use border_gw_tests::daemon::{Daemon, binary};
use border_gw_tests::failover;
use border_gw_tests::masses;
use border_gw_tests::netns::sweep;
use border_gw_tests::proof::{self, PROOFS};
use border_gw_tests::stop;
use border_gw_tests::testbed::Testbed;

fn main() -> ExitCode {
    find_system_programs();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match stop::watch().and_then(|_until_the_end| act(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `ip` and `ethtool` are in directories that are not on everybody's path.
fn find_system_programs() {
    let path = std::env::var("PATH").unwrap_or_else(|_none| "/usr/bin:/bin".to_owned());
    // SAFETY: this process has no other thread yet.
    unsafe { std::env::set_var("PATH", format!("{path}:/usr/sbin:/sbin")) };
}

fn act(arguments: &[String]) -> anyhow::Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["run"] => run(),
        ["check"] => check(),
        ["bench", "caps", options @ ..] => caps::bench(options),
        ["bench", "failover", options @ ..] => failover::bench(options),
        ["bench", "routes", options @ ..] => masses::bench(options),
        _ => bail!("usage: testbed run | check | bench caps|failover|routes [--check] [--json FILE]"),
    }
}

fn start() -> anyhow::Result<(Testbed, Daemon)> {
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces and BPF take root: run this with sudo");
    }
    sweep();
    let started = Instant::now();
    let (testbed, daemon) = Testbed::with_gateway()?;
    proof::wait_until_up(&daemon)?;
    println!(
        "testbed {}: up in {:.1} s; {}",
        testbed.run,
        started.elapsed().as_secs_f32(),
        testbed.tagging.describe()
    );
    Ok((testbed, daemon))
}

fn run() -> anyhow::Result<()> {
    let (testbed, _daemon) = start()?;
    show(&testbed).context("the testbed does not work")?;
    println!("\nEverything goes on until Ctrl-C, which removes it all.");
    stop::is_the_end_wanted();
    loop {
        std::thread::park();
    }
}

/// Shows it working, with the commands that do so.
fn show(testbed: &Testbed) -> anyhow::Result<()> {
    let vpc1 = testbed.vpc(&testbed.host1, 5001);
    for (netns, line) in [
        (&testbed.cust_a, "ping -c 3 -i 0.2 10.1.0.10"),
        (&testbed.cust_a, "ping -c 3 -i 0.2 fd00:1::10"),
        (&*vpc1, "ping -c 3 -i 0.2 172.16.0.1"),
    ] {
        println!("\n$ nsenter --net=/run/netns/{} {line}", netns.name);
        print!("{}", netns.run(line)?);
    }
    println!("\niperf3 from a customer's line of 100 Mbps to a VPC's host:");
    let rate = caps::tcp(&testbed.cust_a, &vpc1, "10.1.0.10", 3)?;
    println!("  {:.1} Mbps", rate / 1e6);
    let config = testbed.config.display();
    let border_gw = binary();
    for what in ["vifs", "summary", "drops"] {
        let line = format!("{} show {what} --config {config}", border_gw.display());
        println!("\n$ {line}\n{}", testbed.server.run(&line)?);
    }
    println!("Look around:");
    println!("  nsenter --net=/run/netns/{} curl -s http://127.0.0.1:9900/metrics", testbed.server.name);
    println!("  {} show groups --config {config}", border_gw.display());
    println!("  ip netns exec {}.bgw-1 ip -d address", testbed.run);
    println!("  ip netns exec {}.bgw-1 tcpdump -ni vif1", testbed.run);
    println!("  bpftool map dump pinned /sys/fs/bpf/border-gw/{}/v{VERSION}/VIFS", testbed.run);
    Ok(())
}

/// Every proof, each in the same testbed.
fn check() -> anyhow::Result<()> {
    let (testbed, mut daemon) = start()?;
    let mut failed = 0;
    for (name, proof) in PROOFS {
        let started = Instant::now();
        match proof(&testbed, &mut daemon) {
            Ok(()) => println!("ok      {name} ({:.1} s)", started.elapsed().as_secs_f32()),
            Err(error) => {
                failed += 1;
                println!("FAILED  {name}: {error:#}");
            }
        }
    }
    drop(daemon);
    drop(testbed);
    println!("{} passed, {failed} failed", PROOFS.len() - failed);
    if failed > 0 {
        bail!("{failed} of {} proofs failed", PROOFS.len())
    }
    Ok(())
}
