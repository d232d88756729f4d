//! What devices lose of what they are given, where programs run in skb mode: the kernel has no tracepoint there, only the statistics
//! of the device. What they say is added up in a pinned map, so that it neither ends with a device nor starts again with a daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{HashMap, Map, MapData, MapError};
use border_gw_common::abi::{MAX_ATTACHMENTS, MAX_PORTS, MAX_VIFS};
use border_gw_common::loss::{DEVICE_DROPS, DeviceDrops, RETIRED};
use log::debug;
use netlink_packet_route::link::LinkAttribute;

use super::error::map;
use super::{Error, counters, mode, pins};

/// Every device, and those that are gone.
const MAX_COUNTED: u32 = MAX_VIFS + MAX_ATTACHMENTS + MAX_PORTS + 1;
/// `BPF_F_NO_PREALLOC`: in native mode it stays empty.
const NO_PREALLOC: u32 = 1;

/// Statistics are read, compared and written by one at a time: by the loop, and by everybody who asks.
static FOLLOWING: Mutex<()> = Mutex::new(());

fn following() -> MutexGuard<'static, ()> {
    FOLLOWING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle of the map.
pub(super) struct Devices(Mutex<HashMap<MapData, u32, DeviceDrops>>);

impl Devices {
    /// Opens the map of a gateway, or makes it: no program uses it, so that it is not in the object.
    pub(super) fn open(gateway: &str) -> Result<Self, Error> {
        let path = pins::map(gateway, DEVICE_DROPS);
        if !path.exists() {
            let made: HashMap<MapData, u32, DeviceDrops> =
                map("create", DEVICE_DROPS, HashMap::create(MAX_COUNTED, NO_PREALLOC))?;
            made.pin(&path).map_err(|cause| Error::Pin { path: path.clone(), cause })?;
        }
        let data = map("open", DEVICE_DROPS, MapData::from_pin(Path::new(&path)))?;
        let found = map("open", DEVICE_DROPS, Map::from_map_data(data))?;
        Ok(Self(Mutex::new(map("open", DEVICE_DROPS, found.try_into())?)))
    }

    /// From now on exactly these devices count. What the others lost is added to what is gone.
    pub(super) fn follow(&self, devices: &BTreeSet<u32>) -> Result<(), Error> {
        let known: BTreeSet<u32> = self.entries()?.into_keys().filter(|key| *key != RETIRED).collect();
        if known == *devices {
            return Ok(());
        }
        // Nobody adds up meanwhile.
        let _moving = counters::moving();
        let _following = following();
        for ifindex in devices.difference(&known) {
            // What it lost before is not ours.
            let seen = dropped(*ifindex).unwrap_or(0);
            self.set(*ifindex, DeviceDrops { seen, lost: 0 })?;
        }
        for ifindex in known.difference(devices) {
            let all = self.entries()?;
            let lost = all.get(ifindex).map_or(0, |device| now(*ifindex, *device).lost);
            let before = all.get(&RETIRED).copied().unwrap_or_default();
            if lost != 0 {
                self.set(RETIRED, DeviceDrops { lost: before.lost + lost, ..before })?;
            }
            map("write", DEVICE_DROPS, self.map().remove(ifindex))?;
        }
        Ok(())
    }

    /// What each lost so far. Kept as it is told, so that it never goes back, also where a device goes next.
    pub(super) fn lost(&self) -> Result<BTreeMap<u32, u64>, Error> {
        let _following = following();
        let mut lost = BTreeMap::new();
        for (ifindex, before) in self.entries()? {
            let device = now(ifindex, before);
            if device != before {
                self.set(ifindex, device)?;
            }
            lost.insert(ifindex, device.lost);
        }
        Ok(lost)
    }

    fn map(&self) -> MutexGuard<'_, HashMap<MapData, u32, DeviceDrops>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entries(&self) -> Result<BTreeMap<u32, DeviceDrops>, Error> {
        let all: Result<_, MapError> = self.map().iter().collect();
        map("read", DEVICE_DROPS, all)
    }

    fn set(&self, ifindex: u32, device: DeviceDrops) -> Result<(), Error> {
        map("write", DEVICE_DROPS, self.map().insert(ifindex, device, 0))
    }
}

/// A device by its statistics of now; one that is gone stays as it was.
fn now(ifindex: u32, device: DeviceDrops) -> DeviceDrops {
    if ifindex == RETIRED {
        return device;
    }
    match dropped(ifindex) {
        Ok(now) => device.grown(now),
        Err(error) => {
            debug!("no statistics of interface index {ifindex}: {error}");
            device
        }
    }
}

/// Packets that a device dropped on transmission, since it exists.
fn dropped(ifindex: u32) -> io::Result<u64> {
    let link = mode::link(ifindex)?;
    let statistics = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(statistics) => Some(statistics.tx_dropped),
        _ => None,
    });
    statistics.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
