//! The kernel as a witness: it runs the same frame through the loaded program, and must come to the same.

use std::cell::RefCell;

use border_gw_common::abi::{Entry, STAGE_ERROR};
use border_gw_common::verdict::{DropReason, Verdict};
use border_gw_ebpf::Outcome;

use crate::loaded::{Kernel, Noted, egress};
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
    static KERNEL: RefCell<Kernel> = RefCell::new(Kernel::open(interfaces()));
}

/// Those of the world, and some that no table knows.
fn interfaces() -> impl Iterator<Item = u32> {
    let veths = [VIF_A, VIF_B, VIF_OTHER, VIF_DOWN].map(vif_veth);
    let inner = [VPC, NESTED, VPC_OTHER].map(vpc_veth);
    [PORT_A, PORT_B, FABRIC].into_iter().chain(STRANGERS).chain(veths).chain(inner)
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
        kernel.install(tables);
        kernel.prepare(&before, egress(outcome.verdict, ifindex));
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
        kernel.install(tables);
        kernel.prepare(&noted, None);
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
