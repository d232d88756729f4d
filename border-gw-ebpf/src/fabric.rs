//! Program `fabric`: from VPC hosts to customers' lines, to other VPCs, or to the gateway itself.

use border_gw_common::abi::{
    ATTACHMENT_CLAMP_MSS, Address, Attachment, AttachmentPolicer, Entry, OWNER_ATTACHMENT,
    OWNER_LOCAL_ROUTER, Owner, Port, Settings, V4, V6, VtepKey, attachment_policer, attachment_scope,
    entry_scope,
};
use border_gw_common::verdict::{DropReason, Verdict};

use crate::Outcome;
use crate::answer;
use crate::checksum;
use crate::error;
use crate::forward::{Origin, forward};
use crate::headers::{
    self, ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, EXTENSION_FRAGMENT, Ip, PROTOCOL_UDP,
    be16, mac,
};
use crate::icmp::Refusal;
use crate::packet::Packet;
use crate::rewrite;
use crate::screen::{NEIGHBOR_SOLICITATION, Reach, Screened, screen, screen_mac};
use crate::tables::Tables;

/// What becomes of a frame that came in on a fabric port.
#[inline(always)]
pub fn fabric<P: Packet, T: Tables>(packet: &mut P, tables: &T, ifindex: u32) -> Outcome {
    let mut scope = entry_scope(Entry::Fabric);
    let verdict = from_fabric(packet, tables, ifindex, &mut scope).unwrap_or_else(Verdict::Drop);
    Outcome { scope, verdict }
}

/// A VXLAN packet to our VTEP.
#[derive(Clone, Copy)]
pub struct Outer {
    /// IP version of the tunnel.
    pub version: u32,
    /// The VTEP that it comes from.
    pub source: Address,
    /// The ECN field that the underlay may have marked.
    ecn: u8,
    /// Where the VXLAN header starts.
    vxlan: usize,
    /// Where the outer IP packet ends.
    pub end: usize,
}

/// A frame's attachment.
#[derive(Clone, Copy)]
struct Ingress<'a> {
    index: u32,
    attachment: &'a Attachment,
    outer: Outer,
    /// Where the inner frame starts.
    inner: usize,
}

#[inline(always)]
fn from_fabric<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ifindex: u32,
    scope: &mut u32,
) -> Result<Verdict, DropReason> {
    let (Some(port), Some(settings)) = (tables.port(ifindex), tables.settings()) else {
        return Ok(Verdict::Pass);
    };
    let Some(outer) = outer(packet, port, settings)? else { return Ok(Verdict::Pass) };
    screen_mac(mac(packet.window::<12>(0).ok_or(DropReason::Truncated)?, 6))?;
    // RFC 7348, section 5: the flag I must be set; what is reserved is ignored.
    let vxlan = packet.window::<8>(outer.vxlan).ok_or(DropReason::VxlanMalformed)?;
    if outer.vxlan + 8 > outer.end || vxlan[0] & 0x08 == 0 {
        return Err(DropReason::VxlanMalformed);
    }
    let vni = u32::from_be_bytes([0, vxlan[4], vxlan[5], vxlan[6]]);
    let index = tables.attachment_by_vni(vni).ok_or(DropReason::UnknownVni)?;
    let attachment = tables.attachment(index).ok_or(DropReason::UnknownVni)?;
    *scope = attachment_scope(index);
    if !tables.is_vtep(&VtepKey { attachment: index, version: outer.version, address: outer.source }) {
        return Err(DropReason::UnknownVtep);
    }
    from_vpc(packet, tables, settings, Ingress { index, attachment, outer, inner: outer.vxlan + 8 })
}

/// Reads the outer headers; none when the frame is not ours.
#[inline(always)]
fn outer<P: Packet>(packet: &mut P, port: &Port, settings: &Settings) -> Result<Option<Outer>, DropReason> {
    let Some(ethernet) = packet.window::<ETHERNET>(0) else { return Ok(None) };
    if mac(ethernet, 0) != port.mac {
        return Ok(None);
    }
    match (be16(ethernet, 12), settings.vtep_version) {
        (ETHERTYPE_IPV4, V4) => outer_v4(packet, settings),
        (ETHERTYPE_IPV6, V6) => outer_v6(packet, settings),
        _ => Ok(None),
    }
}

#[inline(always)]
fn outer_v4<P: Packet>(packet: &mut P, settings: &Settings) -> Result<Option<Outer>, DropReason> {
    let frame_len = packet.len();
    let Some(bytes) = packet.window::<28>(ETHERNET) else { return Ok(None) };
    // Of a later fragment nobody knows the port: the kernel gives it up, because the first never comes.
    let ours = bytes[0] == 0x45
        && bytes[9] == PROTOCOL_UDP
        && be16(bytes, 6) & headers::FRAGMENT_OFFSET == 0
        && bytes[16..20] == settings.vtep[..4]
        && be16(bytes, 22) == settings.vxlan_port.get();
    if !ours {
        return Ok(None);
    }
    if headers::is_fragment(be16(bytes, 6)) {
        return Err(DropReason::TunnelFragment);
    }
    let end = ETHERNET + usize::from(be16(bytes, 2));
    let header = bytes.first_chunk::<20>().ok_or(DropReason::VxlanMalformed)?;
    if end > frame_len
        || !fills(be16(bytes, 24), ETHERNET + 20, end)
        || checksum::fold(checksum::sum(header)) != 0xffff
    {
        return Err(DropReason::VxlanMalformed);
    }
    let ecn = bytes[1] & 3;
    let mut source = [0; 16];
    source[..4].copy_from_slice(&bytes[12..16]);
    Ok(Some(Outer { version: V4, source, ecn, vxlan: ETHERNET + 28, end }))
}

#[inline(always)]
fn outer_v6<P: Packet>(packet: &mut P, settings: &Settings) -> Result<Option<Outer>, DropReason> {
    let frame_len = packet.len();
    let Some(bytes) = packet.window::<48>(ETHERNET) else { return Ok(None) };
    if bytes[0] >> 4 != 6 || bytes[24..40] != settings.vtep {
        return Ok(None);
    }
    if bytes[6] == EXTENSION_FRAGMENT {
        return fragment_v6(packet, settings);
    }
    if bytes[6] != PROTOCOL_UDP || be16(bytes, 42) != settings.vxlan_port.get() {
        return Ok(None);
    }
    let end = ETHERNET + 40 + usize::from(be16(bytes, 4));
    if end > frame_len || !fills(be16(bytes, 44), ETHERNET + 40, end) {
        return Err(DropReason::VxlanMalformed);
    }
    let ecn = bytes[1] >> 4 & 3;
    let mut source = [0; 16];
    source.copy_from_slice(&bytes[8..24]);
    Ok(Some(Outer { version: V6, source, ecn, vxlan: ETHERNET + 48, end }))
}

/// Whether a UDP datagram of this length fills its IP packet from `at` to `end`. Answers have both lengths, each by what it was.
#[inline(always)]
fn fills(udp_len: u16, at: usize, end: usize) -> bool {
    at + usize::from(udp_len) == end
}

/// As in [`outer_v4`]: a first fragment of the tunnel is dropped by name, all others are the kernel's.
#[inline(always)]
fn fragment_v6<P: Packet>(packet: &mut P, settings: &Settings) -> Result<Option<Outer>, DropReason> {
    let Some(bytes) = packet.window::<12>(ETHERNET + 40) else { return Ok(None) };
    let ours = bytes[0] == PROTOCOL_UDP
        && be16(bytes, 2) & headers::FRAGMENT_OFFSET_V6 == 0
        && be16(bytes, 10) == settings.vxlan_port.get();
    if ours { Err(DropReason::TunnelFragment) } else { Ok(None) }
}

/// The inner frame.
#[inline(always)]
fn from_vpc<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    settings: &Settings,
    ingress: Ingress<'_>,
) -> Result<Verdict, DropReason> {
    let ethernet = packet.window::<ETHERNET>(ingress.inner).ok_or(DropReason::Truncated)?;
    let (destination, source) = (mac(ethernet, 0), mac(ethernet, 6));
    let ether_type = be16(ethernet, 12);
    if destination != ingress.attachment.router_mac && !destination.is_multicast() {
        return Err(DropReason::WrongMac);
    }
    screen_mac(source)?;
    let payload = ingress.inner + ETHERNET;
    if ether_type == ETHERTYPE_ARP {
        return from_arp(packet, tables, settings, ingress, payload);
    }
    let mut ip = headers::ip(packet, ether_type, payload, ingress.outer.end)?;
    let screened = screen(packet, &ip, destination.is_multicast())?;
    if screened.icmpv6 == NEIGHBOR_SOLICITATION {
        return from_solicitation(packet, tables, settings, ingress, &ip, screened);
    }
    from_ip(packet, tables, ingress, &mut ip, screened)
}

/// Whether an address belongs to the attachment, by longest match: a nested CIDR is another's.
#[inline(always)]
fn is_inside<T: Tables>(tables: &T, ingress: Ingress<'_>, version: u32, address: &Address) -> bool {
    let owner = tables.route(ingress.attachment.domain, version, address).map(|route| route.owner);
    owner == Some(Owner::new(OWNER_ATTACHMENT, ingress.index))
}

/// Whether an address is one of the attachment's router.
#[inline(always)]
fn is_router<T: Tables>(tables: &T, ingress: Ingress<'_>, version: u32, address: &Address) -> bool {
    let owner = tables.route(ingress.attachment.domain, version, address).map(|route| route.owner);
    owner == Some(Owner::new(OWNER_LOCAL_ROUTER, ingress.index))
}

#[inline(always)]
fn from_arp<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    settings: &Settings,
    ingress: Ingress<'_>,
    at: usize,
) -> Result<Verdict, DropReason> {
    if at + answer::ARP > ingress.outer.end {
        return Err(DropReason::Truncated);
    }
    let arp = answer::arp(packet, at)?;
    let mut address: Address = [0; 16];
    address[..4].copy_from_slice(&arp.sender);
    if !is_inside(tables, ingress, V4, &address) {
        return Err(DropReason::ArpStranger);
    }
    address[..4].copy_from_slice(&arp.target);
    if !arp.request || !is_router(tables, ingress, V4, &address) {
        return Err(DropReason::NeighborNotForUs);
    }
    answer::arp_reply(packet, ingress.inner, at, ingress.attachment.router_mac)?;
    return_to_vtep(packet, settings, ingress.outer.version, &ingress.outer.source, 0, 0)?;
    Ok(Verdict::Answer)
}

#[inline(always)]
fn from_solicitation<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    settings: &Settings,
    ingress: Ingress<'_>,
    ip: &Ip,
    screened: Screened,
) -> Result<Verdict, DropReason> {
    let target = answer::solicited(packet, ip)?;
    if screened.source == Reach::Global && !is_inside(tables, ingress, V6, &ip.source) {
        return Err(DropReason::SourceInvalid);
    }
    if !is_router(tables, ingress, V6, &target) {
        return Err(DropReason::NeighborNotForUs);
    }
    // Whatever stands behind the outer packet goes first: the answer's length is then that of the packet.
    if packet.len() != ingress.outer.end && !packet.resize(ingress.outer.end) {
        return Err(DropReason::Headroom);
    }
    let grown = answer::advertise(packet, ingress.inner, ip, &target, ingress.attachment.router_mac)?;
    return_to_vtep(packet, settings, ingress.outer.version, &ingress.outer.source, 0, grown)?;
    Ok(Verdict::Answer)
}

/// Sends an answer of the traffic class `class` back to the VTEP `to`, in the tunnel header that the question came with; it is
/// `grown` bytes longer. The tunnel gets the class of what is inside (RFC 6040, section 4.1). It still has that of the question:
/// where that was marked as congested, the VTEP would drop an answer that cannot carry the mark.
#[inline(always)]
pub fn return_to_vtep<P: Packet>(
    packet: &mut P,
    settings: &Settings,
    version: u32,
    to: &Address,
    class: u8,
    grown: i32,
) -> Result<(), DropReason> {
    let ours = mac(packet.window::<6>(0).ok_or(DropReason::Truncated)?, 0);
    answer::return_frame(packet, 0, ours)?;
    if version == V4 {
        let bytes = packet.window::<36>(ETHERNET).ok_or(DropReason::Truncated)?;
        bytes[1] = class;
        add_len(bytes, 2, grown);
        // Of the flags DF alone: what is reserved is zero (RFC 791, section 3.1).
        bytes[6] &= 0x40;
        bytes[8] = OUTER_TTL;
        bytes[12..16].copy_from_slice(&settings.vtep[..4]);
        bytes[16..20].copy_from_slice(&to[..4]);
        rewrite::write_ipv4_checksum(bytes)?;
        add_len(bytes, 24, grown);
        // No checksum, as on everything that we send (RFC 7348, section 5; RFC 6935).
        bytes[26..28].copy_from_slice(&[0, 0]);
        reserve_nothing(bytes, 28);
    } else {
        let bytes = packet.window::<56>(ETHERNET).ok_or(DropReason::Truncated)?;
        bytes[0] = 0x60 | class >> 4;
        bytes[1] = class << 4 | bytes[1] & 0xf;
        add_len(bytes, 4, grown);
        bytes[7] = OUTER_TTL;
        bytes[8..24].copy_from_slice(&settings.vtep);
        bytes[24..40].copy_from_slice(to);
        add_len(bytes, 44, grown);
        bytes[46..48].copy_from_slice(&[0, 0]);
        reserve_nothing(bytes, 48);
    }
    Ok(())
}

/// Of the VXLAN header at `at`, the flag I and the VNI alone: what is reserved is ignored where it comes, and zero where it goes
/// (RFC 7348, section 5).
#[inline(always)]
fn reserve_nothing<const N: usize>(bytes: &mut [u8; N], at: usize) {
    bytes[at..at + 4].copy_from_slice(&[8, 0, 0, 0]);
    bytes[at + 7] = 0;
}

/// TTL or hop limit of tunnel packets.
pub const OUTER_TTL: u8 = 64;

#[inline(always)]
fn add_len<const N: usize>(bytes: &mut [u8; N], at: usize, grown: i32) {
    let len = (i32::from(be16(bytes, at)) + grown) as u16;
    bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
}

#[inline(always)]
fn from_ip<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    ip: &mut Ip,
    screened: Screened,
) -> Result<Verdict, DropReason> {
    match route_ip(packet, tables, ingress, ip, screened) {
        Ok(verdict) => Ok(verdict),
        Err(refusal) => {
            let origin = (Entry::Fabric, ingress.index);
            error::complain(tables, origin, Some(&ingress.outer), ip, screened, refusal)
        }
    }
}

#[inline(always)]
fn route_ip<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    ip: &mut Ip,
    screened: Screened,
) -> Result<Verdict, Refusal> {
    match screened.destination {
        Reach::LinkGroup => return Err(DropReason::Multicast.into()),
        Reach::LinkLocal => return Err(DropReason::MartianDestination.into()),
        _ => {}
    }
    if screened.source != Reach::Global {
        return Err(DropReason::LinkLocalSource.into());
    }
    let domain = ingress.attachment.domain;
    let owner = Owner::new(OWNER_ATTACHMENT, ingress.index);
    if !is_inside(tables, ingress, ip.version, &ip.source) {
        return Err(DropReason::SourceInvalid.into());
    }
    let route = tables.route(domain, ip.version, &ip.destination);
    if route.is_some_and(|route| route.owner.is_local()) {
        return Ok(punt(packet, tables, ingress, ip)?);
    }
    if route.is_some_and(|route| route.owner.is_nobody()) {
        return Err(DropReason::MartianDestination.into());
    }
    if ip.ttl <= 1 {
        return Err(DropReason::TtlExpired.into());
    }
    let route = route.ok_or(DropReason::NoRoute)?;
    if route.owner == owner {
        return Err(DropReason::Hairpin.into());
    }
    rewrite::combine_ecn(packet, ip, ingress.outer.ecn)?;
    let attachment = ingress.attachment;
    let clamp_mtu = if attachment.flags & ATTACHMENT_CLAMP_MSS == 0 { 0 } else { attachment.mtu };
    let origin = Origin {
        domain,
        owner,
        connection: 0,
        hash_mode: attachment.hash_mode,
        translates_dscp: false,
        clamp_mtu,
    };
    forward(packet, tables, ip, &origin, route)
}

/// Hands the inner frame to the kernel in the border gateway's namespace.
#[inline(always)]
fn punt<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ingress: Ingress<'_>,
    ip: &mut Ip,
) -> Result<Verdict, DropReason> {
    // The tunnel ends here for these packets, too (RFC 6040, section 4.2).
    rewrite::combine_ecn(packet, ip, ingress.outer.ecn)?;
    if !tables.charge(attachment_policer(ingress.index, AttachmentPolicer::Punt), 1, tables.now()) {
        return Err(DropReason::PuntLimit);
    }
    if packet.len() > ingress.outer.end && !packet.resize(ingress.outer.end) {
        return Err(DropReason::Headroom);
    }
    if !packet.move_front(-(ingress.inner as i32)) {
        return Err(DropReason::Headroom);
    }
    Ok(Verdict::Punt(ingress.attachment.veth_ifindex))
}
