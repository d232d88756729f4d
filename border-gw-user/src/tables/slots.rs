//! Which index each border gateway, VIF, attachment and connection has: it stays with the name.

use std::collections::{BTreeMap, BTreeSet};

use border_gw_common::abi::{MAX_ATTACHMENTS, MAX_CONNECTIONS, MAX_DOMAINS, MAX_VIFS};

use super::{Installed, text};
use crate::intent::Intent;

/// Indexes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Border gateways.
    pub domains: BTreeMap<String, u32>,
    /// VIFs.
    pub vifs: BTreeMap<String, u32>,
    /// Attachments.
    pub attachments: BTreeMap<String, u32>,
    /// Connections.
    pub connections: BTreeMap<String, u32>,
}

/// A table is full.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "no room for {kind} `{name}`: all {limit} places are taken; remove one, and add this in a second step"
)]
pub struct Full {
    kind: &'static str,
    name: String,
    limit: u32,
}

impl Slots {
    /// Keeps the index of every name that is installed, in the same border gateway, and gives the others places that are
    /// free. A place that is being freed is not free yet: packets of its old owner may still find it.
    pub fn assign(installed: &Installed, intent: &Intent) -> Result<Self, Full> {
        let held = installed.domains.iter().map(|(slot, domain)| (text(&domain.name), *slot)).collect();
        let wanted = intent.border_gateways.iter().map(|gateway| gateway.name.clone());
        let domains = places("border gateway", MAX_DOMAINS, &held, wanted)?;

        let held =
            installed.connections.iter().map(|(slot, connection)| (text(&connection.name), *slot)).collect();
        let wanted = intent.connections.iter().map(|connection| connection.name.clone());
        let connections = places("connection", MAX_CONNECTIONS, &held, wanted)?;

        let held = installed.vifs.iter().map(|(slot, vif)| ((text(&vif.name), vif.domain), *slot)).collect();
        let wanted = intent.border_gateways.iter().flat_map(|gateway| {
            let domain = domains[&gateway.name];
            gateway.virtual_interfaces.iter().map(move |vif| (vif.name.clone(), domain))
        });
        let vifs = places("virtual interface", MAX_VIFS, &held, wanted)?;

        let held =
            installed.attachments.iter().map(|(slot, vpc)| ((text(&vpc.name), vpc.domain), *slot)).collect();
        let wanted = intent.border_gateways.iter().flat_map(|gateway| {
            let domain = domains[&gateway.name];
            gateway.vpc_attachments.iter().map(move |vpc| (vpc.name.clone(), domain))
        });
        let attachments = places("VPC attachment", MAX_ATTACHMENTS, &held, wanted)?;

        let names = |places: BTreeMap<(String, u32), u32>| {
            places.into_iter().map(|((name, _), slot)| (name, slot)).collect()
        };
        Ok(Self { domains, vifs: names(vifs), attachments: names(attachments), connections })
    }
}

/// What names a thing.
trait Key: Ord + Clone {
    fn name(&self) -> String;
}

impl Key for String {
    fn name(&self) -> String {
        self.clone()
    }
}

impl Key for (String, u32) {
    fn name(&self) -> String {
        self.0.clone()
    }
}

fn places<K: Key>(
    kind: &'static str,
    limit: u32,
    held: &BTreeMap<K, u32>,
    wanted: impl Iterator<Item = K>,
) -> Result<BTreeMap<K, u32>, Full> {
    let taken: BTreeSet<u32> = held.values().copied().collect();
    let mut free = (0..limit).filter(|slot| !taken.contains(slot));
    wanted
        .map(|key| {
            let slot = held.get(&key).copied().or_else(|| free.next());
            let slot = slot.ok_or_else(|| Full { kind, name: key.name(), limit })?;
            Ok((key, slot))
        })
        .collect()
}
