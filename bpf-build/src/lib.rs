//! Builds BPF objects from build scripts, with the tool-chain that `cargo xtask setup` prepared.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain, build_ebpf};

/// rustup tool-chains that can build `core` for BPF, the first that is there is used: a nightly with `rust-src`, or the
/// distribution's Rust with its sources, linked as `bpf`.
pub const TOOLCHAINS: [&str; 2] = ["nightly", "bpf"];

/// Builds the binaries of the package `name` at `dir` into `OUT_DIR`. For build scripts, before they start a thread.
///
/// # Errors
///
/// No tool-chain is there, or the build fails; both say what to do.
pub fn build(name: &str, dir: &str, features: &[&str]) -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed=BORDER_GW_BPF_TOOLCHAIN");
    println!("cargo:rerun-if-changed={dir}");
    let Some(chosen) = std::env::var("BORDER_GW_BPF_TOOLCHAIN").ok().or_else(toolchain) else {
        bail!(
            "no Rust tool-chain here has the sources of `core`, which BPF programs are built from: run `cargo xtask setup`"
        );
    };
    // SAFETY: a build script's `main` has no other thread yet.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    let package = Package { name, root_dir: dir, no_default_features: false, features };
    build_ebpf([package], Toolchain::Custom(&chosen)).with_context(|| {
        format!("cannot build `{name}` with tool-chain `{chosen}`; if bpf-linker is missing, run `cargo xtask setup`")
    })
}

/// The tool-chain that is used, if there is one.
pub fn toolchain() -> Option<String> {
    TOOLCHAINS.into_iter().find(|name| has_sources(name)).map(str::to_owned)
}

/// Whether a tool-chain exists and has the standard library's sources, without which `-Z build-std` cannot work.
fn has_sources(toolchain: &str) -> bool {
    let Ok(output) = Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]).output()
    else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success() && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").exists()
}
