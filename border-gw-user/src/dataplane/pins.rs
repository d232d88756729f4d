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
    match mounted()? {
        Mounted::Here => {}
        Mounted::Nowhere => {
            let none: Option<&str> = None;
            nix::mount::mount(Some("bpf"), root, Some("bpf"), nix::mount::MsFlags::empty(), none)
                .map_err(|errno| fail(root, errno.into()))?;
        }
        Mounted::Elsewhere => return Err(Error::HiddenFileSystem),
    }
    for links in [links(gateway), losses(gateway)] {
        fs::create_dir_all(&links).map_err(|cause| fail(&links, cause))?;
    }
    Ok(dir(gateway))
}

/// Directory of the pinned links.
pub(super) fn links(gateway: &str) -> PathBuf {
    links_in(&dir(gateway))
}

/// Directory of the pinned links of the programs that count losses.
pub(super) fn losses(gateway: &str) -> PathBuf {
    dir(gateway).join("losses")
}

/// Directories of other builds' layouts, whose programs run until this build's have taken their places.
pub(super) fn others(gateway: &str) -> Result<Vec<PathBuf>, Error> {
    let (all, own) = (gateway_dir(gateway), dir(gateway));
    let fail = |cause| Error::FileSystem { path: all.clone(), cause };
    let found: io::Result<Vec<_>> =
        fs::read_dir(&all).map_err(fail)?.map(|entry| Ok(entry?.path())).collect();
    Ok(found.map_err(fail)?.into_iter().filter(|path| *path != own && path.is_dir()).collect())
}

/// Directory of the pinned links in that of a layout.
pub(super) fn links_in(dir: &Path) -> PathBuf {
    dir.join("links")
}

/// Where the BPF file system is, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mounted {
    /// Where it belongs.
    Here,
    /// Not here, and this is the machine's own view of its file systems: it is not mounted yet.
    Nowhere,
    /// Not here, and this is a view of its own: what is pinned, and what would be, is seen by nobody else.
    Elsewhere,
}

/// What tells a view of its own from the machine's.
#[derive(Clone, Copy, Debug, Default)]
struct View<'a> {
    /// Mount namespace of this process.
    own: Option<&'a Path>,
    /// That of the first process, where it may be read.
    first: Option<&'a Path>,
    /// /sys was mounted for a named network namespace, as `ip netns exec` does it.
    is_of_network_namespace: bool,
}

fn decide(is_here: bool, view: View<'_>) -> Mounted {
    match (view.own, view.first) {
        _ if is_here => Mounted::Here,
        _ if view.is_of_network_namespace => Mounted::Elsewhere,
        (Some(own), Some(first)) if own != first => Mounted::Elsewhere,
        _ => Mounted::Nowhere,
    }
}

/// What /sys is mounted from, out of /proc/self/mountinfo (proc(5)): `sysfs`, or what `ip netns exec` calls it.
fn source_of_sys(mounts: &str) -> Option<&str> {
    // The last one lies on top of the others.
    let of_sys = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/sys"))?;
    let (_, after) = of_sys.split_once(" - ")?;
    after.split(' ').nth(1)
}

fn mounted() -> Result<Mounted, Error> {
    let root = Path::new(BPFFS);
    let is_here = is_bpffs(root).map_err(|cause| Error::FileSystem { path: root.to_owned(), cause })?;
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let (own, first) = (namespace("self"), namespace("1"));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_of_network_namespace =
        source_of_sys(&mounts).is_some_and(|source| Path::new("/run/netns").join(source).is_file());
    Ok(decide(is_here, View { own: own.as_deref(), first: first.as_deref(), is_of_network_namespace }))
}

/// Refuses to go on where what is pinned cannot be seen: `ip netns exec` mounts another /sys. A daemon there would adopt nothing,
/// and a purge would leave programs attached.
pub fn require_visible() -> Result<(), Error> {
    match mounted()? {
        Mounted::Elsewhere => Err(Error::HiddenFileSystem),
        Mounted::Here | Mounted::Nowhere => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_of_its_own_without_the_file_system_is_told_from_a_machine_that_has_none_yet() {
        let [one, other] = ["mnt:[4026531841]", "mnt:[4026532299]"].map(|name| Some(Path::new(name)));
        let view = |own, first| View { own, first, is_of_network_namespace: false };
        let of_network_namespace = View { is_of_network_namespace: true, ..view(other, None) };
        for (sentence, is_here, view, want) in [
            ("as systemd mounts it", true, view(one, one), Mounted::Here),
            ("a unit with private mounts", true, view(other, one), Mounted::Here),
            ("mounted again under `ip netns exec`", true, of_network_namespace, Mounted::Here),
            ("nobody mounted it yet", false, view(one, one), Mounted::Nowhere),
            ("under `ip netns exec`", false, view(other, one), Mounted::Elsewhere),
            ("the first process cannot be seen", false, view(one, None), Mounted::Nowhere),
            ("the same under `ip netns exec`", false, of_network_namespace, Mounted::Elsewhere),
            ("no /proc", false, View::default(), Mounted::Nowhere),
        ] {
            assert_eq!(decide(is_here, view), want, "{sentence}");
        }
    }

    #[test]
    fn the_upper_mount_of_sys_says_what_it_is_mounted_from() {
        let machine = "23 27 0:22 / /sys rw,relatime shared:7 - sysfs sysfs rw\n58 23 0:39 / /sys/fs/bpf rw - bpf bpf rw\n";
        let inside = format!("{machine}48 45 0:40 / /sys rw,relatime - sysfs bgw-1 rw\n");
        for (mounts, want) in
            [(machine, Some("sysfs")), (&inside, Some("bgw-1")), ("", None), ("23 27", None)]
        {
            assert_eq!(source_of_sys(mounts), want, "{mounts}");
        }
    }
}
