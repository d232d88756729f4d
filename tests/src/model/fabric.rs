//! What comes from the fabric (design, what a packet meets, `fabric`).

use std::net::IpAddr;

use border_gw_common::abi::AttachmentPolicer;
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;
use etherparse::{Ipv4Header, Ipv6HeaderSlice, UdpHeaderSlice};

use super::forward::{From, Request};
use super::frame::{self, Frame};
use super::ip::{self, Packet, Place};
use super::neighbor::{self, SOLICITATION};
use super::screen::{self, Cast};
use super::world::{Gateway, To, Vpc, World};
use super::write::{Ends, ether_type, ethernet, tunnel};
use super::{Fate, Judgement, Limiter, Scope, Written, answer};

const UDP: u8 = 17;
/// ECN (RFC 3168, section 5).
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CONGESTION: u8 = 3;

/// Next header: a fragment (RFC 8200, section 4.5).
const FRAGMENT: u8 = 44;

/// The outer packet, as far as it is UDP over IP to our VTEP.
struct Outer<'a> {
    frame: &'a [u8],
    source: IpAddr,
    class: u8,
    /// Where the UDP header starts.
    udp: usize,
    /// Where the IP packet ends, as its header says.
    end: usize,
    is_fragment: bool,
    /// Whether the IPv4 header's checksum is right.
    is_sound: bool,
}

/// Judges a frame.
pub(super) fn fabric(world: &World, ifindex: u32, bytes: &[u8]) -> Judgement {
    let pass = || Judgement::one(Scope::Program, Fate::Pass);
    let drop = |reason| Judgement::drop(Scope::Program, reason);
    let Some(outer) = world.fabric.get(&ifindex).and_then(|own| outer(world, *own, bytes)) else {
        return pass();
    };
    let Ok(udp) = UdpHeaderSlice::from_slice(&bytes[outer.udp..]) else { return pass() };
    if udp.destination_port() != world.vxlan_port {
        return pass();
    }
    if outer.is_fragment {
        return drop(DropReason::TunnelFragment);
    }
    // Lengths that do not agree, or a header that is damaged. The design is silent about a checksum of UDP: RFC 7348, section 4.1, lets
    // an end look at it or not.
    let fits = outer.udp + usize::from(udp.length()) == outer.end && outer.end <= bytes.len();
    if !fits || !outer.is_sound {
        return drop(DropReason::VxlanMalformed);
    }
    if bytes[6] & 1 != 0 {
        return drop(DropReason::GroupSource);
    }
    // RFC 7348, section 5: the flag I is set; what is reserved is ignored.
    let at = outer.udp + 8;
    if at + 8 > outer.end || bytes[at] & 0x08 == 0 {
        return drop(DropReason::VxlanMalformed);
    }
    let vni = u32::from_be_bytes([0, bytes[at + 4], bytes[at + 5], bytes[at + 6]]);
    for gateway in &world.gateways {
        for (place, vpc) in gateway.vpcs.iter().enumerate() {
            if vpc.vni == vni && vpc.veth.is_some() {
                return Inside { world, gateway, place, vpc, ingress: ifindex, outer }.judge();
            }
        }
    }
    drop(DropReason::UnknownVni)
}

/// None for what is not ours: another Ethernet or IP destination, another protocol. The design is silent about IPv4 options and IPv6
/// extension headers in front of UDP: with them it is not taken for VXLAN.
fn outer<'a>(world: &World, own: MacAddr, bytes: &'a [u8]) -> Option<Outer<'a>> {
    let frame = frame::untagged(bytes).ok().filter(|frame| frame.to == own)?;
    match frame.ether_type {
        0x0800 => {
            // As it stands there: its lengths are judged later.
            let fixed =
                frame.payload.first_chunk::<20>().filter(|fixed| fixed[0] == 0x45 && fixed[9] == UDP)?;
            let (header, _) = Ipv4Header::from_slice(&sound(fixed)).ok()?;
            let ours = IpAddr::from(header.destination) == world.vtep && header.fragment_offset.value() == 0;
            ours.then(|| Outer {
                frame: bytes,
                source: header.source.into(),
                class: fixed[1],
                udp: 34,
                end: 14 + usize::from(u16::from_be_bytes([fixed[2], fixed[3]])),
                is_fragment: header.more_fragments,
                is_sound: super::sum::sum(fixed) == 0xffff,
            })
        }
        0x86dd => {
            let header = Ipv6HeaderSlice::from_slice(frame.payload).ok()?;
            let ours = IpAddr::from(header.destination_addr()) == world.vtep;
            let fragment = header.next_header().0 == FRAGMENT;
            if fragment {
                let fragment = frame.payload.get(40..48)?;
                (fragment[0] == UDP && u16::from_be_bytes([fragment[2], fragment[3]]) >> 3 == 0)
                    .then_some(())?;
            }
            (ours && (fragment || header.next_header().0 == UDP)).then(|| Outer {
                frame: bytes,
                source: header.source_addr().into(),
                class: header.traffic_class(),
                udp: if fragment { 62 } else { 54 },
                end: 54 + usize::from(header.payload_length()),
                is_fragment: fragment,
                is_sound: true,
            })
        }
        _ => None,
    }
}

/// The header with a length that its reader does not object to.
fn sound(fixed: &[u8; 20]) -> [u8; 20] {
    let mut header = *fixed;
    header[2..4].copy_from_slice(&20_u16.to_be_bytes());
    header
}

/// A frame out of the tunnel of an attachment.
struct Inside<'a> {
    world: &'a World,
    gateway: &'a Gateway,
    place: usize,
    vpc: &'a Vpc,
    ingress: u32,
    outer: Outer<'a>,
}

impl Inside<'_> {
    fn scope(&self) -> Scope {
        Scope::Vpc(self.vpc.name.clone())
    }

    fn judge(&self) -> Judgement {
        self.screened().unwrap_or_else(|reason| Judgement::drop(self.scope(), reason))
    }

    /// Where the inner frame starts.
    fn inner(&self) -> usize {
        self.outer.udp + 16
    }

    fn screened(&self) -> Result<Judgement, DropReason> {
        if !self.vpc.vteps.contains(&self.outer.source) {
            return Err(DropReason::UnknownVtep);
        }
        let bytes = self.outer.frame;
        // What reaches beyond the tunnel's packet is refused with the packet inside: the design is silent.
        let frame = frame::untagged(bytes.get(self.inner()..).unwrap_or_default())?;
        if frame.to != self.vpc.router_mac && !frame.to.is_multicast() {
            return Err(DropReason::WrongMac);
        }
        if frame.from.is_multicast() {
            return Err(DropReason::GroupSource);
        }
        if frame.ether_type == 0x0806 {
            return self.arp(&frame);
        }
        let at = self.inner() + 14;
        let packet = ip::read(frame.ether_type, Place { frame: bytes, at, end: self.outer.end })?;
        self.packet(&frame, packet)
    }

    /// A frame back to the VTEP that it came from, in the tunnel header of the question: with its identification, its flag DF, its
    /// flow label and its source port. The design is silent about these.
    fn back(&self, class: u8, inner: &[u8]) -> Written {
        let asked = self.outer.frame;
        let mac = |at: usize| {
            MacAddr([asked[at], asked[at + 1], asked[at + 2], asked[at + 3], asked[at + 4], asked[at + 5]])
        };
        let ends = Ends {
            macs: (mac(6), mac(0)),
            from: self.world.vtep,
            to: self.outer.source,
            port: self.world.vxlan_port,
            vni: self.vpc.vni,
        };
        let Written { mut bytes, .. } = tunnel(&ends, class, inner);
        bytes[self.outer.udp..self.outer.udp + 2].copy_from_slice(&asked[self.outer.udp..self.outer.udp + 2]);
        if self.world.vtep.is_ipv4() {
            bytes[18..20].copy_from_slice(&asked[18..20]);
            bytes[20] = asked[20] & 0x40;
            bytes[24..26].fill(0);
            let sum = super::sum::checksum(&bytes[14..34]);
            bytes[24..26].copy_from_slice(&sum.to_be_bytes());
        } else {
            bytes[15] |= asked[15] & 0xf;
            bytes[16..18].copy_from_slice(&asked[16..18]);
        }
        bytes.into()
    }

    /// Whether the longest match of an address is this attachment.
    fn is_inside(&self, address: IpAddr) -> bool {
        matches!(self.gateway.route(address).map(|route| &route.to), Some(To::Vpc(place, _)) if *place == self.place)
    }

    fn arp(&self, frame: &Frame<'_>) -> Result<Judgement, DropReason> {
        // What stands behind it in the tunnel goes back as well, and what stands behind the tunnel's packet: padding.
        if self.inner() + 14 + 28 > self.outer.end {
            return Err(DropReason::Truncated);
        }
        let arp = answer::read(frame.payload)?;
        if !self.is_inside(arp.sender) {
            return Err(DropReason::ArpStranger);
        }
        if !arp.is_request || !self.vpc.routers.contains(&arp.target) {
            return Err(DropReason::NeighborNotForUs);
        }
        let (inside, padding) = self.outer.frame.split_at(self.outer.end);
        let question = answer::read(&inside[self.inner() + 14..])?;
        let mut reply = self.back(0, &question.reply(self.vpc.router_mac, &[]));
        reply.bytes.extend(padding);
        Ok(Judgement::one(self.scope(), Fate::Answer(reply)))
    }

    fn packet(&self, frame: &Frame<'_>, packet: Packet) -> Result<Judgement, DropReason> {
        let cast = screen::screen(&packet, frame.to)?;
        if !packet.is_v4() && packet.icmp_type() == Some(SOLICITATION) {
            return self.solicited(frame, &packet);
        }
        if cast == Cast::Link {
            return Err(DropReason::Multicast);
        }
        if screen::is_link_local(packet.destination) {
            return Err(DropReason::MartianDestination);
        }
        if screen::is_link_local(packet.source) {
            return Err(DropReason::LinkLocalSource);
        }
        let request = self.request(frame, packet);
        if !self.is_inside(request.asked.source) {
            return Ok(request.refused(DropReason::SourceInvalid));
        }
        let mark = |inner| decapsulated(self.outer.class, inner);
        match self.gateway.route(request.asked.destination).map(|route| &route.to) {
            // The design is silent: the address of another router, or of a line, is the gateway's as well.
            Some(To::Own(_) | To::Router(_)) => self.punt(request.asked, mark),
            Some(To::Nobody) => Err(DropReason::MartianDestination),
            _ => Ok(request.forward(mark)),
        }
    }

    /// The inner frame, whose packet has the tunnel's mark of congestion.
    fn punt(&self, mut packet: Packet, mark: impl Fn(u8) -> Option<u8>) -> Result<Judgement, DropReason> {
        let class = mark(packet.class()).ok_or(DropReason::Congestion)?;
        let at = packet.at;
        packet.set_class(class);
        let bytes = &self.outer.frame[..self.outer.end];
        let frame = [&bytes[self.inner()..at], &packet.bytes, &bytes[at + packet.bytes.len()..]].concat();
        let punted = Judgement::one(self.scope(), Fate::Punt(self.vpc.veth.unwrap_or(0), frame.into()));
        Ok(punted.limited(&Limiter::Vpc(self.vpc.name.clone(), AttachmentPolicer::Punt)))
    }

    fn solicited(&self, frame: &Frame<'_>, packet: &Packet) -> Result<Judgement, DropReason> {
        let target = neighbor::solicited(packet)?;
        let nobody = packet.source.is_unspecified() || screen::is_link_local(packet.source);
        if !nobody && !self.is_inside(packet.source) {
            return Err(DropReason::SourceInvalid);
        }
        if !self.vpc.routers.contains(&target) {
            return Err(DropReason::NeighborNotForUs);
        }
        let answer = neighbor::advertisement(packet, target, (frame.from, self.vpc.router_mac), &[]);
        Ok(Judgement::one(self.scope(), Fate::Answer(self.back(0, &answer))))
    }

    fn request<'b>(&'b self, frame: &Frame<'_>, packet: Packet) -> Request<'b> {
        let macs = (frame.from, self.vpc.router_mac);
        Request {
            world: self.world,
            gateway: self.gateway,
            from: From::Vpc(self.place),
            ingress: self.ingress,
            asked: packet.clone(),
            packet,
            tell: Box::new(move |error| {
                let class =
                    if ether_type(error) == 0x0800 { error[1] } else { error[0] << 4 | error[1] >> 4 };
                self.back(class, &ethernet(macs, &[], ether_type(error), error))
            }),
        }
    }
}

/// DSCP and ECN of what comes out of a tunnel (RFC 6040, section 4.2, figure 4); none where it has to be dropped.
fn decapsulated(outer: u8, inner: u8) -> Option<u8> {
    let ecn = match (inner & 3, outer & 3) {
        (NOT_ECT, CONGESTION) => return None,
        (NOT_ECT, _) => NOT_ECT,
        (CONGESTION, _) | (_, CONGESTION) => CONGESTION,
        (ECT_0, ECT_1) => ECT_1,
        (inner, _) => inner,
    };
    Some(inner & !3 | ecn)
}
