//! What comes from a customer's line (design, what a packet meets, `line`).

use std::net::IpAddr;

use border_gw_common::abi::VifPolicer;
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use super::forward::{From, Request};
use super::frame::{self, Frame};
use super::ip::{self, LAST_START, Packet, Place};
use super::neighbor::{self, ADVERTISEMENT, SOLICITATION};
use super::screen::{self, Cast};
use super::world::{Gateway, To, Vif, World, ends};
use super::write::{Written, ether_type, ethernet};
use super::{Fate, Judgement, Limiter, Scope, answer};

/// Groups reserved for protocols of the link itself (IEEE 802.1Q, table 8-1), but for the last four bits.
const LINK_CONTROL: [u8; 5] = [0x01, 0x80, 0xc2, 0x00, 0x00];
/// Those protocols: slow ones (LACP), port access control, LLDP, connectivity faults; and all that is 802.2 (spanning tree).
const CONTROL_TYPES: [u16; 4] = [0x8809, 0x888e, 0x88cc, 0x8902];
/// Smallest `EtherType`; what is smaller is the length of an 802.2 frame.
const SMALLEST_TYPE: u16 = 0x0600;

/// A virtual interface, and its border gateway.
struct Line<'a> {
    world: &'a World,
    gateway: &'a Gateway,
    place: usize,
    vif: &'a Vif,
    mac: MacAddr,
    bytes: &'a [u8],
    frame: Frame<'a>,
}

/// Judges a frame.
pub(super) fn line(world: &World, ifindex: u32, bytes: &[u8]) -> Judgement {
    let frame = match frame::tagged(bytes) {
        Ok(frame) => frame,
        Err(reason) => return Judgement::drop(Scope::Program, reason),
    };
    if frame.tags.is_empty() {
        let known = frame.ether_type < SMALLEST_TYPE || CONTROL_TYPES.contains(&frame.ether_type);
        let control = known && frame.to.0[..5] == LINK_CONTROL && frame.to.0[5] < 16;
        let fate = if control { Fate::Pass } else { Fate::Drop(DropReason::Untagged) };
        return Judgement::one(Scope::Program, fate);
    }
    for gateway in &world.gateways {
        for (place, vif) in gateway.vifs.iter().enumerate() {
            if let Some((_, mac)) = vif.port.filter(|(port, _)| *port == ifindex && owns(vif, &frame.tags)) {
                return Line { world, gateway, place, vif, mac, bytes, frame }.judge();
            }
        }
    }
    Judgement::drop(Scope::Program, DropReason::UnknownVlan)
}

fn owns(vif: &Vif, tags: &[(u16, u16)]) -> bool {
    let (tpid, outer, inner) = vif.tag;
    let own: Vec<_> = [(tpid, outer)].into_iter().chain(inner.map(|inner| (0x8100, inner))).collect();
    own == tags
}

/// Whose address a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A declared peer.
    Peer,
    /// Another address of the link.
    Link,
    /// Covered by a prefix accepted from the virtual interface.
    Accepted,
    /// Anybody else, where sources are not validated.
    Any,
    /// A neighbour that has told no address of its own.
    LinkLocal,
    /// Ours, or nobody's.
    Martian,
    /// Nobody who may speak here.
    Invalid,
}

impl Line<'_> {
    fn scope(&self) -> Scope {
        Scope::Vif(self.vif.name.clone())
    }

    fn judge(self) -> Judgement {
        match self.screened() {
            Ok(judgement) => judgement,
            Err(reason) => Judgement::drop(self.scope(), reason),
        }
    }

    fn screened(&self) -> Result<Judgement, DropReason> {
        if !self.vif.enabled {
            return Err(DropReason::VifDown);
        }
        if self.frame.to != self.mac && !self.frame.to.is_multicast() {
            return Err(DropReason::WrongMac);
        }
        if self.frame.from.is_multicast() {
            return Err(DropReason::GroupSource);
        }
        if self.frame.ether_type == 0x0806 {
            return self.arp();
        }
        let place = Place { frame: self.bytes, at: self.frame.at, end: self.bytes.len() };
        let packet = ip::read(self.frame.ether_type, place)?;
        self.packet(packet)
    }

    fn answer(&self, bytes: Vec<u8>, limiter: VifPolicer) -> Judgement {
        self.limited(Fate::Answer(bytes.into()), limiter)
    }

    /// To the kernel, as if it had come without tags.
    fn punt(&self, limiter: VifPolicer) -> Judgement {
        let macs = (self.frame.to, self.frame.from);
        let bytes = ethernet(macs, &[], self.frame.ether_type, self.frame.payload);
        self.limited(Fate::Punt(self.vif.veth, bytes.into()), limiter)
    }

    fn limited(&self, fate: Fate, limiter: VifPolicer) -> Judgement {
        Judgement::one(self.scope(), fate).limited(&Limiter::Vif(self.vif.name.clone(), limiter))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.vif.links.iter().any(|link| link.own == address)
    }

    fn arp(&self) -> Result<Judgement, DropReason> {
        let arp = answer::read(self.frame.payload)?;
        match self.source(arp.sender) {
            Source::Peer => Ok(self.punt(VifPolicer::PuntNeighbor)),
            // Decision 1: a source that the virtual interface may use. Without validation that is anybody who is a host. The tags are
            // those of the question, priority and all: the design is silent.
            Source::Accepted | Source::Any
                if screen::is_host(arp.sender) && arp.is_request && self.is_own(arp.target) =>
            {
                Ok(self.answer(arp.reply(self.mac, &self.frame.tag_bytes), VifPolicer::Answer))
            }
            _ => Err(DropReason::ArpStranger),
        }
    }

    /// Step 4.
    fn source(&self, source: IpAddr) -> Source {
        let links = &self.vif.links;
        if screen::is_link_local(source) {
            return Source::LinkLocal;
        }
        if links.iter().any(|link| link.own == source || ends(link.subnet).contains(&source)) {
            return Source::Martian;
        }
        if links.iter().any(|link| link.peer == source) {
            return Source::Peer;
        }
        if links.iter().any(|link| link.subnet.contains(&source)) {
            return Source::Link;
        }
        if self.gateway.networks().any(|network| network.contains(&source)) {
            return Source::Invalid;
        }
        match (self.vif.accepted.iter().any(|prefix| prefix.contains(&source)), self.vif.validates) {
            (true, _) => Source::Accepted,
            (false, true) => Source::Invalid,
            (false, false) => Source::Any,
        }
    }

    /// Steps 3 to 5.
    fn packet(&self, packet: Packet) -> Result<Judgement, DropReason> {
        let cast = screen::screen(&packet, self.frame.to)?;
        if !packet.is_v4() && packet.icmp_type() == Some(SOLICITATION) {
            return self.solicited(&packet);
        }
        let source = self.source(packet.source);
        match source {
            Source::Martian => return Err(DropReason::MartianSource),
            Source::Invalid => return Ok(self.request(packet).refused(DropReason::SourceInvalid)),
            _ => {}
        }
        let to_link_local = screen::is_link_local(packet.destination);
        if cast == Cast::Link || packet.destination == screen::link_local(self.mac) {
            return self.to_us(&packet, source, cast);
        }
        if to_link_local {
            return Err(DropReason::MartianDestination);
        }
        match self.gateway.route(packet.destination).map(|route| &route.to) {
            // The design is silent: the address of another line, or of a VPC's router, is the gateway's as well.
            Some(To::Own(_) | To::Router(_)) => return self.to_us(&packet, source, cast),
            Some(To::Nobody) => return Err(DropReason::MartianDestination),
            _ => {}
        }
        if source == Source::LinkLocal {
            return Err(DropReason::LinkLocalSource);
        }
        Ok(self.request(packet).forward(Some))
    }

    /// Step 5, and decision 1.
    fn to_us(&self, packet: &Packet, source: Source, cast: Cast) -> Result<Judgement, DropReason> {
        if !packet.is_v4() && packet.icmp_type() == Some(ADVERTISEMENT) {
            let target = neighbor::target(packet)?;
            let about_peer = self.vif.links.iter().any(|link| link.peer == target);
            let punt = || self.punt(VifPolicer::PuntNeighbor);
            return if about_peer { Ok(punt()) } else { Err(DropReason::StrangerOnLink) };
        }
        match (source, cast) {
            (Source::LinkLocal, _) => Err(DropReason::LinkLocalSource),
            (Source::Peer, Cast::One) => Ok(self.punt(self.class(packet))),
            (Source::Peer, Cast::Link) => Ok(self.punt(VifPolicer::PuntRest)),
            (Source::Link, _) | (_, Cast::Link) => Err(DropReason::StrangerOnLink),
            _ => Ok(self.punt(VifPolicer::PuntRest)),
        }
    }

    /// The limiter of what a peer sends to an address of this line: BGP that is there, BGP that opens, BFD, and the rest (RFC 4271,
    /// RFC 5881).
    fn class(&self, packet: &Packet) -> VifPolicer {
        let message = packet.message();
        let here = self.is_own(packet.destination) || screen::is_link_local(packet.destination);
        // The design is silent: nobody looks for ports deeper in the frame than for headers.
        let deep = packet.at + packet.transport > LAST_START;
        if !here || deep || packet.fragment.is_some() || message.len() < 14 {
            return VifPolicer::PuntRest;
        }
        let port = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
        let bgp = packet.protocol == 6 && (port(0) == 179 || port(2) == 179);
        match packet.protocol {
            // SYN without ACK.
            6 if bgp && message[13] & 0x12 == 0x02 => VifPolicer::PuntOpen,
            6 if bgp => VifPolicer::PuntControl,
            // RFC 5881, section 5: what was forwarded is none.
            17 if port(2) == 3784 && packet.ttl == 255 => VifPolicer::PuntBfd,
            _ => VifPolicer::PuntRest,
        }
    }

    /// Decision 1: from a neighbour, also one without an address, for one of our addresses.
    fn solicited(&self, packet: &Packet) -> Result<Judgement, DropReason> {
        let target = neighbor::solicited(packet)?;
        let source = self.source(packet.source);
        let nobody = packet.source.is_unspecified();
        // The design is silent: who is behind a router is no neighbour.
        if !nobody && !matches!(source, Source::Peer | Source::Link | Source::LinkLocal) {
            return Err(DropReason::SourceInvalid);
        }
        if !self.is_own(target) && target != screen::link_local(self.mac) {
            return Err(DropReason::NeighborNotForUs);
        }
        let macs = (self.frame.from, self.mac);
        let limiter = if source == Source::Peer { VifPolicer::PuntNeighbor } else { VifPolicer::Answer };
        Ok(self.answer(neighbor::advertisement(packet, target, macs, &self.frame.tag_bytes), limiter))
    }

    fn request(&self, packet: Packet) -> Request<'_> {
        Request {
            world: self.world,
            gateway: self.gateway,
            from: From::Vif(self.place),
            ingress: self.vif.port.map_or(0, |(port, _)| port),
            asked: packet.clone(),
            packet,
            tell: Box::new(|error| {
                let macs = (self.frame.from, self.mac);
                Written::from(ethernet(macs, &self.frame.tag_bytes, ether_type(error), error))
            }),
        }
    }
}
