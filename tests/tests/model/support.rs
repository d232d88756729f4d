//! Of what the tests of the packet path stand on: frames, and tables in memory.

#[path = "../../../border-gw-ebpf/tests/support/frame.rs"]
pub(crate) mod frame;
#[path = "../../../border-gw-ebpf/tests/support/memory.rs"]
pub(crate) mod memory;
#[path = "../../../border-gw-ebpf/tests/support/wire.rs"]
pub(crate) mod wire;
