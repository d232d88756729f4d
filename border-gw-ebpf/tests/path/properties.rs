//! Packets of every kind, damaged and arbitrary: what holds for every packet holds for them.

use border_gw_common::abi::Entry;
use border_gw_common::verdict::{DropReason, Verdict};
use proptest::prelude::*;

use crate::support::datagram::Datagram;
use crate::support::judge::{Input, corpus, judge, mended, worlds};
use crate::support::memory::Memory;
use crate::support::send::{on_vif, tagged};
use crate::support::wire::ether_type;
use crate::support::world::{
    FABRIC, PORT_A, PORT_B, Underlay, VIF_A, VPC, port_mac, tags, vif_port, vif_veth, vpc_veth, world,
};

/// Random numbers from a seed (xorshift64*): a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// Changes a few bytes, and sometimes the length.
fn damaged(sound: &Input, random: &mut Random) -> Input {
    let mut input = sound.clone();
    for _ in 0..=random.below(3) {
        let at = random.below(input.bytes.len());
        input.bytes[at] = match random.below(4) {
            0 => random.below(256) as u8,
            1 => input.bytes[at] ^ 1 << random.below(8),
            2 => [0, 1, 4, 6, 17, 43, 44, 58, 60, 135, 255][random.below(11)],
            _ => input.bytes[at].wrapping_add(1),
        };
    }
    if random.below(8) == 0 {
        let len = random.below(input.bytes.len() + 20).max(1);
        input.bytes.resize(len, 0);
    }
    input
}

#[test]
fn a_million_damaged_packets_do_no_harm() {
    let mut random = Random(0x5eed_0001);
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for (underlay, mut world) in worlds() {
        let sound = corpus(underlay);
        for _ in 0..250_000 {
            let input = damaged(&sound[random.below(sound.len())], &mut random);
            let input = if random.below(8) == 0 { input } else { mended(input, underlay) };
            let outcome = judge(&mut world, underlay, &input, 256);
            let kind = match outcome.verdict {
                Verdict::Forward(_) => "forward".to_owned(),
                Verdict::Punt(_) => "punt".to_owned(),
                Verdict::Drop(reason) => reason.label().to_owned(),
                other => format!("{other:?}"),
            };
            *seen.entry(kind).or_default() += 1;
        }
    }
    // The damage is light enough for much to pass, and wide enough for nearly every drop.
    assert!(seen["forward"] > 100_000 && seen["punt"] > 10_000 && seen["Answer"] > 10_000, "{seen:?}");
    let missing: Vec<_> = DropReason::ALL
        .iter()
        .map(|reason| reason.label())
        .filter(|label| !seen.contains_key(*label))
        .collect();
    assert!(missing.len() < 12, "never seen: {missing:?}");
}

#[test]
fn a_frame_may_end_anywhere() {
    for underlay in Underlay::ALL {
        let mut world = world(underlay);
        for input in corpus(underlay) {
            // What stands behind the padding's three bytes and the packet's last is no packet.
            for len in 0..input.bytes.len() {
                let input = Input { bytes: input.bytes[..len].to_vec(), ..input.clone() };
                judge(&mut world, underlay, &input, 256);
            }
        }
    }
}

#[test]
fn any_room_in_front_will_do_or_is_named() {
    for underlay in Underlay::ALL {
        let mut world = world(underlay);
        for input in corpus(underlay) {
            let enough = judge(&mut world, underlay, &input, 256);
            for room in 0..100 {
                let outcome = judge(&mut world, underlay, &input, room);
                let want = [enough.verdict, Verdict::Drop(DropReason::Headroom)];
                assert!(want.contains(&outcome.verdict), "{outcome:?}");
            }
        }
    }
}

/// Every entry, and a port that is not there.
fn entries() -> impl Strategy<Value = (Entry, u32)> {
    prop_oneof![
        prop_oneof![Just(PORT_A), Just(PORT_B), Just(0)].prop_map(|port| (Entry::Line, port)),
        prop_oneof![Just(FABRIC), Just(PORT_A), Just(0)].prop_map(|port| (Entry::Fabric, port)),
        prop_oneof![Just(vif_veth(VIF_A)), Just(vpc_veth(VPC)), Just(0)].prop_map(|port| (Entry::Host, port)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_no_harm((entry, ifindex) in entries(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        WORLD.with_borrow_mut(|world| judge(world, Underlay::V4, &Input { entry, ifindex, bytes }, 256));
    }

    #[test]
    fn arbitrary_bytes_behind_good_headers_do_no_harm(vif in 1_u32..4, v6: bool, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let packet = [&[if v6 { 0x60 } else { 0x45 }], &rest[..]].concat();
        let bytes = tagged(port_mac(vif_port(vif)), tags(vif), ether_type(&packet), &packet);
        let input = Input { entry: Entry::Line, ifindex: vif_port(vif), bytes };
        WORLD.with_borrow_mut(|world| judge(world, Underlay::V4, &mended(input, Underlay::V4), 256));
    }

    #[test]
    fn extension_headers_end(numbers in proptest::collection::vec(prop_oneof![Just(0_u8), Just(43), Just(44), Just(51), Just(60), Just(58), Just(17)], 0..12), lengths in proptest::collection::vec(0_u8..4, 12), rest in proptest::collection::vec(any::<u8>(), 0..150)) {
        let mut datagram = Datagram::new("fd00:172:16::5", "fd00:1::33", 17, rest);
        for (number, len) in numbers.into_iter().zip(lengths) {
            datagram = datagram.extension(number, &[len, 4, 0, 0, 0, 0, 0]);
        }
        let input = Input { entry: Entry::Line, ifindex: PORT_A, bytes: on_vif(VIF_A, &datagram) };
        WORLD.with_borrow_mut(|world| judge(world, Underlay::V4, &input, 256));
    }
}

thread_local! {
    static WORLD: std::cell::RefCell<Memory> = std::cell::RefCell::new(world(Underlay::V4));
}

/// Where the fuzzer of the packet path has its first inputs.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/path");

#[test]
fn the_fuzzer_starts_from_a_frame_of_every_kind() {
    let writes = std::env::var_os("WRITE_CORPUS").is_some();
    for (world, underlay) in [(0, Underlay::V4), (2, Underlay::V6)] {
        for (number, input) in corpus(underlay).iter().enumerate() {
            let Some(bytes) = input.encode(world) else { continue };
            let (again, mend, decoded) = Input::decode(&bytes).unwrap();
            assert_eq!((again, mend, &decoded.bytes), (world, true, &input.bytes));
            let file = std::path::PathBuf::from(CORPUS).join(format!("{underlay:?}-{number:03}"));
            if writes {
                std::fs::write(&file, &bytes).unwrap();
            }
            let found = std::fs::read(&file).unwrap_or_default();
            assert!(found == bytes, "{}: run this test with WRITE_CORPUS=1", file.display());
        }
    }
}
