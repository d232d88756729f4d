//! `cargo xtask tidy`: the repository's rules, as checks.

use std::fs;
use std::path::Path;

use anyhow::bail;

use crate::shell::{command, quietly, top};

/// Longest Rust file, in lines: what is longer is two things.
const LONGEST: usize = 600;

/// Checks every file that git knows.
pub(crate) fn tidy() -> anyhow::Result<()> {
    let files = quietly(&mut command("git ls-files"))?;
    let mut wrong = Vec::new();
    // Written in two parts, so that this file does not name them.
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    for file in files.lines() {
        let ending = Path::new(file).extension().and_then(|ending| ending.to_str());
        let is_rust = ending == Some("rs");
        let Ok(text) = fs::read_to_string(top().join(file)) else { continue };
        if !is_rust && ending != Some("md") {
            continue;
        }
        if is_rust && !text.starts_with("//!") {
            wrong.push(format!("{file}: the first line does not say (`//!`) what lives there"));
        }
        if is_rust && text.lines().count() > LONGEST {
            wrong.push(format!("{file}: {} lines, and {LONGEST} are the limit", text.lines().count()));
        }
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = unfinished.iter().find(|word| line.contains(*word)) {
                wrong.push(format!("{file}:{}: `{word}`", number + 1));
            }
        }
    }
    if wrong.is_empty() {
        println!("tidy: nothing to say");
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}
