//! `cargo xtask fuzz`: cargo-fuzz over what others write: packets, configurations, netlink, BIRD.

use std::fs;

use anyhow::bail;

use crate::setup;
use crate::shell::{command, has, loudly, quietly, top};

/// Targets, each with the largest input that is tried, in bytes.
const TARGETS: [(&str, u32); 4] = [("path", 1600), ("config", 8192), ("netlink", 4096), ("bird", 4096)];

/// Fuzzes one target, or all, for so many seconds together, from the corpora in `fuzz/corpus`. What is found on the way is kept
/// beside them in `fuzz/target`; with `keep` it is reduced to what adds to the corpus, and kept there.
pub(crate) fn fuzz(target: Option<&str>, seconds: u32, keep: bool) -> anyhow::Result<()> {
    let chosen: Vec<_> = TARGETS.iter().filter(|(name, _)| target.is_none_or(|it| it == *name)).collect();
    if chosen.is_empty() {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        bail!("there is no fuzz target `{}`; there are: {names}", target.unwrap_or_default());
    }
    setup::setup()?;
    if !has("cargo-fuzz") {
        println!("fuzz: installing cargo-fuzz ...");
        quietly(&mut command("cargo install --quiet --locked cargo-fuzz"))?;
    }
    println!("fuzz: building {} targets with AddressSanitizer ...", TARGETS.len());
    loudly(&mut cargo_fuzz("build"))?;
    let each = seconds / chosen.len() as u32;
    for (name, largest) in chosen {
        println!("fuzz: {name} for {each} s");
        let found = top().join("fuzz/target/found").join(name);
        fs::create_dir_all(&found)?;
        let corpus = top().join("fuzz/corpus").join(name);
        let mut run = cargo_fuzz("run");
        run.arg(name).arg(&found).arg(&corpus).arg("--");
        run.arg(format!("-max_total_time={each}")).arg(format!("-max_len={largest}"));
        run.args(["-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]);
        loudly(&mut run)?;
        if keep {
            let mut merge = cargo_fuzz("run");
            merge.arg(name).arg(&corpus).arg(&found).args(["--", "-merge=1", "-verbosity=0"]);
            loudly(&mut merge)?;
        }
    }
    Ok(())
}

/// The sanitizer is not stable, and so its flag asks for permission.
fn cargo_fuzz(what: &str) -> std::process::Command {
    let mut fuzz = command("cargo fuzz");
    fuzz.arg(what).env("RUSTC_BOOTSTRAP", "1");
    fuzz
}
