//! Programs on interfaces: links that are pinned, adopted, and updated in one step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode as Mode};
use border_gw_common::abi::{ERROR_PROGRAM, Entry, STAGE_ERROR, map as names};
use log::{debug, info};

use super::error::map;
use super::{Error, mode, pins, syscalls};
use crate::intent::XdpMode;

/// Loads the programs, and lets those that refuse a packet go on in the one that says so.
pub(super) fn load(object: &mut Ebpf) -> Result<(), Error> {
    for name in Entry::ALL.into_iter().map(Entry::name).chain([ERROR_PROGRAM]) {
        let program = program(object, name)?;
        program.load().map_err(|cause| Error::Program { program: name, cause: cause.into() })?;
    }
    let found = object.take_map(names::STAGES).ok_or(Error::NoMap(names::STAGES))?;
    let mut stages: ProgramArray<MapData> = map("open", names::STAGES, found.try_into())?;
    let error = program(object, ERROR_PROGRAM)?;
    let error = error.fd().map_err(|cause| Error::Program { program: ERROR_PROGRAM, cause: cause.into() })?;
    map("write", names::STAGES, stages.set(STAGE_ERROR, error, 0))
}

fn program<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    let program = object.program_mut(name).ok_or(Error::NoProgram(name))?;
    let program: Result<&mut Xdp, ProgramError> = program.try_into();
    program.map_err(|cause| Error::Program { program: name, cause: cause.into() })
}

/// The links of a gateway.
pub(super) struct Links {
    dir: PathBuf,
    /// Directories of other layouts; none once all of their places are taken.
    others: Vec<PathBuf>,
    mode: XdpMode,
    /// What was attached or adopted by this process, and how it runs.
    attached: BTreeMap<(u32, Entry), Option<XdpMode>>,
}

impl Links {
    /// Of a directory of pins, to run in a mode, in the place of what is pinned in the other directories.
    pub(super) fn new(dir: PathBuf, others: Vec<PathBuf>, mode: XdpMode) -> Self {
        Self { dir, others, mode, attached: BTreeMap::new() }
    }

    /// How programs run, by interface index, as the kernel says.
    pub(super) fn modes(&self) -> BTreeMap<u32, XdpMode> {
        let modes = self.attached.iter();
        modes.filter_map(|((ifindex, _), mode)| Some((*ifindex, (*mode)?))).collect()
    }

    /// Makes exactly `wanted` run. A link that is pinned gets the new program in one step.
    pub(super) fn attach(&mut self, object: &mut Ebpf, wanted: &[(u32, Entry)]) -> Result<(), Error> {
        // What is stale first: an interface takes one program only.
        self.detach_others(wanted)?;
        for (ifindex, entry) in wanted {
            let link = (*ifindex, *entry);
            if self.attached.contains_key(&link) && self.path(link).exists() {
                continue;
            }
            self.take_over(link)?;
            let mode = self.attach_one(program(object, entry.name())?, link)?;
            self.attached.insert(link, mode);
        }
        self.remove_others()
    }

    /// Makes the link of another layout ours: it gets our program in one step, as any that is adopted. Until it does, the other
    /// layout's program and tables go on.
    fn take_over(&self, link: (u32, Entry)) -> Result<(), Error> {
        let ours = self.path(link);
        let Some(name) = ours.file_name() else { return Ok(()) };
        for theirs in
            self.others.iter().map(|dir| pins::links_in(dir).join(name)).filter(|path| path.exists())
        {
            if ours.exists() {
                detach(&theirs)?;
            } else {
                fs::rename(&theirs, &ours).map_err(|cause| Error::FileSystem { path: theirs, cause })?;
            }
        }
        Ok(())
    }

    /// Removes what is left of other layouts, now that nothing of it is needed.
    fn remove_others(&mut self) -> Result<(), Error> {
        while let Some(dir) = self.others.last() {
            let fail = |cause| Error::FileSystem { path: dir.clone(), cause };
            // What runs where nothing is to run any more is detached at once, and not some time later.
            for link in fs::read_dir(pins::links_in(dir)).into_iter().flatten() {
                detach(&link.map_err(fail)?.path())?;
            }
            fs::remove_dir_all(dir).map_err(fail)?;
            info!(
                "programs and tables of another layout ({}) are replaced, and removed; counters start at nothing",
                dir.file_name().unwrap_or_default().display()
            );
            self.others.pop();
        }
        Ok(())
    }

    fn detach_others(&mut self, wanted: &[(u32, Entry)]) -> Result<(), Error> {
        self.attached.retain(|link, _| wanted.contains(link));
        let keep: BTreeSet<PathBuf> = wanted.iter().map(|link| self.path(*link)).collect();
        let fail = |cause| Error::FileSystem { path: self.dir.clone(), cause };
        for file in fs::read_dir(&self.dir).map_err(fail)? {
            let file = file.map_err(fail)?.path();
            if !keep.contains(&file) {
                detach(&file)?;
            }
        }
        Ok(())
    }

    fn path(&self, (ifindex, entry): (u32, Entry)) -> PathBuf {
        self.dir.join(format!("{}-{ifindex}", entry.name()))
    }

    /// Adopts the link of an interface, or attaches the program anew; how it runs then.
    fn attach_one(&self, program: &mut Xdp, link: (u32, Entry)) -> Result<Option<XdpMode>, Error> {
        let (ifindex, entry) = link;
        let path = self.path(link);
        if path.exists() {
            if self.adopt(program, &path, ifindex).is_some() {
                return Ok(Some(self.mode));
            }
            detach(&path)?;
        }
        let flags = match self.mode {
            XdpMode::Native => Mode::Driver,
            XdpMode::Skb => Mode::Skb,
        };
        let fail = |cause: ProgramError| Error::Attach {
            program: entry.name(),
            interface: name(ifindex),
            mode: self.mode.name(),
            cause: reasons(&cause),
            hint: hint(self.mode),
        };
        let id = program.attach_to_if_index(ifindex, flags).map_err(fail)?;
        let link = program.take_link(id).map_err(fail)?;
        let link =
            FdLink::try_from(link).map_err(|cause| Error::Link { program: entry.name(), ifindex, cause })?;
        let mode = real_mode(&link, ifindex);
        link.pin(&path).map_err(|cause| Error::Pin { path, cause })?;
        Ok(mode)
    }

    /// Gives a pinned link the new program, if the link is alive and runs as it should. The interface of one that is dead
    /// may be gone, and its index another interface's.
    fn adopt(&self, program: &mut Xdp, path: &Path, ifindex: u32) -> Option<()> {
        let link: FdLink = PinnedLink::from_pin(path).ok()?.into();
        if real_mode(&link, ifindex) != Some(self.mode) {
            return None;
        }
        let id = program.attach_to_link(XdpLink::try_from(link).ok()?).ok()?;
        // Held by its pin alone: as long as this process holds it, too, removing the pin detaches nothing.
        drop(program.take_link(id).ok()?);
        Some(())
    }
}

/// Name of an interface of this namespace, or its index where it is gone.
fn name(ifindex: u32) -> String {
    let name = nix::net::if_::if_indextoname(ifindex).ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_else(|| format!("index {ifindex}"))
}

/// An error and what caused it, each once.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

/// How the program of a link runs; none where that cannot be learned.
fn real_mode(link: &FdLink, ifindex: u32) -> Option<XdpMode> {
    let program = link.info().ok()?.program_id();
    mode::mode(ifindex, program)
        .inspect_err(|error| debug!("no XDP mode of interface index {ifindex}: {error}"))
        .ok()?
}

fn detach(pin: &Path) -> Result<(), Error> {
    // Without it, the program goes a moment after its pin.
    if let Err(error) = syscalls::detach_link(pin) {
        debug!("{} is not detached at once: {error}", pin.display());
    }
    fs::remove_file(pin).map_err(|cause| Error::FileSystem { path: pin.to_owned(), cause })
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
