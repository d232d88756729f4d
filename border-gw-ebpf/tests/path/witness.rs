//! Who else sees what becomes of a packet: nobody here, and the kernel where its tests share these (package border-gw-tests).

use border_gw_common::abi::Entry;
use border_gw_ebpf::Outcome;

use crate::support::frame::Frame;
use crate::support::memory::Memory;

/// Runs a frame that came by a program on an interface.
pub(crate) fn witnessed(
    _came_by: (Entry, u32),
    frame: &mut Frame,
    _tables: &Memory,
    run: impl FnOnce(&mut Frame) -> Outcome,
) -> Outcome {
    run(frame)
}
