//! Programs on interfaces: links that are pinned, adopted, and updated in one step.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode as Mode};
use border_gw_common::abi::Entry;

use super::Error;
use crate::intent::XdpMode;

/// Loads the three programs.
pub(super) fn load(object: &mut Ebpf) -> Result<(), Error> {
    for entry in Entry::ALL {
        let program = program(object, entry)?;
        program.load().map_err(|cause| Error::Program { program: entry.name(), cause })?;
    }
    Ok(())
}

fn program(object: &mut Ebpf, entry: Entry) -> Result<&mut Xdp, Error> {
    let name = entry.name();
    let program = object.program_mut(name).ok_or(Error::NoProgram(name))?;
    program.try_into().map_err(|cause| Error::Program { program: name, cause })
}

/// Makes exactly `wanted` run. A link that is pinned gets the new program in one step; what is left over is detached.
pub(super) fn attach(
    object: &mut Ebpf,
    dir: &Path,
    mode: XdpMode,
    wanted: &[(u32, Entry)],
    attached: &mut BTreeSet<(u32, Entry)>,
) -> Result<(), Error> {
    for (ifindex, entry) in wanted {
        if attached.contains(&(*ifindex, *entry)) && path(dir, *ifindex, *entry).exists() {
            continue;
        }
        attach_one(program(object, *entry)?, dir, mode, *ifindex, *entry)?;
        attached.insert((*ifindex, *entry));
    }
    attached.retain(|link| wanted.contains(link));
    let keep: BTreeSet<PathBuf> = wanted.iter().map(|(ifindex, entry)| path(dir, *ifindex, *entry)).collect();
    let fail = |cause| Error::FileSystem { path: dir.to_owned(), cause };
    for file in fs::read_dir(dir).map_err(fail)? {
        let file = file.map_err(fail)?.path();
        if !keep.contains(&file) {
            fs::remove_file(&file).map_err(fail)?;
        }
    }
    Ok(())
}

fn path(dir: &Path, ifindex: u32, entry: Entry) -> PathBuf {
    dir.join(format!("{}-{ifindex}", entry.name()))
}

fn attach_one(program: &mut Xdp, dir: &Path, mode: XdpMode, ifindex: u32, entry: Entry) -> Result<(), Error> {
    let path = path(dir, ifindex, entry);
    if let Ok(pinned) = PinnedLink::from_pin(&path) {
        let link: FdLink = pinned.into();
        // A link whose interface is gone cannot be updated; its index may belong to another interface by now.
        if XdpLink::try_from(link).is_ok_and(|link| program.attach_to_link(link).is_ok()) {
            return Ok(());
        }
        fs::remove_file(&path).map_err(|cause| Error::FileSystem { path: path.clone(), cause })?;
    }
    let (flags, name) = match mode {
        XdpMode::Native => (Mode::Driver, "native"),
        XdpMode::Skb => (Mode::Skb, "skb"),
    };
    let fail = |cause| Error::Attach { program: entry.name(), ifindex, mode: name, cause, hint: hint(mode) };
    let id = program.attach_to_if_index(ifindex, flags).map_err(fail)?;
    let link = program.take_link(id).map_err(fail)?;
    let link =
        FdLink::try_from(link).map_err(|cause| Error::Link { program: entry.name(), ifindex, cause })?;
    link.pin(&path).map_err(|cause| Error::Pin { path, cause })?;
    Ok(())
}

fn hint(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Native => {
            "; another XDP program may be there (`ip link show`), the MTU may be too large for the driver, or the driver \
             may have no native XDP (then set `gateway.xdp_mode: skb`)"
        }
        XdpMode::Skb => "; another XDP program may be there (`ip link show`)",
    }
}
