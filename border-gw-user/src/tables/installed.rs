//! What is in the maps, read back from them.

use std::collections::{BTreeMap, BTreeSet};

use border_gw_common::abi::{
    Attachment, Connection, Domain, Dscp, Group, HostPort, NextHop, Policer, Port, Route, Settings,
    SourceClass, Vif, VifKey, VtepKey,
};
use ipnet::IpNet;

use super::Op;

/// The contents of the maps. Empty records of arrays are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// What all programs know.
    pub settings: Settings,
    /// Ports by interface index.
    pub ports: BTreeMap<u32, Port>,
    /// Veths by index of the outer end.
    pub host_ports: BTreeMap<u32, HostPort>,
    /// Interfaces to which frames may be redirected.
    pub devices: BTreeSet<u32>,
    /// VIF indexes by tag.
    pub vif_by_tag: BTreeMap<VifKey, u32>,
    /// VIFs by index.
    pub vifs: BTreeMap<u32, Vif>,
    /// Attachment indexes by VNI.
    pub attachment_by_vni: BTreeMap<u32, u32>,
    /// Attachments by index.
    pub attachments: BTreeMap<u32, Attachment>,
    /// Allowed VTEPs.
    pub vteps: BTreeSet<VtepKey>,
    /// Border gateways by slot.
    pub domains: BTreeMap<u32, Domain>,
    /// Connections by index.
    pub connections: BTreeMap<u32, Connection>,
    /// Routes by slot of the border gateway.
    pub routes: BTreeMap<u32, BTreeMap<IpNet, Route>>,
    /// Sources by VIF index.
    pub sources: BTreeMap<u32, BTreeMap<IpNet, SourceClass>>,
    /// Groups by index.
    pub groups: BTreeMap<u32, Group>,
    /// Next hops by index.
    pub next_hops: BTreeMap<u16, NextHop>,
    /// Tables of DSCP that translate any, by `dscp_index`.
    pub dscp: BTreeMap<u32, Dscp>,
    /// Policers with a limit, by index.
    pub policers: BTreeMap<u32, Policer>,
}

impl Installed {
    /// Follows an operation that was carried out.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Settings(value) => self.settings = *value,
            Op::Port(key, value) => put(&mut self.ports, *key, *value),
            Op::HostPort(key, value) => put(&mut self.host_ports, *key, *value),
            Op::Device(key, true) => drop(self.devices.insert(*key)),
            Op::Device(key, false) => drop(self.devices.remove(key)),
            Op::VifByTag(key, value) => put(&mut self.vif_by_tag, *key, *value),
            Op::Vif(key, value) => put(&mut self.vifs, *key, *value),
            Op::AttachmentByVni(key, value) => put(&mut self.attachment_by_vni, *key, *value),
            Op::Attachment(key, value) => put(&mut self.attachments, *key, *value),
            Op::Vtep(key, true) => drop(self.vteps.insert(*key)),
            Op::Vtep(key, false) => drop(self.vteps.remove(key)),
            Op::Domain(key, value) => put(&mut self.domains, *key, *value),
            Op::Connection(key, value) => put(&mut self.connections, *key, *value),
            Op::Route(slot, prefix, value) => put_nested(&mut self.routes, *slot, *prefix, *value),
            Op::Source(slot, prefix, value) => put_nested(&mut self.sources, *slot, *prefix, *value),
            Op::Group(key, value) => put(&mut self.groups, *key, value.as_deref().copied()),
            Op::NextHop(key, value) => put(&mut self.next_hops, *key, value.as_deref().copied()),
            Op::Dscp(key, value) => put(&mut self.dscp, *key, *value),
            Op::Policer(key, value) => {
                put(&mut self.policers, *key, Some(*value).filter(|policer| policer.cost != 0));
            }
            Op::Reset(_) | Op::ResetPolicer(_) | Op::Wait | Op::Retire(_) => {}
        }
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn put_nested<V>(map: &mut BTreeMap<u32, BTreeMap<IpNet, V>>, slot: u32, prefix: IpNet, value: Option<V>) {
    let inner = map.entry(slot).or_default();
    put(inner, prefix, value);
    if inner.is_empty() {
        map.remove(&slot);
    }
}
