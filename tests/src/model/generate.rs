//! Servers and frames by chance: the same seed makes the same.

mod addresses;
mod damage;
mod datagram;
mod fabric;
mod line;
mod scene;
mod transport;

use border_gw_common::abi::Entry;

use self::addresses::Addresses;
use super::case::Scene;
use super::world::{Vif, Vpc, World};

pub use self::scene::{INTERFACES, scene};

/// Numbers that look like chance (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// A number from `from` to `to`.
    fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.below(to - from + 1)
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// True so many times of a hundred.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// A frame, and where it comes in.
pub struct Packet {
    /// The program that receives it.
    pub entry: Entry,
    /// The interface on which it comes.
    pub ifindex: u32,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// Makes frames that have to do with a server.
pub struct Packets<'a> {
    world: &'a World,
    vifs: Vec<(usize, &'a Vif)>,
    vpcs: Vec<(usize, &'a Vpc)>,
    addresses: Vec<Addresses>,
    veths: Vec<u32>,
}

impl<'a> Packets<'a> {
    /// For a server.
    pub fn of(scene: &Scene, world: &'a World) -> Self {
        let gateways = || world.gateways.iter().enumerate();
        let vifs: Vec<_> =
            gateways().flat_map(|(at, gateway)| gateway.vifs.iter().map(move |vif| (at, vif))).collect();
        let vpcs: Vec<_> =
            gateways().flat_map(|(at, gateway)| gateway.vpcs.iter().map(move |vpc| (at, vpc))).collect();
        let seen = &scene.observed;
        let veths = seen.vif_veths.values().chain(seen.attachment_veths.values()).copied();
        Self {
            world,
            addresses: world.gateways.iter().map(Addresses::of).collect(),
            veths: veths.collect(),
            vifs,
            vpcs,
        }
    }

    /// A frame.
    pub fn packet(&self, dice: &mut Dice) -> Packet {
        let mut packet = match dice.below(100) {
            0..48 => self.line(dice),
            48..92 => self.fabric(dice),
            _ => self.host(dice),
        };
        if dice.chance(12) {
            damage::damage(dice, &mut packet.frame);
        }
        packet.frame.truncate(9_000);
        packet
    }
}
