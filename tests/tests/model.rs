//! The reference model beside the packet path: servers and frames by chance, on the host and in the kernel; and cases run again.
#![expect(clippy::unwrap_used, reason = "a test that fails here fails")]

#[path = "kernel/contents.rs"]
mod contents;
#[path = "model/host.rs"]
mod host;
#[path = "model/kernel.rs"]
mod kernel;
#[path = "kernel/loaded.rs"]
#[expect(dead_code, reason = "the tests of the tables count what they run")]
mod loaded;
#[path = "model/support.rs"]
#[expect(dead_code, reason = "other tests use more")]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use border_gw_common::abi::Entry;
use border_gw_common::verdict::Verdict;
use border_gw_tests::model::case::{Case, Scene};
use border_gw_tests::model::compare::{Mismatch, describe};
use border_gw_tests::model::generate::{Dice, Packet, Packets, scene};
use border_gw_tests::model::judge;
use border_gw_tests::model::shrink::shrink;
use border_gw_tests::model::world::World;

use host::Bench;
use kernel::Witness;

/// Frames in each server.
const FRAMES: usize = 2_000;
/// Kinds of differences that are made small and shown.
const SHOWN: usize = 6;

/// A difference, and the case that shows it.
type Found = BTreeMap<String, (Case, Mismatch)>;

fn packet_of(case: &Case) -> Packet {
    Packet { entry: case.entry, ifindex: case.ifindex, frame: case.frame.clone() }
}

/// What differs in a case; none as well where its configuration is no good.
fn mismatch(case: &Case) -> Option<Mismatch> {
    let scene = case.scene.reread().ok()?;
    Bench::of(&scene).check(&packet_of(case)).err()
}

/// The server of a seed.
fn generated(seed: u64) -> (Dice, Scene) {
    let mut dice = Dice::new(seed);
    let scene = scene(&mut dice);
    let scene = scene.reread().unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
    (dice, scene)
}

/// Frames of one server.
fn one_server(
    seed: u64,
    mut kernel: Option<&mut Witness>,
    found: &mut Found,
    ends: &mut BTreeMap<String, usize>,
) {
    let (mut dice, scene) = generated(seed);
    let mut bench = Bench::of(&scene);
    let world = World::new(&scene.intent, &scene.observed);
    let packets = Packets::of(&scene, &world);
    if let Some(kernel) = &mut kernel {
        kernel.install(&bench);
    }
    for _ in 0..FRAMES {
        let packet = packets.packet(&mut dice);
        let checked = bench.check(&packet).and_then(|seen| match &mut kernel {
            Some(kernel) => kernel.agrees(&mut bench, &packet, &seen).map(|()| seen),
            None => Ok(seen),
        });
        match checked {
            Ok(seen) => {
                let end = format!("{} {:?}", packet.entry.name(), kind(seen.verdict));
                *ends.entry(end).or_default() += 1;
            }
            Err(mismatch) => {
                let Packet { entry, ifindex, frame } = packet;
                found.entry(mismatch.kind.clone()).or_insert_with(|| {
                    println!("seed {seed}: {}", mismatch.kind);
                    (Case { scene: scene.clone(), entry, ifindex, frame }, mismatch)
                });
            }
        }
    }
    if let Some(kernel) = kernel {
        kernel.counted_all();
    }
}

/// A verdict without the interface.
fn kind(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Forward(_) => Verdict::Forward(0),
        Verdict::Punt(_) => Verdict::Punt(0),
        other => other,
    }
}

/// Runs so many servers on two threads; every kind of difference is made small and written down.
fn run(first_seed: u64, servers: u64) {
    let started = Instant::now();
    let half = |odd: u64| {
        move || {
            let (mut found, mut ends) = (Found::new(), BTreeMap::new());
            for number in (0..servers).filter(|number| number % 2 == odd) {
                one_server(first_seed + number, None, &mut found, &mut ends);
            }
            (found, ends)
        }
    };
    let ((mut found, mut ends), (more, others)) = std::thread::scope(|scope| {
        let other = scope.spawn(half(1));
        (half(0)(), other.join().unwrap())
    });
    found.extend(more);
    for (end, count) in others {
        *ends.entry(end).or_default() += count;
    }
    let frames = servers as usize * FRAMES;
    println!("{frames} frames, seeds from {first_seed}, {:.1} s", started.elapsed().as_secs_f32());
    for (end, count) in &ends {
        println!("{count:9} {end}");
    }
    report(&found);
}

/// Makes each kind of difference small, and fails if there is one.
fn report(found: &Found) {
    for (kind, (case, mismatch)) in found.iter().take(SHOWN) {
        let small =
            shrink(case.clone(), |case| self::mismatch(case).is_some_and(|other| other.kind == *kind));
        let text = self::mismatch(&small).map_or_else(|| mismatch.text.clone(), |mismatch| mismatch.text);
        let path = keep(&small, kind);
        println!("\n{kind}\n{text}\n{}run it again: cargo xtask replay {}", small.write(), path.display());
    }
    let kinds: Vec<_> = found.keys().map(String::as_str).collect();
    assert!(found.is_empty(), "{} kinds of differences:\n{}", found.len(), kinds.join("\n"));
}

/// Writes a case into a file of its own.
fn keep(case: &Case, kind: &str) -> PathBuf {
    let name: String =
        kind.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.case"));
    std::fs::write(&path, case.write()).unwrap();
    path
}

#[test]
fn a_million_packets_end_as_the_model_says() {
    run(1, 500);
}

#[test]
#[ignore = "long: ten million packets"]
fn ten_million_packets_end_as_the_model_says() {
    run(1_000_000, 5_000);
}

#[test]
fn a_hundred_thousand_packets_end_in_the_kernel_as_the_model_says() {
    const SERVERS: u64 = 50;
    let mut kernel = Witness::open();
    let (mut found, mut ends) = (Found::new(), BTreeMap::new());
    let started = Instant::now();
    for seed in 1..=SERVERS {
        one_server(seed, Some(&mut kernel), &mut found, &mut ends);
    }
    println!("{} frames, {:.1} s in the kernel", SERVERS as usize * FRAMES, started.elapsed().as_secs_f32());
    report(&found);
}

/// Every case that is kept, or the one that `cargo xtask replay` names: on the host, and in the kernel where that is asked for.
#[test]
fn replay() {
    let named = std::env::var_os("BORDER_GW_CASE").map(PathBuf::from);
    let mut kernel = std::env::var_os("BORDER_GW_CASE_IN_KERNEL").map(|_| Witness::open());
    let kept = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")).unwrap();
    let files: Vec<PathBuf> = match named {
        Some(named) => vec![named],
        None => kept.map(|entry| entry.unwrap().path()).collect(),
    };
    let mut wrong = Vec::new();
    for file in &files {
        let case = Case::open(file).unwrap_or_else(|error| panic!("{error:#}"));
        let mut bench = Bench::of(&case.scene);
        let packet = packet_of(&case);
        let right = judge(&bench.world, case.entry, case.ifindex, &case.frame);
        let seen = bench.run(&packet);
        let differs = bench.check(&packet).err();
        let why = differs.as_ref().map_or("nothing", |mismatch| mismatch.kind.as_str());
        println!("{}\n{}", file.display(), describe(&right, &seen, why));
        wrong.extend(differs.map(|mismatch| format!("{}: {}", file.display(), mismatch.kind)));
        if let Some(kernel) = &mut kernel {
            kernel.install(&bench);
            let differs = kernel.agrees(&mut bench, &packet, &seen).err();
            let why = differs.as_ref().map_or("nothing", |mismatch| mismatch.text.as_str());
            println!("the kernel and the host differ in: {why}");
            wrong.extend(differs.map(|mismatch| format!("{}: {}", file.display(), mismatch.kind)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_generated_is_read_again_as_it_was() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let made = scene(&mut dice);
        let mut read = made.reread().unwrap_or_else(|error| panic!("seed {seed}: {error:#}")).intent;
        read.sources = made.intent.sources.clone();
        // A connection's burst is computed.
        for (read, made) in read.connections.iter_mut().zip(&made.intent.connections) {
            read.caps = made.caps;
        }
        assert_eq!(read, made.intent, "seed {seed}");
        let case = Case { scene: made, entry: Entry::Line, ifindex: 10, frame: vec![1; 40] };
        let again = Case::read(&case.write()).unwrap();
        assert_eq!(again.write(), case.write());
        assert_eq!(again.scene.observed, case.scene.observed);
    }
}
