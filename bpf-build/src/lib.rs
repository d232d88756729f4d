//! Builds BPF objects from build scripts, with the tool-chain that `cargo xtask setup` prepared.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain, build_ebpf};

/// The nightly that BPF programs are built with, where rustup can have it. It is pinned by its LLVM: bpf-linker reads what
/// the compiler wrote only when its own LLVM ([`LLVM`]) is not older.
pub const NIGHTLY: &str = "nightly-2026-05-20";
/// The distribution's Rust with its sources, linked into rustup under this name.
pub const LINKED: &str = "bpf";
/// Major version of the LLVM of both.
pub const LLVM: u32 = 22;

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
        format!(
            "cannot build `{name}` with tool-chain `{chosen}`; if bpf-linker is missing, or older than LLVM {LLVM}, run \
             `cargo xtask setup`"
        )
    })
}

/// The tool-chain that is used, if there is one: the first that can build `core`.
pub fn toolchain() -> Option<String> {
    [NIGHTLY, LINKED].into_iter().find(|name| has_sources(name)).map(str::to_owned)
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
