//! A customer who announces masses: time until they are in the maps and until they are gone, and memory meanwhile.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::customers::{self, A, C, Pings, comes_up, inside, learns, router};
use crate::daemon::Daemon;
use crate::figures::{self, Figure};
use crate::metrics::Scrape;
use crate::netns::sweep;
use crate::peer::{Kind, Peer};
use crate::testbed::Testbed;

/// Prefixes of IPv4 and IPv6.
const MANY: [u32; 2] = [200_000, 50_000];
/// Times that they come and go.
const RUNS: usize = 3;
/// Longest that either may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Learned routes of the border gateway, IPv4 and IPv6, as they are installed.
fn installed(testbed: &Testbed) -> anyhow::Result<[u64; 2]> {
    let scrape = Scrape::of(&testbed.server)?;
    let of = |family| {
        let labels = [("border_gateway", "bgw-1"), ("family", family), ("source", "learned")];
        scrape.sum("border_gw_routes", &labels)
    };
    Ok([of("ipv4"), of("ipv6")])
}

/// Seconds until exactly these are installed.
fn until(testbed: &Testbed, wanted: [u64; 2], daemon: &Daemon) -> anyhow::Result<f64> {
    let started = Instant::now();
    loop {
        let found = installed(testbed)?;
        if found == wanted {
            return Ok(started.elapsed().as_secs_f64());
        }
        if started.elapsed() > PATIENCE {
            bail!("{found:?} routes are installed instead of {wanted:?}\n{}", daemon.log());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a process holds in memory, in megabytes: `VmRSS` now, `VmHWM` at its largest.
fn memory(pid: u32, which: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(which)).context("no such line")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}

/// Whether a packet to an address leaves by the customer's line.
fn is_forwarded(testbed: &Testbed, address: &str) -> anyhow::Result<bool> {
    let count = || -> anyhow::Result<u64> {
        let labels = [("vif", A.vif), ("direction", "to_customer")];
        Ok(Scrape::of(&testbed.server)?.sum("border_gw_vif_packets_total", &labels))
    };
    let before = count()?;
    testbed.vpc(&testbed.host1, 5001).succeeds(&format!("ping -c 1 -W 1 {address}"));
    Ok(count()? > before)
}

fn all_figures() -> Vec<Figure> {
    [
        ("control: another customer's pings, lost", "pkts", 0.0),
        ("200,000 + 50,000 routes: until they are installed", "s", 30.0),
        ("until they are gone after withdrawal", "s", 30.0),
        ("memory of border-gw with them", "MB", 400.0),
        ("memory of border-gw at its largest", "MB", 600.0),
        ("memory of border-gw after withdrawal", "MB", 400.0),
        ("memory of BIRD with them", "MB", 400.0),
    ]
    .map(|(name, unit, high)| Figure::new(name, unit, 0.0, high))
    .into()
}

/// Measures; with `--check`, an error when a figure is out of bounds.
pub fn bench(options: &[&str]) -> anyhow::Result<()> {
    sweep();
    let keys = [A.bgp(", max_prefixes: 300000"), C.bgp("")];
    let (testbed, daemon) = customers::testbed(&[(A, &[&keys[0]]), (C, &[&keys[1]])], |text| text)?;
    let lan = ["172.16.0.0/16", "fd00:a::/48"];
    let start = |netns, line| -> anyhow::Result<Peer> {
        let config = router(&[line], &["172.16.0.1", "fd00:a::1"])?.announce(&lan);
        let peer = Peer::start(netns, Kind::Bird, config)?;
        comes_up(&peer, &daemon)?;
        Ok(peer)
    };
    let (peer, _other) = (start(&testbed.cust_a, A)?, start(&testbed.cust_b, C)?);
    learns(&daemon, "bgw-2", &[(lan[0], &["vif-c"]), (lan[1], &["vif-c"])])?;
    let mut figures = all_figures();
    for run in 1..=RUNS {
        let bird = inside(&testbed, "bgw-1").processes("bird");
        let [bird] = bird.as_slice() else { bail!("no BIRD, or several") };
        let (bird, gateway) = (bird.as_raw().unsigned_abs(), daemon.id().context("no daemon")?);
        until(&testbed, [1, 1], &daemon)?;
        let pings = Pings::start(&testbed.vpc(&testbed.host2, 5003), &["172.16.0.1", "fd00:a::1"])?;
        peer.announce_many(MANY[0], MANY[1])?;
        let came = until(&testbed, MANY.map(|count| u64::from(count) + 1), &daemon)?;
        ensure!(is_forwarded(&testbed, "20.0.0.1")?, "the first is not forwarded");
        ensure!(is_forwarded(&testbed, "23.13.63.1")?, "the last is not forwarded");
        let with = [memory(gateway, "VmRSS")?, memory(gateway, "VmHWM")?, memory(bird, "VmRSS")?];
        peer.announce_many(0, 0)?;
        let went = until(&testbed, [1, 1], &daemon)?;
        ensure!(!is_forwarded(&testbed, "20.0.0.1")?, "what was withdrawn is forwarded");
        let lost = pings.lost()? as f64;
        let after = memory(gateway, "VmRSS")?;
        let row = [lost, came, went, with[0], with[1], after, with[2]];
        println!("run {run}: {row:.1?}");
        figures.iter_mut().zip(row).for_each(|(figure, value)| figure.runs.push(value));
    }
    figures::show(&figures);
    figures::write(options, &figures)?;
    if options.contains(&"--check") { figures::check(&figures) } else { Ok(()) }
}
