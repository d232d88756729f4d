//! Losses after the verdict: programs on tracepoints, pinned like the others, and the counters of the gateway's own devices.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aya::maps::{Array, MapData, MapInfo, PerCpuHashMap, PerCpuValues};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramError, RawTracePoint, loaded_programs};
use aya::{Ebpf, maps::MapError};
use border_gw_common::abi::map as names;
use border_gw_common::loss::{LOSS_SETTINGS, LOSSES, LossSettings, Losses, RETIRED};
use log::{debug, warn};

use super::btf::Btf;
use super::contents::take;
use super::error::map;
use super::{Error, counters, pins, syscalls};

/// Maps of this part, pinned with the others.
pub(super) const NAMES: [&str; 2] = [LOSS_SETTINGS, LOSSES];

/// A program, the tracepoint that it runs on, and the arguments that it takes for granted.
struct Place {
    program: &'static str,
    tracepoint: &'static str,
    arguments: &'static [&'static str],
}

const PLACES: [Place; 2] = [
    Place {
        program: "lost_redirect",
        tracepoint: "xdp_redirect_err",
        arguments: &["net_device*", "bpf_prog*", "void*", "int", "bpf_map_type", "u32", "u32"],
    },
    Place {
        program: "lost_transmit",
        tracepoint: "xdp_devmap_xmit",
        arguments: &["net_device*", "net_device*", "int", "int", "int"],
    },
];

/// Types of the kernel, since Linux 5.4 and where it was built with them.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Why losses are not counted. Forwarding is not touched by that.
#[derive(Debug, thiserror::Error)]
enum Uncounted {
    #[error("cannot read the kernel's types in {KERNEL_TYPES}: {0}")]
    Types(io::Error),
    #[error("{KERNEL_TYPES} is not in the format of BTF")]
    Format,
    #[error(
        "tracepoint xdp:{tracepoint} of this kernel takes ({found}), and program `{program}` was made for ({wanted})"
    )]
    Arguments { tracepoint: &'static str, program: &'static str, found: String, wanted: String },
    #[error("the kernel's types have no `{0}`")]
    Member(&'static str),
    #[error(
        "cannot learn the cookie of this network namespace (SO_NETNS_COOKIE): {0}; Linux 5.14 or newer is needed"
    )]
    Cookie(io::Error),
    #[error("cannot run program `{program}` on tracepoint xdp:{tracepoint}: {cause}")]
    Attach { tracepoint: &'static str, program: &'static str, cause: Box<ProgramError> },
    #[error("cannot keep program `{program}` attached through {path}: {cause}")]
    Pin { program: &'static str, path: PathBuf, cause: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    Map(#[from] Error),
}

/// Lets losses be counted; where that cannot be, says why, and counts none.
pub(super) fn start(object: &mut Ebpf, gateway: &str) -> Result<(), Error> {
    let mut settings: Array<MapData, LossSettings> = take(object, LOSS_SETTINGS)?;
    let started = offsets(gateway).and_then(|found| {
        map("write", LOSS_SETTINGS, settings.set(0, found, 0))?;
        PLACES.iter().try_for_each(|place| attach(object, place, &pins::losses(gateway)))
    });
    let Err(error) = started else { return Ok(()) };
    warn!("losses after the verdict are not counted: {error}");
    // Programs that an older daemon left count nothing, either.
    map("write", LOSS_SETTINGS, settings.set(0, LossSettings::default(), 0))
}

/// What the programs need to know, from the types of this kernel.
fn offsets(gateway: &str) -> Result<LossSettings, Uncounted> {
    let bytes = fs::read(KERNEL_TYPES).map_err(Uncounted::Types)?;
    let types = Btf::parse(&bytes).ok_or(Uncounted::Format)?;
    for Place { program, tracepoint, arguments } in &PLACES {
        let found = types.arguments(tracepoint).unwrap_or_default();
        if found != *arguments {
            let (found, wanted) = (found.join(", "), arguments.join(", "));
            return Err(Uncounted::Arguments { tracepoint, program, found, wanted });
        }
    }
    let member = |structure, member, name| types.member(structure, member).ok_or(Uncounted::Member(name));
    let devices = MapInfo::from_pin(pins::map(gateway, names::DEVICES));
    Ok(LossSettings {
        netns_cookie: syscalls::netns_cookie().map_err(Uncounted::Cookie)?,
        devices_map: map("open", names::DEVICES, devices)?.id(),
        device_ifindex: member("net_device", "ifindex", "net_device.ifindex")?,
        device_net: member("net_device", "nd_net", "net_device.nd_net")?,
        net_cookie: member("net", "net_cookie", "net.net_cookie")?,
    })
}

/// Runs a program on its tracepoint, unless the same one runs there already. The kernel replaces no program of such a link: an
/// old one goes first, and for that moment nothing is counted, which is better than twice.
fn attach(object: &mut Ebpf, place: &Place, dir: &Path) -> Result<(), Uncounted> {
    let Place { program: name, tracepoint, .. } = *place;
    let fail = |cause: ProgramError| Uncounted::Attach { program: name, tracepoint, cause: cause.into() };
    let program = object.program_mut(name).ok_or(Error::NoProgram(name))?;
    let program: &mut RawTracePoint = program.try_into().map_err(fail)?;
    program.load().map_err(fail)?;
    let path = dir.join(name);
    let unpinned = |cause| Uncounted::Pin { program: name, path: path.clone(), cause };
    if path.exists() {
        if tag_of(&path) == Some(program.info().map_err(fail)?.tag()) {
            return Ok(());
        }
        debug!("{} holds another program, which goes", path.display());
        fs::remove_file(&path).map_err(|cause| unpinned(cause.into()))?;
    }
    let id = program.attach(tracepoint).map_err(fail)?;
    let link: FdLink = program.take_link(id).map_err(fail)?.into();
    link.pin(&path).map(drop).map_err(|cause| unpinned(cause.into()))
}

/// The tag of the program of a pinned link: a hash of its instructions.
fn tag_of(pin: &Path) -> Option<u64> {
    let link: FdLink = PinnedLink::from_pin(pin).ok()?.into();
    let id = link.info().ok()?.program_id();
    loaded_programs().filter_map(Result::ok).find(|program| program.id() == id).map(|program| program.tag())
}

/// The counters, a device each.
pub(super) struct Counted(PerCpuHashMap<MapData, u32, Losses>);

impl Counted {
    /// Takes the map, and makes a place for each device and for those that are gone.
    pub(super) fn new(object: &mut Ebpf, devices: &BTreeSet<u32>) -> Result<Self, Error> {
        let mut counted = Self(take(object, LOSSES)?);
        for ifindex in devices.iter().chain([&RETIRED]) {
            counted.enter(*ifindex)?;
        }
        Ok(counted)
    }

    /// Makes a place for a device; what it counted already stays.
    pub(super) fn enter(&mut self, ifindex: u32) -> Result<(), Error> {
        if self.get(ifindex)?.is_some() {
            return Ok(());
        }
        self.set(ifindex, vec![Losses::default(); cpus()?])
    }

    /// Adds what was lost on the way to a device that goes to what is gone, and forgets the device.
    pub(super) fn retire(&mut self, ifindex: u32) -> Result<(), Error> {
        let Some(lost) = self.get(ifindex)? else { return Ok(()) };
        if lost.iter().any(|lost| *lost != Losses::default()) {
            let _moving = counters::moving();
            let mut sums = self.get(RETIRED)?.unwrap_or_else(|| vec![Losses::default(); lost.len()]);
            for (sum, lost) in sums.iter_mut().zip(&lost) {
                add(sum, lost);
            }
            self.set(RETIRED, sums)?;
            return self.forget(ifindex);
        }
        self.forget(ifindex)
    }

    fn forget(&mut self, ifindex: u32) -> Result<(), Error> {
        map("write", LOSSES, self.0.remove(&ifindex))
    }

    fn get(&self, ifindex: u32) -> Result<Option<Vec<Losses>>, Error> {
        match self.0.get(&ifindex, 0) {
            Ok(values) => Ok(Some(values.to_vec())),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {
                Ok(None)
            }
            Err(cause) => map("read", LOSSES, Err(cause)),
        }
    }

    fn set(&mut self, ifindex: u32, values: Vec<Losses>) -> Result<(), Error> {
        let values = PerCpuValues::try_from(values).map_err(no_cpus)?;
        map("write", LOSSES, self.0.insert(ifindex, values, 0))
    }
}

/// Adds losses to a sum.
pub(super) fn add(sum: &mut Losses, lost: &Losses) {
    for (sum, lost) in sum.packets.iter_mut().zip(lost.packets) {
        *sum += lost;
    }
}

fn cpus() -> Result<usize, Error> {
    aya::util::nr_cpus().map_err(|(_, cause)| no_cpus(cause))
}

fn no_cpus(cause: io::Error) -> Error {
    Error::FileSystem { path: "/sys/devices/system/cpu".into(), cause }
}
