//! Carrier of ports, polled: the kernel reports a second change within a second up to a second late
//! (`net/core/link_watch.c`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::KernelError;
use super::ethtool::Ethtool;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(1);

/// Ports that are looked at, until this is dropped.
pub(super) struct Watch {
    ports: Arc<BTreeSet<String>>,
}

impl Watch {
    /// Looks at these ports, and notifies `nudge` of each change.
    pub(super) fn new(ports: BTreeSet<String>, nudge: Arc<Notify>) -> Result<Self, KernelError> {
        let fail = || KernelError::system("watch the carrier of ports");
        let ethtool = Ethtool::open().map_err(fail())?;
        let ports = Arc::new(ports);
        let watched = Arc::downgrade(&ports);
        let look = move || look(&watched, &ethtool, &nudge);
        thread::Builder::new().name("carrier".into()).spawn(look).map_err(fail())?;
        Ok(Self { ports })
    }

    /// Which ports these are.
    pub(super) fn ports(&self) -> &BTreeSet<String> {
        &self.ports
    }
}

fn look(watched: &Weak<BTreeSet<String>>, ethtool: &Ethtool, nudge: &Notify) {
    let mut seen: BTreeMap<String, bool> = BTreeMap::new();
    while let Some(ports) = watched.upgrade() {
        for port in ports.iter() {
            let up = ethtool.is_up(port);
            if seen.insert(port.clone(), up).is_some_and(|before| before != up) {
                nudge.notify_one();
            }
        }
        drop(ports);
        thread::sleep(EVERY);
    }
}
