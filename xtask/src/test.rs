//! `cargo xtask test`: set-up, then all tests.

use crate::setup;
use crate::shell::{command, loudly};

/// Runs the tests; the long ones are those marked as ignored.
pub(crate) fn test(all: bool, filter: Option<&str>) -> anyhow::Result<()> {
    setup::setup()?;
    crate::run::build()?;
    let mut nextest = command("cargo nextest run --workspace --no-fail-fast");
    if all {
        nextest.args(["--run-ignored", "all"]);
    }
    if let Some(filter) = filter {
        nextest.arg(filter);
    }
    loudly(&mut nextest)
}
