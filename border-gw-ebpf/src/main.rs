//! The XDP programs `line`, `fabric` and `host`, and those that count what the kernel loses after them.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the target's atomics exist as intrinsics only")
)]

#[cfg(target_arch = "bpf")]
#[path = "main/losses.rs"]
mod losses;
#[cfg(target_arch = "bpf")]
#[path = "main/maps.rs"]
mod maps;
#[cfg(target_arch = "bpf")]
#[path = "main/xdp.rs"]
mod xdp;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier refuses a program that could loop for ever.
    loop {}
}
