//! The Internet checksum (RFC 1071), and its update (RFC 1624).

use std::net::IpAddr;

/// The ones' complement sum of 16-bit words; an odd byte at the end is followed by a zero.
pub(super) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0)));
    fold(words.sum())
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum to be written over bytes whose field is zero.
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// A message with the pseudo-header in front of it (RFC 768, RFC 9293 section 3.1, RFC 8200 section 8.1).
pub(super) fn with_pseudo_header(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    message: &[u8],
) -> Vec<u8> {
    let mut bytes = super::write::octets(source);
    bytes.extend(super::write::octets(destination));
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes.extend(message);
    bytes
}

/// RFC 1624, equation 3: the checksum after `old` became `new`; both are words from an even place on.
pub(super) fn updated(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let minus: u64 = old.chunks(2).map(|pair| u64::from(!u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let plus: u64 = new.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    !fold(u64::from(!checksum) + minus + plus)
}

#[test]
fn the_example_of_rfc_1624_comes_out() {
    // Section 4: the header's checksum is 0xdd2f, and a field changes from 0x5555 to 0x3285.
    assert_eq!(updated(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0x0000);
}
