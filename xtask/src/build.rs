//! `cargo xtask build`: the programs, and what the kernel's verifier makes of those of the packet path.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::setup;
use crate::shell::{command, loudly, quietly};

/// Builds the daemon and the testbed; with more options, such as `--release`.
pub(crate) fn binaries(options: &[&str]) -> anyhow::Result<()> {
    let mut build = command("cargo build --quiet --package border-gw-user --package border-gw-tests --bins");
    loudly(build.args(options))
}

/// Builds; with `stats`, loads each program of the packet path, and fails when the verifier's figures are over their limits.
pub(crate) fn build(stats: bool) -> anyhow::Result<()> {
    setup::setup()?;
    println!("build: building ...");
    binaries(&[])?;
    let object = object()?;
    println!("build: target/debug/border-gw; its BPF programs are {}", object.display());
    if stats { loudly(command("target/debug/verifier").arg(&object)) } else { Ok(()) }
}

/// The object of the packet path, where the build script left it.
fn object() -> anyhow::Result<PathBuf> {
    let said =
        quietly(&mut command("cargo build --quiet --package border-gw-user --bins --message-format json"))?;
    let directory =
        out_directory(&said).context("cargo does not say where border-gw-user's build script wrote")?;
    Ok(PathBuf::from(directory).join("border-gw-xdp"))
}

/// `OUT_DIR` of border-gw-user, in what cargo says of a build (a JSON document a line).
fn out_directory(said: &str) -> Option<String> {
    let message = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).find(
        |message| {
            message["reason"] == "build-script-executed"
                && message["package_id"].as_str().is_some_and(|package| package.contains("/border-gw-user#"))
        },
    )?;
    message["out_dir"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_scripts_directory_is_found() {
        let said = r#"{"reason":"compiler-artifact","package_id":"path+file:///x/border-gw-user#0.1.0"}
{"reason":"build-script-executed","package_id":"path+file:///x/tests#border-gw-tests@0.1.0","out_dir":"/no"}
{"reason":"build-script-executed","package_id":"path+file:///x/border-gw-user#0.1.0","out_dir":"/yes"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(out_directory(said).as_deref(), Some("/yes"));
        assert_eq!(out_directory("no JSON"), None);
    }
}
