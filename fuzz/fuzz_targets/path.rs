//! The packet path: a byte that chooses world, program and port, and a frame.
#![no_main]

#[path = "../../border-gw-ebpf/tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests of the path use more")]
mod support;
#[path = "../../border-gw-ebpf/tests/path/witness.rs"]
mod witness;

use std::cell::RefCell;

use support::judge::{Input, judge, mended, worlds};
use support::memory::Memory;
use support::world::Underlay;

thread_local! {
    static WORLDS: RefCell<Vec<(Underlay, Memory)>> = RefCell::new(worlds());
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((world, mends, input)) = Input::decode(bytes) else { return };
    WORLDS.with_borrow_mut(|worlds| {
        let (underlay, world) = &mut worlds[world];
        // Else most of what is found would end at a checksum.
        let input = if mends { mended(input, *underlay) } else { input };
        judge(world, *underlay, &input, 256);
    });
});
