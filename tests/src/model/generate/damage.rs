//! What happens to frames on the way: bits, lengths, ends.

use super::Dice;
use crate::model::sum::checksum;

/// Damages a frame in some way.
pub(super) fn damage(dice: &mut Dice, frame: &mut Vec<u8>) {
    match dice.below(8) {
        0..3 => flip(dice, frame),
        3 => {
            flip(dice, frame);
            mend(frame);
        }
        4 => frame.truncate(dice.below(frame.len() + 1).max(14)),
        5 => {
            let len = dice.pick(&[60, 64, 128]);
            frame.resize(len.max(frame.len() + dice.below(8)), 0xee);
        }
        6 => {
            // A byte of a header is another one.
            let at = dice.below(frame.len().min(110));
            if let Some(byte) = frame.get_mut(at) {
                *byte = dice.byte();
            }
            mend(frame);
        }
        _ => {
            let at = dice.below(frame.len().min(80));
            frame.insert(at, 0);
        }
    }
}

fn flip(dice: &mut Dice, frame: &mut [u8]) {
    for _ in 0..dice.between(1, 3) {
        let end = if dice.chance(80) { frame.len().min(100) } else { frame.len() };
        let bit = dice.below(8);
        if let Some(byte) = frame.get_mut(dice.below(end)) {
            *byte ^= 1 << bit;
        }
    }
}

/// Makes the checksum of each IPv4 header right that stands where one is looked for: so that what is wrong is seen.
fn mend(frame: &mut [u8]) {
    for at in [14, 18, 22, 14 + 20 + 16 + 14, 14 + 40 + 16 + 14] {
        let Some([first, ..]) = frame.get(at..) else { continue };
        let len = usize::from(first & 0xf) * 4;
        if first >> 4 == 4 && len >= 20 && at + len <= frame.len() {
            frame[at + 10..at + 12].fill(0);
            let sum = checksum(&frame[at..at + len]);
            frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        }
    }
}
