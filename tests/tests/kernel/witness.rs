//! The kernel as a witness: it runs the same frame through the loaded program, and must come to the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use aya::maps::{Array, Map, MapData, ProgramArray};
use aya::programs::{TestRun as _, TestRunOptions};
use border_gw::dataplane::bpf::Bpf;
use border_gw::dataplane::counters::{Counters, NO_TALLY};
use border_gw::dataplane::{Dataplane as _, pins};
use border_gw::intent::XdpMode;
use border_gw::tables::Op;
use border_gw_common::abi::{
    Entry, Flow, OWNER_ATTACHMENT, OWNER_VIF, Owner, STAGE_ERROR, Tally, TooBig, map as names,
};
use border_gw_common::verdict::{DropReason, Verdict};
use border_gw_ebpf::Outcome;
use border_gw_tests::netns::{output, remove_run, run_name};
use border_gw_tests::privileges::require_root;
use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};

use crate::contents::{Contents, changes, contents};
use crate::support::frame::Frame;
use crate::support::memory::Memory;
use crate::support::world::{
    FABRIC, NESTED, PORT_A, PORT_B, VIF_A, VIF_B, VIF_DOWN, VIF_OTHER, VPC, VPC_OTHER, vif_veth, vpc_veth,
};

/// Room in front of a frame (`XDP_PACKET_HEADROOM`, `net/bpf/test_run.c`), and behind it in tests that say nothing else.
const ROOM: (usize, usize) = (256, 128);
/// Shortest frame that is run (`ETH_HLEN`).
const SHORTEST: usize = 14;
/// Interfaces that no table knows.
const STRANGERS: [u32; 2] = [99, 999];

thread_local! {
    static KERNEL: RefCell<Kernel> = RefCell::new(Kernel::open());
}

/// Runs a frame that came by a program on an interface, on the host and in the kernel.
pub(crate) fn witnessed(
    (entry, ifindex): (Entry, u32),
    frame: &mut Frame,
    tables: &Memory,
    run: impl FnOnce(&mut Frame) -> Outcome,
) -> Outcome {
    let asked = frame.clone();
    let before = Noted::of(tables);
    let outcome = run(frame);
    let after = Noted::of(tables);
    KERNEL.with_borrow_mut(|kernel| {
        if let Some(why) = inexpressible(&asked, tables) {
            kernel.skipped += 1;
            println!("not run in the kernel: {why}; {} of {}", kernel.skipped, kernel.skipped + kernel.runs);
            return;
        }
        kernel.runs += 1;
        kernel.fill(tables, &before, egress(outcome.verdict, ifindex));
        let (got, bytes) = kernel.run(entry, ifindex, asked.bytes(), outcome.scope, tables);
        assert_eq!(got, after.since(&before, outcome), "the kernel, and the host");
        if !matches!(outcome.verdict, Verdict::Drop(_)) {
            assert_eq!(bytes, frame.bytes(), "what the kernel makes of the frame, and the host");
        }
    });
    outcome
}

/// Runs a frame in the kernel where the program that makes ICMP errors is gone: it is dropped, for this reason.
pub(crate) fn dropped_without_errors(
    (entry, ifindex): (Entry, u32),
    frame: &Frame,
    tables: &Memory,
    scope: u32,
    reason: DropReason,
) {
    let noted = Noted::of(tables);
    let outcome = Outcome { scope, verdict: Verdict::Drop(reason) };
    KERNEL.with_borrow_mut(|kernel| {
        // An error says that it is gone already.
        let _gone = kernel.stages.clear_index(&STAGE_ERROR);
        kernel.fill(tables, &noted, None);
        let (got, _) = kernel.run(entry, ifindex, frame.bytes(), scope, tables);
        assert_eq!(got, noted.since(&noted, outcome), "{reason:?}");
    });
}

/// Why the kernel cannot be asked.
fn inexpressible(frame: &Frame, tables: &Memory) -> Option<&'static str> {
    let lost_vif = tables.vif_by_tag.values().any(|vif| !tables.vifs.contains_key(vif));
    let lost_vpc = tables.attachment_by_vni.values().any(|vpc| !tables.attachments.contains_key(vpc));
    if frame.bytes().len() < SHORTEST {
        Some("a frame is at least an Ethernet header")
    } else if frame.room() != ROOM {
        Some("the room around a frame is the kernel's")
    } else if lost_vif || lost_vpc {
        Some("a place in an array is never absent")
    } else {
        None
    }
}

/// The interface by which a frame leaves.
fn egress(verdict: Verdict, ingress: u32) -> Option<u32> {
    match verdict {
        Verdict::Forward(ifindex) | Verdict::Punt(ifindex) => Some(ifindex),
        Verdict::Answer | Verdict::Refuse(_) => Some(ingress),
        Verdict::Pass | Verdict::Complain | Verdict::Drop(_) => None,
    }
}

/// What tables in memory remember.
struct Noted {
    states: BTreeMap<u32, u64>,
    traffic: BTreeMap<(Owner, u32), Flow>,
    too_big: BTreeMap<u64, TooBig>,
    /// In nanoseconds.
    clock: u64,
}

/// What a packet leaves behind.
#[derive(Debug, PartialEq)]
struct Traces {
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
    fn of(tables: &Memory) -> Self {
        let states = tables.policers.keys().map(|policer| (*policer, tables.state(*policer))).collect();
        Self { states, traffic: tables.traffic(), too_big: tables.too_big(), clock: tables.clock.get() }
    }

    fn since(&self, before: &Self, outcome: Outcome) -> Traces {
        const DROP: u32 = 1;
        const PASS: u32 = 2;
        const REDIRECT: u32 = 4;
        let mut tally = NO_TALLY;
        let action = match outcome.verdict {
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
struct Kernel {
    bpf: Bpf,
    counters: Counters,
    states: Array<MapData, u64>,
    stages: ProgramArray<MapData>,
    installed: Contents,
    /// The one interface to which frames may go: to any other they are dropped, by a name that tells.
    device: Option<u32>,
    runs: u32,
    skipped: u32,
}

impl Kernel {
    fn open() -> Self {
        require_root();
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let veths = [VIF_A, VIF_B, VIF_OTHER, VIF_DOWN].map(vif_veth);
        let inner = [VPC, NESTED, VPC_OTHER].map(vpc_veth);
        for index in [PORT_A, PORT_B, FABRIC].into_iter().chain(STRANGERS).chain(veths).chain(inner) {
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
    fn fill(&mut self, tables: &Memory, noted: &Noted, device: Option<u32>) {
        let wanted = contents(tables);
        for op in changes(&self.installed, &wanted) {
            self.bpf.apply(op).unwrap();
        }
        self.installed = wanted;
        if self.device != device {
            let old = self.device.map(|ifindex| Op::Device(ifindex, false));
            for op in old.into_iter().chain(device.map(|ifindex| Op::Device(ifindex, true))) {
                self.bpf.apply(&op).unwrap();
            }
            self.device = device;
        }
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

    /// Runs a program; what it leaves behind, and the frame.
    fn run(
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
        let traces = Traces {
            action: result.return_value,
            received: self.counters.received(entry).unwrap() - received,
            tally: since(&tally, &self.counters.tally(scope).unwrap()),
            charged: changed(&states, &self.states(tables)),
            traffic: difference(&traffic, &self.traffic(tables)),
            too_big: larger(&too_big, &self.counters.too_big().unwrap()),
        };
        (traces, out)
    }
}

fn since(before: &Tally, after: &Tally) -> Tally {
    Tally {
        forwarded: after.forwarded - before.forwarded,
        punted: after.punted - before.punted,
        passed: after.passed - before.passed,
        answered: after.answered - before.answered,
        errors: std::array::from_fn(|index| after.errors[index] - before.errors[index]),
        drops: std::array::from_fn(|index| after.drops[index] - before.drops[index]),
    }
}
