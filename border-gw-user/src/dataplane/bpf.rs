//! The real dataplane: BPF maps and programs, pinned.

use std::collections::BTreeMap;

use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfLoader};
use border_gw_common::abi::Entry;

use super::contents::Contents;
use super::devices::Devices;
use super::links::{self, Links};
use super::{Dataplane, Error, losses, pins};
use crate::intent::XdpMode;
use crate::tables::{Installed, Op};

/// The object that the build script made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/border-gw-xdp"));

/// The object, as it is built in: for tests that load it by other means.
pub fn object() -> &'static [u8] {
    OBJECT
}

/// Maps and programs of one gateway.
pub struct Bpf {
    object: Ebpf,
    contents: Contents,
    links: Links,
    devices: Devices,
}

impl Bpf {
    /// Loads the programs; maps that are pinned already are adopted with all that is in them.
    pub fn open(gateway: &str, mode: XdpMode) -> Result<Self, Error> {
        pins::prepare(gateway)?;
        let mut loader = EbpfLoader::new();
        for map in super::contents::NAMES.into_iter().chain(losses::NAMES) {
            loader.map_pin_path(map, pins::map(gateway, map));
        }
        let mut object = loader.load(OBJECT)?;
        links::load(&mut object)?;
        #[cfg(feature = "log")]
        super::log_lines(&mut object);
        let contents = Contents::new(&mut object)?;
        losses::start(&mut object, gateway)?;
        let devices = Devices::open(gateway)?;
        Ok(Self {
            object,
            contents,
            links: Links::new(pins::links(gateway), pins::others(gateway)?, mode),
            devices,
        })
    }

    /// A program that is loaded, for tests that run it by hand.
    pub fn program(&self, entry: Entry) -> Result<&Xdp, Error> {
        let program = self.object.program(entry.name()).ok_or(Error::NoProgram(entry.name()))?;
        let program: Result<&Xdp, ProgramError> = program.try_into();
        program.map_err(|cause| Error::Program { program: entry.name(), cause: cause.into() })
    }
}

impl Dataplane for Bpf {
    fn read(&self) -> Result<Installed, Error> {
        self.contents.read()
    }

    fn apply(&mut self, op: &Op) -> Result<(), Error> {
        self.contents.apply(op)
    }

    fn attach(&mut self, wanted: &[(u32, Entry)]) -> Result<(), Error> {
        self.links.attach(&mut self.object, wanted)?;
        // In native mode the statistics are of the same packets as the tracepoints.
        let modes = self.links.modes().into_iter();
        let skb = modes.filter(|(_, mode)| *mode == XdpMode::Skb).map(|(ifindex, _)| ifindex);
        self.devices.follow(&skb.collect())
    }

    fn modes(&self) -> BTreeMap<u32, XdpMode> {
        self.links.modes()
    }
}
