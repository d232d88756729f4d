//! Program `error`: makes the ICMP error about a packet that `line` or `fabric` refused. A program of its own, because the
//! verifier would else follow it from every place that refuses.

use border_gw_common::abi::{
    AttachmentPolicer, Complaint, Entry, V4, VifPolicer, attachment_policer, attachment_scope, entry_scope,
    port_policer, vif_policer, vif_scope,
};
use border_gw_common::verdict::{DropReason, ERRORS, Verdict};

use crate::Outcome;
use crate::answer;
use crate::fabric::{Outer, return_to_vtep};
use crate::headers::{Ip, be16, word};
use crate::icmp::{self, Refusal, Teller};
use crate::packet::{Packet, in_sight};
use crate::screen::{Reach, Screened};
use crate::tables::Tables;

/// Notes that a packet is refused, where its sender may be to be told: [`error`] goes on from there.
#[inline(always)]
pub fn complain<T: Tables>(
    tables: &T,
    (entry, index): (Entry, u32),
    outer: Option<&Outer>,
    ip: &Ip,
    screened: Screened,
    refusal: Refusal,
) -> Result<Verdict, DropReason> {
    let reason = refusal.reason;
    let hosts = screened.source == Reach::Global && screened.destination == Reach::Global;
    if reason.error_index().is_none() || !hosts {
        return Err(reason);
    }
    tables.complain(&Complaint {
        entry: entry as u32,
        index,
        version: ip.version,
        at: ip.at as u32,
        len: ip.len as u32,
        outer_end: outer.map_or(0, |outer| outer.end as u32),
        outer_version: outer.map_or(0, |outer| outer.version),
        transport: ip.transport as u32,
        protocol: ip.protocol,
        later_fragment: u8::from(ip.later_fragment),
        mtu: refusal.mtu,
        reason: reason as u32,
        to: ip.source,
        outer_source: outer.map_or([0; 16], |outer| outer.source),
    });
    Ok(Verdict::Complain)
}

/// Makes the error that a complaint asks for, out of the packet that it is about; or drops it, when nobody may be told.
#[inline(always)]
pub fn error<P: Packet, T: Tables>(packet: &mut P, tables: &T, ifindex: u32) -> Outcome {
    let complaint = tables.complaint();
    let Some(about) = complaint.as_ref().filter(|about| is_about(packet, about)) else {
        // Whose the packet is, stood in its note; by where it came in, at least the program is known that received it.
        let entry = if tables.port(ifindex).is_some() { Entry::Fabric } else { Entry::Line };
        return Outcome { scope: entry_scope(entry), verdict: Verdict::Drop(DropReason::NoteLost) };
    };
    let reason = told_reason(about.reason);
    let (scope, made) = if about.entry == Entry::Line as u32 {
        (vif_scope(about.index), on_line(packet, tables, about, reason))
    } else {
        (attachment_scope(about.index), in_vpc(packet, tables, ifindex, about, reason))
    };
    Outcome { scope, verdict: made.map_or_else(Verdict::Drop, |()| Verdict::Refuse(reason)) }
}

/// Whether a note is about the packet at hand. There is one note a CPU: on a real-time kernel a program may be preempted between
/// the note and here, by one that leaves a note of its own.
#[inline(always)]
fn is_about<P: Packet>(packet: &mut P, about: &Complaint) -> bool {
    let Some(at) = in_sight(about.at as usize) else { return false };
    // One comparison, and no branches for the verifier.
    let differing = if about.version == V4 {
        let Some(header) = packet.window::<20>(at) else { return false };
        let source = word(header, 12) ^ word(&about.to, 0);
        source | u32::from(header[0] >> 4 ^ 4) | u32::from(be16(header, 2)) ^ about.len
    } else {
        let Some(header) = packet.window::<40>(at) else { return false };
        let source = (0..4).fold(0, |all, at| all | word(header, 8 + at * 4) ^ word(&about.to, at * 4));
        source | u32::from(header[0] >> 4 ^ 6) | (u32::from(be16(header, 4)) + 40) ^ about.len
    };
    differing == 0
}

/// The reason in a complaint: one of those that are told.
#[inline(always)]
pub fn told_reason(number: u32) -> DropReason {
    let mut reason = DropReason::NoRoute;
    for told in ERRORS {
        if told as u32 == number {
            reason = told;
        }
    }
    reason
}

#[inline(always)]
fn on_line<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    about: &Complaint,
    reason: DropReason,
) -> Result<(), DropReason> {
    let vif = tables.vif(about.index).ok_or(reason)?;
    spare_ourselves(tables, vif.domain, about, reason)?;
    let which = if reason == DropReason::TooBig { VifPolicer::TooBig } else { VifPolicer::Error };
    let teller = Teller {
        source: if about.version == V4 { &vif.error_v4 } else { &vif.error_v6 },
        limiter: vif_policer(about.index, which),
        port: port_policer(u32::from(vif.port)),
    };
    icmp::replace(packet, tables, about, reason, &teller)?;
    answer::return_frame(packet, 0, vif.mac)
}

/// A source that its sender may not use may be one of our own addresses, or one that stands for no single host: no error is for
/// them (RFC 1812, section 4.3.2.7; RFC 4443, section 2.4 (e)).
#[inline(always)]
fn spare_ourselves<T: Tables>(
    tables: &T,
    domain: u32,
    about: &Complaint,
    reason: DropReason,
) -> Result<(), DropReason> {
    if reason != DropReason::SourceInvalid {
        return Ok(());
    }
    match tables.route(domain, about.version, &about.to) {
        Some(route) if route.owner.is_local() || route.owner.is_nobody() => Err(DropReason::MartianSource),
        _ => Ok(()),
    }
}

/// Where the inner Ethernet header starts: behind Ethernet, IPv4, UDP and VXLAN.
const INNER_V4: usize = 14 + 20 + 8 + 8;
/// The same with IPv6.
const INNER_V6: usize = 14 + 40 + 8 + 8;

/// From the router, back to the VTEP.
#[inline(always)]
fn in_vpc<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ifindex: u32,
    about: &Complaint,
    reason: DropReason,
) -> Result<(), DropReason> {
    let attachment = tables.attachment(about.index).ok_or(reason)?;
    spare_ourselves(tables, attachment.domain, about, reason)?;
    let settings = tables.settings().ok_or(reason)?;
    let port = tables.port(ifindex).ok_or(reason)?;
    let too_big = reason == DropReason::TooBig;
    let which = if too_big { AttachmentPolicer::TooBig } else { AttachmentPolicer::Error };
    let teller = Teller {
        source: if about.version == V4 { &attachment.error_v4 } else { &attachment.error_v6 },
        limiter: attachment_policer(about.index, which),
        port: port_policer(port.index),
    };
    // What stands behind the inner packet goes, too: the outer lengths follow from where that ended.
    let behind = about.outer_end as i32 - (about.at + about.len) as i32;
    let grown = icmp::replace(packet, tables, about, reason, &teller)? - behind;
    let inner = if about.outer_version == V4 { INNER_V4 } else { INNER_V6 };
    answer::return_frame(packet, inner, attachment.router_mac)?;
    let class = if about.version == V4 { icmp::INTERNETWORK_CONTROL } else { 0 };
    return_to_vtep(packet, settings, about.outer_version, &about.outer_source, class, grown)
}
