//! The flow hash: the same number for all packets of a flow, evenly spread over flows.

use border_gw_common::abi::{HashMode, V4};

use crate::headers::{Ip, PROTOCOL_TCP, PROTOCOL_UDP};
use crate::packet::Packet;

const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// Hash of a packet's flow. A fragment has no ports, so every fragment of a datagram goes without them.
#[inline(always)]
pub fn hash<P: Packet>(packet: &mut P, ip: &Ip, mode: u32) -> u32 {
    let mut state = SEED;
    let words = if ip.version == V4 { 1 } else { 4 };
    for word in 0..4 {
        if word < words {
            state = mix(state, address_word(&ip.source, word));
            state = mix(state, address_word(&ip.destination, word));
        }
    }
    if mode != HashMode::L3 as u32 {
        state = mix(state, u32::from(ip.flow_protocol));
    }
    if mode == HashMode::FiveTuple as u32
        && !ip.fragment
        && ip.transport + 4 <= ip.at + ip.len
        && matches!(ip.protocol, PROTOCOL_TCP | PROTOCOL_UDP | DCCP | SCTP | UDP_LITE)
        && let Some(ports) = packet.window::<4>(ip.transport)
    {
        state = mix(state, u32::from_be_bytes(*ports));
    }
    finish(state)
}

const SEED: u32 = 0x9e37_79b9;

#[inline(always)]
fn address_word(address: &[u8; 16], word: usize) -> u32 {
    let at = word * 4;
    u32::from_be_bytes([address[at], address[at + 1], address[at + 2], address[at + 3]])
}

/// One round of `MurmurHash3` (x86, 32 bits).
#[inline(always)]
fn mix(state: u32, word: u32) -> u32 {
    let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    (state ^ word).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

/// Its finaliser: every bit of the state moves every bit of the hash.
#[inline(always)]
fn finish(state: u32) -> u32 {
    let state = (state ^ state >> 16).wrapping_mul(0x85eb_ca6b);
    let state = (state ^ state >> 13).wrapping_mul(0xc2b2_ae35);
    state ^ state >> 16
}
