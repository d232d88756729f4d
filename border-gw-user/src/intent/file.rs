//! Reading files: regular ones, of a sane size, of text.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Largest document, in bytes: a whole server with everything in it is a few.
pub(super) const MAX_DOCUMENT: u64 = 16 << 20;
/// Largest list of hosts, in bytes: more than a million lines.
pub(super) const MAX_HOSTS: u64 = 64 << 20;
/// Largest file of a key, in bytes.
const MAX_KEY_FILE: u64 = 4 << 10;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is {0}, not a regular file")]
    Kind(&'static str),
    #[error("it has more than {} MiB", .0 >> 20)]
    TooLarge(u64),
    #[error("its mode is {0:04o}: others than its owner and group can read or write it")]
    Exposed(u32),
    #[error("this line is not UTF-8 text")]
    NotText {
        /// The line, from 1.
        line: u32,
        /// The column in characters, from 1.
        column: u32,
        /// What is there, as far as it is text.
        text: String,
    },
}

impl Unreadable {
    /// What would be right.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Io(cause) => match cause.kind() {
                io::ErrorKind::NotFound => "correct the path, or make the file",
                io::ErrorKind::PermissionDenied => "make it readable for the user that border-gw runs as",
                _ => "correct the path, or what the system says about it",
            },
            Self::Kind(_) => "name a file: pipes and devices give no second reading, and may never end",
            Self::TooLarge(_) => "name the right file, or split it over several",
            Self::Exposed(_) => "a key that others know is none: make a new one, and chmod 0600",
            Self::NotText { .. } => "save the file as UTF-8",
        }
    }
}

/// Reads a regular file of at most `most` bytes as text.
pub(super) fn read(path: &Path, most: u64) -> Result<String, Unreadable> {
    let metadata = std::fs::metadata(path)?;
    // Opening a pipe would wait for who writes into it.
    if !metadata.is_file() {
        let kind = if metadata.is_dir() { "a directory" } else { "a pipe, a socket or a device" };
        return Err(Unreadable::Kind(kind));
    }
    let mut bytes = Vec::new();
    // A file that grows, or of /proc, says another size than it has.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Unreadable::TooLarge(most));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        let last = before.rsplit('\n').next().unwrap_or_default();
        Unreadable::NotText {
            line: before.matches('\n').count() as u32 + 1,
            column: last.chars().count() as u32 + 1,
            text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    })
}

/// Reads a file that holds a key, and that nobody but its owner and group may read.
pub(super) fn read_secret(path: &Path) -> Result<String, Unreadable> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(Unreadable::Exposed(mode));
    }
    // No error shows what is in it.
    read(path, MAX_KEY_FILE).map_err(|error| match error {
        Unreadable::NotText { line, column, .. } => Unreadable::NotText { line, column, text: String::new() },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_text_that_fit_are_read() {
        let directory = std::env::temp_dir().join(format!("border-gw-file-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("f");
        let said = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path, 8).map_err(|error| error.to_string())
        };
        assert_eq!(said(b"12345678"), Ok("12345678".into()));
        assert_eq!(said(b"123456789"), Err("it has more than 0 MiB".into()));
        assert_eq!(said(b"a\n\xc3\xa9b\xff"), Err("this line is not UTF-8 text".into()));
        assert!(matches!(read(&path, 8), Err(Unreadable::NotText { line: 2, column: 3, .. })));
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for (path, want) in [
            (path.as_path(), "it is a pipe, a socket or a device, not a regular file"),
            (Path::new("/dev/zero"), "it is a pipe, a socket or a device, not a regular file"),
            (directory.as_path(), "it is a directory, not a regular file"),
        ] {
            assert_eq!(read(path, 8).unwrap_err().to_string(), want);
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
