//! `Tables` in memory, with the real policer and a clock that tests set.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use border_gw_common::abi::{
    Address, Attachment, BUCKETS, Complaint, Dscp, Flow, HostPort, NextHop, Owner, Policer, Port, Route,
    Settings, SourceClass, TooBig, V4, V6, Vif, VifKey, VtepKey,
};
use border_gw_ebpf::policer;
use border_gw_ebpf::tables::Tables;

use super::wire::address;

/// Longest match by scanning.
pub(crate) struct Prefixes<T>(Vec<(u32, Address, u32, T)>);

impl<T> Default for Prefixes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Prefixes<T> {
    /// Adds a prefix, such as `10.1.0.0/16`.
    pub(crate) fn add(&mut self, prefix: &str, value: T) {
        let (network, len) = prefix.split_once('/').expect(prefix);
        let (version, network) = address(network);
        self.0.push((version, network, len.parse().expect(prefix), value));
    }

    /// Version, network, length and value of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(u32, Address, u32, T)> {
        self.0.iter()
    }

    fn get(&self, version: u32, address: &Address) -> Option<T> {
        self.iter()
            .filter(|(of, network, len, _)| *of == version && covers(version, network, *len, address))
            .max_by_key(|(_, _, len, _)| *len)
            .map(|(_, _, _, value)| *value)
    }
}

fn covers(version: u32, network: &Address, len: u32, address: &Address) -> bool {
    assert!(version == V4 || version == V6, "an IP version: {version}");
    let differing = u128::from_be_bytes(*network) ^ u128::from_be_bytes(*address);
    // The address of a look-up has nothing behind its four bytes.
    assert!(version == V6 || address[4..] == [0; 12], "an IPv4 address stands alone");
    len == 0 || differing >> (128 - len) == 0
}

/// The tables.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) settings: Settings,
    pub(crate) ports: BTreeMap<u32, Port>,
    pub(crate) host_ports: BTreeMap<u32, HostPort>,
    pub(crate) vif_by_tag: BTreeMap<VifKey, u32>,
    pub(crate) vifs: BTreeMap<u32, Vif>,
    pub(crate) attachment_by_vni: BTreeMap<u32, u32>,
    pub(crate) attachments: BTreeMap<u32, Attachment>,
    pub(crate) vteps: BTreeSet<VtepKey>,
    pub(crate) routes: BTreeMap<u32, Prefixes<Route>>,
    pub(crate) sources: BTreeMap<u32, Prefixes<SourceClass>>,
    pub(crate) groups: BTreeMap<u32, [u16; BUCKETS]>,
    pub(crate) next_hops: BTreeMap<u16, NextHop>,
    pub(crate) dscp: BTreeMap<u32, Dscp>,
    pub(crate) policers: BTreeMap<u32, Policer>,
    /// In nanoseconds.
    pub(crate) clock: Cell<u64>,
    states: RefCell<BTreeMap<u32, u64>>,
    traffic: RefCell<BTreeMap<(Owner, u32), Flow>>,
    complaint: Cell<Option<Complaint>>,
    too_big: RefCell<BTreeMap<u64, TooBig>>,
}

impl Memory {
    /// What is missing from a policer's full bucket, in its own units.
    pub(crate) fn missing(&self, policer: u32) -> u64 {
        let now = self.clock.get() << 8;
        let state = self.state(policer);
        // A state in the past is a full bucket.
        Some(state.wrapping_sub(now)).filter(|ahead| *ahead < 1 << 63).unwrap_or(0)
    }

    /// A policer's theoretical arrival time, in 1/256 of a nanosecond.
    pub(crate) fn state(&self, policer: u32) -> u64 {
        self.states.borrow().get(&policer).copied().unwrap_or(0)
    }

    /// What is missing from all buckets that are not full.
    pub(crate) fn charged(&self) -> BTreeMap<u32, u64> {
        let touched: Vec<u32> = self.states.borrow().keys().copied().collect();
        let missing = touched.into_iter().map(|policer| (policer, self.missing(policer)));
        missing.filter(|(_, missing)| *missing != 0).collect()
    }

    /// Full buckets, and nothing counted.
    pub(crate) fn forget(&mut self) {
        self.states.get_mut().clear();
        self.traffic.get_mut().clear();
    }

    /// What was counted as too big, by identity of the next hop.
    pub(crate) fn too_big(&self) -> BTreeMap<u64, TooBig> {
        self.too_big.borrow().clone()
    }

    /// What was counted.
    pub(crate) fn traffic(&self) -> BTreeMap<(Owner, u32), Flow> {
        self.traffic.borrow().clone()
    }
}

impl Tables for Memory {
    fn complain(&self, complaint: &Complaint) {
        self.complaint.set(Some(*complaint));
    }

    fn complaint(&self) -> Option<Complaint> {
        self.complaint.get()
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn port(&self, ifindex: u32) -> Option<&Port> {
        self.ports.get(&ifindex)
    }

    fn host_port(&self, ifindex: u32) -> Option<HostPort> {
        self.host_ports.get(&ifindex).copied()
    }

    fn vif_by_tag(&self, key: &VifKey) -> Option<u32> {
        self.vif_by_tag.get(key).copied()
    }

    fn vif(&self, index: u32) -> Option<&Vif> {
        self.vifs.get(&index)
    }

    fn attachment_by_vni(&self, vni: u32) -> Option<u32> {
        self.attachment_by_vni.get(&vni).copied()
    }

    fn attachment(&self, index: u32) -> Option<&Attachment> {
        self.attachments.get(&index)
    }

    fn is_vtep(&self, key: &VtepKey) -> bool {
        self.vteps.contains(key)
    }

    fn route(&self, domain: u32, version: u32, address: &Address) -> Option<Route> {
        self.routes.get(&domain)?.get(version, address)
    }

    fn source(&self, vif: u32, version: u32, address: &Address) -> Option<SourceClass> {
        self.sources.get(&vif)?.get(version, address)
    }

    fn bucket(&self, group: u32, hash: u32) -> Option<u16> {
        Some(self.groups.get(&group)?[hash as usize % BUCKETS])
    }

    fn next_hop(&self, index: u16) -> Option<&NextHop> {
        self.next_hops.get(&index)
    }

    fn dscp(&self, table: u32, dscp: u8) -> Option<u8> {
        // In the kernel's array a table that nobody wrote is empty.
        Some(self.dscp.get(&table).map_or(0, |table| table[usize::from(dscp)]))
    }

    fn now(&self) -> u64 {
        self.clock.get()
    }

    fn charge(&self, policer: u32, bytes: u32, now: u64) -> bool {
        let Some(config) = self.policers.get(&policer).filter(|config| config.cost != 0) else { return true };
        let mut states = self.states.borrow_mut();
        let state = states.entry(policer).or_default();
        let Some(next) = policer::conform(*state, config, bytes, now) else { return false };
        *state = next;
        true
    }

    fn refund(&self, policer: u32, bytes: u32) {
        let Some(config) = self.policers.get(&policer).filter(|config| config.cost != 0) else { return };
        let mut states = self.states.borrow_mut();
        let state = states.get_mut(&policer).expect("what is given back was taken");
        *state = state.wrapping_sub(policer::cost(config, bytes));
    }

    fn count_too_big(&self, next_hop: u64, df: bool) {
        let mut too_big = self.too_big.borrow_mut();
        let counts = too_big.entry(next_hop).or_default();
        if df {
            counts.with_df += 1;
        } else {
            counts.without_df += 1;
        }
    }

    fn count(&self, owner: Owner, direction: u32, bytes: u32, policed: bool) {
        let mut traffic = self.traffic.borrow_mut();
        let flow = traffic.entry((owner, direction)).or_default();
        if policed {
            flow.policed_packets += 1;
            flow.policed_bytes += u64::from(bytes);
        } else {
            flow.packets += 1;
            flow.bytes += u64::from(bytes);
        }
    }
}

#[test]
fn the_longest_prefix_of_the_version_wins() {
    let mut prefixes = Prefixes::default();
    prefixes.add("10.0.0.0/8", 1);
    prefixes.add("10.1.0.0/16", 2);
    prefixes.add("::/0", 3);
    for (asked, want) in
        [("10.1.2.3", Some(2)), ("10.2.2.3", Some(1)), ("11.0.0.0", None), ("a01::", Some(3))]
    {
        let (version, asked) = address(asked);
        assert_eq!(prefixes.get(version, &asked), want);
    }
}
