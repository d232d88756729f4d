//! Carrier of ports, polled: the kernel reports a second change within a second up to a second late
//! (`net/core/link_watch.c`).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::KernelError;
use super::ethtool::Ethtool;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(5);

/// Looks until the last other holder of `nudge` is gone, and notifies it of each change.
pub(super) fn watch(ports: Vec<String>, nudge: &Arc<Notify>) -> Result<(), KernelError> {
    let fail = || KernelError::system("watch the carrier of ports");
    let ethtool = Ethtool::open().map_err(fail())?;
    let nudge: Weak<Notify> = Arc::downgrade(nudge);
    let look = move || {
        let mut seen: BTreeMap<&str, bool> = BTreeMap::new();
        while let Some(nudge) = nudge.upgrade() {
            for port in &ports {
                let up = ethtool.is_up(port);
                if seen.insert(port, up).is_some_and(|before| before != up) {
                    nudge.notify_one();
                }
            }
            drop(nudge);
            thread::sleep(EVERY);
        }
    };
    thread::Builder::new().name("carrier".into()).spawn(look).map_err(fail())?;
    Ok(())
}
