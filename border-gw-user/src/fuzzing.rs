//! What fuzzers call: parsers of what others write, which are nobody else's business.

/// What BIRD says on its control socket.
pub fn bird(text: &str) {
    crate::routing::status::fuzz(text);
}

/// A part of a route table, as the kernel sends it.
pub fn netlink(bytes: &[u8]) {
    crate::kernel::fuzz(bytes);
}
