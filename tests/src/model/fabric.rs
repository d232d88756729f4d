//! What comes from the fabric (design, what a packet meets, `fabric`).

use std::net::IpAddr;

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;
use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, UdpHeaderSlice};

use super::forward::{From, Request};
use super::frame::{self, Frame};
use super::ip::{self, Packet};
use super::neighbor::{self, Neighbor};
use super::screen::{self, Cast};
use super::world::{Gateway, To, Vpc, World};
use super::write::{Ends, ether_type, ethernet, tunnel};
use super::{Fate, Judgement, Scope, answer};

const UDP: u8 = 17;
/// ECN (RFC 3168, section 5).
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CONGESTION: u8 = 3;

/// The outer packet, as far as it is UDP over IP.
struct Outer<'a> {
    macs: (MacAddr, MacAddr),
    source: IpAddr,
    destination: IpAddr,
    class: u8,
    is_fragment: bool,
    /// What the IP header says that follows it, of what is there.
    datagram: Result<&'a [u8], DropReason>,
}

/// Judges a frame.
pub(super) fn fabric(world: &World, ifindex: u32, bytes: &[u8]) -> Judgement {
    let pass = || Judgement::one(Scope::Program, Fate::Pass);
    let Some(outer) = outer(bytes) else { return pass() };
    let Ok(datagram) = outer.datagram else { return pass() };
    let Ok(udp) = UdpHeaderSlice::from_slice(datagram) else { return pass() };
    if outer.destination != world.vtep || udp.destination_port() != world.vxlan_port {
        return pass();
    }
    if outer.is_fragment {
        return Judgement::drop(Scope::Program, DropReason::TunnelFragment);
    }
    let Some((vni, inner)) = vxlan(&outer, datagram) else {
        return Judgement::drop(Scope::Program, DropReason::VxlanMalformed);
    };
    for gateway in &world.gateways {
        for (place, vpc) in gateway.vpcs.iter().enumerate() {
            if vpc.vni == vni && vpc.veth.is_some() {
                let own = world.fabric.get(&ifindex).copied().unwrap_or_default();
                return Inside { world, gateway, place, vpc, outer, own }.judge(inner);
            }
        }
    }
    Judgement::drop(Scope::Program, DropReason::UnknownVni)
}

fn outer(bytes: &[u8]) -> Option<Outer<'_>> {
    let frame = frame::untagged(bytes).ok()?;
    let macs = (frame.to, frame.from);
    match frame.ether_type {
        0x0800 => {
            let header = Ipv4HeaderSlice::from_slice(frame.payload).ok()?;
            let len = usize::from(header.total_len());
            let all = frame.payload.get(header.slice().len()..)?;
            (header.protocol().0 == UDP && header.fragments_offset().value() == 0).then(|| Outer {
                macs,
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
                class: header.dcp().value() << 2 | header.ecn().value(),
                is_fragment: header.more_fragments(),
                datagram: Ok(all.get(..len - header.slice().len()).unwrap_or(all)),
            })
        }
        0x86dd => {
            let header = Ipv6HeaderSlice::from_slice(frame.payload).ok()?;
            let all = &frame.payload[40..];
            (header.next_header().0 == UDP).then(|| Outer {
                macs,
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
                class: header.traffic_class(),
                is_fragment: false,
                datagram: Ok(all.get(..usize::from(header.payload_length())).unwrap_or(all)),
            })
        }
        _ => None,
    }
}

/// VNI and inner frame (RFC 7348, section 5): the flag I is set, lengths are right, and a checksum that is there is right.
fn vxlan<'a>(outer: &Outer<'_>, datagram: &'a [u8]) -> Option<(u32, &'a [u8])> {
    let len = usize::from(u16::from_be_bytes([datagram[4], datagram[5]]));
    if len < 16 || len > datagram.len() || datagram[8] & 0x08 == 0 {
        return None;
    }
    let _ = outer;
    Some((u32::from_be_bytes([0, datagram[12], datagram[13], datagram[14]]), &datagram[16..len]))
}

/// A frame out of the tunnel of an attachment.
struct Inside<'a> {
    world: &'a World,
    gateway: &'a Gateway,
    place: usize,
    vpc: &'a Vpc,
    outer: Outer<'a>,
    own: MacAddr,
}

impl Inside<'_> {
    fn scope(&self) -> Scope {
        Scope::Vpc(self.vpc.name.clone())
    }

    fn judge(&self, inner: &[u8]) -> Judgement {
        self.screened(inner).unwrap_or_else(|reason| Judgement::drop(self.scope(), reason))
    }

    fn screened(&self, inner: &[u8]) -> Result<Judgement, DropReason> {
        if !self.vpc.vteps.contains(&self.outer.source) {
            return Err(DropReason::UnknownVtep);
        }
        let frame = frame::untagged(inner)?;
        if frame.from.is_multicast() {
            return Err(DropReason::GroupSource);
        }
        if frame.to != self.vpc.router_mac && !frame.to.is_multicast() {
            return Err(DropReason::WrongMac);
        }
        if frame.ether_type == 0x0806 {
            return self.arp(&frame);
        }
        let packet = ip::read(frame.ether_type, frame.payload, self.at(&frame))?;
        self.packet(&frame, packet)
    }

    /// Where the inner IP packet starts in the frame.
    fn at(&self, frame: &Frame<'_>) -> usize {
        14 + if self.world.vtep.is_ipv4() { 20 } else { 40 } + 16 + frame.at
    }

    /// A frame back into the tunnel, to the VTEP that it came from.
    fn back(&self, class: u8, inner: &[u8]) -> super::Written {
        let ends = Ends {
            macs: (self.outer.macs.1, self.own),
            from: self.world.vtep,
            to: self.outer.source,
            port: self.world.vxlan_port,
            vni: self.vpc.vni,
        };
        tunnel(&ends, class, inner)
    }

    /// Whether the longest match of an address is this attachment.
    fn is_inside(&self, address: IpAddr) -> bool {
        matches!(self.gateway.route(address).map(|route| &route.to), Some(To::Vpc(place, _)) if *place == self.place)
    }

    fn arp(&self, frame: &Frame<'_>) -> Result<Judgement, DropReason> {
        let arp = answer::read(frame.payload)?;
        if !self.is_inside(arp.sender) {
            return Err(DropReason::ArpStranger);
        }
        if !arp.is_request || !self.vpc.routers.contains(&arp.target) {
            return Err(DropReason::NeighborNotForUs);
        }
        let reply = arp.reply(frame.from, self.vpc.router_mac, &[]);
        Ok(Judgement::one(self.scope(), Fate::Answer(self.back(0, &reply))))
    }

    fn packet(&self, frame: &Frame<'_>, packet: Packet) -> Result<Judgement, DropReason> {
        let neighbor = neighbor::read(&packet);
        if !(packet.source.is_unspecified() && matches!(neighbor, Ok(Some(Neighbor::Solicitation(_))))) {
            screen::source(packet.source)?;
        }
        if let Ok(Some(Neighbor::Solicitation(target))) = neighbor {
            return self.solicited(frame, &packet, target);
        }
        let cast = screen::destination(packet.destination, frame.to)?;
        screen::message(&packet)?;
        if let Some(Neighbor::Advertisement(_)) = neighbor? {
            return Err(DropReason::StrangerOnLink);
        }
        if cast == Cast::Link {
            return Err(DropReason::Multicast);
        }
        if screen::is_link_local(packet.source) {
            return Err(DropReason::LinkLocalSource);
        }
        let destination = packet.destination;
        let request = self.request(frame, packet);
        if !self.is_inside(request.asked.source) {
            return Ok(request.refused(DropReason::SourceInvalid));
        }
        if self.vpc.routers.contains(&destination) {
            let bytes = ethernet((frame.to, frame.from), &[], frame.ether_type, &request.asked.bytes);
            return Ok(Judgement::one(self.scope(), Fate::Punt(self.vpc.veth.unwrap_or(0), bytes.into())));
        }
        if screen::is_link_local(destination) {
            return Err(DropReason::MartianDestination);
        }
        let Some(class) = decapsulated(self.outer.class, request.asked.class()) else {
            return Err(DropReason::Congestion);
        };
        let mut request = request;
        request.packet.set_class(class);
        Ok(request.forward())
    }

    fn solicited(&self, frame: &Frame<'_>, packet: &Packet, target: IpAddr) -> Result<Judgement, DropReason> {
        if !self.vpc.routers.contains(&target) && target != screen::link_local(self.vpc.router_mac) {
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
            asked: packet.clone(),
            packet,
            to: frame.to,
            tell: Box::new(move |error| {
                let class = if ether_type(error) == 0x0800 { error[1] } else { error[0] << 4 | error[1] >> 4 };
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
