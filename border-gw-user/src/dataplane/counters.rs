//! Counters, read from the pinned maps: sums over CPUs. Works without the daemon.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues};
use border_gw_common::abi::{self, Entry, Owner, Tally, TooBig, Traffic, map as names};
use border_gw_common::loss::{LOSS_SETTINGS, LOSSES, LossReason, LossSettings, Losses};
use border_gw_common::verdict::{MAX_ERRORS, MAX_REASONS};

use super::devices::Devices;
use super::error::map;
use super::{Error, losses, pins};
use crate::tables::Identity;

/// Nothing was counted.
pub const NO_TALLY: Tally = Tally {
    forwarded: 0,
    punted: 0,
    passed: 0,
    answered: 0,
    errors: [0; MAX_ERRORS],
    drops: [0; MAX_REASONS],
};

/// Adds a tally to a sum.
pub(super) fn add(sum: &mut Tally, value: &Tally) {
    sum.forwarded += value.forwarded;
    sum.punted += value.punted;
    sum.passed += value.passed;
    for (sum, value) in sum.errors.iter_mut().zip(value.errors) {
        *sum += value;
    }
    sum.answered += value.answered;
    for (sum, value) in sum.drops.iter_mut().zip(value.drops) {
        *sum += value;
    }
}

/// Counts that move from a scope to another are in both for a moment; a sum that was taken then would go back afterwards.
static MOVING: RwLock<()> = RwLock::new(());

/// While it is held, no counts move: for whoever adds scopes up.
pub fn hold_still() -> RwLockReadGuard<'static, ()> {
    MOVING.read().unwrap_or_else(PoisonError::into_inner)
}

/// While it is held, nobody adds scopes up.
pub(super) fn moving() -> RwLockWriteGuard<'static, ()> {
    MOVING.write().unwrap_or_else(PoisonError::into_inner)
}

/// Handles of the counter maps of one gateway.
pub struct Counters {
    received: PerCpuArray<MapData, u64>,
    tallies: PerCpuArray<MapData, Tally>,
    traffic: PerCpuArray<MapData, Traffic>,
    too_big: PerCpuHashMap<MapData, u64, TooBig>,
    losses: PerCpuHashMap<MapData, u32, Losses>,
    loss_settings: Array<MapData, LossSettings>,
    devices: Devices,
}

fn open<T: TryFrom<Map, Error = MapError>>(gateway: &str, name: &'static str) -> Result<T, Error> {
    let path = pins::map(gateway, name);
    let data = map("open", name, MapData::from_pin(Path::new(&path)))?;
    let found = map("open", name, Map::from_map_data(data))?;
    map("open", name, T::try_from(found))
}

impl Counters {
    /// Opens the maps of a gateway.
    pub fn open(gateway: &str) -> Result<Self, Error> {
        Ok(Self {
            received: open(gateway, names::RECEIVED)?,
            tallies: open(gateway, names::TALLIES)?,
            traffic: open(gateway, names::TRAFFIC)?,
            too_big: open(gateway, names::TOO_BIG)?,
            losses: open(gateway, LOSSES)?,
            loss_settings: open(gateway, LOSS_SETTINGS)?,
            devices: Devices::open(gateway)?,
        })
    }

    /// Packets that a program received.
    pub fn received(&self, entry: Entry) -> Result<u64, Error> {
        let values = map("read", names::RECEIVED, self.received.get(&(entry as u32), 0))?;
        Ok(values.iter().sum())
    }

    /// What became of the packets of a scope.
    pub fn tally(&self, scope: u32) -> Result<Tally, Error> {
        let values = map("read", names::TALLIES, self.tallies.get(&scope, 0))?;
        let mut sum = NO_TALLY;
        values.iter().for_each(|value| add(&mut sum, value));
        Ok(sum)
    }

    /// Packets larger than the MTU of a next hop, by its identity.
    pub fn too_big(&self) -> Result<BTreeMap<Identity, TooBig>, Error> {
        let mut all: BTreeMap<Identity, TooBig> = BTreeMap::new();
        for entry in &self.too_big {
            let (identity, values) = map("read", names::TOO_BIG, entry)?;
            let sum = all.entry(identity).or_default();
            for value in values.iter() {
                sum.with_df += value.with_df;
                sum.without_df += value.without_df;
            }
        }
        Ok(all)
    }

    /// Packets lost after the verdict, by index of the interface that they were to leave by.
    pub fn losses(&self) -> Result<BTreeMap<u32, Losses>, Error> {
        let sum = |(ifindex, values): (u32, PerCpuValues<Losses>)| {
            let mut sum = Losses::default();
            values.iter().for_each(|value| losses::add(&mut sum, value));
            (ifindex, sum)
        };
        let sums = self.losses.iter().map(|entry| map("read", LOSSES, entry.map(sum)));
        let mut sums = sums.collect::<Result<BTreeMap<_, _>, _>>()?;
        for (ifindex, lost) in self.devices.lost()? {
            sums.entry(ifindex).or_default().packets[LossReason::DeviceDropped as usize] += lost;
        }
        Ok(sums)
    }

    /// Whether losses are counted at all: this kernel may not be one that the programs were made for.
    pub fn counts_losses(&self) -> Result<bool, Error> {
        let settings = map("read", LOSS_SETTINGS, self.loss_settings.get(&0, 0))?;
        Ok(settings.netns_cookie != 0)
    }

    /// Traffic of a VIF or an attachment.
    pub fn traffic(&self, owner: Owner) -> Result<Traffic, Error> {
        let values = map("read", names::TRAFFIC, self.traffic.get(&abi::traffic_index(owner), 0))?;
        let mut sum = Traffic::default();
        for value in values.iter() {
            for (sum, value) in sum.flows.iter_mut().zip(value.flows) {
                sum.packets += value.packets;
                sum.bytes += value.bytes;
                sum.policed_packets += value.policed_packets;
                sum.policed_bytes += value.policed_bytes;
            }
        }
        Ok(sum)
    }
}
