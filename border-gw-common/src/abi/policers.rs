//! Policers, and where each of them stands in their map.

use super::{MAX_ATTACHMENTS, MAX_CONNECTIONS, MAX_PORTS, MAX_VIFS};

/// A policer: a cap, or a punt limiter (whose "bytes" are packets).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policer {
    /// Time that a byte costs, in 2^-24 ns; 0: no limit.
    pub cost: u64,
    /// Depth of the bucket as time, in 2^-8 ns.
    pub depth: u64,
}

/// Policers of a VIF.
pub const VIF_POLICERS: u32 = 10;

/// Index of a VIF's policer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum VifPolicer {
    /// The VIF's cap toward VPCs.
    ToVpc = 0,
    /// The VIF's cap toward the customer.
    ToCustomer = 1,
    /// Punts: segments of BGP sessions that are there, from a declared peer, in packets.
    PuntControl = 2,
    /// Punts: ARP and neighbour discovery of declared peers, in packets; their solicitations are answered, and count here.
    PuntNeighbor = 3,
    /// Punts: everything else, in packets.
    PuntRest = 4,
    /// Answers to ARP and neighbour solicitations of anybody else, in packets.
    Answer = 5,
    /// ICMP errors, in packets.
    Error = 6,
    /// Of these, the ones that say which packet would fit, in packets: a flood of others leaves them alone.
    TooBig = 7,
    /// Punts: BFD from a declared peer, in packets: no flood of anything else makes it look dead.
    PuntBfd = 8,
    /// Punts: segments that open a BGP session, from a declared peer, in packets: a flood of them leaves the session alone.
    PuntOpen = 9,
}

/// Index in `POLICERS` of a VIF's policer.
#[inline(always)]
pub const fn vif_policer(vif: u32, which: VifPolicer) -> u32 {
    vif * VIF_POLICERS + which as u32
}

/// Policers of an attachment.
pub const ATTACHMENT_POLICERS: u32 = 3;

/// Index of an attachment's policer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AttachmentPolicer {
    /// Punts, in packets.
    Punt = 0,
    /// ICMP errors, in packets.
    Error = 1,
    /// As [`VifPolicer::TooBig`].
    TooBig = 2,
}

/// Index in `POLICERS` of an attachment's policer.
#[inline(always)]
pub const fn attachment_policer(attachment: u32, which: AttachmentPolicer) -> u32 {
    MAX_VIFS * VIF_POLICERS + attachment * ATTACHMENT_POLICERS + which as u32
}

/// Index in `POLICERS` of a connection's cap; `direction` is [`super::TO_VPC`] or [`super::TO_CUSTOMER`].
#[inline(always)]
pub const fn connection_policer(connection: u32, direction: u32) -> u32 {
    attachment_policer(MAX_ATTACHMENTS, AttachmentPolicer::Punt) + connection * 2 + direction
}

/// Index in `POLICERS` of a port's egress limit.
#[inline(always)]
pub const fn port_policer(port: u32) -> u32 {
    connection_policer(MAX_CONNECTIONS, 0) + port
}

/// Number of policers.
pub const POLICERS: u32 = port_policer(MAX_PORTS);
