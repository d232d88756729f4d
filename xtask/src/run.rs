//! `cargo xtask run`: set-up, build, testbed.

use std::os::unix::process::CommandExt as _;

use anyhow::Context as _;

use crate::build;
use crate::setup;
use crate::shell::command;

/// Becomes the testbed, so that Ctrl-C is the testbed's.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    setup::setup()?;
    println!("run: building ...");
    build::binaries(&[])?;
    let mut testbed = command("target/debug/testbed");
    testbed.arg(if check { "check" } else { "run" });
    Err(testbed.exec()).context("cannot start the testbed")
}
