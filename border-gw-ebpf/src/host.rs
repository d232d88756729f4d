//! Program `host`: what the kernel sends from a border gateway's namespace. Nothing here is charged to a customer.

use border_gw_common::abi::{Entry, OWNER_ATTACHMENT, OWNER_VIF, Owner, VIF_ENABLED, entry_scope};
use border_gw_common::verdict::{DropReason, Verdict};

use crate::Outcome;
use crate::flow;
use crate::forward::{fits, member};
use crate::headers;
use crate::packet::Packet;
use crate::rewrite;
use crate::screen::{Reach, reach};
use crate::tables::Tables;

/// What becomes of a frame that the kernel sent on a `vifN` or `vpcN`.
#[inline(always)]
pub fn host<P: Packet, T: Tables>(packet: &mut P, tables: &T, ifindex: u32) -> Outcome {
    let verdict = from_kernel(packet, tables, ifindex).unwrap_or_else(Verdict::Drop);
    Outcome { scope: entry_scope(Entry::Host), verdict }
}

#[inline(always)]
fn from_kernel<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ifindex: u32,
) -> Result<Verdict, DropReason> {
    let owner = tables.host_port(ifindex).ok_or(DropReason::UnknownHostPort)?.owner;
    match owner.kind() {
        OWNER_VIF => to_line(packet, tables, owner.index()),
        OWNER_ATTACHMENT => to_vpc(packet, tables, owner),
        _ => Err(DropReason::UnknownHostPort),
    }
}

/// Tags on, and out.
#[inline(always)]
fn to_line<P: Packet, T: Tables>(packet: &mut P, tables: &T, index: u32) -> Result<Verdict, DropReason> {
    let vif = tables.vif(index).ok_or(DropReason::UnknownHostPort)?;
    if vif.flags & VIF_ENABLED == 0 {
        return Err(DropReason::VifDown);
    }
    rewrite::tag(packet, vif)?;
    Ok(Verdict::Forward(vif.port_ifindex))
}

/// Looked up like any packet toward a VPC, and into the tunnel.
#[inline(always)]
fn to_vpc<P: Packet, T: Tables>(packet: &mut P, tables: &T, owner: Owner) -> Result<Verdict, DropReason> {
    let attachment = tables.attachment(owner.index()).ok_or(DropReason::UnknownHostPort)?;
    let frame = headers::frame(packet)?;
    let end = packet.len();
    let ip = headers::ip(packet, frame.ether_type, frame.payload, end)?;
    if reach(ip.version, &ip.destination) != Reach::Global {
        return Err(DropReason::Multicast);
    }
    let route = tables.route(attachment.domain, ip.version, &ip.destination).ok_or(DropReason::NoRoute)?;
    if route.owner != owner {
        return Err(DropReason::KernelNotForwarded);
    }
    let hash = flow::hash(packet, &ip, attachment.hash_mode);
    let next_hop = member(tables, attachment.domain, route.group, hash)?;
    fits(packet, tables, &ip, next_hop).map_err(|refusal| refusal.reason)?;
    rewrite::replace_header(packet, &ip, next_hop, hash)?;
    Ok(Verdict::Forward(next_hop.egress_ifindex))
}
