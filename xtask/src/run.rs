//! `cargo xtask run`: set-up, build, testbed.

use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;

use crate::setup;
use crate::shell::{command, loudly};

/// Builds what the testbed needs; with more options, such as `--release`.
pub(crate) fn build(options: &[&str]) -> anyhow::Result<()> {
    let mut build = command("cargo build --quiet --package border-gw-user --package border-gw-tests --bins");
    loudly(build.args(options))
}

/// Becomes the testbed, so that Ctrl-C is the testbed's.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    setup::setup()?;
    println!("run: building ...");
    build(&[])?;
    let mut testbed = command("target/debug/testbed");
    testbed.arg(if check { "check" } else { "run" });
    Err(testbed.exec()).context("cannot start the testbed")
}
