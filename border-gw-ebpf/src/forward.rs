//! From a route to the frame that leaves: member, MTU, caps, rewrite.

use border_gw_common::abi::{
    INTO, NEXT_HOP_DSCP, NextHop, OUT_OF, OWNER_ATTACHMENT, OWNER_VIF, Owner, Route, TO_CUSTOMER, TO_VPC, V6,
    VifPolicer, connection_policer, port_policer, vif_policer,
};
use border_gw_common::verdict::{DropReason, Verdict};

use crate::dscp;
use crate::flow;
use crate::headers::Ip;
use crate::icmp::Refusal;
use crate::mss;
use crate::packet::Packet;
use crate::rewrite;
use crate::tables::Tables;

/// Where a packet comes from, as far as forwarding depends on it.
#[derive(Clone, Copy)]
pub struct Origin {
    /// Slot of the border gateway.
    pub domain: u32,
    /// The VIF or attachment.
    pub owner: Owner,
    /// Index of the VIF's connection.
    pub connection: u32,
    /// How flows are told apart.
    pub hash_mode: u32,
    /// Whether the VIF translates DSCP toward VPCs.
    pub translates_dscp: bool,
    /// MTU of the side that it comes from, where the MSS of TCP connections is held to what fits; else 0.
    pub clamp_mtu: u16,
}

/// Sends a packet along its route: steps 8 to 11 of the design.
#[inline(always)]
pub fn forward<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ip: &Ip,
    origin: &Origin,
    route: Route,
) -> Result<Verdict, Refusal> {
    let hash = flow::hash(packet, ip, origin.hash_mode);
    let next_hop = member(tables, origin.domain, route.group, hash)?;
    fits(packet, tables, ip, next_hop)?;
    let bytes = ip.len as u32;
    let caps = caps(origin, next_hop);
    if let Err((place, reason)) = charge(tables, &caps, bytes) {
        count_policed(tables, origin.owner, next_hop.owner, place, bytes);
        return Err(reason.into());
    }
    if origin.clamp_mtu != 0 {
        mss::hold(packet, ip, origin.clamp_mtu.min(next_hop.mtu));
    }
    if let Err(reason) = send(packet, tables, ip, origin, next_hop, hash) {
        refund(tables, &caps, CAPS, bytes);
        return Err(reason.into());
    }
    count(tables, origin.owner, next_hop.owner, bytes);
    Ok(Verdict::Forward(next_hop.egress_ifindex))
}

#[inline(always)]
fn send<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ip: &Ip,
    origin: &Origin,
    next_hop: &NextHop,
    hash: u32,
) -> Result<(), DropReason> {
    rewrite::decrement_ttl(packet, ip)?;
    // What the tunnel copies is what the packet has then.
    let mut ip = *ip;
    if origin.translates_dscp {
        dscp::translate(packet, tables, &mut ip, origin.owner.index(), TO_VPC)?;
    }
    if next_hop.flags & NEXT_HOP_DSCP != 0 {
        dscp::translate(packet, tables, &mut ip, next_hop.owner.index(), TO_CUSTOMER)?;
    }
    rewrite::replace_header(packet, &ip, next_hop, hash)
}

/// Whether a packet is as small as its next hop asks for; one that is not is counted there.
#[inline(always)]
pub fn fits<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ip: &Ip,
    next_hop: &NextHop,
) -> Result<(), Refusal> {
    /// In the byte with the flags of IPv4.
    const DONT_FRAGMENT: u8 = 0x40;
    if ip.len <= usize::from(next_hop.mtu) {
        return Ok(());
    }
    let df =
        ip.version == V6 || packet.window::<8>(ip.at).is_some_and(|header| header[6] & DONT_FRAGMENT != 0);
    tables.count_too_big(next_hop.identity, df);
    Err(Refusal { reason: DropReason::TooBig, mtu: next_hop.mtu })
}

/// The member of a group that the hash picks, if it is alive and belongs to the border gateway.
#[inline(always)]
pub fn member<T: Tables>(tables: &T, domain: u32, group: u32, hash: u32) -> Result<&NextHop, DropReason> {
    let index = tables.bucket(group, hash).unwrap_or(0);
    if index == 0 {
        return Err(DropReason::NextHopDead);
    }
    let next_hop = tables.next_hop(index).ok_or(DropReason::NextHopDead)?;
    if next_hop.encapsulation == 0 {
        return Err(DropReason::NextHopDead);
    }
    // Whatever state the tables are in, a packet never leaves its border gateway.
    if next_hop.domain != domain {
        return Err(DropReason::NextHopForeign);
    }
    Ok(next_hop)
}

/// No policer in this place.
const NONE: u32 = u32::MAX;

/// Caps that a packet can meet.
const CAPS: usize = 5;

/// A policer, or [`NONE`], and what it is called when it refuses.
type Cap = (u32, DropReason);

/// The caps on the way: of the VIF and connection that it comes from, of those that it goes to, and of the port. Their places
/// tell [`count_policed`] whose they are.
#[inline(always)]
fn caps(origin: &Origin, next_hop: &NextHop) -> [Cap; CAPS] {
    let from_vif = origin.owner.kind() == OWNER_VIF;
    let to_vif = next_hop.owner.kind() == OWNER_VIF;
    let from = origin.owner.index();
    let to = next_hop.owner.index();
    [
        (if from_vif { vif_policer(from, VifPolicer::ToVpc) } else { NONE }, DropReason::VifCap),
        (
            if from_vif { connection_policer(origin.connection, TO_VPC) } else { NONE },
            DropReason::ConnectionCap,
        ),
        (if to_vif { vif_policer(to, VifPolicer::ToCustomer) } else { NONE }, DropReason::VifCap),
        (
            if to_vif { connection_policer(next_hop.connection, TO_CUSTOMER) } else { NONE },
            DropReason::ConnectionCap,
        ),
        (port_policer(next_hop.port), DropReason::PortCap),
    ]
}

/// Charges all of the caps, or none of them; the error is the place of the one that refused, and its name.
#[inline(always)]
fn charge<T: Tables>(tables: &T, caps: &[Cap; CAPS], bytes: u32) -> Result<(), (usize, DropReason)> {
    let now = tables.now();
    for (taken, (policer, reason)) in caps.iter().enumerate() {
        if *policer != NONE && !tables.charge(*policer, bytes, now) {
            refund(tables, caps, taken, bytes);
            return Err((taken, *reason));
        }
    }
    Ok(())
}

/// Gives back what the first `taken` caps were charged.
#[inline(always)]
fn refund<T: Tables>(tables: &T, caps: &[Cap; CAPS], taken: usize, bytes: u32) {
    for (place, (policer, _)) in caps.iter().enumerate() {
        if place < taken && *policer != NONE {
            tables.refund(*policer, bytes);
        }
    }
}

/// Counts the packet for where it comes from and where it goes.
#[inline(always)]
fn count<T: Tables>(tables: &T, from: Owner, to: Owner, bytes: u32) {
    tables.count(from, if from.kind() == OWNER_ATTACHMENT { OUT_OF } else { TO_VPC }, bytes, false);
    tables.count(to, if to.kind() == OWNER_ATTACHMENT { INTO } else { TO_CUSTOMER }, bytes, false);
}

/// Counts the packet as refused for the VIF whose own cap, or whose connection's, is in this place of [`caps`]: the sender
/// pays for the first two, the receiver for the next two, and a port that is full is no customer's excess.
#[inline(always)]
fn count_policed<T: Tables>(tables: &T, from: Owner, to: Owner, place: usize, bytes: u32) {
    match place {
        0 | 1 => tables.count(from, TO_VPC, bytes, true),
        2 | 3 => tables.count(to, TO_CUSTOMER, bytes, true),
        _ => {}
    }
}
