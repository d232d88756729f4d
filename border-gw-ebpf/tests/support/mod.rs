//! What the tests of the packet path stand on: a frame, tables in memory, a small world, packets written and read.

pub(crate) mod case;
pub(crate) mod datagram;
pub(crate) mod frame;
pub(crate) mod judge;
pub(crate) mod memory;
pub(crate) mod next_hop;
pub(crate) mod seen;
pub(crate) mod send;
pub(crate) mod wire;
pub(crate) mod world;
