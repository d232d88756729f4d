//! The gateway's BIRD is killed, and the customer's BFD is plain: it takes its routes to the VPCs back until BGP is up again.
//! Forwarding to the customer goes on meanwhile.

use anyhow::{Context as _, bail};
use nix::sys::signal::{self, Signal};

use crate::customers::{Pings, inside};
use crate::figures::Figure;
use crate::testbed::Testbed;

use super::{Bench, Fault, LINES, RUNS};

/// Between two pings, in milliseconds.
const PING_MS: f64 = 10.0;
/// Longest that both directions may be away, in milliseconds: BFD's silence at the customer, a start of BIRD, and what BGP waits for
/// before it connects.
const AWAY_MS: f64 = 5000.0;

/// Kills it, whatever it does.
pub(super) fn kill(testbed: &Testbed) -> anyhow::Result<()> {
    let birds = inside(testbed, "bgw-1").processes("bird");
    let [bird] = birds.as_slice() else { bail!("there are {} BIRDs", birds.len()) };
    Ok(signal::kill(*bird, Signal::SIGKILL)?)
}

/// How long the gateway says that the sessions were away, in milliseconds.
fn told(bench: &Bench) -> anyhow::Result<f64> {
    let failovers = bench.daemon.show("failovers")?;
    let last = failovers.as_array().and_then(|rows| rows.first()).context("no failover is told")?;
    let seconds = last["converged_seconds"].as_f64().filter(|_| last["cause"] == "bird");
    Ok(seconds.with_context(|| format!("the gateway tells no such outage: {failovers}"))? * 1000.0)
}

/// Beside runs in which nothing happens.
pub(super) fn figures() -> anyhow::Result<Vec<Figure>> {
    let mut bench = Bench::new(LINES.split_at(2).0, false)?;
    let name = "kill -9 of BIRD, plain BFD";
    let figure = |what: &str, unit, high| Figure::new(&format!("{name}: {what}"), unit, 0.0, high);
    let mut figures = [
        figure("control, pings lost", "pkts", 0.0),
        figure("lost on the way to the customer", "pkts", 0.0),
        figure("flows moved", "", 0.0),
        figure("there and back: outage", "ms", AWAY_MS),
        figure("the same as the gateway tells it", "ms", AWAY_MS),
    ];
    let host = bench.testbed.vpc(&bench.testbed.host1, 5001);
    for run in 1..=RUNS {
        let pings = Pings::start(&host, &["172.16.0.1"])?;
        bench.measure(Fault::None)?;
        let control = pings.lost()? as f64;
        let pings = Pings::start(&host, &["172.16.0.1"])?;
        let (judgement, lost) = bench.measure(Fault::BirdKilled)?;
        let away = pings.lost()? as f64 * PING_MS;
        let row = [control, lost as f64, judgement.moved as f64, away, told(&bench)?];
        println!("run {run}: {name}: {row:.1?}");
        figures.iter_mut().zip(row).for_each(|(figure, value)| figure.runs.push(value));
    }
    Ok(figures.into())
}
