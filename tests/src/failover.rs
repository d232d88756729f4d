//! Lines that fail under load: how many packets are lost, beside runs in which nothing happens.

mod bird;
mod judge;
mod traffic;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::config;
use crate::customers::{self, A, B, F, KEY, Line, comes_up, router};
use crate::daemon::Daemon;
use crate::figures::{self, Figure};
use crate::netns::sweep;
use crate::peer::{Kind, Peer};
use crate::shim::Observer;
use crate::testbed::Testbed;

use self::judge::{Event, Judgement, Observed};
use self::traffic::{FLOWS, RATE, Traffic};

/// Interleaved runs of each case.
const RUNS: usize = 3;
/// Runs of which the control lost packets, until the machine is too busy.
const VOIDS: usize = 6;
/// Between BFD's packets, in milliseconds, and how many may be missed.
const BFD: (u32, u8) = (20, 3);
/// Longest outage after a port's carrier went, in milliseconds.
const LINK_DOWN_MS: f64 = 5.0;
/// The same after a silent cut: detection, and what follows it.
const SILENT_MS: f64 = (BFD.0 * BFD.1 as u32) as f64 + 20.0;
/// Numbers of datagrams of a run.
const NUMBERS: u32 = 1 << 24;
/// Longest wait until every line is back: BGP keeps who failed often waiting for half a minute.
const RETURN: Duration = Duration::from_mins(2);
/// Lines with the customer's ports.
const LINES: [(Line, &str); 3] = [(A, "eth0"), (B, "eth1"), (F, "eth2")];

/// What is done to lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing, for some seconds.
    None,
    /// The customer's port goes down, and with it the carrier.
    LinkDown,
    /// Packets are dropped, in both directions.
    SilentCut,
    /// Two ports go down, 100 ms apart.
    TwoDown,
    /// The gateway's BIRD is killed.
    BirdKilled,
}

impl Fault {
    fn lines(self) -> u8 {
        match self {
            Self::None | Self::BirdKilled => 0,
            Self::LinkDown | Self::SilentCut => 1,
            Self::TwoDown => 2,
        }
    }
}

/// A customer with some equal lines, and who looks at what comes.
struct Bench {
    testbed: Testbed,
    daemon: Daemon,
    peer: Peer,
    observer: Observer,
    lines: &'static [(Line, &'static str)],
    run: u32,
}

impl Bench {
    fn new(lines: &'static [(Line, &'static str)], graceful: bool) -> anyhow::Result<Self> {
        let mut testbed = Testbed::new()?;
        if lines.len() > 2 {
            testbed.connect_third_line()?;
        }
        let bgp = A.bgp_with_key("");
        let bfd = format!("bfd: {{interval: {}ms, multiplier: {}}}", BFD.0, BFD.1);
        let keys = [bgp.as_str(), bfd.as_str()];
        let keys: Vec<(Line, &[&str])> = lines.iter().map(|(line, _)| (*line, keys.as_slice())).collect();
        let change = |text: String| {
            let text = if lines.len() > 2 { config::with_third_line(&text) } else { text };
            config::without_caps(&text)
        };
        let daemon = customers::start(&testbed, &keys, change)?;
        let ports: Vec<_> = lines.iter().map(|(_, port)| *port).collect();
        for port in &ports {
            testbed.cust_a.sysctl(&[(format!("ipv6/conf/{port}/keep_addr_on_down"), "1")])?;
        }
        let observer = Observer::at(&testbed.cust_a, &ports, NUMBERS)?;
        let lines_only: Vec<_> = lines.iter().map(|(line, _)| *line).collect();
        let config = router(&lines_only, &["172.16.0.1", "fd00:a::1"])?.password(KEY);
        let config = if graceful { config.bfd(BFD.0, BFD.1) } else { config.plain_bfd(BFD.0, BFD.1) };
        let config = config.announce(&["172.16.0.0/16", "fd00:a::/48"]);
        let peer = Peer::start(&testbed.cust_a, Kind::Bird, config)?;
        comes_up(&peer, &daemon)?;
        let bench = Self { testbed, daemon, peer, observer, lines, run: 0 };
        bench.is_whole()?;
        Ok(bench)
    }

    /// Waits until every line carries traffic, and BFD watches it.
    fn is_whole(&self) -> anyhow::Result<()> {
        let count = self.lines.len();
        let is_whole = || -> anyhow::Result<bool> {
            let routes = self.daemon.show("routes")?;
            let mut rows = routes.as_array().context("no routes")?.iter();
            let row = rows.find(|row| row["border_gateway"] == "bgw-1" && row["prefix"] == "172.16.0.0/16");
            let live = row.map_or(0, |row| row["live"].as_u64().unwrap_or(0) as usize);
            let bfd = self.peer.birdc("show bfd sessions")?;
            let is_up = |line: &&str| line.split_whitespace().nth(2) == Some("Up");
            Ok(live == count
                && bfd.lines().filter(is_up).count() == 2 * count
                && self.peer.is_established()?)
        };
        let started = Instant::now();
        while started.elapsed() < RETURN {
            if is_whole()? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("not all lines carry traffic:\n{}\n{}", self.peer.view(), self.daemon.log())
    }

    fn act(&mut self, fault: Fault, line: u8, happens: bool) -> anyhow::Result<()> {
        let port = self.lines[usize::from(line)].1;
        match (fault, happens) {
            (Fault::None, _) => Ok(()),
            (Fault::SilentCut, true) => self.observer.cut(port),
            (Fault::SilentCut, false) => self.observer.mend(port),
            (_, true) => self.testbed.cust_a.ip(&[&format!("link set {port} down")]),
            (_, false) => self.testbed.cust_a.ip(&[&format!("link set {port} up")]),
        }
    }

    /// Traffic; what is done to lines, and undone; traffic.
    fn measure(&mut self, fault: Fault) -> anyhow::Result<(Judgement, usize)> {
        self.is_whole()?;
        self.run += 1;
        let traffic = Traffic::start(&self.testbed, self.run)?;
        thread::sleep(Duration::from_millis(700));
        let mut events = Vec::new();
        if fault == Fault::BirdKilled {
            bird::kill(&self.testbed)?;
        }
        for line in 0..fault.lines() {
            if line > 0 {
                thread::sleep(Duration::from_millis(100));
            }
            events.push(Event { at: traffic.sent(), line });
            self.act(fault, line, true)?;
        }
        thread::sleep(Duration::from_millis(1500));
        let returned = traffic.sent();
        for line in 0..fault.lines() {
            self.act(fault, line, false)?;
        }
        if fault != Fault::None {
            self.is_whole()?;
        }
        thread::sleep(Duration::from_secs(1));
        let sent = traffic.end()?;
        if sent > NUMBERS {
            bail!("the lines came back after {} s only", sent / RATE);
        }
        let lines = self.observer.seen(self.run, sent)?;
        let observed = Observed { lines, flows: FLOWS as usize, per_ms: f64::from(RATE) / 1000.0 };
        let judgement = observed.judge(&events, returned);
        ensure!(
            judgement.without_effect == 0,
            "flows stay on a line that is cut: {judgement:?}\n{}",
            self.daemon.log()
        );
        Ok((judgement, observed.all_lost()))
    }
}

/// A case: its fault, its lines, and its first words.
type Case = (Fault, &'static [(Line, &'static str)], &'static str);

const CASES: [Case; 3] = [
    (Fault::LinkDown, LINES.split_at(2).0, "link-down, one of two lines"),
    (Fault::SilentCut, LINES.split_at(2).0, "silent cut, one of two lines"),
    (Fault::TwoDown, &LINES, "two of three ports down, 100 ms apart"),
];

/// Figures of one case, in the order of [`row`].
fn figures_of(fault: Fault, name: &str) -> Vec<Figure> {
    let bound = if fault == Fault::SilentCut { SILENT_MS } else { LINK_DOWN_MS };
    let mut figures = vec![Figure::new(&format!("{name}: control, lost"), "pkts", 0.0, 0.0)];
    for number in 1..=fault.lines() {
        let which = if fault.lines() > 1 { format!(", port {number}") } else { String::new() };
        figures.push(Figure::new(&format!("{name}{which}: outage"), "ms", 0.0, bound));
    }
    for what in ["lost of other lines", "flows of other lines moved", "lost after the return"] {
        let unit = if what.starts_with("flows") { "" } else { "pkts" };
        figures.push(Figure::new(&format!("{name}: {what}"), unit, 0.0, 0.0));
    }
    figures
}

fn row(control: usize, judgement: &Judgement) -> Vec<f64> {
    let rest = [judgement.lost_of_others, judgement.moved, judgement.lost_after_return];
    let control = [control as f64].into_iter();
    control.chain(judgement.outages_ms.iter().copied()).chain(rest.map(|count| count as f64)).collect()
}

/// Measures every case beside its control; with `--check`, an error when one is out of bounds.
pub fn bench(options: &[&str]) -> anyhow::Result<()> {
    sweep();
    let started = Instant::now();
    let mut figures = Vec::new();
    for lines in [2, 3] {
        let cases: Vec<_> = CASES.iter().filter(|(_, of_case, _)| of_case.len() == lines).collect();
        let mut bench = Bench::new(cases[0].1, true)?;
        let mut of_cases: Vec<_> = cases.iter().map(|(fault, _, name)| figures_of(*fault, name)).collect();
        let mut voids = 0;
        for run in 1..=RUNS {
            for ((fault, _, name), figures) in cases.iter().zip(&mut of_cases) {
                let (control, judgement) = loop {
                    let (_, control) = bench.measure(Fault::None)?;
                    let (judgement, _) = bench.measure(*fault)?;
                    println!("run {run}: {name}: control lost {control}, {judgement:?}");
                    if control == 0 {
                        break (control, judgement);
                    }
                    voids += 1;
                    if voids > VOIDS {
                        bail!(
                            "void: the control lost packets {voids} times: this machine was too busy to measure"
                        );
                    }
                };
                figures
                    .iter_mut()
                    .zip(row(control, &judgement))
                    .for_each(|(figure, value)| figure.runs.push(value));
            }
        }
        figures.extend(of_cases.into_iter().flatten());
    }
    figures.extend(bird::figures()?);
    println!("\n{RATE} packets a second in {FLOWS} flows; {:.0} s", started.elapsed().as_secs_f64());
    figures::show(&figures);
    figures::write(options, &figures)?;
    if options.contains(&"--check") { figures::check(&figures) } else { Ok(()) }
}
