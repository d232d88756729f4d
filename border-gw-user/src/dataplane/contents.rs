//! The maps that make up the tables, typed: one operation, one map.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::resume_unwind;
use std::thread;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::of_maps::ArrayOfMaps;
use aya::maps::xdp::DevMapHash;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::{Ebpf, Pod};
use border_gw_common::abi::{self, map as names};
use border_gw_common::abi::{
    Attachment, AttachmentPolicer, Connection, Domain, Dscp, Group, HostPort, NAME, NextHop, Owner, Policer,
    Port, Route, Settings, SourceClass, Tally, Traffic, Vif, VifKey, VtepKey,
};
use border_gw_common::policer;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::error::map;
use super::losses::Counted;
use super::{Error, counters, syscalls};
use crate::tables::{Installed, Op};

/// How often what may be in a trie fits into it: what replaces all of it comes before that goes. A trie takes memory for what is in it
/// only.
const ROOM: u32 = 2;

/// Every map of the object, all of them pinned.
pub(super) const NAMES: [&str; 26] = [
    names::SETTINGS,
    names::PORTS,
    names::HOST_PORTS,
    names::DEVICES,
    names::VIF_BY_TAG,
    names::VIFS,
    names::ATTACHMENT_BY_VNI,
    names::ATTACHMENTS,
    names::VTEPS,
    names::DOMAINS,
    names::CONNECTIONS,
    names::FIB_V4,
    names::FIB_V6,
    names::SOURCES_V4,
    names::SOURCES_V6,
    names::GROUPS,
    names::NEXT_HOPS,
    names::DSCP,
    names::POLICERS,
    names::POLICER_STATE,
    names::COMPLAINTS,
    names::STAGES,
    names::RECEIVED,
    names::TALLIES,
    names::TRAFFIC,
    names::TOO_BIG,
];

/// Tries of one kind, one a slot, in both families.
struct Tries<V: Pod> {
    v4: Family<[u8; 4], V>,
    v6: Family<[u8; 16], V>,
}

/// What is in each trie, by slot.
type Entries<K, V> = Vec<(u32, Vec<(Key<K>, V)>)>;

struct Family<K: Pod, V: Pod> {
    name: &'static str,
    outer: ArrayOfMaps<MapData, LpmTrie<MapData, K, V>>,
    inner: BTreeMap<u32, LpmTrie<MapData, K, V>>,
    max_entries: u32,
}

/// Handles of the maps.
pub(super) struct Contents {
    settings: Array<MapData, Settings>,
    ports: HashMap<MapData, u32, Port>,
    host_ports: HashMap<MapData, u32, HostPort>,
    devices: DevMapHash<MapData>,
    vif_by_tag: HashMap<MapData, VifKey, u32>,
    vifs: Array<MapData, Vif>,
    attachment_by_vni: HashMap<MapData, u32, u32>,
    attachments: Array<MapData, Attachment>,
    vteps: HashMap<MapData, VtepKey, u32>,
    domains: Array<MapData, Domain>,
    connections: Array<MapData, Connection>,
    routes: Tries<Route>,
    sources: Tries<SourceClass>,
    groups: Array<MapData, Group>,
    next_hops: Array<MapData, NextHop>,
    dscp: Array<MapData, Dscp>,
    policers: Array<MapData, Policer>,
    policer_state: Array<MapData, u64>,
    tallies: PerCpuArray<MapData, Tally>,
    traffic: PerCpuArray<MapData, Traffic>,
    losses: Counted,
}

/// Takes a map out of the object, typed.
pub(super) fn take<T: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<T, Error> {
    let found = object.take_map(name).ok_or(Error::NoMap(name))?;
    map("open", name, T::try_from(found))
}

impl Contents {
    pub(super) fn new(object: &mut Ebpf) -> Result<Self, Error> {
        let devices: DevMapHash<MapData> = take(object, names::DEVICES)?;
        let entered: Result<_, _> = devices.keys().map(|key| map("read", names::DEVICES, key)).collect();
        Ok(Self {
            losses: Counted::new(object, &entered?)?,
            settings: take(object, names::SETTINGS)?,
            ports: take(object, names::PORTS)?,
            host_ports: take(object, names::HOST_PORTS)?,
            devices,
            vif_by_tag: take(object, names::VIF_BY_TAG)?,
            vifs: take(object, names::VIFS)?,
            attachment_by_vni: take(object, names::ATTACHMENT_BY_VNI)?,
            attachments: take(object, names::ATTACHMENTS)?,
            vteps: take(object, names::VTEPS)?,
            domains: take(object, names::DOMAINS)?,
            connections: take(object, names::CONNECTIONS)?,
            routes: Tries {
                v4: Family::new(object, names::FIB_V4, ROOM * abi::MAX_ROUTES)?,
                v6: Family::new(object, names::FIB_V6, ROOM * abi::MAX_ROUTES)?,
            },
            sources: Tries {
                v4: Family::new(object, names::SOURCES_V4, ROOM * abi::MAX_SOURCES)?,
                v6: Family::new(object, names::SOURCES_V6, ROOM * abi::MAX_SOURCES)?,
            },
            groups: take(object, names::GROUPS)?,
            next_hops: take(object, names::NEXT_HOPS)?,
            dscp: take(object, names::DSCP)?,
            policers: take(object, names::POLICERS)?,
            policer_state: take(object, names::POLICER_STATE)?,
            tallies: take(object, names::TALLIES)?,
            traffic: take(object, names::TRAFFIC)?,
        })
    }

    pub(super) fn read(&self) -> Result<Installed, Error> {
        Ok(Installed {
            settings: map("read", names::SETTINGS, self.settings.get(&0, 0))?,
            ports: entries(names::PORTS, self.ports.iter())?,
            host_ports: entries(names::HOST_PORTS, self.host_ports.iter())?,
            devices: self
                .devices
                .keys()
                .map(|key| map("read", names::DEVICES, key))
                .collect::<Result<_, _>>()?,
            vif_by_tag: entries(names::VIF_BY_TAG, self.vif_by_tag.iter())?,
            vifs: records(names::VIFS, &self.vifs, |vif| vif.name[0] != 0)?,
            attachment_by_vni: entries(names::ATTACHMENT_BY_VNI, self.attachment_by_vni.iter())?,
            attachments: records(names::ATTACHMENTS, &self.attachments, |vpc| vpc.name[0] != 0)?,
            vteps: entries(names::VTEPS, self.vteps.iter())?.into_keys().collect(),
            domains: records(names::DOMAINS, &self.domains, |domain| domain.name[0] != 0)?,
            connections: records(names::CONNECTIONS, &self.connections, |connection| {
                connection.name[0] != 0
            })?,
            routes: self.routes.read()?,
            sources: self.sources.read()?,
            groups: records(names::GROUPS, &self.groups, |group| group.identity != 0)?,
            next_hops: records(names::NEXT_HOPS, &self.next_hops, |next_hop| next_hop.identity != 0)?
                .into_iter()
                .map(|(index, next_hop)| (index as u16, next_hop))
                .collect(),
            dscp: records(names::DSCP, &self.dscp, |table| *table != NO_DSCP)?,
            policers: records(names::POLICERS, &self.policers, |policer| policer.cost != 0)?,
        })
    }

    pub(super) fn apply(&mut self, op: &Op) -> Result<(), Error> {
        match op {
            Op::Settings(value) => set(names::SETTINGS, &mut self.settings, 0, *value),
            Op::Port(key, value) => put(names::PORTS, &mut self.ports, key, value.as_ref()),
            Op::HostPort(key, value) => put(names::HOST_PORTS, &mut self.host_ports, key, value.as_ref()),
            Op::Device(key, true) => {
                self.losses.enter(*key)?;
                let entered = self.devices.insert(*key, *key, None, 0);
                entered.map_err(|cause| Error::Device { ifindex: *key, cause })
            }
            Op::Device(key, false) => {
                absent_is_fine(names::DEVICES, self.devices.remove(*key))?;
                self.losses.retire(*key)
            }
            Op::VifByTag(key, value) => put(names::VIF_BY_TAG, &mut self.vif_by_tag, key, value.as_ref()),
            Op::Vif(index, value) => set(names::VIFS, &mut self.vifs, *index, value.unwrap_or(NO_VIF)),
            Op::AttachmentByVni(key, value) => {
                put(names::ATTACHMENT_BY_VNI, &mut self.attachment_by_vni, key, value.as_ref())
            }
            Op::Attachment(index, value) => {
                set(names::ATTACHMENTS, &mut self.attachments, *index, value.unwrap_or(NO_ATTACHMENT))
            }
            Op::Vtep(key, present) => put(names::VTEPS, &mut self.vteps, key, present.then_some(&1)),
            Op::Domain(index, value) => {
                set(names::DOMAINS, &mut self.domains, *index, value.unwrap_or(Domain { name: [0; NAME] }))
            }
            Op::Connection(index, value) => set(
                names::CONNECTIONS,
                &mut self.connections,
                *index,
                value.unwrap_or(Connection { name: [0; NAME] }),
            ),
            Op::Route(slot, prefix, value) => self.routes.put(*slot, *prefix, value.as_ref()),
            Op::Source(slot, prefix, value) => self.sources.put(*slot, *prefix, value.as_ref()),
            Op::Group(index, value) => {
                set(names::GROUPS, &mut self.groups, *index, value.as_deref().copied().unwrap_or(NO_GROUP))
            }
            Op::NextHop(index, value) => {
                let value = value.as_deref().copied().unwrap_or(NO_NEXT_HOP);
                set(names::NEXT_HOPS, &mut self.next_hops, u32::from(*index), value)
            }
            Op::Dscp(index, value) => set(names::DSCP, &mut self.dscp, *index, value.unwrap_or(NO_DSCP)),
            Op::Policer(index, value) => self.policer(*index, *value),
            Op::Reset(owner) => self.reset(*owner),
            Op::ResetPolicer(connection) => self.reset_connection(*connection),
            Op::Wait => {
                syscalls::wait_for_programs();
                Ok(())
            }
            Op::Retire(owner) => self.retire(*owner),
        }
    }

    /// Changes a rate or a burst; what was used of the bucket stays used.
    fn policer(&mut self, index: u32, new: Policer) -> Result<(), Error> {
        let old = map("read", names::POLICERS, self.policers.get(&index, 0))?;
        if old.cost != 0 && new.cost != 0 {
            let state = map("read", names::POLICER_STATE, self.policer_state.get(&index, 0))?;
            let state = policer::rescale(state, &old, &new, monotonic_ns());
            set(names::POLICER_STATE, &mut self.policer_state, index, state)?;
        }
        set(names::POLICERS, &mut self.policers, index, new)
    }

    fn reset(&mut self, owner: Owner) -> Result<(), Error> {
        let index = owner.index();
        let policers = if owner.kind() == abi::OWNER_VIF {
            index * abi::VIF_POLICERS..(index + 1) * abi::VIF_POLICERS
        } else {
            abi::attachment_policer(index, AttachmentPolicer::Punt)
                ..abi::attachment_policer(index + 1, AttachmentPolicer::Punt)
        };
        for policer in policers {
            set(names::POLICER_STATE, &mut self.policer_state, policer, 0)?;
        }
        Ok(())
    }

    /// Moves what a scope counted, CPU by CPU: no program counts there any more, and none ever counts what is retired.
    fn retire(&mut self, owner: Owner) -> Result<(), Error> {
        let _moving = counters::moving();
        let (scope, entry) = abi::owner_scope(owner);
        let retired = abi::retired_scope(entry);
        let counted = map("read", names::TALLIES, self.tallies.get(&scope, 0))?;
        let mut sums = map("read", names::TALLIES, self.tallies.get(&retired, 0))?.to_vec();
        for (sum, value) in sums.iter_mut().zip(counted.iter()) {
            counters::add(sum, value);
        }
        let none = vec![counters::NO_TALLY; sums.len()];
        let no_traffic = vec![Traffic::default(); sums.len()];
        set_on_cpus(names::TALLIES, &mut self.tallies, retired, sums)?;
        set_on_cpus(names::TALLIES, &mut self.tallies, scope, none)?;
        set_on_cpus(names::TRAFFIC, &mut self.traffic, abi::traffic_index(owner), no_traffic)
    }

    fn reset_connection(&mut self, connection: u32) -> Result<(), Error> {
        for direction in [abi::TO_VPC, abi::TO_CUSTOMER] {
            set(
                names::POLICER_STATE,
                &mut self.policer_state,
                abi::connection_policer(connection, direction),
                0,
            )?;
        }
        Ok(())
    }
}

const NO_DSCP: Dscp = [0; abi::DSCPS];
const NO_VIF: Vif = Vif {
    name: [0; NAME],
    domain: 0,
    flags: 0,
    port_ifindex: 0,
    veth_ifindex: 0,
    connection: 0,
    hash_mode: 0,
    tags: [0; 8],
    tags_len: 0,
    mac: border_gw_common::net::MacAddr([0; 6]),
    mtu: 0,
    port: 0,
    error_v4: [0; 16],
    error_v6: [0; 16],
};
const NO_ATTACHMENT: Attachment = Attachment {
    name: [0; NAME],
    domain: 0,
    veth_ifindex: 0,
    vni: 0,
    hash_mode: 0,
    router_mac: border_gw_common::net::MacAddr([0; 6]),
    mtu: 0,
    flags: 0,
    error_v4: [0; 16],
    error_v6: [0; 16],
};
const NO_GROUP: Group = Group { identity: 0, buckets: [0; abi::BUCKETS] };
const NO_NEXT_HOP: NextHop = NextHop {
    identity: 0,
    domain: 0,
    owner: Owner(0),
    egress_ifindex: 0,
    port: 0,
    connection: 0,
    mtu: 0,
    encapsulation: abi::NOTHING,
    header_len: 0,
    header: [0; abi::HEADER],
    flags: 0,
    reserved: 0,
};

/// The clock that the programs read (`bpf_ktime_get_ns`).
fn monotonic_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

fn entries<K: Ord, V>(
    name: &'static str,
    iter: impl Iterator<Item = Result<(K, V), MapError>>,
) -> Result<BTreeMap<K, V>, Error> {
    iter.map(|entry| map("read", name, entry)).collect()
}

fn records<V: Pod>(
    name: &'static str,
    array: &Array<MapData, V>,
    is_used: impl Fn(&V) -> bool,
) -> Result<BTreeMap<u32, V>, Error> {
    let mut used = BTreeMap::new();
    for index in 0..array.len() {
        let value = map("read", name, array.get(&index, 0))?;
        if is_used(&value) {
            used.insert(index, value);
        }
    }
    Ok(used)
}

fn set<V: Pod>(name: &'static str, array: &mut Array<MapData, V>, index: u32, value: V) -> Result<(), Error> {
    map("write", name, array.set(index, value, 0))
}

/// Sets the values of all CPUs, in their order.
fn set_on_cpus<V: Pod>(
    name: &'static str,
    array: &mut PerCpuArray<MapData, V>,
    index: u32,
    values: Vec<V>,
) -> Result<(), Error> {
    let values = PerCpuValues::try_from(values)
        .map_err(|cause| Error::FileSystem { path: "/sys/devices/system/cpu".into(), cause })?;
    map("write", name, array.set(index, values, 0))
}

fn put<K: Pod, V: Pod>(
    name: &'static str,
    table: &mut HashMap<MapData, K, V>,
    key: &K,
    value: Option<&V>,
) -> Result<(), Error> {
    match value {
        Some(value) => map("write", name, table.insert(key, value, 0)),
        None => absent_is_fine(name, table.remove(key)),
    }
}

/// What is to be removed may be gone already.
fn absent_is_fine(name: &'static str, removed: Result<(), MapError>) -> Result<(), Error> {
    match removed {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => map("write", name, result),
    }
}

/// Threads that look through an outer map. Before Linux 6.8 each look-up waits until every program has ended (`bpf_map_copy_value`,
/// kernel/bpf/syscall.c), 10 ms and more, and all that wait at the same time wait once.
const READERS: usize = 128;

/// Opens every trie of an outer map, by slot.
fn open_all<K: Pod + Send + Sync, V: Pod + Send + Sync>(
    name: &'static str,
    outer: &ArrayOfMaps<MapData, LpmTrie<MapData, K, V>>,
) -> Result<BTreeMap<u32, LpmTrie<MapData, K, V>>, Error> {
    let open = |slot| match outer.get(&slot, 0) {
        Ok(trie) => Some(Ok((slot, trie))),
        Err(MapError::KeyNotFound) => None,
        Err(cause) => Some(Err(Error::Map { what: "read", map: name, cause })),
    };
    thread::scope(|scope| {
        let read = |first| (first..outer.len()).step_by(READERS).filter_map(open).collect::<Vec<_>>();
        // A thread that cannot be had is this one.
        let start = |first| {
            thread::Builder::new().spawn_scoped(scope, move || read(first)).map_err(|_no_thread| read(first))
        };
        let readers: Vec<_> = (0..READERS as u32).map(start).collect();
        let found = readers.into_iter().map(|reader| match reader {
            Ok(reader) => reader.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(read) => read,
        });
        found.flatten().collect()
    })
}

impl<K: Pod + Send + Sync, V: Pod + Send + Sync> Family<K, V> {
    /// Opens the outer map and every trie that is in it.
    fn new(object: &mut Ebpf, name: &'static str, max_entries: u32) -> Result<Self, Error> {
        let outer: ArrayOfMaps<MapData, LpmTrie<MapData, K, V>> = take(object, name)?;
        let inner = open_all(name, &outer)?;
        Ok(Self { name, outer, inner, max_entries })
    }
}

impl<K: Pod, V: Pod> Family<K, V> {
    fn read(&self) -> Result<Entries<K, V>, Error> {
        let read = |trie: &LpmTrie<MapData, K, V>| -> Result<Vec<_>, Error> {
            trie.iter().map(|entry| map("read", self.name, entry)).collect()
        };
        self.inner.iter().map(|(slot, trie)| Ok((*slot, read(trie)?))).collect()
    }

    fn put(&mut self, slot: u32, key: &Key<K>, value: Option<&V>) -> Result<(), Error> {
        let Some(value) = value else {
            let Some(trie) = self.inner.get_mut(&slot) else { return Ok(()) };
            return absent_is_fine(self.name, trie.remove(key));
        };
        if !self.inner.contains_key(&slot) {
            let trie = map("create", self.name, LpmTrie::create(self.max_entries, aya_flags::NO_PREALLOC))?;
            map("write", self.name, self.outer.set(slot, &trie, 0))?;
            self.inner.insert(slot, trie);
        }
        let Some(trie) = self.inner.get_mut(&slot) else { return Ok(()) };
        map("write", self.name, trie.insert(key, value, 0))
    }
}

mod aya_flags {
    /// `BPF_F_NO_PREALLOC`, which tries must have.
    pub(super) const NO_PREALLOC: u32 = 1;
}

impl<V: Pod> Tries<V> {
    fn put(&mut self, slot: u32, prefix: IpNet, value: Option<&V>) -> Result<(), Error> {
        let len = u32::from(prefix.prefix_len());
        match prefix.addr() {
            IpAddr::V4(address) => self.v4.put(slot, &Key::new(len, address.octets()), value),
            IpAddr::V6(address) => self.v6.put(slot, &Key::new(len, address.octets()), value),
        }
    }

    fn read(&self) -> Result<BTreeMap<u32, BTreeMap<IpNet, V>>, Error> {
        let mut all: BTreeMap<u32, BTreeMap<IpNet, V>> = BTreeMap::new();
        for (slot, entries) in self.v4.read()? {
            let prefixes = entries.into_iter().filter_map(|(key, value)| {
                let net = Ipv4Net::new(key.data().into(), key.prefix_len() as u8).ok()?;
                Some((IpNet::V4(net), value))
            });
            all.entry(slot).or_default().extend(prefixes);
        }
        for (slot, entries) in self.v6.read()? {
            let prefixes = entries.into_iter().filter_map(|(key, value)| {
                let net = Ipv6Net::new(key.data().into(), key.prefix_len() as u8).ok()?;
                Some((IpNet::V6(net), value))
            });
            all.entry(slot).or_default().extend(prefixes);
        }
        all.retain(|_, prefixes| !prefixes.is_empty());
        Ok(all)
    }
}
