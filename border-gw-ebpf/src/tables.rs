//! The look-ups that the path needs, and the counters that it writes.

use border_gw_common::abi::{
    Address, Attachment, Complaint, HostPort, NextHop, Owner, Port, Route, Settings, SourceClass, Vif,
    VifKey, VtepKey,
};

/// Everything around the packet: BPF maps in the kernel, plain maps in tests.
pub trait Tables {
    /// What all programs know of the server.
    fn settings(&self) -> Option<&Settings>;
    /// A fabric port by interface index.
    fn port(&self, ifindex: u32) -> Option<&Port>;
    /// What a veth stands for.
    fn host_port(&self, ifindex: u32) -> Option<HostPort>;
    /// Index of the VIF that owns these tags.
    fn vif_by_tag(&self, key: &VifKey) -> Option<u32>;
    /// A VIF by index.
    fn vif(&self, index: u32) -> Option<&Vif>;
    /// Index of the attachment with this VNI.
    fn attachment_by_vni(&self, vni: u32) -> Option<u32>;
    /// An attachment by index.
    fn attachment(&self, index: u32) -> Option<&Attachment>;
    /// Whether an attachment has this VTEP.
    fn is_vtep(&self, key: &VtepKey) -> bool;
    /// Longest match in a border gateway's table.
    fn route(&self, domain: u32, version: u32, address: &Address) -> Option<Route>;
    /// Longest match among the sources of a VIF.
    fn source(&self, vif: u32, version: u32, address: &Address) -> Option<SourceClass>;
    /// The next hop's index in a bucket of a group; 0 is none. `hash` is taken modulo the buckets.
    fn bucket(&self, group: u32, hash: u32) -> Option<u16>;
    /// A next hop by index.
    fn next_hop(&self, index: u16) -> Option<&NextHop>;
    /// What becomes of a DSCP by a table of them: one of them and `DSCP_MAPPED`, or 0.
    fn dscp(&self, table: u32, dscp: u8) -> Option<u8>;
    /// Monotonic time, in nanoseconds.
    fn now(&self) -> u64;
    /// Takes `bytes` from a policer's bucket; false, and nothing taken, when they are not there.
    fn charge(&self, policer: u32, bytes: u32, now: u64) -> bool;
    /// Notes that the sender of the packet at hand is to be told something.
    fn complain(&self, complaint: &Complaint);
    /// What was noted about the packet at hand.
    fn complaint(&self) -> Option<Complaint>;
    /// Gives back what [`Tables::charge`] took.
    fn refund(&self, policer: u32, bytes: u32);
    /// Counts a packet that is larger than the MTU of a next hop, by its identity; `df`: no router may fragment it.
    fn count_too_big(&self, next_hop: u64, df: bool);
    /// Counts a packet of `bytes` for a VIF or attachment, as forwarded or as refused by a cap.
    fn count(&self, owner: Owner, direction: u32, bytes: u32, policed: bool);
}
