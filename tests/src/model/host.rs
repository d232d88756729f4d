//! What the kernel sends in a border gateway's namespace (design, what a packet meets, `host`).

use border_gw_common::verdict::DropReason;

use super::forward::tunnelled;
use super::frame;
use super::ip::{self, Place};
use super::screen;
use super::world::{Gateway, To, Tunnel, World};
use super::write::{ethernet, tags};
use super::{Fate, Judgement, Outcome, Scope};

/// Judges a frame that came out of the outer end of a veth.
pub(super) fn host(world: &World, ifindex: u32, bytes: &[u8]) -> Judgement {
    match judged(world, ifindex, bytes) {
        Ok((fates, df)) => {
            let outcome = |fate| {
                let too_big = (fate == Fate::Drop(DropReason::TooBig)).then_some(df);
                Outcome { scope: Scope::Program, fate, sent: None, too_big, limits: Vec::new() }
            };
            Judgement { allowed: fates.into_iter().map(outcome).collect(), flow: None }
        }
        Err(reason) => Judgement::drop(Scope::Program, reason),
    }
}

/// What may become of it, and whether nobody may fragment it.
fn judged(world: &World, ifindex: u32, bytes: &[u8]) -> Result<(Vec<Fate>, bool), DropReason> {
    for gateway in &world.gateways {
        for vif in &gateway.vifs {
            let Some((port, _)) = vif.port.filter(|_| vif.veth == ifindex) else { continue };
            if !vif.enabled {
                return Err(DropReason::VifDown);
            }
            let frame = frame::untagged(bytes)?;
            // The kernel's interface has the port's Ethernet address.
            let bytes = ethernet((frame.to, frame.from), &tags(vif), frame.ether_type, frame.payload);
            return Ok((vec![Fate::Forward(port, bytes.into())], false));
        }
        if let Some(place) = gateway.vpcs.iter().position(|vpc| vpc.veth == Some(ifindex)) {
            return toward_vpc(world, gateway, place, bytes);
        }
    }
    Err(DropReason::UnknownHostPort)
}

/// Looked up and tunnelled, as it is. The design is silent: tags, which the kernel never has there, come off.
fn toward_vpc(
    world: &World,
    gateway: &Gateway,
    place: usize,
    bytes: &[u8],
) -> Result<(Vec<Fate>, bool), DropReason> {
    let frame = frame::tagged(bytes)?;
    let packet = ip::read(frame.ether_type, Place { frame: bytes, at: frame.at, end: bytes.len() })?;
    if !screen::is_host(packet.destination) {
        return Err(DropReason::Multicast);
    }
    let route = gateway.route(packet.destination).ok_or(DropReason::NoRoute)?;
    let To::Vpc(vpc, ways) = &route.to else { return Err(DropReason::KernelNotForwarded) };
    if *vpc != place {
        return Err(DropReason::KernelNotForwarded);
    }
    if ways.is_empty() {
        return Err(DropReason::NextHopDead);
    }
    let fate = |way: &Tunnel| {
        if packet.bytes.len() > usize::from(way.mtu) {
            Fate::Drop(DropReason::TooBig)
        } else {
            Fate::Forward(way.ifindex, tunnelled(world, gateway, place, way, &packet))
        }
    };
    Ok((ways.iter().map(fate).collect(), packet.is_whole_for_ever()))
}
