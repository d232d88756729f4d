//! Frames from the fabric: VXLAN, what looks like it, and what does not.

use std::net::IpAddr;

use border_gw_common::abi::Entry;
use border_gw_common::net::MacAddr;

use super::addresses::{Addresses, anybody, group, somebody};
use super::datagram::{Route, datagram};
use super::line::{Owners, arp, neighbor};
use super::{Dice, Packet, Packets};
use crate::model::sum::{checksum, with_pseudo_header};
use crate::model::world::Vpc;
use crate::model::write::{ether_type, ethernet, octets};

impl Packets<'_> {
    /// From a host in a VPC.
    pub(super) fn fabric(&self, dice: &mut Dice) -> Packet {
        let ports: Vec<_> = self.world.fabric.iter().map(|(port, mac)| (*port, *mac)).collect();
        let (ifindex, mac) = dice.pick(&ports);
        let (gateway, vpc) = dice.pick(&self.vpcs);
        let addresses = &self.addresses[gateway];
        let inner = inner(dice, vpc, addresses);
        let vni = if dice.chance(97) { vpc.vni } else { dice.pick(&[0, 5_000, 5_011, 0xff_ffff]) };
        let datagram = self.vxlan(dice, vni, &inner);
        let vtep = match dice.below(30) {
            0 => dice.pick(&self.all_vteps()),
            1 => addresses.any(self.world.vtep.is_ipv4(), dice),
            _ => dice.pick(&vpc.vteps),
        };
        let to =
            if dice.chance(98) { self.world.vtep } else { addresses.any(self.world.vtep.is_ipv4(), dice) };
        let packet = outer(dice, vtep, to, datagram);
        let to = if dice.chance(98) { mac } else { group(dice) };
        let tags: &[u8] = if dice.once_in(60) { &[0x81, 0, 0, 100] } else { &[] };
        let mut frame = ethernet((to, somebody(dice)), tags, ether_type(&packet), &packet);
        if dice.chance(10) {
            frame.resize(frame.len() + dice.between(1, 30), 0xee);
        }
        Packet { entry: Entry::Fabric, ifindex, frame }
    }

    fn all_vteps(&self) -> Vec<IpAddr> {
        self.vpcs.iter().flat_map(|(_, vpc)| vpc.vteps.iter().copied()).collect()
    }

    /// UDP and VXLAN around an inner frame (RFC 7348, section 5), with a checksum now and then.
    fn vxlan(&self, dice: &mut Dice, vni: u32, inner: &[u8]) -> Vec<u8> {
        let port = if dice.chance(98) { self.world.vxlan_port } else { dice.pick(&[4789, 8472, 53]) };
        let len = 16 + inner.len();
        let said =
            if dice.chance(97) { len } else { dice.pick(&[0, 7, 8, 15, 16, len - 1, len + 1, len + 9]) };
        let flags = if dice.chance(96) { 8 } else { dice.byte() };
        let mut bytes = [(0xc000 | dice.next() as u16).to_be_bytes(), port.to_be_bytes()].concat();
        bytes.extend((said as u16).to_be_bytes());
        bytes.extend([0, 0, flags]);
        bytes.extend(if dice.chance(97) { vec![0; 3] } else { dice.bytes(3) });
        bytes.extend((vni << 8 | u32::from(dice.once_in(50))).to_be_bytes());
        bytes.extend(inner);
        bytes
    }
}

/// An inner frame.
fn inner(dice: &mut Dice, vpc: &Vpc, addresses: &Addresses) -> Vec<u8> {
    let to = if dice.chance(92) { vpc.router_mac } else { anybody(dice) };
    let from = if dice.chance(98) { somebody(dice) } else { group(dice) };
    let (to, kind, payload) = match dice.below(100) {
        0..6 => {
            let owners = owners(dice, vpc);
            (asked(dice, to), 0x0806, arp(dice, &owners, addresses))
        }
        6..13 => {
            let owners = owners(dice, vpc);
            (asked(dice, to), 0x86dd, neighbor(dice, &owners, vpc.router_mac, addresses))
        }
        13..15 => (to, dice.pick(&[0x8100, 0x88cc, 0x0800, 0x86dd, 0x6558]), dice.bytes(40)),
        _ => {
            let route = route(dice, vpc, addresses);
            let packet = datagram(dice, &route);
            (to, ether_type(&packet), packet)
        }
    };
    let mut frame = ethernet((to, from), &[], kind, &payload);
    if dice.chance(10) {
        frame.resize(frame.len() + dice.between(1, 20), 0xee);
    }
    frame
}

fn asked(dice: &mut Dice, to: MacAddr) -> MacAddr {
    if dice.chance(50) { to } else { group(dice) }
}

fn owners(dice: &mut Dice, vpc: &Vpc) -> Owners {
    let hosts = [true, false].into_iter().filter_map(|is_v4| Addresses::host(&vpc.cidrs, is_v4, dice));
    Owners { askers: hosts.collect(), own: vpc.routers.clone() }
}

/// From a host of the VPC to a customer, as a rule.
fn route(dice: &mut Dice, vpc: &Vpc, addresses: &Addresses) -> Route {
    let is_v4 = dice.chance(55);
    let source = if dice.chance(90) { Addresses::host(&vpc.cidrs, is_v4, dice) } else { None };
    let destination = match dice.below(20) {
        0..12 => addresses.behind(is_v4, dice),
        12..15 => addresses.in_vpc(is_v4, dice),
        15 | 16 => vpc.routers.iter().copied().find(|router| router.is_ipv4() == is_v4),
        _ => None,
    };
    Route {
        source: source.unwrap_or_else(|| addresses.any(is_v4, dice)),
        destination: destination.unwrap_or_else(|| addresses.any(is_v4, dice)),
    }
}

/// The outer packet.
fn outer(dice: &mut Dice, from: IpAddr, to: IpAddr, mut udp: Vec<u8>) -> Vec<u8> {
    let class = if dice.chance(50) { 0 } else { dice.byte() };
    let protocol = if dice.chance(99) { 17 } else { dice.pick(&[6, 44, 0, 60]) };
    match dice.below(12) {
        0 => {
            let sum = checksum(&with_pseudo_header(from, to, 17, &udp));
            udp[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
        }
        1 if dice.chance(30) => udp[6..8].copy_from_slice(&[0x12, 0x34]),
        _ => {}
    }
    let len = udp.len();
    if !from.is_ipv4() {
        let mut header = (0x6000_0000 | u32::from(class) << 20).to_be_bytes().to_vec();
        header.extend((len as u16).to_be_bytes());
        header.extend([protocol, 63]);
        header.extend([octets(from), octets(to), udp].concat());
        return header;
    }
    let options: &[u8] = if dice.once_in(40) { &[148, 4, 0, 0] } else { &[] };
    let flags: u16 =
        if dice.chance(97) { 0x4000 } else { dice.pick(&[0x2000, 0x2010, 0x0010, 0, 0x8000, 0xc000]) };
    let mut header = vec![0x45 + (options.len() / 4) as u8, class];
    header.extend(((20 + options.len() + len) as u16).to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(flags.to_be_bytes());
    header.extend([63, protocol, 0, 0]);
    header.extend([octets(from), octets(to)].concat());
    header.extend(options);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(udp);
    header
}
