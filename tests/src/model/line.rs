//! What comes from a customer's line (design, what a packet meets, `line`).

use std::net::IpAddr;

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use super::forward::{From, Request};
use super::frame::{self, Frame};
use super::ip::{self, Packet};
use super::neighbor::{self, Neighbor};
use super::screen::{self, Cast};
use super::world::{Gateway, Vif, World, ends};
use super::write::{Written, ether_type, ethernet, tags};
use super::{Fate, Judgement, Scope, answer};

/// Reserved for protocols of the link itself (IEEE 802.1Q, table 8-1).
const LINK_CONTROL: [u8; 5] = [0x01, 0x80, 0xc2, 0x00, 0x00];

/// A virtual interface, and its border gateway.
struct Line<'a> {
    world: &'a World,
    gateway: &'a Gateway,
    place: usize,
    vif: &'a Vif,
    mac: MacAddr,
    frame: Frame<'a>,
}

/// Judges a frame.
pub(super) fn line(world: &World, ifindex: u32, bytes: &[u8]) -> Judgement {
    let frame = match frame::tagged(bytes) {
        Ok(frame) => frame,
        Err(reason) => return Judgement::drop(Scope::Program, reason),
    };
    if frame.tags.is_empty() {
        let control = frame.to.0[..5] == LINK_CONTROL && frame.to.0[5] < 16;
        let fate = if control { Fate::Pass } else { Fate::Drop(DropReason::Untagged) };
        return Judgement::one(Scope::Program, fate);
    }
    for gateway in &world.gateways {
        for (place, vif) in gateway.vifs.iter().enumerate() {
            if let Some((_, mac)) = vif.port.filter(|(port, _)| *port == ifindex && owns(vif, &frame.tags)) {
                return Line { world, gateway, place, vif, mac, frame }.judge();
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
    /// Behind the customer's router.
    Routed,
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
        if self.frame.from.is_multicast() {
            return Err(DropReason::GroupSource);
        }
        if self.frame.to != self.mac && !self.frame.to.is_multicast() {
            return Err(DropReason::WrongMac);
        }
        if self.frame.ether_type == 0x0806 {
            return self.arp();
        }
        let packet = ip::read(self.frame.ether_type, self.frame.payload, self.frame.at)?;
        self.packet(packet)
    }

    fn answer(&self, bytes: Vec<u8>) -> Judgement {
        Judgement::one(self.scope(), Fate::Answer(bytes.into()))
    }

    /// To the kernel, as if it had come without tags.
    fn punt(&self) -> Judgement {
        let macs = (self.frame.to, self.frame.from);
        let bytes = ethernet(macs, &[], self.frame.ether_type, self.frame.payload);
        Judgement::one(self.scope(), Fate::Punt(self.vif.veth, bytes.into()))
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.vif.links.iter().any(|link| link.own == address)
    }

    fn arp(&self) -> Result<Judgement, DropReason> {
        let arp = answer::read(self.frame.payload)?;
        match self.source(arp.sender) {
            Source::Peer if arp.is_request && !self.is_own(arp.target) => Err(DropReason::NeighborNotForUs),
            Source::Peer => Ok(self.punt()),
            Source::Routed if arp.is_request && self.is_own(arp.target) => {
                Ok(self.answer(arp.reply(self.frame.from, self.mac, &tags(self.vif))))
            }
            _ => Err(DropReason::ArpStranger),
        }
    }

    /// Step 4.
    fn source(&self, source: IpAddr) -> Source {
        let links = &self.vif.links;
        if links.iter().any(|link| link.own == source || ends(link.subnet).contains(&source)) {
            return Source::Martian;
        }
        if links.iter().any(|link| link.peer == source) {
            return Source::Peer;
        }
        if links.iter().any(|link| link.subnet.contains(&source)) {
            return Source::Link;
        }
        let elsewhere = self.gateway.networks().any(|network| network.contains(&source));
        let accepted = self.vif.accepted.iter().any(|prefix| prefix.contains(&source));
        if elsewhere || self.vif.validates && !accepted { Source::Invalid } else { Source::Routed }
    }

    /// Steps 3 to 5.
    fn packet(&self, packet: Packet) -> Result<Judgement, DropReason> {
        let neighbor = neighbor::read(&packet);
        if !(packet.source.is_unspecified() && matches!(neighbor, Ok(Some(Neighbor::Solicitation(_))))) {
            screen::source(packet.source)?;
        }
        let cast = screen::destination(packet.destination, self.frame.to)?;
        screen::message(&packet)?;
        if let Some(neighbor) = neighbor? {
            return self.neighbor(&packet, neighbor);
        }
        if screen::is_link_local(packet.source) {
            return Err(DropReason::LinkLocalSource);
        }
        let source = self.source(packet.source);
        if source == Source::Martian {
            return Err(DropReason::MartianSource);
        }
        let own = self.is_own(packet.destination) || packet.destination == screen::link_local(self.mac);
        if source == Source::Invalid {
            return Ok(self.request(packet).refused(DropReason::SourceInvalid));
        }
        match (source, cast) {
            (Source::Peer, Cast::Link) => Ok(self.punt()),
            (_, Cast::Link) => Err(DropReason::StrangerOnLink),
            (Source::Link, Cast::One) if own => Err(DropReason::StrangerOnLink),
            (_, Cast::One) if own => Ok(self.punt()),
            _ if screen::is_link_local(packet.destination) => Err(DropReason::MartianDestination),
            _ => Ok(self.request(packet).forward()),
        }
    }

    /// Decision 1.
    fn neighbor(&self, packet: &Packet, neighbor: Neighbor) -> Result<Judgement, DropReason> {
        match neighbor {
            Neighbor::Solicitation(target) => {
                if !self.is_own(target) && target != screen::link_local(self.mac) {
                    return Err(DropReason::NeighborNotForUs);
                }
                if self.source(packet.source) == Source::Martian {
                    return Err(DropReason::MartianSource);
                }
                let macs = (self.frame.from, self.mac);
                Ok(self.answer(neighbor::advertisement(packet, target, macs, &tags(self.vif))))
            }
            Neighbor::Advertisement(target) => {
                let about_peer = self.vif.links.iter().any(|link| link.peer == target);
                if about_peer { Ok(self.punt()) } else { Err(DropReason::StrangerOnLink) }
            }
        }
    }

    fn request(&self, packet: Packet) -> Request<'_> {
        Request {
            world: self.world,
            gateway: self.gateway,
            from: From::Vif(self.place),
            asked: packet.clone(),
            packet,
            to: self.frame.to,
            tell: Box::new(|error| {
                let macs = (self.frame.from, self.mac);
                Written::from(ethernet(macs, &tags(self.vif), ether_type(error), error))
            }),
        }
    }
}
