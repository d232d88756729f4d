//! Internet checksums: whole (RFC 1071) and by difference (RFC 1624).

/// Sum of 16-bit words in network order, not folded.
#[inline(always)]
pub fn sum<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut total = 0;
    let mut at = 0;
    while at + 1 < N {
        total += u32::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
        at += 2;
    }
    total
}

/// Folds a sum to 16 bits.
#[inline(always)]
pub fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// The checksum after the word `old` became `new` (RFC 1624, equation 3).
#[inline(always)]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!checksum) + u32::from(!old) + u32::from(new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn updating_a_word_is_summing_again(mut words in proptest::array::uniform10(any::<u16>()), at in 0_usize..9, new: u16) {
            let whole = |words: &[u16; 10]| !fold(words[..9].iter().map(|word| u32::from(*word)).sum());
            // A header of zeros alone does not exist, and is where the two ways differ (RFC 1624, section 3).
            words[8] |= 1;
            let before = whole(&words);
            let old = words[at];
            words[at] = new | u16::from(at == 8);
            prop_assert_eq!(update(before, old, words[at]), whole(&words));
        }
    }
}
