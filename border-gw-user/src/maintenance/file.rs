//! What is out of service, in a file that is there whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Entry;

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}, which keeps what is out of service: {cause}")]
pub struct Error {
    what: &'static str,
    path: PathBuf,
    cause: io::Error,
}

/// What a file holds; nothing, where there is none.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Entry>, Error> {
    let fail = |cause| Error { what: "read", path: path.to_owned(), cause };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|cause| fail(cause.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(fail(error)),
    }
}

/// Replaces a file; a disk that is full leaves the old one.
pub(super) fn write(path: &Path, entries: &BTreeMap<String, Entry>) -> Result<(), Error> {
    let fail = |cause: io::Error| Error { what: "write", path: path.to_owned(), cause };
    let new = path.with_extension("new");
    let replace = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(entries)?)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    replace().map_err(fail)
}
