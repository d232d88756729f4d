//! From a packet that may be sent on to the frame that leaves (design, what a packet meets, steps 6 to 11).

use border_gw_common::abi::{AttachmentPolicer, VifPolicer};
use border_gw_common::verdict::DropReason;

use super::flow::Flow;
use super::icmp::{self, Voice};
use super::ip::Packet;
use super::world::{Gateway, OnLine, To, Tunnel, World};
use super::write::{Ends, Written, ether_type, ethernet, tags, tunnel};
use super::{Fate, Judgement, Limiter, Outcome, Scope, mss, screen};

/// Where a packet came from, by the place in its border gateway's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Vif(usize),
    Vpc(usize),
}

/// Makes the frame that carries an error to its sender.
pub(super) type Tell<'a> = Box<dyn Fn(&[u8]) -> Written + 'a>;

/// A packet that its sender may send.
pub(super) struct Request<'a> {
    pub(super) world: &'a World,
    pub(super) gateway: &'a Gateway,
    pub(super) from: From,
    /// The port by which it came, and by which an error leaves.
    pub(super) ingress: u32,
    /// As it came.
    pub(super) asked: Packet,
    /// As it goes on; only a tunnel's mark of congestion makes a difference yet.
    pub(super) packet: Packet,
    /// The frame that carries an error to its sender.
    pub(super) tell: Tell<'a>,
}

impl Request<'_> {
    /// Who counts it.
    pub(super) fn scope(&self) -> Scope {
        match self.from {
            From::Vif(place) => Scope::Vif(self.gateway.vifs[place].name.clone()),
            From::Vpc(place) => Scope::Vpc(self.gateway.vpcs[place].name.clone()),
        }
    }

    /// Drops it, and tells the sender where RFCs say so.
    fn refuse(&self, reason: DropReason, mtu: u16) -> Outcome {
        // Nobody is told anything there, or about it (RFC 1812, section 4.3.2.7; RFC 4443, section 2.4 (e)).
        if !screen::is_host(self.asked.source) || !screen::is_host(self.asked.destination) {
            return self.ends(Fate::Drop(reason));
        }
        // Spoofed from us, or from an address that no host has.
        if reason == DropReason::SourceInvalid && self.is_ours(self.asked.source) {
            return self.ends(Fate::Drop(DropReason::MartianSource));
        }
        let v6 = |own: &std::net::IpAddr| own.is_ipv6();
        let voice = match self.from {
            From::Vif(place) => {
                let vif = &self.gateway.vifs[place];
                Voice { v4: vif.error_v4, v6: vif.links.iter().map(|link| link.own).find(v6) }
            }
            From::Vpc(place) => {
                let vpc = &self.gateway.vpcs[place];
                Voice { v4: vpc.error_v4, v6: vpc.routers.iter().copied().find(v6) }
            }
        };
        // Once the tunnel's mark is carried over, it stays: RFC 1812, section 4.3.2.3, lets a router leave in the quoted header what it
        // changed before.
        let late = matches!(reason, DropReason::NextHopDead | DropReason::TooBig);
        let about = if late { &self.packet } else { &self.asked };
        let Some(error) = icmp::error(about, reason, mtu, &voice) else {
            return self.ends(Fate::Drop(reason));
        };
        let which = reason == DropReason::TooBig;
        let limiter = match self.scope() {
            Scope::Vif(name) => {
                Limiter::Vif(name, if which { VifPolicer::TooBig } else { VifPolicer::Error })
            }
            Scope::Vpc(name) if which => Limiter::Vpc(name, AttachmentPolicer::TooBig),
            Scope::Vpc(name) => Limiter::Vpc(name, AttachmentPolicer::Error),
            Scope::Program => unreachable!("a request is somebody's"),
        };
        let limits = vec![(limiter, 1), (Limiter::Port(self.ingress), error.len() as u32)];
        Outcome { limits, ..self.ends(Fate::Refuse(reason, (self.tell)(&error))) }
    }

    fn ends(&self, fate: Fate) -> Outcome {
        Outcome { scope: self.scope(), fate, sent: None, too_big: None, limits: Vec::new() }
    }

    fn is_ours(&self, address: std::net::IpAddr) -> bool {
        let to = self.gateway.route(address).map(|route| &route.to);
        matches!(to, Some(To::Own(_) | To::Router(_) | To::Nobody))
    }

    /// Refused, whichever way it would have gone.
    pub(super) fn refused(&self, reason: DropReason) -> Judgement {
        Judgement { allowed: vec![self.refuse(reason, 0)], flow: None }
    }

    fn dropped(&self, reason: DropReason) -> Judgement {
        Judgement::drop(self.scope(), reason)
    }

    /// Steps 6 to 11. `mark` is what the tunnel did to the packet's class; none where the packet cannot carry that.
    pub(super) fn forward(mut self, mark: impl FnOnce(u8) -> Option<u8>) -> Judgement {
        if self.asked.ttl <= 1 {
            return self.refused(DropReason::TtlExpired);
        }
        let Some(route) = self.gateway.route(self.asked.destination) else {
            return self.refused(DropReason::NoRoute);
        };
        match &route.to {
            To::Lines(_) if matches!(self.from, From::Vif(_)) && !self.gateway.transit => {
                return self.refused(DropReason::Transit);
            }
            To::Vpc(place, _) if self.from == From::Vpc(*place) => return self.dropped(DropReason::Hairpin),
            _ => {}
        }
        let Some(class) = mark(self.asked.class()) else { return self.dropped(DropReason::Congestion) };
        self.packet.set_class(class);
        match &route.to {
            To::Own(_) | To::Router(_) | To::Nobody => self.dropped(DropReason::MartianDestination),
            To::Lines(ways) => self.by(ways, |request, way| request.on_line(way)),
            To::Vpc(place, ways) => self.by(ways, |request, way| request.in_tunnel(*place, way)),
        }
    }

    /// By any of the live ways.
    fn by<W>(&self, ways: &[W], send: impl Fn(&Self, &W) -> Outcome) -> Judgement {
        if ways.is_empty() {
            return self.refused(DropReason::NextHopDead);
        }
        let flow = Flow::of(&self.asked, self.gateway);
        Judgement { allowed: ways.iter().map(|way| send(self, way)).collect(), flow: Some(flow) }
    }

    fn too_big(&self, mtu: u16) -> Option<Outcome> {
        (self.asked.bytes.len() > usize::from(mtu)).then(|| Outcome {
            too_big: Some(self.asked.is_whole_for_ever()),
            ..self.refuse(DropReason::TooBig, mtu)
        })
    }

    /// The packet as it leaves, but for what only the way out knows.
    fn rewritten(&self, mtu: u16) -> Packet {
        let mut packet = self.packet.clone();
        let own = match self.from {
            From::Vif(place) => self.gateway.vifs[place].mtu,
            From::Vpc(place) => self.gateway.vpcs[place].mtu,
        };
        if self.gateway.mss_clamp {
            mss::clamp(&mut packet, own.min(mtu));
        }
        packet.count_down();
        if let From::Vif(place) = self.from {
            translate(&mut packet, &self.gateway.vifs[place].dscp_to_vpc);
        }
        packet
    }

    fn on_line(&self, way: &OnLine) -> Outcome {
        if let Some(refused) = self.too_big(way.mtu) {
            return refused;
        }
        let vif = &self.gateway.vifs[way.vif];
        let mut packet = self.rewritten(way.mtu);
        translate(&mut packet, &way.dscp);
        let kind = ether_type(&packet.bytes);
        let bytes = ethernet(way.macs, &tags(vif), kind, &packet.bytes);
        let sent = Some((Scope::Vif(vif.name.clone()), packet.bytes.len() as u32));
        Outcome { sent, ..self.ends(Fate::Forward(way.ifindex, bytes.into())) }
    }

    fn in_tunnel(&self, vpc: usize, way: &Tunnel) -> Outcome {
        if let Some(refused) = self.too_big(way.mtu) {
            return refused;
        }
        let packet = self.rewritten(way.mtu);
        let written = tunnelled(self.world, self.gateway, vpc, way, &packet);
        let sent = Some((Scope::Vpc(self.gateway.vpcs[vpc].name.clone()), packet.bytes.len() as u32));
        Outcome { sent, ..self.ends(Fate::Forward(way.ifindex, written)) }
    }
}

/// A packet in the tunnel to a VTEP; DSCP and ECN are copied (RFC 6040, section 4.1, normal mode).
pub(super) fn tunnelled(
    world: &World,
    gateway: &Gateway,
    vpc: usize,
    way: &Tunnel,
    packet: &Packet,
) -> Written {
    let vpc = &gateway.vpcs[vpc];
    let kind = ether_type(&packet.bytes);
    let inner = ethernet((way.inner, vpc.router_mac), &[], kind, &packet.bytes);
    let ends = Ends { macs: way.macs, from: world.vtep, to: way.vtep, port: world.vxlan_port, vni: vpc.vni };
    tunnel(&ends, packet.class(), &inner)
}

/// DSCP that become others; ECN stays (RFC 2474, RFC 3168).
fn translate(packet: &mut Packet, mapping: &std::collections::BTreeMap<u8, u8>) {
    let class = packet.class();
    if let Some(to) = mapping.get(&(class >> 2)) {
        packet.set_class(to << 2 | class & 3);
    }
}
