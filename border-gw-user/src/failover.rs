//! Failovers, measured by the gateway itself: what was lost, when its flows had another way, when everything had settled.
//!
//! Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use crate::intent::Intent;
use crate::kernel::{Lost, Observed};
use crate::routing::Restart;

/// Failovers that are remembered.
const MOST: usize = 100;
/// Of one cause: who flaps hides nobody else's.
const MOST_OF_ONE: usize = 10;
/// Upper bounds of the histograms' buckets, in seconds.
pub const BOUNDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

/// Why a line was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A port has no carrier.
    Port(String),
    /// BFD says that a peer of a VIF is gone.
    Bfd(String, IpAddr),
    /// A peer of a VIF does not answer ARP or neighbour solicitations.
    Neighbor(String, IpAddr),
    /// The BIRD of a border gateway was gone.
    Bird(String),
}

impl Cause {
    /// What was lost.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Port(_) => "port",
            Self::Bfd(..) => "bfd",
            Self::Neighbor(..) => "neighbor",
            Self::Bird(_) => "bird",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port} has no carrier"),
            Self::Bfd(vif, peer) => write!(f, "BFD lost peer {peer} of {vif}"),
            Self::Neighbor(vif, peer) => write!(f, "peer {peer} of {vif} does not answer"),
            Self::Bird(gateway) => write!(f, "BIRD of border gateway {gateway} was gone"),
        }
    }
}

/// One failover.
#[derive(Clone, Debug)]
pub struct Failover {
    /// When it was detected.
    pub at: SystemTime,
    /// Why.
    pub cause: Cause,
    /// Groups whose buckets were rewritten.
    pub groups: usize,
    /// From the detection until the last bucket was rewritten: no packet goes to the dead line any more. None of a BIRD, without
    /// which forwarding goes on.
    pub rerouted: Option<Duration>,
    /// From the detection until no route leads over it, either; none while some do. Of a BIRD: until its sessions were back.
    pub converged: Option<Duration>,
    detected: Instant,
    /// VIFs that it took; none when it has settled, or the line is back.
    vifs: BTreeSet<String>,
}

/// How long something took: how many were at most as long as each of [`BOUNDS`].
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Cumulative counts.
    pub buckets: [u64; BOUNDS.len()],
    /// All.
    pub count: u64,
    /// Sum, in seconds.
    pub sum: f64,
}

impl Histogram {
    fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        for (bucket, bound) in self.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// All failovers since the daemon's start.
#[derive(Clone, Debug, Default)]
pub struct Failovers {
    /// The last ones, the newest first.
    pub last: VecDeque<Failover>,
    /// From detection to buckets.
    pub rerouted: Histogram,
    /// From detection to routes.
    pub converged: Histogram,
    /// The last restart of each border gateway's BIRD that is known: when, and how long its sessions were away.
    restarts: BTreeMap<String, (Instant, Option<Duration>)>,
}

impl Failovers {
    /// Remembers that what was lost at `detected` has left the buckets at `now`.
    pub fn rerouted(
        &mut self,
        intent: &Intent,
        lost: &Lost,
        groups: usize,
        at: SystemTime,
        (detected, now): (Instant, Instant),
    ) {
        for cause in lost.causes() {
            let rerouted = now - detected;
            self.rerouted.observe(rerouted);
            let vifs = vifs(intent, &cause);
            self.remember(Failover {
                at,
                cause,
                groups,
                rerouted: Some(rerouted),
                converged: None,
                detected,
                vifs,
            });
        }
    }

    fn remember(&mut self, failover: Failover) {
        let mut of_one = 1;
        self.last.retain(|known| {
            of_one += usize::from(known.cause == failover.cause);
            known.cause != failover.cause || of_one <= MOST_OF_ONE
        });
        self.last.push_front(failover);
        self.last.truncate(MOST);
    }

    /// Remembers that the BIRD of a border gateway was found dead, and how long its sessions were away. Says whether that is new.
    pub fn restarted(&mut self, border_gateway: &str, restart: &Restart) -> bool {
        let now = (restart.detected, restart.back);
        let before = self.restarts.insert(border_gateway.to_owned(), now);
        if before == Some(now) {
            return false;
        }
        if let Some(back) = restart.back {
            self.converged.observe(back);
        }
        let cause = Cause::Bird(border_gateway.to_owned());
        if before.is_none_or(|(detected, _)| detected != restart.detected) {
            self.remember(Failover {
                at: restart.at,
                cause,
                groups: 0,
                rerouted: None,
                converged: restart.back,
                detected: restart.detected,
                vifs: BTreeSet::new(),
            });
            return true;
        }
        let is_this = |known: &&mut Failover| known.cause == cause && known.detected == restart.detected;
        if let Some(known) = self.last.iter_mut().find(is_this) {
            known.converged = restart.back;
        }
        true
    }

    /// Looks whether the routes have followed, after a turn that ended at `now`. A line that is back before has not to.
    pub fn converged(&mut self, observed: &Observed, now: Instant) {
        for failover in self.last.iter_mut().filter(|failover| failover.converged.is_none()) {
            if failover.vifs.is_empty() || is_back(observed, &failover.cause) {
                failover.vifs.clear();
                continue;
            }
            let learned = observed.learned.values().flat_map(|learned| learned.routes.values());
            let is_used = learned.flat_map(|hops| hops.iter()).any(|hop| failover.vifs.contains(&*hop.vif));
            if !is_used {
                let converged = now - failover.detected;
                failover.converged = Some(converged);
                self.converged.observe(converged);
            }
        }
    }
}

/// Whether what was lost is there again.
fn is_back(observed: &Observed, cause: &Cause) -> bool {
    match cause {
        Cause::Port(port) => observed.ports.get(port).is_some_and(|port| port.up),
        Cause::Bfd(vif, peer) => !observed.bfd_down.contains(&(vif.clone(), *peer)),
        Cause::Bird(_) => true,
        Cause::Neighbor(vif, peer) => observed.neighbors.contains_key(&(vif.clone(), *peer)),
    }
}

/// The VIFs that a loss takes.
fn vifs(intent: &Intent, cause: &Cause) -> BTreeSet<String> {
    match cause {
        Cause::Bird(_) => BTreeSet::new(),
        Cause::Bfd(vif, _) | Cause::Neighbor(vif, _) => BTreeSet::from([vif.clone()]),
        Cause::Port(port) => {
            let all = intent.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces);
            let on_port = all
                .filter(|vif| intent.connection(&vif.connection).is_some_and(|line| line.interface == *port));
            on_port.map(|vif| vif.name.clone()).collect()
        }
    }
}
