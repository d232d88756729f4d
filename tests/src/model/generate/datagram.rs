//! IP packets: sound in all but what their writer wants otherwise.

use std::net::IpAddr;

use super::Dice;
use super::transport;
use crate::model::sum::checksum;
use crate::model::write::octets;

/// A packet's addresses and hop limit.
pub(super) struct Route {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

/// A packet of any kind.
pub(super) fn datagram(dice: &mut Dice, route: &Route) -> Vec<u8> {
    let (protocol, body) = transport::message(dice, route);
    let ttl = if dice.chance(80) { 64 } else { dice.pick(&[0, 1, 2, 255, 3]) };
    let class = if dice.chance(60) { 0 } else { dice.byte() };
    let body = sized(dice, body);
    if route.source.is_ipv4() {
        v4(dice, route, (class, ttl, protocol), &body)
    } else {
        v6(dice, route, (class, ttl, protocol), &body)
    }
}

/// Sometimes so long that it may not fit.
fn sized(dice: &mut Dice, mut body: Vec<u8>) -> Vec<u8> {
    if dice.chance(6) {
        let near = dice.pick(&[576, 1230, 1280, 1330, 1400, 1430, 1450, 1480, 1500, 1530, 8900, 1460]);
        let len = dice.between(near - 70, near + 4);
        body.resize(len.max(body.len()), 0x77);
    }
    body
}

/// An IPv4 packet (RFC 791).
pub(super) fn v4(
    dice: &mut Dice,
    route: &Route,
    (class, ttl, protocol): (u8, u8, u8),
    body: &[u8],
) -> Vec<u8> {
    let options = if dice.chance(6) { options(dice) } else { Vec::new() };
    let flags: u16 = match dice.below(20) {
        0 => 0x2000,
        1 => 0x2000 | dice.between(1, 0x1fff) as u16,
        2 => dice.between(1, 0x1fff) as u16,
        3 => 0x8000,
        4 => 0x6000,
        5..12 => 0,
        _ => 0x4000,
    };
    let mut header = vec![0x40 | (5 + options.len() / 4) as u8, class];
    header.extend(((20 + options.len() + body.len()) as u16).to_be_bytes());
    header.extend(dice.bytes(2));
    header.extend(flags.to_be_bytes());
    header.extend([ttl, protocol, 0, 0]);
    header.extend(octets(route.source));
    header.extend(octets(route.destination));
    header.extend(&options);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(body);
    header
}

/// A multiple of four bytes, up to 40; lists that end badly among them.
fn options(dice: &mut Dice) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..dice.between(1, 4) {
        match dice.below(10) {
            0 => options.push(0),
            1 => options.push(1),
            2 => options.extend([148, 4, 0, 0]),
            3 => options.extend([7, 7, 4, 0, 0, 0, 0]),
            4 => options.extend([68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            5 => options.extend([dice.pick(&[131, 137]), 7, 4, 10, 1, 0, 10]),
            6 => options.extend([dice.byte(), dice.pick(&[0, 1, 2, 3, 39, 255])]),
            7 => options.extend([0, 131, 3]),
            _ => options.extend([130, 3, 0]),
        }
    }
    options.truncate(40);
    options.resize(options.len().next_multiple_of(4), 0);
    options
}

/// An IPv6 packet (RFC 8200).
pub(super) fn v6(
    dice: &mut Dice,
    route: &Route,
    (class, ttl, protocol): (u8, u8, u8),
    body: &[u8],
) -> Vec<u8> {
    let (first, extensions) =
        if dice.chance(12) { extensions(dice, protocol) } else { (protocol, Vec::new()) };
    let mut header =
        (0x6000_0000 | u32::from(class) << 20 | dice.below(1 << 20) as u32).to_be_bytes().to_vec();
    header.extend(((extensions.len() + body.len()) as u16).to_be_bytes());
    header.extend([first, ttl]);
    header.extend(octets(route.source));
    header.extend(octets(route.destination));
    header.extend(extensions);
    header.extend(body);
    header
}

/// A chain of extension headers in front of a protocol, and the number of the first.
fn extensions(dice: &mut Dice, protocol: u8) -> (u8, Vec<u8>) {
    let count = if dice.chance(80) { dice.between(1, 3) } else { dice.between(4, 9) };
    let kinds: Vec<u8> =
        (0..count).map(|_| dice.pick(&[0, 43, 44, 44, 51, 60, 60, 135, 139, 140, 59, 50])).collect();
    let mut bytes = Vec::new();
    for (place, kind) in kinds.iter().enumerate() {
        let next = kinds.get(place + 1).copied().unwrap_or(protocol);
        let words = if dice.chance(85) { dice.below(3) } else { dice.pick(&[40, 100, 180]) };
        match kind {
            44 => {
                let field: u16 = match dice.below(4) {
                    0 => 0,
                    1 => 1,
                    2 => (dice.between(1, 0x1fff) as u16) << 3 | 1,
                    _ => (dice.between(1, 0x1fff) as u16) << 3,
                };
                bytes.extend([next, 0]);
                bytes.extend(field.to_be_bytes());
                bytes.extend(dice.bytes(4));
            }
            51 => {
                bytes.extend([next, (words + 1) as u8]);
                bytes.resize(bytes.len() + (words + 3) * 4 - 2, 0x51);
            }
            43 => {
                bytes.extend([next, words as u8, dice.pick(&[0, 2, 4]), 0]);
                bytes.resize(bytes.len() + (words + 1) * 8 - 4, 0);
            }
            _ => {
                bytes.extend([next, words as u8]);
                bytes.resize(bytes.len() + (words + 1) * 8 - 2, 1);
            }
        }
    }
    (kinds[0], bytes)
}
