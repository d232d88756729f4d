//! Drains and drills over time.

use std::path::Path;

use super::*;
use crate::intent::load;

fn intent() -> Intent {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml")).unwrap()
}

/// A file of its own, in a directory that goes with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("border-gw-maintenance-{name}-{}", std::process::id())))
    }

    fn maintenance(&self) -> Maintenance {
        Maintenance { path: self.0.join("maintenance.json"), ..Maintenance::default() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

const MINUTE: Duration = Duration::from_mins(1);

#[test]
fn a_drain_asks_first_and_ends_sessions_when_nothing_has_passed_for_a_while() {
    let (place, intent, clock, start) = (Place::new("drain"), intent(), SystemTime::now(), Instant::now());
    let mut maintenance = place.maintenance();
    maintenance.command(&intent, "vif-a", Command::Drain, clock, start).unwrap();
    let drain = |maintenance: &Maintenance| maintenance.applied(&intent).drained.get("vif-a").copied();
    assert_eq!(drain(&maintenance), Some(Drain::Announced));
    let mut at = |seconds, packets| {
        let now = start + Duration::from_secs(seconds);
        maintenance.advance(&BTreeMap::from([("vif-a".to_owned(), packets)]), now);
        drain(&maintenance)
    };
    assert_eq!(at(1, 10), Some(Drain::Announced), "first look");
    assert_eq!(at(5, 11), Some(Drain::Announced), "a packet");
    assert_eq!(at(9, 11), Some(Drain::Announced), "silence, not long enough");
    assert_eq!(at(10, 11), Some(Drain::Down), "silence");
    assert_eq!(at(60, 12), Some(Drain::Down), "it does not come back by itself");
    maintenance.command(&intent, "vif-a", Command::Undrain, clock, start).unwrap();
    assert_eq!(drain(&maintenance), None);
}

#[test]
fn a_drill_ends_by_itself_also_after_a_restart() {
    let (place, intent, clock, start) = (Place::new("drill"), intent(), SystemTime::now(), Instant::now());
    let mut maintenance = place.maintenance();
    maintenance.command(&intent, "vif-a", Command::Drill(10 * MINUTE), clock, start).unwrap();
    let is_enabled = |maintenance: &Maintenance| {
        maintenance.applied(&intent).border_gateways[0].virtual_interfaces[0].enabled
    };
    assert!(!is_enabled(&maintenance));
    // Another daemon, four minutes later.
    let mut entries = file::read(&maintenance.path).unwrap();
    assert_eq!(entries.len(), 1);
    let Some(Entry::Drill { until, lasts: 600 }) = entries.remove("vif-a") else { panic!("no drill") };
    assert!(until.abs_diff(seconds(clock + 10 * MINUTE)) <= 1);
    let none = BTreeMap::new();
    assert!(maintenance.advance(&none, start + 9 * MINUTE).is_empty());
    assert_eq!(maintenance.next_end(), Some(start + 10 * MINUTE));
    assert_eq!(maintenance.advance(&none, start + 10 * MINUTE), ["the drill of vif-a is over"]);
    assert!(is_enabled(&maintenance));
    assert!(file::read(&maintenance.path).unwrap().is_empty());
    assert_eq!(maintenance.next_end(), None);
}

#[test]
fn a_clock_that_is_set_back_makes_no_drill_longer() {
    let (place, intent, clock, start) = (Place::new("clock"), intent(), SystemTime::now(), Instant::now());
    let mut maintenance = place.maintenance();
    maintenance.command(&intent, "vif-a", Command::Drill(10 * MINUTE), clock, start).unwrap();
    let again = Maintenance::read(maintenance.path, clock - 90 * MINUTE, start).unwrap();
    assert_eq!(again.next_end(), Some(start + 10 * MINUTE));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let (place, intent, clock, start) = (Place::new("refused"), intent(), SystemTime::now(), Instant::now());
    let mut maintenance = place.maintenance();
    let mut said = |vif: &str, command| {
        maintenance.command(&intent, vif, command, clock, start).unwrap_err().to_string()
    };
    assert_eq!(said("vif-x", Command::Drain), "there is no virtual interface `vif-x`; there is vif-a, vif-b");
    assert_eq!(said("vif-a", Command::Undrain), "`vif-a` is in service: there is nothing to undo");
    assert_eq!(said("vif-a", Command::Drill(Duration::ZERO)), "a drill takes 1s to 24h, not 0ns");
    maintenance.command(&intent, "vif-a", Command::Drain, clock, start).unwrap();
    let error = maintenance.command(&intent, "vif-a", Command::Drill(MINUTE), clock, start).unwrap_err();
    assert_eq!(error.to_string(), "`vif-a` is draining already; `border-gw undrain vif-a` ends that");
}

#[test]
fn a_file_that_cannot_be_written_leaves_all_in_service() {
    let (place, intent, clock, start) = (Place::new("file"), intent(), SystemTime::now(), Instant::now());
    std::fs::write(&place.0, "in the way").unwrap();
    let mut maintenance = place.maintenance();
    let error = maintenance.command(&intent, "vif-a", Command::Drain, clock, start).unwrap_err();
    assert!(error.to_string().starts_with("nothing has changed: cannot write "), "{error}");
    assert_eq!(maintenance.state("vif-a"), None);
    std::fs::remove_file(&place.0).unwrap();
}
