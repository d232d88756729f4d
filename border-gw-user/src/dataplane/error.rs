//! What can go wrong between the daemon and the kernel's packet path.

use std::path::PathBuf;

/// An operation on BPF objects that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The BPF file system cannot be used.
    #[error(
        "cannot use the BPF file system at {path}: {cause}; mount it with `mount -t bpf bpf /sys/fs/bpf`"
    )]
    FileSystem {
        /// Directory.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The BPF file system is not to be seen from here.
    #[error(
        "the BPF file system is hidden here, as it is under `ip netns exec`, and with it what a gateway has pinned: run this with \
         `nsenter --net=/run/netns/NAME` or in a systemd unit instead"
    )]
    HiddenFileSystem,
    /// The object was refused.
    #[error(
        "the kernel does not take the BPF programs and maps: {0}; Linux 6.1 or newer is needed, and CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"
    )]
    Load(#[from] aya::EbpfError),
    /// A program was refused.
    #[error("the kernel refuses program `{program}`: {cause}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why.
        cause: Box<aya::programs::ProgramError>,
    },
    /// A program is missing from the object.
    #[error("program `{0}` is not in the BPF object: this build is broken")]
    NoProgram(&'static str),
    /// A map is missing from the object.
    #[error("map `{0}` is not in the BPF object: this build is broken")]
    NoMap(&'static str),
    /// A program cannot run on an interface.
    #[error("cannot attach program `{program}` to interface `{interface}` in {mode} mode: {cause}{hint}")]
    Attach {
        /// Its name.
        program: &'static str,
        /// Interface.
        interface: String,
        /// `native` or `skb`.
        mode: &'static str,
        /// Why, down to what the kernel said.
        cause: String,
        /// What to do.
        hint: &'static str,
    },
    /// A program runs, but by a way that cannot be pinned.
    #[error(
        "program `{program}` on interface index {ifindex} has no link that can be kept: {cause}; Linux 5.9 or newer is needed"
    )]
    Link {
        /// Its name.
        program: &'static str,
        /// Interface.
        ifindex: u32,
        /// Why.
        cause: aya::programs::links::LinkError,
    },
    /// An interface cannot be redirected to.
    #[error("cannot enter interface index {ifindex} in map DEVICES: {cause}")]
    Device {
        /// Interface.
        ifindex: u32,
        /// Why.
        cause: aya::maps::xdp::XdpMapError,
    },
    /// A link cannot be pinned.
    #[error("cannot keep program attached through {path}: {cause}")]
    Pin {
        /// File under bpffs.
        path: PathBuf,
        /// Why.
        cause: aya::pin::PinError,
    },
    /// A map cannot be read or written.
    #[error("cannot {what} map {map}: {cause}")]
    Map {
        /// What was tried.
        what: &'static str,
        /// On which map.
        map: &'static str,
        /// Why.
        cause: aya::maps::MapError,
    },
}

/// Adds the map and the attempt to an error of the library.
pub(super) fn map<T>(
    what: &'static str,
    map: &'static str,
    result: Result<T, aya::maps::MapError>,
) -> Result<T, Error> {
    result.map_err(|cause| Error::Map { what, map, cause })
}
