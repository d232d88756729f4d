//! Tags on a customer's line: by the kernel's 8021q where it has it, else by a pair of tc programs. Arrivals at a port, by XDP.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aya::maps::{Array, HashMap, MapData, PerCpuArray};
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
    /// What this machine can do: tries to make a VLAN device, on a veth, since `lo` takes none.
    pub fn of_this_kernel(netns: &Netns) -> Self {
        let made = netns.succeeds("ip link add probe type veth")
            && netns.succeeds("ip link add link probe name probe.1 type vlan id 1");
        // With what is on it, and its peer.
        netns.succeeds("ip link del probe");
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

/// DSCP and ECN of numbered datagrams, as [`Observer`] knows them.
pub const NUMBERED: u8 = 0x28;

/// Notes which numbered datagram came in by which port of a namespace, as long as it lives; they end there. Cuts ports.
pub struct Observer {
    seen: Array<MapData, u32>,
    cuts: HashMap<MapData, u32, u32>,
    /// Index of each port, and its place in the list that was asked for.
    ports: BTreeMap<u32, (String, u8)>,
    _programs: Ebpf,
}

impl Observer {
    /// At ports of a namespace, for datagrams with numbers below `numbers`.
    pub fn at(netns: &Netns, ports: &[&str], numbers: u32) -> anyhow::Result<Self> {
        let ports: Vec<String> = ports.iter().map(|&port| port.to_owned()).collect();
        netns
            .inside(move || {
                let mut object = EbpfLoader::new().map_max_entries("SEEN", numbers).load(OBJECT)?;
                let observe: &mut Xdp =
                    object.program_mut("observe").context("no such program")?.try_into()?;
                observe.load()?;
                for port in &ports {
                    observe.attach(port, XdpMode::Driver)?;
                }
                let cut: &mut SchedClassifier =
                    object.program_mut("cut").context("no such program")?.try_into()?;
                cut.load()?;
                for port in &ports {
                    cut.attach(port, TcAttachType::Egress)?;
                }
                let seen = object.take_map("SEEN").context("no such map")?.try_into()?;
                let cuts = object.take_map("CUTS").context("no such map")?.try_into()?;
                let indices = ports.into_iter().enumerate().map(|(place, port)| {
                    let index = nix::net::if_::if_nametoindex(port.as_str())?;
                    Ok((index, (port, place as u8)))
                });
                let ports = indices.collect::<anyhow::Result<_>>()?;
                Ok(Self { seen, cuts, ports, _programs: object })
            })
            .context("cannot attach the programs that observe")
    }

    /// From now on a port passes nothing, in neither direction, and its carrier stays.
    pub fn cut(&mut self, port: &str) -> anyhow::Result<()> {
        let index = self.index(port)?;
        Ok(self.cuts.insert(index, 1, 0)?)
    }

    /// It passes everything again.
    pub fn mend(&mut self, port: &str) -> anyhow::Result<()> {
        let index = self.index(port)?;
        Ok(self.cuts.remove(&index)?)
    }

    fn index(&self, port: &str) -> anyhow::Result<u32> {
        let found = self.ports.iter().find(|(_, (name, _))| name == port);
        Ok(*found.with_context(|| format!("{port} is not observed"))?.0)
    }

    /// Of the first `count` datagrams of a run: the place of the port that each came in by.
    pub fn seen(&self, run: u32, count: u32) -> anyhow::Result<Vec<Option<u8>>> {
        let place = |number| {
            let value = self.seen.get(&number, 0)?;
            let port = self.ports.get(&(value & 0xffff)).filter(|_| value >> 16 == run);
            Ok(port.map(|(_, place)| *place))
        };
        (0..count).map(place).collect()
    }
}
