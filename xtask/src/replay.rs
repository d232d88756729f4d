//! `cargo xtask replay`: a case of the reference model, run again.

use std::path::Path;

use anyhow::bail;

use crate::shell::{command, loudly};

/// The test that runs it.
const TEST: &str = "cargo test --quiet --package border-gw-tests --test model -- --exact replay --nocapture";

/// Shows what the model says of a case and what the packet path makes of it; fails when they differ.
pub(crate) fn replay(file: &Path, kernel: bool) -> anyhow::Result<()> {
    let file = std::path::absolute(file)?;
    if !file.is_file() {
        bail!("there is no file {}", file.display());
    }
    let mut replay = command(TEST);
    replay.env("BORDER_GW_CASE", &file);
    if kernel {
        replay.env("BORDER_GW_CASE_IN_KERNEL", "1");
    }
    loudly(&mut replay)
}
