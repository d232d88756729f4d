//! Program `line`: from a customer's line into VPCs, or to the gateway itself.

use border_gw_common::abi::{
    Address, Entry, OWNER_LOCAL_VIF, OWNER_VIF, Owner, SOURCE_FORBIDDEN, SOURCE_LINK, SOURCE_MARTIAN,
    SOURCE_OWN, SOURCE_PEER, SOURCE_ROUTED, SourceClass, V4, V6, VIF_CLAMP_MSS, VIF_DSCP_TO_VPC, VIF_ENABLED,
    VIF_TRANSIT, VIF_VALIDATE, Vif, VifKey, VifPolicer, entry_scope, vif_policer, vif_scope,
};
use border_gw_common::net::{Be16, MacAddr};
use border_gw_common::verdict::{DropReason, Verdict};

use crate::Outcome;
use crate::answer;
use crate::error;
use crate::forward::{Origin, forward};
use crate::headers::{
    self, ETHERTYPE_ARP, ETHERTYPE_CFM, ETHERTYPE_EAPOL, ETHERTYPE_LLDP, ETHERTYPE_MIN, ETHERTYPE_SLOW,
    Frame, Ip, PROTOCOL_TCP, PROTOCOL_UDP,
};
use crate::icmp::Refusal;
use crate::packet::Packet;
use crate::rewrite;
use crate::screen::{
    NEIGHBOR_ADVERTISEMENT, NEIGHBOR_SOLICITATION, Reach, Screened, reach, screen, screen_mac,
};
use crate::tables::Tables;

/// What becomes of a frame that came in on a line port.
#[inline(always)]
pub fn line<P: Packet, T: Tables>(packet: &mut P, tables: &T, ifindex: u32) -> Outcome {
    let mut scope = entry_scope(Entry::Line);
    let verdict = from_line(packet, tables, ifindex, &mut scope).unwrap_or_else(Verdict::Drop);
    Outcome { scope, verdict }
}

/// A frame's VIF.
#[derive(Clone, Copy)]
struct Ingress<'a> {
    index: u32,
    vif: &'a Vif,
    /// Where the frame's payload starts.
    payload: usize,
}

#[inline(always)]
fn from_line<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ifindex: u32,
    scope: &mut u32,
) -> Result<Verdict, DropReason> {
    let frame = headers::frame(packet)?;
    if frame.tpid == 0 {
        return if is_link_control(&frame) { Ok(Verdict::Pass) } else { Err(DropReason::Untagged) };
    }
    let key =
        VifKey { ifindex, tpid: Be16::new(frame.tpid), outer: frame.outer, inner: frame.inner, reserved: 0 };
    let index = tables.vif_by_tag(&key).ok_or(DropReason::UnknownVlan)?;
    let vif = tables.vif(index).ok_or(DropReason::UnknownVlan)?;
    *scope = vif_scope(index);
    if vif.flags & VIF_ENABLED == 0 {
        return Err(DropReason::VifDown);
    }
    if frame.destination != vif.mac && !frame.destination.is_multicast() {
        return Err(DropReason::WrongMac);
    }
    screen_mac(frame.source)?;
    let ingress = Ingress { index, vif, payload: frame.payload };
    if frame.ether_type == ETHERTYPE_ARP {
        return from_arp(packet, tables, ingress);
    }
    let end = packet.len();
    let ip = headers::ip(packet, frame.ether_type, frame.payload, end)?;
    let screened = screen(packet, &ip, frame.destination.is_multicast())?;
    if screened.icmpv6 == NEIGHBOR_SOLICITATION {
        return from_solicitation(packet, tables, ingress, &ip, screened);
    }
    from_ip(packet, tables, ingress, &ip, screened)
}

/// LLDP, LACP, spanning tree and the like, to groups that no bridge forwards (IEEE 802.1Q, table 8-1). By their protocols,
/// because whatever passes here meets the server's own kernel, which would take IP and ARP in such a frame, too.
#[inline(always)]
fn is_link_control(frame: &Frame) -> bool {
    let to_link = matches!(frame.destination, MacAddr([0x01, 0x80, 0xc2, 0, 0, last]) if last < 0x10);
    to_link
        && matches!(
            frame.ether_type,
            ..ETHERTYPE_MIN | ETHERTYPE_SLOW | ETHERTYPE_EAPOL | ETHERTYPE_LLDP | ETHERTYPE_CFM
        )
}

/// ARP reaches the kernel from declared peers alone: its neighbour table is shared by the whole machine. A peer that asks
/// with another address of its network (Linux does, with `arp_announce` 0) is answered here, and makes no entry: with any that the
/// VIF may use, which without validation is any host's.
#[inline(always)]
fn from_arp<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let arp = answer::arp(packet, ingress.payload)?;
    let key = |address: [u8; 4]| {
        let mut key: Address = [0; 16];
        key[..4].copy_from_slice(&address);
        key
    };
    let class = |address: [u8; 4]| tables.source(ingress.index, V4, &key(address));
    let sender = class(arp.sender);
    let may = sender == Some(SOURCE_ROUTED) || sender.is_none() && ingress.vif.flags & VIF_VALIDATE == 0;
    match sender {
        Some(SOURCE_PEER) => punt(packet, tables, ingress, VifPolicer::PuntNeighbor),
        _ if may
            && arp.request
            && reach(V4, &key(arp.sender)) == Reach::Global
            && class(arp.target) == Some(SOURCE_OWN) =>
        {
            limit(tables, ingress, VifPolicer::Answer)?;
            answer::arp_reply(packet, 0, ingress.payload, ingress.vif.mac)?;
            Ok(Verdict::Answer)
        }
        _ => Err(DropReason::ArpStranger),
    }
}

/// A neighbour solicitation for one of our addresses is answered here, whoever asks; none reaches the kernel. A declared
/// peer has a limiter of its own, so that nobody else on the link can keep it from finding us.
#[inline(always)]
fn from_solicitation<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    ip: &Ip,
    screened: Screened,
) -> Result<Verdict, DropReason> {
    let target = answer::solicited(packet, ip)?;
    let mut limiter = VifPolicer::Answer;
    if screened.source == Reach::Global {
        match tables.source(ingress.index, V6, &ip.source) {
            Some(SOURCE_PEER) => limiter = VifPolicer::PuntNeighbor,
            Some(SOURCE_LINK) => {}
            _ => return Err(DropReason::SourceInvalid),
        }
    }
    let mac = ingress.vif.mac;
    if target != mac.link_local() && tables.source(ingress.index, V6, &target) != Some(SOURCE_OWN) {
        return Err(DropReason::NeighborNotForUs);
    }
    limit(tables, ingress, limiter)?;
    answer::advertise(packet, 0, ip, &target, mac)?;
    Ok(Verdict::Answer)
}

#[inline(always)]
fn from_ip<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    ip: &Ip,
    screened: Screened,
) -> Result<Verdict, DropReason> {
    match route_ip(packet, tables, ingress, ip, screened) {
        Ok(verdict) => Ok(verdict),
        Err(refusal) => error::complain(tables, (Entry::Line, ingress.index), None, ip, screened, refusal),
    }
}

#[inline(always)]
fn route_ip<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    ip: &Ip,
    screened: Screened,
) -> Result<Verdict, Refusal> {
    let class = source_class(tables, ingress, ip, screened)?;
    match screened.destination {
        Reach::LinkGroup => return Ok(punt_ip(packet, tables, ingress, ip, screened, class, false)?),
        Reach::LinkLocal if ip.destination == ingress.vif.mac.link_local() => {
            return Ok(punt_ip(packet, tables, ingress, ip, screened, class, true)?);
        }
        Reach::LinkLocal => return Err(DropReason::MartianDestination.into()),
        _ => {}
    }
    let route = tables.route(ingress.vif.domain, ip.version, &ip.destination);
    if let Some(local) = route.map(|route| route.owner).filter(|owner| owner.is_local()) {
        let own = local == Owner::new(OWNER_LOCAL_VIF, ingress.index);
        return Ok(punt_ip(packet, tables, ingress, ip, screened, class, own)?);
    }
    if route.is_some_and(|route| route.owner.is_nobody()) {
        return Err(DropReason::MartianDestination.into());
    }
    if screened.source != Reach::Global {
        return Err(DropReason::LinkLocalSource.into());
    }
    if ip.ttl <= 1 {
        return Err(DropReason::TtlExpired.into());
    }
    let route = route.ok_or(DropReason::NoRoute)?;
    if route.owner.kind() == OWNER_VIF && ingress.vif.flags & VIF_TRANSIT == 0 {
        return Err(DropReason::Transit.into());
    }
    let origin = Origin {
        domain: ingress.vif.domain,
        owner: Owner::new(OWNER_VIF, ingress.index),
        connection: ingress.vif.connection,
        hash_mode: ingress.vif.hash_mode,
        translates_dscp: ingress.vif.flags & VIF_DSCP_TO_VPC != 0,
        clamp_mtu: if ingress.vif.flags & VIF_CLAMP_MSS == 0 { 0 } else { ingress.vif.mtu },
    };
    forward(packet, tables, ip, &origin, route)
}

/// Source validation (RFC 3704, feasible path). Our own addresses, those of VPCs and those of other links are no sources,
/// also where the VIF is not validated. A link-local source has no class: it goes nowhere but to us.
#[inline(always)]
fn source_class<T: Tables>(
    tables: &T,
    ingress: Ingress<'_>,
    ip: &Ip,
    screened: Screened,
) -> Result<Option<SourceClass>, DropReason> {
    if screened.source != Reach::Global {
        return Ok(None);
    }
    match tables.source(ingress.index, ip.version, &ip.source) {
        Some(SOURCE_OWN | SOURCE_MARTIAN) => Err(DropReason::MartianSource),
        Some(SOURCE_FORBIDDEN) => Err(DropReason::SourceInvalid),
        None if ingress.vif.flags & VIF_VALIDATE != 0 => Err(DropReason::SourceInvalid),
        class => Ok(class),
    }
}

/// Hands an IP packet to the kernel. `own`: it is addressed to this VIF's own address.
#[inline(always)]
fn punt_ip<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    ip: &Ip,
    screened: Screened,
    class: Option<SourceClass>,
    own: bool,
) -> Result<Verdict, DropReason> {
    if screened.icmpv6 == NEIGHBOR_ADVERTISEMENT {
        return punt_advertisement(packet, tables, ingress, ip);
    }
    // What the kernel would answer makes it look for the asker, and each stranger would be an entry in a table that the
    // whole machine shares. It answers to IPv6 groups as well: echoes, and options that it does not know (RFC 4443,
    // sections 2.4 and 4.2).
    if screened.source == Reach::LinkLocal {
        return Err(DropReason::LinkLocalSource);
    }
    let peer = class == Some(SOURCE_PEER);
    let to_group = screened.destination == Reach::LinkGroup;
    if to_group && !peer || class == Some(SOURCE_LINK) {
        return Err(DropReason::StrangerOnLink);
    }
    let which = if own && peer { class_of(packet, ip) } else { VifPolicer::PuntRest };
    punt(packet, tables, ingress, which)
}

/// Hands an advertisement about a declared peer to the kernel, whoever sends it. One about anybody else would be ignored
/// there, because nobody else has an entry, and is not worth a place in the peer's limiter.
#[inline(always)]
fn punt_advertisement<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    ip: &Ip,
) -> Result<Verdict, DropReason> {
    let target = answer::neighbor_target(packet, ip)?;
    if tables.source(ingress.index, V6, &target) != Some(SOURCE_PEER) {
        return Err(DropReason::StrangerOnLink);
    }
    punt(packet, tables, ingress, VifPolicer::PuntNeighbor)
}

/// The limiter of what a declared peer says to us. BGP (RFC 4271) and what opens it, and BFD have their own: no flood of one
/// starves another. BFD that was forwarded on its way is none (RFC 5881, section 5), and its sender may be anybody behind the peer.
#[inline(always)]
fn class_of<P: Packet>(packet: &mut P, ip: &Ip) -> VifPolicer {
    const BGP: u16 = 179;
    const BFD: u16 = 3784;
    /// Ports, and a TCP header's flags; a BFD packet is longer.
    const PORTS_AND_FLAGS: usize = 14;
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    // Not what stands in padding.
    if ip.fragment || ip.transport + PORTS_AND_FLAGS > ip.at + ip.len {
        return VifPolicer::PuntRest;
    }
    let Some(header) = packet.window::<PORTS_AND_FLAGS>(ip.transport) else { return VifPolicer::PuntRest };
    let (from, to) = (headers::be16(header, 0), headers::be16(header, 2));
    let opens = header[13] & (SYN | ACK) == SYN;
    match ip.protocol {
        PROTOCOL_TCP if (from == BGP || to == BGP) && opens => VifPolicer::PuntOpen,
        PROTOCOL_TCP if from == BGP || to == BGP => VifPolicer::PuntControl,
        PROTOCOL_UDP if to == BFD && ip.ttl == 255 => VifPolicer::PuntBfd,
        _ => VifPolicer::PuntRest,
    }
}

/// Takes one from the limiter of a class.
#[inline(always)]
fn limit<T: Tables>(tables: &T, ingress: Ingress<'_>, which: VifPolicer) -> Result<(), DropReason> {
    let passes = tables.charge(vif_policer(ingress.index, which), 1, tables.now());
    if passes { Ok(()) } else { Err(DropReason::PuntLimit) }
}

#[inline(always)]
fn punt<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    which: VifPolicer,
) -> Result<Verdict, DropReason> {
    limit(tables, ingress, which)?;
    rewrite::untag(packet, ingress.payload)?;
    Ok(Verdict::Punt(ingress.vif.veth_ifindex))
}
