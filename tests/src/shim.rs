//! Tags on a customer's line: by the kernel's 8021q where it has it, else by a pair of tc programs. Arrivals at a port, by XDP.

use anyhow::Context as _;
use aya::maps::{MapData, PerCpuArray};
use aya::programs::tc::{SchedClassifier, TcAttachType};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};

use crate::netns::Netns;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/vlan-shim"));

/// Tags of a line.
#[derive(Clone, Copy, Debug)]
pub struct Tags {
    /// `TPID` of the outer tag.
    pub tpid: u16,
    /// Outer identifier.
    pub outer: u16,
    /// Inner identifier, or 0.
    pub inner: u16,
}

/// What puts the tags on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagging {
    /// Kernel VLAN devices.
    Kernel,
    /// tc programs.
    Shim,
}

impl Tagging {
    /// What this machine can do: tries to make a VLAN device.
    pub fn of_this_kernel(netns: &Netns) -> Self {
        let made = netns.succeeds("ip link add link lo name probe type vlan id 1");
        if made { Self::Kernel } else { Self::Shim }
    }

    /// One line for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Kernel => "customers tag with the kernel's 8021q",
            Self::Shim => "customers tag with a tc program (this kernel has no 8021q)",
        }
    }
}

/// A line that tags; the programs run as long as this lives.
#[derive(Debug)]
pub struct Line {
    /// The interface that carries the customer's addresses.
    pub interface: String,
    _programs: Option<Ebpf>,
}

/// Makes `port`, in a customer's namespace, a tagged line.
pub fn tag(netns: &Netns, tagging: Tagging, port: &str, tags: Tags) -> anyhow::Result<Line> {
    match tagging {
        Tagging::Shim => {
            let programs = shim(netns, port, tags)?;
            Ok(Line { interface: port.to_owned(), _programs: Some(programs) })
        }
        Tagging::Kernel => {
            let protocol = if tags.tpid == 0x88a8 { "802.1ad" } else { "802.1Q" };
            let outer = format!("{port}.{}", tags.outer);
            netns.ip(&[
                &format!("link add link {port} name {outer} type vlan protocol {protocol} id {}", tags.outer),
                &format!("link set {outer} up"),
            ])?;
            if tags.inner == 0 {
                return Ok(Line { interface: outer, _programs: None });
            }
            let inner = format!("{outer}.{}", tags.inner);
            netns.ip(&[
                &format!("link add link {outer} name {inner} type vlan id {}", tags.inner),
                &format!("link set {inner} up"),
            ])?;
            Ok(Line { interface: inner, _programs: None })
        }
    }
}

fn shim(netns: &Netns, port: &str, tags: Tags) -> anyhow::Result<Ebpf> {
    let port = port.to_owned();
    netns
        .inside(move || {
            let mut object = EbpfLoader::new()
                .override_global("TPID", &tags.tpid, true)
                .override_global("OUTER", &tags.outer, true)
                .override_global("INNER", &tags.inner, true)
                .load(OBJECT)?;
            for (name, hook) in [("push", TcAttachType::Egress), ("pop", TcAttachType::Ingress)] {
                let program: &mut SchedClassifier =
                    object.program_mut(name).context("no such program")?.try_into()?;
                program.load()?;
                // tcx on new kernels, which needs no qdisc.
                program.attach(&port, hook)?;
            }
            Ok(object)
        })
        .context("cannot attach the tagging programs")
}

/// Counts the frames of the gateway's programs that arrive at a port, as long as it lives. Those that [`MARK`] marks end there.
pub struct Arrivals {
    frames: PerCpuArray<MapData, u64>,
    _programs: Ebpf,
}

/// DSCP and ECN (the byte behind the version) of datagrams that nobody is to answer.
pub const MARK: u8 = 0x20;

impl Arrivals {
    /// At a port of a namespace.
    pub fn at(netns: &Netns, port: &str) -> anyhow::Result<Self> {
        let port = port.to_owned();
        netns
            .inside(move || {
                let mut object = EbpfLoader::new().load(OBJECT)?;
                let program: &mut Xdp =
                    object.program_mut("arrived").context("no such program")?.try_into()?;
                program.load()?;
                program.attach(&port, XdpMode::Driver)?;
                let frames = object.take_map("ARRIVED").context("no such map")?.try_into()?;
                Ok(Self { frames, _programs: object })
            })
            .context("cannot attach the program that counts arrivals")
    }

    /// Frames so far.
    pub fn count(&self) -> anyhow::Result<u64> {
        Ok(self.frames.get(&0, 0)?.iter().sum())
    }
}
