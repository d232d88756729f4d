//! Where programs and maps outlive the daemon: a directory under bpffs, named after the gateway and the maps' layout.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use border_gw_common::abi::VERSION;

use super::Error;

const BPFFS: &str = "/sys/fs/bpf";
/// `f_type` of the BPF file system (linux/magic.h).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Directory of everything of a gateway, whatever its version.
pub fn gateway_dir(gateway: &str) -> PathBuf {
    Path::new(BPFFS).join("border-gw").join(gateway)
}

/// Directory of maps of this build's layout.
pub fn dir(gateway: &str) -> PathBuf {
    gateway_dir(gateway).join(format!("v{VERSION}"))
}

/// Whether anything of a gateway is pinned, whatever its version.
pub fn exist(gateway: &str) -> bool {
    gateway_dir(gateway).exists()
}

/// File of a map.
pub fn map(gateway: &str, map: &str) -> PathBuf {
    dir(gateway).join(map)
}

/// Makes the directories, and mounts the BPF file system where it is not mounted yet, as systemd would.
pub(super) fn prepare(gateway: &str) -> Result<PathBuf, Error> {
    let fail = |path: &Path, cause| Error::FileSystem { path: path.to_owned(), cause };
    let root = Path::new(BPFFS);
    if !is_bpffs(root).map_err(|cause| fail(root, cause))? {
        let none: Option<&str> = None;
        nix::mount::mount(Some("bpf"), root, Some("bpf"), nix::mount::MsFlags::empty(), none)
            .map_err(|errno| fail(root, errno.into()))?;
    }
    let links = links(gateway);
    fs::create_dir_all(&links).map_err(|cause| fail(&links, cause))?;
    Ok(dir(gateway))
}

/// Directory of the pinned links.
pub(super) fn links(gateway: &str) -> PathBuf {
    dir(gateway).join("links")
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    let found = nix::sys::statfs::statfs(path)?;
    Ok(found.filesystem_type().0 == BPF_FS_MAGIC)
}

/// Detaches every program of a gateway and forgets every map: removes its directory. True when there was one.
pub fn purge(gateway: &str) -> Result<bool, Error> {
    let dir = gateway_dir(gateway);
    match fs::remove_dir_all(&dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(Error::FileSystem { path: dir, cause }),
    }
}
