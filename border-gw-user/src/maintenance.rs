//! Virtual interfaces that an operator takes out of service by command: drains and drills. Pure but for the file.
//!
//! A drain asks both sides to prefer other lines (RFC 8326), and takes the sessions down when traffic has gone. A drill takes a
//! line down as if its port had died, and brings it back by itself, also when the daemon started anew in between.

mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::intent::{Drain, Intent};
pub use file::Error as FileError;

/// How long no packet may have passed for traffic to have gone.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest drill: who wants more takes the line out of the configuration.
const LONGEST_DRILL: Duration = Duration::from_hours(24);

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Take out of service, gently.
    Drain,
    /// Take into service again; ends a drill, too.
    Undrain,
    /// Take down, and back by itself.
    Drill(Duration),
}

/// Why a command is refused; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has that name.
    #[error("there is no virtual interface `{vif}`; there is {}", known.join(", "))]
    Unknown {
        /// The name.
        vif: String,
        /// Those that are.
        known: Vec<String>,
    },
    /// It is out of service already.
    #[error("`{0}` is {1} already; `border-gw undrain {0}` ends that")]
    Busy(String, &'static str),
    /// It is in service.
    #[error("`{0}` is in service: there is nothing to undo")]
    Idle(String),
    /// Not a time for a drill.
    #[error("a drill takes 1s to 24h, not {0:?}")]
    Duration(Duration),
    /// What is asked for would not outlive the daemon.
    #[error("nothing has changed: {0}")]
    File(#[from] FileError),
}

/// One virtual interface out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    /// Since when, in seconds since 1970, and whether its sessions are down.
    Drain { since: u64, down: bool },
    /// Until when, in seconds since 1970, and how many seconds it lasts.
    Drill {
        until: u64,
        #[serde(default = "longest")]
        lasts: u64,
    },
}

fn longest() -> u64 {
    LONGEST_DRILL.as_secs()
}

/// Packets of a virtual interface that is being drained.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    packets: u64,
    since: Instant,
}

/// What is out of service.
#[derive(Debug, Default)]
pub struct Maintenance {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    /// When drills end.
    ends: BTreeMap<String, Instant>,
    traffic: BTreeMap<String, Traffic>,
}

/// Where a gateway keeps what has to outlive its daemon.
pub fn directory(gateway: &str) -> PathBuf {
    PathBuf::from("/var/lib/border-gw").join(gateway)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Maintenance {
    /// What an earlier daemon of this gateway left.
    pub fn load(gateway: &str, clock: SystemTime, now: Instant) -> Result<Self, FileError> {
        Self::read(directory(gateway).join("maintenance.json"), clock, now)
    }

    fn read(path: PathBuf, clock: SystemTime, now: Instant) -> Result<Self, FileError> {
        let entries: BTreeMap<String, Entry> = file::read(&path)?;
        // A clock that was set back makes no drill longer than it was to be.
        let left =
            |until: u64, lasts: u64| Duration::from_secs(until.saturating_sub(seconds(clock)).min(lasts));
        let ends = entries.iter().filter_map(|(vif, entry)| match entry {
            Entry::Drill { until, lasts } => Some((vif.clone(), now + left(*until, *lasts))),
            Entry::Drain { .. } => None,
        });
        Ok(Self { path, ends: ends.collect(), entries, traffic: BTreeMap::new() })
    }

    /// What is in force: the declared, less what is out of service.
    pub fn applied(&self, declared: &Intent) -> Intent {
        let mut intent = declared.clone();
        for vif in intent.border_gateways.iter_mut().flat_map(|gateway| &mut gateway.virtual_interfaces) {
            match self.entries.get(&vif.name) {
                Some(Entry::Drill { .. }) => vif.enabled = false,
                Some(Entry::Drain { down, .. }) => {
                    let drain = if *down { Drain::Down } else { Drain::Announced };
                    intent.drained.insert(vif.name.clone(), drain);
                }
                None => {}
            }
        }
        intent
    }

    /// `draining`, `drained` or `drill`; none in service.
    pub fn state(&self, vif: &str) -> Option<&'static str> {
        Some(match self.entries.get(vif)? {
            Entry::Drain { down: false, .. } => "draining",
            Entry::Drain { down: true, .. } => "drained",
            Entry::Drill { .. } => "drill",
        })
    }

    /// States of all that are out of service.
    pub fn states(&self) -> BTreeMap<String, &'static str> {
        self.entries.keys().filter_map(|vif| Some((vif.clone(), self.state(vif)?))).collect()
    }

    /// Carries out a command, once it would outlive the daemon. Says what is so now.
    pub fn command(
        &mut self,
        declared: &Intent,
        vif: &str,
        command: Command,
        clock: SystemTime,
        now: Instant,
    ) -> Result<String, Error> {
        let all = declared.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces);
        let known: Vec<String> = all.map(|vif| vif.name.clone()).collect();
        // What has left the configuration can still be taken off the list.
        let is_known = known.iter().any(|name| name == vif);
        let is_listed = command == Command::Undrain && self.entries.contains_key(vif);
        if !is_known && !is_listed {
            return Err(Error::Unknown { vif: vif.to_owned(), known });
        }
        let entry = match (command, self.state(vif)) {
            (Command::Undrain, None) => return Err(Error::Idle(vif.to_owned())),
            (Command::Undrain, Some(_)) => None,
            (_, Some(state)) => return Err(Error::Busy(vif.to_owned(), state)),
            (Command::Drill(time), None) if time < Duration::from_secs(1) || time > LONGEST_DRILL => {
                return Err(Error::Duration(time));
            }
            (Command::Drain, None) => Some(Entry::Drain { since: seconds(clock), down: false }),
            (Command::Drill(time), None) => {
                Some(Entry::Drill { until: seconds(clock + time), lasts: time.as_secs() })
            }
        };
        let mut entries = self.entries.clone();
        match entry {
            Some(entry) => entries.insert(vif.to_owned(), entry),
            None => entries.remove(vif),
        };
        file::write(&self.path, &entries)?;
        self.entries = entries;
        self.ends.remove(vif);
        self.traffic.remove(vif);
        Ok(match command {
            Command::Drain => format!("{vif} is draining: its sessions go down when traffic has gone"),
            Command::Undrain => format!("{vif} is in service again"),
            Command::Drill(time) => {
                self.ends.insert(vif.to_owned(), now + time);
                format!("{vif} is down for {time:?}")
            }
        })
    }

    /// Virtual interfaces of which is to be told how many packets passed.
    pub fn draining(&self) -> impl Iterator<Item = &str> {
        let is_draining = |entry: &Entry| matches!(entry, Entry::Drain { down: false, .. });
        self.entries.iter().filter(move |(_, entry)| is_draining(entry)).map(|(vif, _)| vif.as_str())
    }

    /// When the next drill ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.values().min().copied()
    }

    /// Goes on with what time has brought: drills that end, and drains whose traffic has gone. `packets` is what passed over each
    /// that drains, since ever. Says what changed, for the log. A line
    /// comes back also where that cannot be written down: a later daemon finds that its time is over.
    pub fn advance(&mut self, packets: &BTreeMap<String, u64>, now: Instant) -> Vec<String> {
        let mut changes = Vec::new();
        for (vif, _) in self.ends.extract_if(.., |_, end| *end <= now) {
            self.entries.remove(&vif);
            changes.push(format!("the drill of {vif} is over"));
        }
        for (vif, packets) in packets {
            let traffic =
                self.traffic.entry(vif.clone()).or_insert(Traffic { packets: *packets, since: now });
            if traffic.packets != *packets {
                *traffic = Traffic { packets: *packets, since: now };
            }
            if let Some(Entry::Drain { down, .. }) = self.entries.get_mut(vif)
                && !*down
                && now - traffic.since >= SILENCE
            {
                *down = true;
                changes.push(format!("{vif} is drained: traffic has gone, and its sessions go down"));
            }
        }
        if !changes.is_empty()
            && let Err(error) = file::write(&self.path, &self.entries)
        {
            changes.push(error.to_string());
        }
        changes
    }
}

#[cfg(test)]
mod tests;
