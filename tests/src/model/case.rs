//! A case: a configuration, what is seen of the kernel, and a frame. As a text it can be run again.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail};
use border_gw::intent::{Drain, Intent, load};
use border_gw::kernel::{Hop, Learned, Observed, PortState, UnderlayPath};
use border_gw_common::abi::Entry;

use super::document;

/// First line of the text.
const TITLE: &str = "border-gw model case 1";
/// What stands in front of the configuration, which goes on to the end.
const CONFIGURATION: &str = "configuration:";
/// Bytes in a line of the frame.
const ROW: usize = 16;

/// What is declared, and what is seen.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The configuration.
    pub intent: Intent,
    /// Ports, neighbours, learned routes.
    pub observed: Observed,
}

/// A frame in a scene.
#[derive(Clone, Debug)]
pub struct Case {
    /// The server.
    pub scene: Scene,
    /// The program that receives it.
    pub entry: Entry,
    /// The interface on which it comes.
    pub ifindex: u32,
    /// Its bytes.
    pub frame: Vec<u8>,
}

impl Scene {
    /// The same, with the intent as the daemon reads it from the text.
    pub fn reread(&self) -> anyhow::Result<Self> {
        let mut intent = read_configuration(&document::write(&self.intent))?;
        intent.drained.clone_from(&self.intent.drained);
        Ok(Self { intent, observed: self.observed.clone() })
    }
}

/// Reads a configuration as the daemon does.
fn read_configuration(text: &str) -> anyhow::Result<Intent> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("border-gw-model-{}-{number}.yaml", std::process::id()));
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    let loaded = load(&path);
    std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    loaded.map_err(|errors| anyhow::anyhow!("{errors}\n{text}"))
}

impl Case {
    /// The text.
    pub fn write(&self) -> String {
        let mut text = format!("{TITLE}\nentry: {}\nifindex: {}\nframe:\n", self.entry.name(), self.ifindex);
        text += &dump(&self.frame);
        text += "observed:\n";
        for said in observed(&self.scene) {
            text.extend(["  ", said.as_str(), "\n"]);
        }
        text + CONFIGURATION + "\n" + &document::write(&self.scene.intent)
    }

    /// Reads a text again.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        let (head, configuration) =
            text.split_once(&format!("\n{CONFIGURATION}\n")).context("no line `configuration:`")?;
        let intent = read_configuration(configuration)?;
        let mut case = Self {
            scene: Scene { intent, observed: Observed::default() },
            entry: Entry::Line,
            ifindex: 0,
            frame: Vec::new(),
        };
        let mut lines = head.lines();
        if lines.next() != Some(TITLE) {
            bail!("the first line is not `{TITLE}`");
        }
        for line in lines {
            case.take(line).with_context(|| format!("in `{line}`"))?;
        }
        Ok(case)
    }

    /// Reads a case from a file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::read(&text).with_context(|| format!("{} is no case", path.display()))
    }

    fn take(&mut self, line: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["entry:", name] => {
                let entry = Entry::ALL.into_iter().find(|entry| entry.name() == name);
                self.entry = entry.context("no such program")?;
            }
            ["ifindex:", number] => self.ifindex = number.parse()?,
            ["frame:" | "observed:"] | [] => {}
            [offset, ..] if offset.ends_with(':') => {
                for byte in &words[1..] {
                    self.frame.push(u8::from_str_radix(byte, 16)?);
                }
            }
            _ => see(&mut self.scene, &words)?,
        }
        Ok(())
    }
}

/// Bytes in hex, each line with its offset.
pub fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, bytes) in bytes.chunks(ROW).enumerate() {
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // Writing to a text never fails.
        let _always = writeln!(text, "  {:04x}: {}", row * ROW, hex.join(" "));
    }
    text
}

/// What is seen, a line each.
fn observed(scene: &Scene) -> Vec<String> {
    let Observed { ports, vif_veths, attachment_veths, neighbors, underlay, learned, bfd_down } =
        &scene.observed;
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut lines = Vec::new();
    lines.extend(ports.iter().map(|(name, port)| {
        let PortState { ifindex, mac, up, mtu, speed } = port;
        format!("port {name} {ifindex} {mac} {up} {mtu} {}", or_none(speed.map(|speed| speed.to_string())))
    }));
    lines.extend(vif_veths.iter().map(|(name, ifindex)| format!("vif_veth {name} {ifindex}")));
    lines.extend(attachment_veths.iter().map(|(name, ifindex)| format!("vpc_veth {name} {ifindex}")));
    lines.extend(neighbors.iter().map(|((vif, peer), mac)| format!("neighbor {vif} {peer} {mac}")));
    lines.extend(bfd_down.iter().map(|(vif, peer)| format!("bfd_down {vif} {peer}")));
    for (vtep, paths) in underlay {
        lines.extend(paths.iter().map(|UnderlayPath { interface, next_hop, mac }| {
            format!("underlay {vtep} {interface} {next_hop} {}", or_none(mac.map(|mac| mac.to_string())))
        }));
    }
    for (gateway, learned) in learned {
        for (prefix, hops) in &learned.routes {
            let hops = hops.iter().map(|hop| format!("{}/{}", hop.vif, if hop.is_v4 { 4 } else { 6 }));
            lines.push(format!("route {gateway} {prefix} {}", hops.collect::<Vec<_>>().join(" ")));
        }
        for (vif, prefixes) in &learned.sources {
            lines.extend(prefixes.iter().map(|prefix| format!("source {gateway} {vif} {prefix}")));
        }
    }
    lines.extend(scene.intent.drained.keys().map(|vif| format!("drained {vif}")));
    lines
}

/// Takes a line of [`observed`].
fn see(scene: &mut Scene, words: &[&str]) -> anyhow::Result<()> {
    let seen = &mut scene.observed;
    match *words {
        ["port", name, ifindex, mac, up, mtu, speed] => {
            let (ifindex, mac, up, mtu) = (ifindex.parse()?, mac.parse()?, up.parse()?, mtu.parse()?);
            let port = PortState { ifindex, mac, up, mtu, speed: unless_none(speed)? };
            seen.ports.insert(name.to_owned(), port);
        }
        ["vif_veth", name, ifindex] => drop(seen.vif_veths.insert(name.to_owned(), ifindex.parse()?)),
        ["vpc_veth", name, ifindex] => drop(seen.attachment_veths.insert(name.to_owned(), ifindex.parse()?)),
        ["neighbor", vif, peer, mac] => {
            seen.neighbors.insert((vif.to_owned(), peer.parse()?), mac.parse()?);
        }
        ["bfd_down", vif, peer] => drop(seen.bfd_down.insert((vif.to_owned(), peer.parse()?))),
        ["underlay", vtep, interface, next_hop, mac] => {
            let vtep: IpAddr = vtep.parse()?;
            let (interface, next_hop, mac) = (interface.to_owned(), next_hop.parse()?, unless_none(mac)?);
            seen.underlay.entry(vtep).or_default().push(UnderlayPath { interface, next_hop, mac });
        }
        ["route", gateway, prefix, ref hops @ ..] => {
            let hops = hops.iter().map(|hop| {
                let (vif, family) = hop.split_once('/').context("a hop is VIF/4 or VIF/6")?;
                Ok(Hop { vif: vif.into(), is_v4: family == "4" })
            });
            let hops: Arc<[Hop]> = hops.collect::<anyhow::Result<Vec<_>>>()?.into();
            let prefix = prefix.parse()?;
            learned(seen, gateway).routes.insert(prefix, hops);
        }
        ["source", gateway, vif, prefix] => {
            let prefix = prefix.parse()?;
            learned(seen, gateway).sources.entry(vif.to_owned()).or_default().insert(prefix);
        }
        ["drained", vif] => drop(scene.intent.drained.insert(vif.to_owned(), Drain::Announced)),
        _ => bail!("nothing that is seen is written so"),
    }
    Ok(())
}

fn learned<'a>(seen: &'a mut Observed, gateway: &str) -> &'a mut Learned {
    Arc::make_mut(seen.learned.entry(gateway.to_owned()).or_default())
}

fn unless_none<T: FromStr>(word: &str) -> Result<Option<T>, T::Err> {
    if word == "-" { Ok(None) } else { word.parse().map(Some) }
}
