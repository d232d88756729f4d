//! The loaded programs beside the packet path on the host, on which the model was found right.

use std::collections::BTreeMap;

use border_gw::dataplane::counters::NO_TALLY;
use border_gw_common::abi::Tally;
use border_gw_common::verdict::Verdict;
use border_gw_ebpf::Outcome;
use border_gw_tests::model::case::dump;
use border_gw_tests::model::compare::{Mismatch, Seen};
use border_gw_tests::model::generate::{INTERFACES, Packet};

use crate::host::Bench;
use crate::loaded::{Kernel, Noted, counted, egress, since};

/// Shortest frame that is run (`ETH_HLEN`).
const SHORTEST: usize = 14;
/// Of so many packets one is looked at in every way: which policers it is charged to, what is counted as traffic and as too big.
const THOROUGH: u32 = 32;

/// A scene in the kernel.
pub(crate) struct Witness {
    kernel: Kernel,
    /// What every scope counted before, and has counted on the host since.
    scopes: BTreeMap<u32, (Tally, Tally)>,
}

impl Witness {
    /// Loads the programs.
    pub(crate) fn open() -> Self {
        Self { kernel: Kernel::open(INTERFACES), scopes: BTreeMap::new() }
    }

    /// Makes the maps hold what a scene has.
    pub(crate) fn install(&mut self, bench: &Bench) {
        self.kernel.install(&bench.memory);
        self.scopes.clear();
    }

    /// Runs the frame that the host just ran in the kernel: the same comes out, and is left behind.
    pub(crate) fn agrees(&mut self, bench: &mut Bench, packet: &Packet, seen: &Seen) -> Result<(), Mismatch> {
        let Self { kernel, scopes } = self;
        if packet.frame.len() < SHORTEST {
            kernel.skipped += 1;
            return Ok(());
        }
        kernel.runs += 1;
        let (_, on_host) = scopes.entry(seen.scope).or_insert_with(|| (kernel.tally(seen.scope), NO_TALLY));
        let (action, tally) = counted(seen.verdict);
        add(on_host, &tally);
        if kernel.runs.is_multiple_of(THOROUGH) {
            return self.agrees_in_all(bench, packet, seen);
        }
        kernel.refill(seen.charged.keys());
        kernel.allow(egress(seen.verdict, packet.ifindex));
        let (got, bytes) = kernel.execute(packet.entry, packet.ifindex, &packet.frame);
        differs(packet, seen, (&action, &got), &bytes)
    }

    fn agrees_in_all(&mut self, bench: &mut Bench, packet: &Packet, seen: &Seen) -> Result<(), Mismatch> {
        // Once more on the host, between two looks at what is counted.
        bench.memory.forget();
        let before = Noted::of(&bench.memory);
        bench.run(packet);
        let outcome = Outcome { scope: seen.scope, verdict: seen.verdict };
        let right = Noted::of(&bench.memory).since(&before, outcome);
        self.kernel.prepare(&before, egress(seen.verdict, packet.ifindex));
        let (got, bytes) =
            self.kernel.run(packet.entry, packet.ifindex, &packet.frame, seen.scope, &bench.memory);
        differs(packet, seen, (&right, &got), &bytes)
    }

    /// All packets of the scene are counted as on the host. (One that is not has counted elsewhere, or more than once.)
    pub(crate) fn counted_all(&self) {
        for (scope, (before, on_host)) in &self.scopes {
            assert_eq!(since(before, &self.kernel.tally(*scope)), *on_host, "scope {scope}");
        }
    }
}

fn differs<T: PartialEq + std::fmt::Debug>(
    packet: &Packet,
    seen: &Seen,
    (right, got): (&T, &T),
    bytes: &[u8],
) -> Result<(), Mismatch> {
    let same = matches!(seen.verdict, Verdict::Drop(_)) || bytes == seen.bytes;
    if got == right && same {
        return Ok(());
    }
    Err(Mismatch {
        kind: format!("{}: the kernel and the host, {:?}", packet.entry.name(), seen.verdict),
        text: format!("host: {right:?}\n{}kernel: {got:?}\n{}", dump(&seen.bytes), dump(bytes)),
    })
}

fn add(sum: &mut Tally, value: &Tally) {
    sum.forwarded += value.forwarded;
    sum.punted += value.punted;
    sum.passed += value.passed;
    sum.answered += value.answered;
    sum.errors.iter_mut().zip(value.errors).for_each(|(sum, value)| *sum += value);
    sum.drops.iter_mut().zip(value.drops).for_each(|(sum, value)| *sum += value);
}
