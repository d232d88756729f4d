//! `verifier OBJECT`: the verifier's figures of an object's programs, for `cargo xtask build --stats`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use border_gw_tests::verifier::{excesses, figures, table};

fn main() -> ExitCode {
    match print() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("verifier: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print() -> anyhow::Result<ExitCode> {
    let object = std::env::args_os().nth(1).map(PathBuf::from).context("usage: verifier OBJECT")?;
    let found = figures(&object)?;
    print!("{}", table(&found));
    let excesses = excesses(&found);
    for excess in &excesses {
        eprintln!("verifier: {excess}");
    }
    Ok(if excesses.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
