//! Running commands.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Top of the repository.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// A command from one line, in the top directory.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("true"));
    command.args(words).current_dir(top()).env("PATH", search_path());
    command
}

/// Where programs are found: also where Debian has `ip` and `ethtool`, which is not on everybody's path.
pub(crate) fn search_path() -> OsString {
    with_system_programs(&std::env::var_os("PATH").unwrap_or_default())
}

fn with_system_programs(path: &OsStr) -> OsString {
    let mut dirs: Vec<PathBuf> =
        std::env::split_paths(path).filter(|dir| !dir.as_os_str().is_empty()).collect();
    for dir in ["/usr/sbin", "/sbin"].map(PathBuf::from) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    // Only a directory with a colon in its name cannot be joined, and none came out of a path.
    std::env::join_paths(dirs).unwrap_or_else(|_colon| path.to_owned())
}

/// Runs a command whose output is for the reader.
pub(crate) fn loudly(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Lines of a failed command's output that are shown: why it failed stands at its end.
const LAST_WORDS: usize = 25;

/// Runs a command whose output matters only when it fails.
pub(crate) fn quietly(command: &mut Command) -> anyhow::Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.trim().lines().collect();
        let end = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
        bail!("{command:?} ended with {}:\n{end}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether [`command`] finds a program; one with an absolute path is itself looked for.
pub(crate) fn has(program: &str) -> bool {
    std::env::split_paths(&search_path()).any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_can_be_started() {
        for (path, want) in [
            ("/usr/bin:/bin", "/usr/bin:/bin:/usr/sbin:/sbin"),
            ("/sbin:/usr/bin", "/sbin:/usr/bin:/usr/sbin"),
            ("", "/usr/sbin:/sbin"),
        ] {
            assert_eq!(with_system_programs(OsStr::new(path)), OsStr::new(want), "{path}");
        }
        let command = command("ip link");
        let path = command.get_envs().find(|(name, _)| *name == OsStr::new("PATH"));
        assert_eq!(path, Some((OsStr::new("PATH"), Some(search_path().as_os_str()))));
    }
}
