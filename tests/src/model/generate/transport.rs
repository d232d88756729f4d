//! What IP packets carry: TCP, UDP, ICMP, and whatever else.

use super::Dice;
use super::datagram::Route;
use crate::model::sum::{checksum, with_pseudo_header};

/// Number and message; its checksum is right, as a rule.
pub(super) fn message(dice: &mut Dice, route: &Route) -> (u8, Vec<u8>) {
    let v4 = route.source.is_ipv4();
    let (protocol, mut message, sum_at) = match dice.below(20) {
        0..8 => (6, tcp(dice), 16),
        8..14 => (17, udp(dice), 6),
        14..17 => (if v4 { 1 } else { 58 }, icmp(dice, v4), 2),
        17 => (if v4 { 58 } else { 1 }, icmp(dice, v4), 2),
        18 => (dice.pick(&[33, 132, 136, 47, 50, 51, 59, 89, 4, 41, 2, 255]), dice.bytes(24), 24),
        _ => (dice.byte(), dice.bytes(12), 12),
    };
    if dice.chance(3) {
        message.truncate(dice.below(20));
    }
    if message.len() >= sum_at + 2 && dice.chance(95) {
        let whole = with_pseudo_header(route.source, route.destination, protocol, &message);
        let sum = if protocol == 1 { checksum(&message) } else { checksum(&whole) };
        message[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    (protocol, message)
}

fn ports(dice: &mut Dice) -> Vec<u8> {
    const KNOWN: [u16; 8] = [179, 3784, 3785, 4784, 53, 40_000, 40_001, 443];
    let port = |dice: &mut Dice| if dice.chance(70) { dice.pick(&KNOWN) } else { dice.next() as u16 };
    [port(dice).to_be_bytes(), port(dice).to_be_bytes()].concat()
}

fn tcp(dice: &mut Dice) -> Vec<u8> {
    let opens = dice.chance(50);
    let flags =
        if opens { dice.pick(&[0x02, 0x12, 0xc2, 0x02]) } else { dice.pick(&[0x10, 0x18, 0x11, 0x04, 0x00]) };
    let options = if opens || dice.chance(20) { tcp_options(dice) } else { Vec::new() };
    let mut words = 5 + options.len() / 4;
    if dice.once_in(30) {
        words = dice.below(16);
    }
    let mut segment = ports(dice);
    segment.extend(dice.bytes(8));
    segment.extend([(words << 4) as u8, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    let payload = dice.below(40);
    segment.extend(dice.bytes(payload));
    segment
}

fn tcp_options(dice: &mut Dice) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..dice.between(0, 5) {
        match dice.below(12) {
            0..5 => {
                let mss = dice.pick(&[1460_u16, 1440, 1400, 8960, 65_535, 536, 0, 1380, 1210, 1220]);
                options.extend([2, 4]);
                options.extend(mss.to_be_bytes());
            }
            5 | 6 => options.push(1),
            7 => options.extend([3, 3, 7]),
            8 => options.extend([4, 2]),
            9 => options.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            10 => options.extend([29, 4, 1, 1]),
            _ => options.extend([dice.byte(), dice.pick(&[0, 1, 2, 3, 4, 60])]),
        }
    }
    options.truncate(40);
    // The end of the list, or nothing to be read in what is left.
    let fill = u8::from(dice.chance(30));
    options.resize(options.len().next_multiple_of(4), fill);
    options
}

fn udp(dice: &mut Dice) -> Vec<u8> {
    let payload = dice.below(60);
    let mut datagram = ports(dice);
    datagram.extend((8 + payload as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(dice.bytes(payload));
    datagram
}

fn icmp(dice: &mut Dice, v4: bool) -> Vec<u8> {
    let kinds: &[u8] = if v4 {
        &[8, 8, 0, 3, 4, 5, 11, 12, 9, 10, 13, 42]
    } else {
        &[128, 128, 129, 1, 2, 3, 4, 100, 127, 130, 133, 134, 135, 136, 137, 143, 200]
    };
    let mut message = vec![dice.pick(kinds), 0, 0, 0];
    if dice.chance(10) {
        message[1] = dice.byte();
    }
    let rest = dice.between(4, 60);
    message.extend(dice.bytes(rest));
    message
}
