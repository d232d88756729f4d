//! Builds the BPF object with the tool-chain that `cargo xtask setup` prepared.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use aya_build::{Package, Toolchain, build_ebpf};

/// rustup tool-chains that can build `core` for BPF, the first that is there is used: a nightly with `rust-src`, or the
/// distribution's Rust with its sources, linked as `bpf`.
const TOOLCHAINS: [&str; 2] = ["nightly", "bpf"];

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed=BORDER_GW_BPF_TOOLCHAIN");
    println!("cargo:rerun-if-changed=../border-gw-common/src");
    let chosen = match std::env::var("BORDER_GW_BPF_TOOLCHAIN") {
        Ok(name) => name,
        Err(_unset) => match TOOLCHAINS.into_iter().find(|name| has_sources(name)) {
            Some(name) => name.to_owned(),
            None => bail!(
                "no Rust tool-chain with the sources of `core` is here to build the BPF programs: run `cargo xtask setup`"
            ),
        },
    };
    // SAFETY: a build script's `main` has no other thread yet.
    unsafe { std::env::set_var("RUSTC_BOOTSTRAP", "1") };
    let features: &[&str] = if std::env::var_os("CARGO_FEATURE_LOG").is_some() { &["log"] } else { &[] };
    let package = Package {
        name: "border-gw-ebpf",
        root_dir: "../border-gw-ebpf",
        no_default_features: false,
        features,
    };
    build_ebpf([package], Toolchain::Custom(&chosen))
        .with_context(|| format!("building the BPF programs with tool-chain `{chosen}` (is bpf-linker there? run `cargo xtask setup`)"))
}

/// Whether the tool-chain exists and has the standard library's sources, without which `-Z build-std` cannot work.
fn has_sources(toolchain: &str) -> bool {
    let Ok(output) = Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]).output()
    else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success() && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").exists()
}
