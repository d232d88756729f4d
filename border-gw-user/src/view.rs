//! State and counters as rows: what `show` prints, and what the API serves. Pure.

mod failovers;
mod losses;
mod routes;
mod sessions;

use std::collections::BTreeMap;

use border_gw_common::abi::{
    Entry, Flow, OWNER_VIF, Owner, TO_CUSTOMER, TO_VPC, Tally, TooBig, Traffic, attachment_scope,
    entry_scope, retired_scope, vif_scope,
};
use border_gw_common::loss::Losses;
use border_gw_common::verdict::{DropReason, ERRORS};
use serde::Serialize;

use crate::dataplane::Error;
use crate::dataplane::counters::{Counters, NO_TALLY};
use crate::dataplane::memory::Memory;
use crate::health;
use crate::intent::{BorderGateway, Cap, Tag, VirtualInterface, XdpMode};
use crate::state::State;
use crate::tables::{Identity, text};

pub use self::failovers::{FailoverRow, failovers};
pub use self::losses::{LossRow, losses};
pub use self::routes::{GroupRow, NextHopRow, Origins, RouteRow, groups, next_hops, routes};
pub use self::sessions::{BgpRow, HealthRow, bgp, health};

/// Reads counters: from maps, or from a test's memory.
pub trait Count {
    /// Packets that a program received.
    fn received(&self, entry: Entry) -> Result<u64, Error>;
    /// What became of the packets of a scope.
    fn tally(&self, scope: u32) -> Result<Tally, Error>;
    /// Traffic of a VIF or an attachment.
    fn traffic(&self, owner: Owner) -> Result<Traffic, Error>;
    /// Packets larger than the MTU of a next hop, by its identity.
    fn too_big(&self) -> Result<BTreeMap<Identity, TooBig>, Error>;
    /// Packets lost after the verdict, by index of the interface that they were to leave by.
    fn losses(&self) -> Result<BTreeMap<u32, Losses>, Error>;
    /// Whether losses are counted at all.
    fn counts_losses(&self) -> Result<bool, Error>;
}

impl Count for Counters {
    fn received(&self, entry: Entry) -> Result<u64, Error> {
        Counters::received(self, entry)
    }

    fn tally(&self, scope: u32) -> Result<Tally, Error> {
        Counters::tally(self, scope)
    }

    fn traffic(&self, owner: Owner) -> Result<Traffic, Error> {
        Counters::traffic(self, owner)
    }

    fn too_big(&self) -> Result<BTreeMap<Identity, TooBig>, Error> {
        Counters::too_big(self)
    }

    fn losses(&self) -> Result<BTreeMap<u32, Losses>, Error> {
        Counters::losses(self)
    }

    fn counts_losses(&self) -> Result<bool, Error> {
        Counters::counts_losses(self)
    }
}

impl Count for Memory {
    fn received(&self, entry: Entry) -> Result<u64, Error> {
        Ok(self.received.get(&entry).copied().unwrap_or(0))
    }

    fn tally(&self, scope: u32) -> Result<Tally, Error> {
        Ok(self.tallies.get(&scope).copied().unwrap_or(NO_TALLY))
    }

    fn traffic(&self, owner: Owner) -> Result<Traffic, Error> {
        Ok(self.traffic.get(&owner).copied().unwrap_or_default())
    }

    fn too_big(&self) -> Result<BTreeMap<Identity, TooBig>, Error> {
        Ok(self.too_big.clone())
    }

    fn losses(&self) -> Result<BTreeMap<u32, Losses>, Error> {
        Ok(self.losses.clone())
    }

    fn counts_losses(&self) -> Result<bool, Error> {
        Ok(true)
    }
}

/// A virtual interface.
#[derive(Clone, Debug, Serialize)]
pub struct VifRow {
    /// Its name.
    pub name: String,
    /// Its border gateway.
    pub border_gateway: String,
    /// Its connection.
    pub connection: String,
    /// The line port.
    pub interface: String,
    /// Its tag or tags: `100`, or `200.100`.
    pub vlan: String,
    /// `up`, or the first thing that keeps it from carrying traffic: `draining`, `drained`, `drill`, `admin_down`, `port_down`,
    /// `no_program`, `no_neighbor`, `bfd_down`, `bgp_down`, `no_routes`, `no_answer` or `no_fabric`.
    pub state: &'static str,
    /// How the program runs on its port; none where it does not.
    pub xdp_mode: Option<&'static str>,
    /// Limit toward VPCs, in bits a second.
    pub to_vpc_limit_bps: Option<u64>,
    /// Limit toward the customer, in bits a second.
    pub to_customer_limit_bps: Option<u64>,
    /// Traffic toward VPCs.
    pub to_vpc: FlowRow,
    /// Traffic toward the customer.
    pub to_customer: FlowRow,
}

/// Traffic of one direction.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FlowRow {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes of IP packets forwarded.
    pub bytes: u64,
    /// Packets that a cap refused.
    pub policed_packets: u64,
    /// Bytes that a cap refused.
    pub policed_bytes: u64,
}

impl From<Flow> for FlowRow {
    fn from(flow: Flow) -> Self {
        let Flow { packets, bytes, policed_packets, policed_bytes } = flow;
        Self { packets, bytes, policed_packets, policed_bytes }
    }
}

/// A neighbour.
#[derive(Clone, Debug, Serialize)]
pub struct NeighborRow {
    /// `line` or `fabric`.
    pub side: &'static str,
    /// Virtual interface, or fabric port.
    pub interface: String,
    /// Its address.
    pub address: String,
    /// Its Ethernet address; none while it does not answer.
    pub mac: Option<String>,
}

/// Packets dropped.
#[derive(Clone, Debug, Serialize)]
pub struct DropRow {
    /// Program.
    pub program: &'static str,
    /// Border gateway, where it is known.
    pub border_gateway: String,
    /// Virtual interface, where it is known.
    pub vif: String,
    /// Attachment, where it is known.
    pub attachment: String,
    /// Label of the reason.
    pub reason: &'static str,
    /// Packets.
    pub packets: u64,
    /// What the reason means.
    pub help: &'static str,
}

/// What became of the packets of a program. `received` is the sum of all others.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SummaryRow {
    /// Program.
    pub program: &'static str,
    /// Packets received.
    pub received: u64,
    /// Packets sent on.
    pub forwarded: u64,
    /// Packets handed to the kernel of a border gateway.
    pub punted: u64,
    /// Packets left to the server's own kernel.
    pub passed: u64,
    /// Packets turned into answers.
    pub answered: u64,
    /// Packets dropped.
    pub dropped: u64,
}

/// All virtual interfaces.
pub fn vifs(state: &State, count: &impl Count) -> Result<Vec<VifRow>, Error> {
    let mut rows = Vec::new();
    for (gateway, vif) in all_vifs(state) {
        let Some(slot) = state.slots.vifs.get(&vif.name) else { continue };
        let traffic = count.traffic(Owner::new(OWNER_VIF, *slot))?;
        let limit = |cap: Option<Cap>| cap.map(|cap| cap.rate);
        rows.push(VifRow {
            name: vif.name.clone(),
            border_gateway: gateway.name.clone(),
            connection: vif.connection.clone(),
            interface: interface(state, vif).to_owned(),
            vlan: vlan(vif.tag),
            state: health::summary(state, gateway, vif),
            xdp_mode: xdp_mode(state, interface(state, vif)),
            to_vpc_limit_bps: limit(vif.caps.to_vpc),
            to_customer_limit_bps: limit(vif.caps.to_customer),
            to_vpc: traffic.flows[TO_VPC as usize].into(),
            to_customer: traffic.flows[TO_CUSTOMER as usize].into(),
        });
    }
    Ok(rows)
}

/// How the program runs on a port, as the kernel says.
pub fn xdp_mode(state: &State, interface: &str) -> Option<&'static str> {
    let port = state.observed.ports.get(interface)?;
    state.modes.get(&port.ifindex).copied().map(XdpMode::name)
}

/// Every VIF with its border gateway.
pub fn all_vifs(state: &State) -> impl Iterator<Item = (&BorderGateway, &VirtualInterface)> {
    let gateways = state.intent.border_gateways.iter();
    gateways.flat_map(|gateway| gateway.virtual_interfaces.iter().map(move |vif| (gateway, vif)))
}

fn interface<'a>(state: &'a State, vif: &VirtualInterface) -> &'a str {
    state.intent.connection(&vif.connection).map_or("", |connection| &connection.interface)
}

fn vlan(tag: Tag) -> String {
    match tag.inner {
        Some(inner) => format!("{}.{}", tag.outer.get(), inner.get()),
        None => tag.outer.get().to_string(),
    }
}

/// Peers of the VIFs of a border gateway.
pub fn peers(state: &State, slot: u32) -> Vec<std::net::IpAddr> {
    let of_slot = |gateway: &BorderGateway| state.slots.domains.get(&gateway.name) == Some(&slot);
    let vifs = all_vifs(state).filter(|(gateway, _)| of_slot(gateway));
    vifs.flat_map(|(_, vif)| vif.addresses.iter().map(|link| link.peer)).collect()
}

/// Name of a border gateway.
pub fn domain(state: &State, slot: u32) -> String {
    state.installed.domains.get(&slot).map(|domain| text(&domain.name)).unwrap_or_default()
}

/// Peers of VIFs, and next hops of the underlay.
pub fn neighbors(state: &State) -> Vec<NeighborRow> {
    let peers = all_vifs(state).flat_map(|(_, vif)| {
        vif.addresses.iter().map(|link| NeighborRow {
            side: "line",
            interface: vif.name.clone(),
            address: link.peer.to_string(),
            mac: state.observed.neighbors.get(&(vif.name.clone(), link.peer)).map(ToString::to_string),
        })
    });
    let paths: std::collections::BTreeSet<_> = state.observed.underlay.values().flatten().collect();
    let paths = paths.into_iter().map(|path| NeighborRow {
        side: "fabric",
        interface: path.interface.clone(),
        address: path.next_hop.to_string(),
        mac: path.mac.map(|mac| mac.to_string()),
    });
    peers.chain(paths).collect()
}

/// Where packets are counted.
pub struct Scope {
    /// Index of the counters.
    pub index: u32,
    /// Program.
    pub entry: Entry,
    /// Border gateway, or nothing.
    pub border_gateway: String,
    /// VIF, or nothing.
    pub vif: String,
    /// Attachment, or nothing.
    pub attachment: String,
}

/// Every scope that can have counted something: for each program their sum is what it received, whatever came and went.
pub fn scopes(state: &State) -> Vec<Scope> {
    let of_program = |index, entry| Scope {
        index,
        entry,
        border_gateway: String::new(),
        vif: String::new(),
        attachment: String::new(),
    };
    let bare = |entry| of_program(entry_scope(entry), entry);
    let retired = Entry::ALL.map(|entry| of_program(retired_scope(entry), entry));
    let vifs = state.installed.vifs.iter().map(|(index, vif)| Scope {
        index: vif_scope(*index),
        border_gateway: domain(state, vif.domain),
        vif: text(&vif.name),
        ..bare(Entry::Line)
    });
    let vpcs = state.installed.attachments.iter().map(|(index, vpc)| Scope {
        index: attachment_scope(*index),
        border_gateway: domain(state, vpc.domain),
        attachment: text(&vpc.name),
        ..bare(Entry::Fabric)
    });
    Entry::ALL.into_iter().map(bare).chain(retired).chain(vifs).chain(vpcs).collect()
}

/// What was dropped, most first.
pub fn drops(state: &State, count: &impl Count) -> Result<Vec<DropRow>, Error> {
    by_reason(state, count, DropReason::ALL, |tally| &tally.drops)
}

/// What was answered with an ICMP error, most first.
pub fn errors(state: &State, count: &impl Count) -> Result<Vec<DropRow>, Error> {
    by_reason(state, count, &ERRORS, |tally| &tally.errors)
}

/// Counts of each scope by reason, in the order of `reasons`; most first, and only those that are not 0.
fn by_reason(
    state: &State,
    count: &impl Count,
    reasons: &[DropReason],
    counts: impl Fn(&Tally) -> &[u64],
) -> Result<Vec<DropRow>, Error> {
    let mut rows: Vec<DropRow> = Vec::new();
    for scope in scopes(state) {
        let tally = count.tally(scope.index)?;
        let seen = reasons.iter().zip(counts(&tally).iter().copied());
        for (reason, packets) in seen.filter(|(_, packets)| *packets != 0) {
            let row = DropRow {
                program: scope.entry.name(),
                border_gateway: scope.border_gateway.clone(),
                vif: scope.vif.clone(),
                attachment: scope.attachment.clone(),
                reason: reason.label(),
                packets,
                help: reason.help(),
            };
            rows.push(row);
        }
    }
    rows.sort_by(|one, other| labels(one).cmp(&labels(other)));
    // What a program's own scope counted and what is retired bear the same labels.
    rows.dedup_by(|row, before| {
        let same = labels(row) == labels(before);
        before.packets += if same { row.packets } else { 0 };
        same
    });
    rows.sort_by_key(|row| std::cmp::Reverse(row.packets));
    Ok(rows)
}

fn labels(row: &DropRow) -> [&str; 5] {
    [row.program, &row.border_gateway, &row.vif, &row.attachment, row.reason]
}

/// What became of everything.
pub fn summary(state: &State, count: &impl Count) -> Result<Vec<SummaryRow>, Error> {
    let scopes = scopes(state);
    let mut rows = Vec::new();
    for entry in Entry::ALL {
        // Ends first: a packet that ends while this is read is one that was received.
        let mut row = SummaryRow { program: entry.name(), ..SummaryRow::default() };
        for scope in scopes.iter().filter(|scope| scope.entry == entry) {
            let tally = count.tally(scope.index)?;
            row.forwarded += tally.forwarded;
            row.punted += tally.punted;
            row.passed += tally.passed;
            row.answered += tally.answered;
            row.dropped += tally.drops.iter().sum::<u64>();
        }
        row.received = count.received(entry)?;
        rows.push(row);
    }
    Ok(rows)
}
