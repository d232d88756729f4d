//! Frames from customers' lines, and from the kernel.

use std::net::IpAddr;

use border_gw_common::abi::Entry;
use border_gw_common::net::MacAddr;

use super::addresses::{Addresses, anybody, group, host, somebody, strange};
use super::datagram::{Route, datagram, v6};
use super::{Dice, Packet, Packets};
use crate::model::screen::link_local;
use crate::model::sum::{checksum, with_pseudo_header};
use crate::model::world::Vif;
use crate::model::write::{ether_type, ethernet, octets, tags};

impl Packets<'_> {
    /// From a customer.
    pub(super) fn line(&self, dice: &mut Dice) -> Packet {
        let (gateway, vif) = dice.pick(&self.vifs);
        let addresses = &self.addresses[gateway];
        let port = vif.port.unwrap_or((10, MacAddr([2, 0, 0, 0, 0, 10])));
        let to = if dice.chance(90) { port.1 } else { anybody(dice) };
        let from = if dice.chance(98) { somebody(dice) } else { group(dice) };
        let tags = line_tags(dice, vif);
        let (to, kind, payload) = match dice.below(100) {
            0..6 => (any_of(dice, to), 0x0806, arp(dice, &owners(vif), addresses)),
            6..14 => {
                let packet = neighbor(dice, &owners(vif), port.1, addresses);
                (any_of(dice, to), 0x86dd, packet)
            }
            14..17 => (
                to,
                dice.pick(&[0x88cc, 0x8809, 0x9100, 0x8100, 0x88a8, 0x8847, 0x0800, 0x86dd]),
                dice.bytes(40),
            ),
            _ => {
                let route = line_route(dice, vif, port.1, addresses);
                let packet = datagram(dice, &route);
                (to, ether_type(&packet), packet)
            }
        };
        let ifindex = if dice.chance(98) { port.0 } else { dice.pick(&[10, 11, 12]) };
        let mut frame = ethernet((to, from), &tags, kind, &payload);
        if dice.chance(15) {
            frame.resize(frame.len() + dice.between(1, 30), 0xee);
        }
        Packet { entry: Entry::Line, ifindex, frame }
    }

    /// From the kernel.
    pub(super) fn host(&self, dice: &mut Dice) -> Packet {
        let ifindex = if self.veths.is_empty() || dice.once_in(40) { 10 } else { dice.pick(&self.veths) };
        let of_vpc = self.vpcs.iter().find(|(_, vpc)| vpc.veth == Some(ifindex));
        let gateway = of_vpc.map_or(0, |(gateway, _)| *gateway);
        let addresses = &self.addresses[gateway];
        let is_v4 = dice.chance(50);
        let to = match of_vpc.filter(|_| dice.chance(70)) {
            Some((_, vpc)) => Addresses::host(&vpc.cidrs, is_v4, dice),
            None => None,
        };
        let route = Route {
            source: addresses.any(is_v4, dice),
            destination: to.unwrap_or_else(|| addresses.any(is_v4, dice)),
        };
        let packet = datagram(dice, &route);
        let kind = if dice.chance(95) { ether_type(&packet) } else { dice.pick(&[0x0806, 0x8100, 0x86dd]) };
        let mut frame = ethernet((somebody(dice), somebody(dice)), &[], kind, &packet);
        if dice.chance(15) {
            frame.resize(frame.len() + dice.between(1, 30), 0xee);
        }
        Packet { entry: Entry::Host, ifindex, frame }
    }
}

/// Mostly as it was; questions go to groups as well.
fn any_of(dice: &mut Dice, to: MacAddr) -> MacAddr {
    if dice.chance(50) { to } else { group(dice) }
}

/// Mostly the right tags: with a priority, with another in them, without one, of another kind.
fn line_tags(dice: &mut Dice, vif: &Vif) -> Vec<u8> {
    let mut bytes = tags(vif);
    match dice.below(80) {
        0 => bytes.clear(),
        1 => bytes[2] |= 0xe0,
        2 => bytes[2] |= 0x10,
        3 => bytes[2..4].fill(0),
        4 => bytes[..2].copy_from_slice(&[0x91, 0]),
        5 => bytes[..2].copy_from_slice(&dice.pick(&[[0x81, 0], [0x88, 0xa8]])),
        6 => bytes.extend([0x81, 0, 0, 0]),
        7 => bytes.extend([0x81, 0, 0, 7]),
        8 => bytes.extend([0x88, 0xa8, 0, 7]),
        9 => bytes.truncate(4),
        10 => bytes[3] ^= 1,
        11 if bytes.len() == 8 => bytes[4..6].copy_from_slice(&[0x88, 0xa8]),
        12 if bytes.len() == 8 => bytes[6] |= 0xf0,
        13 if bytes.len() == 8 => bytes[6..].fill(0),
        _ => {}
    }
    bytes
}

/// Whom somebody on a link or in a VPC asks for, and who asks.
pub(super) struct Owners {
    pub(super) own: Vec<IpAddr>,
    pub(super) askers: Vec<IpAddr>,
}

fn owners(vif: &Vif) -> Owners {
    let askers = vif.links.iter().flat_map(|link| [link.peer, link.peer, host(link.subnet, 3)]);
    let behind = vif.accepted.iter().map(|prefix| host(*prefix, 9));
    Owners { own: vif.links.iter().map(|link| link.own).collect(), askers: askers.chain(behind).collect() }
}

fn of_family(dice: &mut Dice, all: &[IpAddr], is_v4: bool) -> Option<IpAddr> {
    let good: Vec<_> = all.iter().filter(|address| address.is_ipv4() == is_v4).copied().collect();
    (!good.is_empty() && dice.chance(88)).then(|| dice.pick(&good))
}

/// An ARP packet (RFC 826).
pub(super) fn arp(dice: &mut Dice, owners: &Owners, addresses: &Addresses) -> Vec<u8> {
    let sender = of_family(dice, &owners.askers, true).unwrap_or_else(|| addresses.any(true, dice));
    let target = of_family(dice, &owners.own, true).unwrap_or_else(|| addresses.any(true, dice));
    let operation = if dice.chance(75) { 1 } else { dice.pick(&[2, 2, 0, 3, 257]) };
    let mut packet = if dice.chance(96) { vec![0, 1, 8, 0, 6, 4] } else { dice.bytes(6) };
    packet.extend([0, operation as u8]);
    packet.extend(if dice.chance(95) { somebody(dice) } else { group(dice) }.0);
    packet.extend(octets(sender));
    packet.extend([0; 6]);
    packet.extend(octets(target));
    packet
}

/// A solicitation or an advertisement (RFC 4861), valid as a rule.
pub(super) fn neighbor(dice: &mut Dice, owners: &Owners, mac: MacAddr, addresses: &Addresses) -> Vec<u8> {
    let asks = dice.chance(60);
    let local = link_local(mac);
    let about = if asks { &owners.own } else { &owners.askers };
    let target = match of_family(dice, about, false) {
        Some(target) if dice.chance(80) => target,
        _ if dice.chance(50) => local,
        _ => addresses.any(false, dice),
    };
    let source = match dice.below(10) {
        0 => strange(false, dice),
        1 | 2 => IpAddr::from([0_u16; 8]),
        3 | 4 => link_local(somebody(dice)),
        _ => of_family(dice, &owners.askers, false).unwrap_or_else(|| addresses.any(false, dice)),
    };
    let destination = match dice.below(10) {
        0..5 => solicited_node(target),
        5..8 => target,
        _ => addresses.any(false, dice),
    };
    let flags = if asks { 0 } else { dice.pick(&[0x60, 0x20, 0x40, 0xe0, 0]) };
    let mut message = vec![if asks { 135 } else { 136 }, 0, 0, 0, flags, 0, 0, 0];
    message.extend(octets(target));
    match dice.below(8) {
        0 => message.extend([14, 1, 1, 2, 3, 4, 5, 6]),
        1 => message.extend([1, 0, 0, 0, 0, 0, 0, 0]),
        2 => message.extend([1, 2, 0, 0, 0, 0, 0, 0]),
        3 => {}
        4 => message.extend([14, 1, 1, 2, 3, 4, 5, 6, 1, 1, 2, 0, 0, 0, 0, 1]),
        _ => message.extend([if asks { 1 } else { 2 }, 1, 2, 0, 0, 0xc, 0, 1]),
    }
    if dice.chance(3) {
        message[1] = 1;
    }
    let sum = checksum(&with_pseudo_header(source, destination, 58, &message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    if dice.chance(3) {
        message[3] ^= 1;
    }
    let ttl = if dice.chance(96) { 255 } else { 64 };
    v6(dice, &Route { source, destination }, (0, ttl, 58), &message)
}

fn solicited_node(target: IpAddr) -> IpAddr {
    let bytes = octets(target);
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&bytes[bytes.len() - 3..]);
    group.into()
}

/// From behind the customer's router to a VPC, as a rule.
fn line_route(dice: &mut Dice, vif: &Vif, mac: MacAddr, addresses: &Addresses) -> Route {
    let is_v4 = dice.chance(55);
    let peers: Vec<_> = vif.links.iter().map(|link| link.peer).collect();
    let own: Vec<_> = vif.links.iter().map(|link| link.own).collect();
    let source = match dice.below(10) {
        0..6 => Addresses::host(&vif.accepted, is_v4, dice),
        6 | 7 => of_family(dice, &peers, is_v4),
        8 => addresses.behind(is_v4, dice),
        _ => None,
    };
    let destination = match dice.below(20) {
        0..10 => addresses.in_vpc(is_v4, dice),
        10..13 => of_family(dice, &own, is_v4),
        13..16 => addresses.behind(is_v4, dice),
        16 if !is_v4 => Some(link_local(mac)),
        _ => None,
    };
    Route {
        source: source.unwrap_or_else(|| addresses.any(is_v4, dice)),
        destination: destination.unwrap_or_else(|| addresses.any(is_v4, dice)),
    }
}
