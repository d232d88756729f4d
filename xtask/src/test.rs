//! `cargo xtask test`: set-up, then all tests.

use std::process::Command;

use crate::setup;
use crate::shell::{command, loudly, quietly};

/// The tests that make network namespaces and load BPF programs, for nextest.
pub(crate) const PRIVILEGED: &str =
    "package(border-gw-tests) & kind(test) | package(border-gw-user) & binary(bird)";

/// What of the tests is meant.
#[derive(Clone, Copy)]
struct Selection<'a> {
    /// The long ones as well: those marked as ignored.
    all: bool,
    /// Only names that contain this.
    filter: Option<&'a str>,
}

/// Runs the tests. Without root, the privileged ones are skipped and counted.
pub(crate) fn test(all: bool, filter: Option<&str>) -> anyhow::Result<()> {
    let selection = Selection { all, filter };
    setup::setup()?;
    crate::build::binaries(&[])?;
    let is_root = quietly(&mut command("id -u"))?.trim() == "0";
    let result = loudly(&mut run(selection, is_root));
    if !is_root {
        // After the summary, where it is seen.
        println!("{}", skipped(&quietly(&mut list_privileged(selection))?));
    }
    result
}

fn nextest(line: &str, selection: Selection<'_>) -> Command {
    let mut nextest = command(line);
    if selection.all {
        nextest.args(["--run-ignored", "all"]);
    }
    nextest.args(selection.filter);
    nextest
}

fn run(selection: Selection<'_>, is_root: bool) -> Command {
    let mut nextest = nextest("cargo nextest run --workspace --no-fail-fast", selection);
    if !is_root {
        nextest.args(["-E", &format!("not ({PRIVILEGED})")]);
    }
    nextest
}

fn list_privileged(selection: Selection<'_>) -> Command {
    let mut nextest = nextest("cargo nextest list --workspace --message-format oneline", selection);
    nextest.args(["-E", PRIVILEGED]);
    nextest
}

/// What is said about a list of tests, one a line.
fn skipped(list: &str) -> String {
    format!("{} privileged tests skipped: they take root (`sudo -E cargo xtask test`)", list.lines().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn without_root_privileged_tests_are_left_out_and_counted() {
        let (everything, some) =
            (Selection { all: false, filter: None }, Selection { all: true, filter: Some("cap") });
        for (command, want) in [
            (run(everything, true), "nextest run --workspace --no-fail-fast"),
            (
                run(some, false),
                "nextest run --workspace --no-fail-fast --run-ignored all cap -E not (package(border-gw-tests) & kind(test) | package(border-gw-user) & binary(bird))",
            ),
            (
                list_privileged(everything),
                "nextest list --workspace --message-format oneline -E package(border-gw-tests) & kind(test) | package(border-gw-user) & binary(bird)",
            ),
        ] {
            assert_eq!(words(&command), want);
        }
        let list = "border-gw-tests::end_to_end abuse\nborder-gw-tests::end_to_end reach\n";
        assert!(skipped(list).starts_with("2 privileged tests skipped: they take root"));
    }
}
