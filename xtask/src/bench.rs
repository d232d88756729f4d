//! `cargo xtask bench`: figures beside their control, by the testbed.

use std::path::Path;

use anyhow::bail;

use crate::setup;
use crate::shell::{command, loudly};

/// What can be measured.
const BENCHES: [&str; 3] = ["caps", "failover", "routes"];

/// Measures; with `check`, fails when a figure is out of bounds.
pub(crate) fn bench(check: Option<&str>, json: Option<&Path>) -> anyhow::Result<()> {
    if let Some(name) = check.filter(|name| !BENCHES.contains(name)) {
        bail!("there is no benchmark `{name}`; there are: {}", BENCHES.join(", "));
    }
    setup::setup()?;
    println!("bench: building with optimizations ...");
    crate::build::binaries(&["--release"])?;
    let mut bench = command("target/release/testbed bench");
    bench.arg(check.unwrap_or(BENCHES[0]));
    if check.is_some() {
        bench.arg("--check");
    }
    if let Some(json) = json {
        bench.arg("--json").arg(std::path::absolute(json)?);
    }
    loudly(&mut bench)
}
