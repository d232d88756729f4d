//! The programs, loaded over maps that hold what tables in memory do; and what a packet leaves behind in both.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use aya::maps::{Array, Map, MapData, ProgramArray};
use aya::programs::{TestRun as _, TestRunOptions};
use border_gw::dataplane::bpf::Bpf;
use border_gw::dataplane::counters::{Counters, NO_TALLY};
use border_gw::dataplane::{Dataplane as _, pins};
use border_gw::intent::XdpMode;
use border_gw::tables::Op;
use border_gw_common::abi::{Entry, Flow, OWNER_ATTACHMENT, OWNER_VIF, Owner, Tally, TooBig, map as names};
use border_gw_common::verdict::Verdict;
use border_gw_ebpf::Outcome;
use border_gw_tests::netns::{output, remove_run, run_name};
use border_gw_tests::privileges::require_root;
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};

use crate::contents::{Contents, changes, contents};
use crate::support::memory::Memory;

/// The interface by which a frame leaves.
pub(crate) fn egress(verdict: Verdict, ingress: u32) -> Option<u32> {
    match verdict {
        Verdict::Forward(ifindex) | Verdict::Punt(ifindex) => Some(ifindex),
        Verdict::Answer | Verdict::Refuse(_) => Some(ingress),
        Verdict::Pass | Verdict::Complain | Verdict::Drop(_) => None,
    }
}

/// What tables in memory remember.
pub(crate) struct Noted {
    states: BTreeMap<u32, u64>,
    traffic: BTreeMap<(Owner, u32), Flow>,
    too_big: BTreeMap<u64, TooBig>,
    /// In nanoseconds.
    clock: u64,
}

/// What a packet leaves behind.
#[derive(Debug, PartialEq)]
pub(crate) struct Traces {
    /// XDP action.
    action: u32,
    received: u64,
    /// In the scope that the host names.
    tally: Tally,
    /// Policers whose state changed.
    charged: BTreeSet<u32>,
    traffic: BTreeMap<(Owner, u32), Flow>,
    /// By identity of the next hop.
    too_big: BTreeMap<u64, TooBig>,
}

impl Noted {
    pub(crate) fn of(tables: &Memory) -> Self {
        let states = tables.policers.keys().map(|policer| (*policer, tables.state(*policer))).collect();
        Self { states, traffic: tables.traffic(), too_big: tables.too_big(), clock: tables.clock.get() }
    }

    /// What a packet left behind that ended so.
    pub(crate) fn since(&self, before: &Self, outcome: Outcome) -> Traces {
        let (action, tally) = counted(outcome.verdict);
        Traces {
            action,
            received: 1,
            tally,
            charged: changed(&before.states, &self.states),
            traffic: difference(&before.traffic, &self.traffic),
            too_big: larger(&before.too_big, &self.too_big),
        }
    }
}

/// The XDP action of a verdict, and how it is counted.
pub(crate) fn counted(verdict: Verdict) -> (u32, Tally) {
    const DROP: u32 = 1;
    const PASS: u32 = 2;
    const REDIRECT: u32 = 4;
    let mut tally = NO_TALLY;
    let action = match verdict {
        Verdict::Forward(_) => {
            tally.forwarded = 1;
            REDIRECT
        }
        Verdict::Punt(_) => {
            tally.punted = 1;
            REDIRECT
        }
        Verdict::Pass => {
            tally.passed = 1;
            PASS
        }
        Verdict::Answer => {
            tally.answered = 1;
            REDIRECT
        }
        Verdict::Refuse(reason) => {
            tally.answered = 1;
            tally.errors[reason.error_index().unwrap()] = 1;
            REDIRECT
        }
        Verdict::Drop(reason) => {
            tally.drops[reason as usize] = 1;
            DROP
        }
        Verdict::Complain => unreachable!("no packet ends so"),
    };
    (action, tally)
}

fn changed(before: &BTreeMap<u32, u64>, after: &BTreeMap<u32, u64>) -> BTreeSet<u32> {
    after.iter().filter(|(policer, state)| before.get(policer) != Some(state)).map(|(key, _)| *key).collect()
}

fn difference(
    before: &BTreeMap<(Owner, u32), Flow>,
    after: &BTreeMap<(Owner, u32), Flow>,
) -> BTreeMap<(Owner, u32), Flow> {
    let less = |key, flow: &Flow| {
        let old = before.get(key).copied().unwrap_or_default();
        Flow {
            packets: flow.packets - old.packets,
            bytes: flow.bytes - old.bytes,
            policed_packets: flow.policed_packets - old.policed_packets,
            policed_bytes: flow.policed_bytes - old.policed_bytes,
        }
    };
    let flows = after.iter().map(|(key, flow)| (*key, less(key, flow)));
    flows.filter(|(_, flow)| *flow != Flow::default()).collect()
}

/// What was counted as too big since.
fn larger(before: &BTreeMap<u64, TooBig>, after: &BTreeMap<u64, TooBig>) -> BTreeMap<u64, TooBig> {
    let less = |key, counts: &TooBig| {
        let old = before.get(key).copied().unwrap_or_default();
        TooBig { with_df: counts.with_df - old.with_df, without_df: counts.without_df - old.without_df }
    };
    let all = after.iter().map(|(key, counts)| (*key, less(key, counts)));
    all.filter(|(_, counts)| *counts != TooBig::default()).collect()
}

/// The programs, loaded, in a network namespace of this thread's own.
pub(crate) struct Kernel {
    bpf: Bpf,
    counters: Counters,
    states: Array<MapData, u64>,
    pub(crate) stages: ProgramArray<MapData>,
    installed: Contents,
    /// The one interface to which frames may go: to any other they are dropped, by a name that tells.
    device: Option<u32>,
    pub(crate) runs: u32,
    pub(crate) skipped: u32,
}

impl Kernel {
    /// With these interfaces.
    pub(crate) fn open(interfaces: impl IntoIterator<Item = u32>) -> Self {
        require_root();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for index in interfaces {
            let far = index + 10_000;
            let line = format!("link add p{index} index {index} type veth peer name q{index} index {far}");
            output(Command::new("ip").args(line.split(' '))).unwrap();
        }
        let run = run_name();
        let bpf = Bpf::open(&run, XdpMode::Native).unwrap();
        let counters = Counters::open(&run).unwrap();
        let states = MapData::from_pin(pins::map(&run, names::POLICER_STATE)).unwrap();
        let states = Array::try_from(Map::Array(states)).unwrap();
        // What is open stays, and nothing is left behind; an array of programs is emptied when nobody has it open or pinned.
        let stages = MapData::from_pin(pins::map(&run, names::STAGES)).unwrap();
        let stages = ProgramArray::try_from(Map::ProgramArray(stages)).unwrap();
        remove_run(&run);
        Self { bpf, counters, states, stages, installed: Contents::new(), device: None, runs: 0, skipped: 0 }
    }

    /// Makes the maps hold what the tables do.
    pub(crate) fn install(&mut self, tables: &Memory) {
        let wanted = contents(tables);
        for op in changes(&self.installed, &wanted) {
            self.bpf.apply(op).unwrap();
        }
        self.installed = wanted;
    }

    /// Lets frames go to this interface alone.
    pub(crate) fn allow(&mut self, device: Option<u32>) {
        if self.device != device {
            let old = self.device.map(|ifindex| Op::Device(ifindex, false));
            for op in old.into_iter().chain(device.map(|ifindex| Op::Device(ifindex, true))) {
                self.bpf.apply(&op).unwrap();
            }
            self.device = device;
        }
    }

    /// Makes policers full.
    pub(crate) fn refill<'a>(&mut self, policers: impl IntoIterator<Item = &'a u32>) {
        for policer in policers {
            self.states.set(*policer, 0, 0).unwrap();
        }
    }

    /// Makes policers as full as they were, and lets frames go to this interface alone.
    pub(crate) fn prepare(&mut self, noted: &Noted, device: Option<u32>) {
        self.allow(device);
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
        let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
        for (policer, state) in &noted.states {
            // The same distance from now, in 1/256 of a nanosecond.
            let ahead = state.wrapping_sub(noted.clock << 8);
            let state = if *state == 0 { 0 } else { (now << 8).wrapping_add(ahead) };
            self.states.set(*policer, state, 0).unwrap();
        }
    }

    fn states(&self, tables: &Memory) -> BTreeMap<u32, u64> {
        tables.policers.keys().map(|policer| (*policer, self.states.get(policer, 0).unwrap())).collect()
    }

    fn traffic(&self, tables: &Memory) -> BTreeMap<(Owner, u32), Flow> {
        let vifs = tables.vifs.keys().map(|vif| Owner::new(OWNER_VIF, *vif));
        let vpcs = tables.attachments.keys().map(|vpc| Owner::new(OWNER_ATTACHMENT, *vpc));
        let flows = vifs.chain(vpcs).flat_map(|owner| {
            let flows = self.counters.traffic(owner).unwrap().flows;
            [((owner, 0), flows[0]), ((owner, 1), flows[1])]
        });
        flows.collect()
    }

    /// Runs a program; its action, and the frame.
    pub(crate) fn execute(&self, entry: Entry, ifindex: u32, bytes: &[u8]) -> (u32, Vec<u8>) {
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, bytes.len() as u32, 0, ifindex, 0, 0].map(u32::to_ne_bytes).concat();
        let mut out = vec![0; bytes.len() + 256];
        let options = TestRunOptions {
            data_in: Some(bytes),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = self.bpf.program(entry).unwrap().test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }

    /// What was counted in a scope.
    pub(crate) fn tally(&self, scope: u32) -> Tally {
        self.counters.tally(scope).unwrap()
    }

    /// Runs a program; what it leaves behind, and the frame.
    pub(crate) fn run(
        &self,
        entry: Entry,
        ifindex: u32,
        bytes: &[u8],
        scope: u32,
        tables: &Memory,
    ) -> (Traces, Vec<u8>) {
        let received = self.counters.received(entry).unwrap();
        let tally = self.counters.tally(scope).unwrap();
        let states = self.states(tables);
        let traffic = self.traffic(tables);
        let too_big = self.counters.too_big().unwrap();
        let (action, out) = self.execute(entry, ifindex, bytes);
        let traces = Traces {
            action,
            received: self.counters.received(entry).unwrap() - received,
            tally: since(&tally, &self.counters.tally(scope).unwrap()),
            charged: changed(&states, &self.states(tables)),
            traffic: difference(&traffic, &self.traffic(tables)),
            too_big: larger(&too_big, &self.counters.too_big().unwrap()),
        };
        (traces, out)
    }
}

/// What was counted since.
pub(crate) fn since(before: &Tally, after: &Tally) -> Tally {
    Tally {
        forwarded: after.forwarded - before.forwarded,
        punted: after.punted - before.punted,
        passed: after.passed - before.passed,
        answered: after.answered - before.answered,
        errors: std::array::from_fn(|index| after.errors[index] - before.errors[index]),
        drops: std::array::from_fn(|index| after.drops[index] - before.drops[index]),
    }
}
