//! The packet path on the host: a scene compiled into tables in memory, and frames run over them.

use border_gw::compile::compile;
use border_gw::tables::{Installed, Slots, plan};
use border_gw_common::abi::{Entry, TooBig};
use border_gw_common::verdict::Verdict;
use border_gw_ebpf::{Outcome, error, fabric, host, line};
use border_gw_tests::model::case::Scene;
use border_gw_tests::model::compare::{Flows, Mismatch, Names, Seen, compare};
use border_gw_tests::model::generate::Packet;
use border_gw_tests::model::judge;
use border_gw_tests::model::world::World;

use crate::support::frame::Frame;
use crate::support::memory::Memory;

/// A scene, as the model and as the packet path have it.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) names: Names,
    pub(crate) memory: Memory,
    pub(crate) flows: Flows,
}

impl Bench {
    /// Of a scene whose intent was read from a document.
    pub(crate) fn of(scene: &Scene) -> Self {
        let slots = Slots::assign(&Installed::default(), &scene.intent).unwrap();
        let tables = compile(&scene.intent, &scene.observed, &slots);
        let mut installed = Installed::default();
        for op in plan(&Installed::default(), &tables).unwrap() {
            installed.apply(&op);
        }
        let names = Names::of(scene, &slots, &installed.policers);
        let world = World::new(&scene.intent, &scene.observed);
        Self { world, names, memory: memory(installed), flows: Flows::default() }
    }

    /// Runs a frame; nothing was counted or charged before.
    pub(crate) fn run(&mut self, packet: &Packet) -> Seen {
        self.memory.forget();
        let before = too_big(&self.memory);
        let mut frame = Frame::new(&packet.frame);
        let outcome = run(packet.entry, &mut frame, &self.memory, packet.ifindex);
        Seen {
            scope: outcome.scope,
            verdict: outcome.verdict,
            bytes: frame.bytes().to_vec(),
            traffic: self.memory.traffic(),
            too_big: match too_big(&self.memory) {
                now if now.with_df > before.with_df => Some(true),
                now if now.without_df > before.without_df => Some(false),
                _ => None,
            },
            charged: self.memory.charged(),
        }
    }

    /// Runs a frame on both sides.
    pub(crate) fn check(&mut self, packet: &Packet) -> Result<Seen, Mismatch> {
        let right = judge(&self.world, packet.entry, packet.ifindex, &packet.frame);
        let seen = self.run(packet);
        compare(&self.names, &mut self.flows, (packet.entry, &packet.frame), &right, &seen)?;
        Ok(seen)
    }
}

/// A program, and the one that makes errors, as the kernel goes on there.
pub(crate) fn run(entry: Entry, frame: &mut Frame, tables: &Memory, ifindex: u32) -> Outcome {
    let outcome = match entry {
        Entry::Line => line::line(frame, tables, ifindex),
        Entry::Fabric => fabric::fabric(frame, tables, ifindex),
        Entry::Host => host::host(frame, tables, ifindex),
    };
    if outcome.verdict == Verdict::Complain { error::error(frame, tables, ifindex) } else { outcome }
}

/// What was counted as too big, for all next hops.
fn too_big(tables: &Memory) -> TooBig {
    tables.too_big().into_values().fold(TooBig::default(), |sum, one| TooBig {
        with_df: sum.with_df + one.with_df,
        without_df: sum.without_df + one.without_df,
    })
}

fn memory(installed: Installed) -> Memory {
    let mut memory = Memory::default();
    memory.settings = installed.settings;
    memory.ports = installed.ports;
    memory.host_ports = installed.host_ports;
    memory.vif_by_tag = installed.vif_by_tag;
    memory.vifs = installed.vifs;
    memory.attachment_by_vni = installed.attachment_by_vni;
    memory.attachments = installed.attachments;
    memory.vteps = installed.vteps;
    memory.groups = installed.groups.into_iter().map(|(index, group)| (index, group.buckets)).collect();
    memory.next_hops = installed.next_hops;
    memory.dscp = installed.dscp;
    memory.policers = installed.policers;
    memory.clock.set(1_000_000_000_000);
    for (domain, routes) in installed.routes {
        let prefixes = memory.routes.entry(domain).or_default();
        for (prefix, route) in routes {
            prefixes.add(&prefix.to_string(), route);
        }
    }
    for (vif, sources) in installed.sources {
        let prefixes = memory.sources.entry(vif).or_default();
        for (prefix, class) in sources {
            prefixes.add(&prefix.to_string(), class);
        }
    }
    memory
}
