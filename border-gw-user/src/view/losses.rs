//! Packets lost after the verdict, as rows.

use std::collections::BTreeMap;

use border_gw_common::loss::LossReason;
use serde::Serialize;

use super::Count;
use crate::dataplane::Error;
use crate::kernel::outer_name;
use crate::state::State;

/// Packets that a program sent on, and the kernel did not.
#[derive(Clone, Debug, Serialize)]
pub struct LossRow {
    /// The interface that they were to leave by; empty for those that are gone.
    pub interface: String,
    /// What the interface is: `port`, `vif` or `attachment`.
    pub kind: &'static str,
    /// Name of the port, virtual interface or attachment.
    pub name: String,
    /// Label of the reason.
    pub reason: &'static str,
    /// Packets.
    pub packets: u64,
    /// What the reason means.
    pub help: &'static str,
}

/// An interface of the gateway: its name, what it is, and of what.
type Device = (String, &'static str, String);

fn devices(state: &State) -> BTreeMap<u32, Device> {
    let observed = &state.observed;
    let ports =
        observed.ports.iter().map(|(name, port)| (port.ifindex, (name.clone(), "port", name.clone())));
    let vifs = observed.vif_veths.iter().map(|(name, ifindex)| (*ifindex, ("vif", name)));
    let vpcs = observed.attachment_veths.iter().map(|(name, ifindex)| (*ifindex, ("attachment", name)));
    let veths = vifs.chain(vpcs).map(|(ifindex, (kind, name))| {
        (ifindex, (outer_name(&state.intent.gateway.name, name), kind, name.clone()))
    });
    ports.chain(veths).collect()
}

/// What was lost after the verdict, most first. An interface that is gone has no name any more; its losses stay in the sum.
pub fn losses(state: &State, count: &impl Count) -> Result<Vec<LossRow>, Error> {
    let devices = devices(state);
    let mut sums: BTreeMap<(Device, LossReason), u64> = BTreeMap::new();
    for (ifindex, losses) in count.losses()? {
        let device = devices.get(&ifindex).cloned().unwrap_or_default();
        for (reason, packets) in
            LossReason::ALL.iter().zip(losses.packets).filter(|(_, packets)| *packets != 0)
        {
            *sums.entry((device.clone(), *reason)).or_default() += packets;
        }
    }
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|(((interface, kind, name), reason), packets)| LossRow {
            interface,
            kind,
            name,
            reason: reason.label(),
            packets,
            help: reason.help(),
        })
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.packets));
    Ok(rows)
}
