//! From tables in memory to the contents of BPF maps.

use std::collections::BTreeMap;

use border_gw::tables::Op;
use border_gw::tables::ip;
use border_gw_common::abi::{Address, Group, Policer};
use ipnet::IpNet;

use crate::support::memory::Memory;

/// What puts an entry into a map, by what takes it away.
pub(crate) type Contents = BTreeMap<String, (Op, Op)>;

/// All that the maps hold for these tables, but for the devices and the state of policers.
pub(crate) fn contents(world: &Memory) -> Contents {
    let mut ops = vec![(Op::Settings(world.settings), Op::Settings(world.settings))];
    ops.extend(world.ports.iter().map(|(key, value)| (Op::Port(*key, Some(*value)), Op::Port(*key, None))));
    ops.extend(
        world
            .host_ports
            .iter()
            .map(|(key, value)| (Op::HostPort(*key, Some(*value)), Op::HostPort(*key, None))),
    );
    ops.extend(
        world
            .vif_by_tag
            .iter()
            .map(|(key, value)| (Op::VifByTag(*key, Some(*value)), Op::VifByTag(*key, None))),
    );
    ops.extend(world.vifs.iter().map(|(key, value)| (Op::Vif(*key, Some(*value)), Op::Vif(*key, None))));
    ops.extend(
        world
            .attachment_by_vni
            .iter()
            .map(|(key, value)| (Op::AttachmentByVni(*key, Some(*value)), Op::AttachmentByVni(*key, None))),
    );
    ops.extend(
        world
            .attachments
            .iter()
            .map(|(key, value)| (Op::Attachment(*key, Some(*value)), Op::Attachment(*key, None))),
    );
    ops.extend(world.vteps.iter().map(|key| (Op::Vtep(*key, true), Op::Vtep(*key, false))));
    ops.extend(world.groups.iter().map(|(key, buckets)| {
        let group = Box::new(Group { identity: 1, buckets: *buckets });
        (Op::Group(*key, Some(group)), Op::Group(*key, None))
    }));
    ops.extend(
        world
            .next_hops
            .iter()
            .map(|(key, value)| (Op::NextHop(*key, Some(Box::new(*value))), Op::NextHop(*key, None))),
    );
    ops.extend(world.dscp.iter().map(|(key, value)| (Op::Dscp(*key, Some(*value)), Op::Dscp(*key, None))));
    ops.extend(
        world.policers.iter().map(|(key, value)| {
            (Op::Policer(*key, *value), Op::Policer(*key, Policer { cost: 0, depth: 0 }))
        }),
    );
    for (domain, routes) in &world.routes {
        ops.extend(routes.iter().map(|(version, network, len, route)| {
            let prefix = prefix(*version, network, *len);
            (Op::Route(*domain, prefix, Some(*route)), Op::Route(*domain, prefix, None))
        }));
    }
    for (vif, sources) in &world.sources {
        ops.extend(sources.iter().map(|(version, network, len, class)| {
            let prefix = prefix(*version, network, *len);
            (Op::Source(*vif, prefix, Some(*class)), Op::Source(*vif, prefix, None))
        }));
    }
    ops.into_iter().map(|(put, remove)| (name(&remove), (put, remove))).collect()
}

/// The settings' place is the same, whatever they are.
fn name(remove: &Op) -> String {
    if matches!(remove, Op::Settings(_)) { "settings".to_owned() } else { format!("{remove:?}") }
}

fn prefix(version: u32, network: &Address, len: u32) -> IpNet {
    IpNet::new(ip(version, network), len as u8).unwrap().trunc()
}

/// What turns `old` into `new`.
pub(crate) fn changes<'a>(old: &'a Contents, new: &'a Contents) -> Vec<&'a Op> {
    let gone = old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(_, (_, remove))| remove);
    let come = new.iter().filter(|(key, put)| old.get(*key) != Some(put)).map(|(_, (put, _))| put);
    gone.chain(come).collect()
}
