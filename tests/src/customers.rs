//! The customers of the standard topology as speakers of BGP: keys of their VIFs, and what their routers do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;

use crate::config;
use crate::daemon::Daemon;
use crate::netns::{Netns, Running};
use crate::peer::{Peer, PeerConfig};
use crate::proof::eventually;
use crate::testbed::Testbed;

/// Key of all sessions that have one.
pub const KEY: &str = "a-key-of-22-characters";
/// The gateway's autonomous system.
pub const GATEWAY: u32 = 65000;

/// A VIF of the standard configuration, and its customer.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Name of the VIF.
    pub vif: &'static str,
    /// The customer's autonomous system.
    pub asn: u32,
    /// Number of its link subnets, `169.254.N.0/30` and `fd00:N::/126`.
    pub net: &'static str,
}

/// VIFs of customer a, the first.
pub const A: Line = Line { vif: "vif-a", asn: 65010, net: "10" };
/// The second.
pub const B: Line = Line { vif: "vif-b", asn: 65010, net: "11" };
/// The third, where [`Testbed::connect_third_line`] has made it.
pub const F: Line = Line { vif: "vif-f", asn: 65010, net: "12" };
/// VIF of customer b, with the addresses of [`A`].
pub const C: Line = Line { vif: "vif-c", asn: 65010, net: "10" };
/// VIF of customer d.
pub const D: Line = Line { vif: "vif-d", asn: 4_200_000_013, net: "13" };
/// VIF of customer e.
pub const E: Line = Line { vif: "vif-e", asn: 65014, net: "14" };

impl Line {
    /// Its sessions, IPv4 and IPv6, as the customer has them.
    fn sessions(self) -> [(String, String); 2] {
        let net = self.net;
        [
            (format!("169.254.{net}.1"), format!("169.254.{net}.2")),
            (format!("fd00:{net}::1"), format!("fd00:{net}::2")),
        ]
    }

    /// The value of `bgp` of its VIF; `more` begins with a comma.
    pub fn bgp(self, more: &str) -> String {
        format!("bgp: {{asn: {}{more}}}", self.asn)
    }

    /// The same with [`KEY`].
    pub fn bgp_with_key(self, more: &str) -> String {
        self.bgp(&format!(", password_file: bgp.key{more}"))
    }
}

/// A customer's router with sessions over some lines: all of IPv4 first, then all of IPv6.
pub fn router(lines: &[Line], sources: &[&str]) -> anyhow::Result<PeerConfig> {
    let asn = lines.first().context("no lines")?.asn;
    let all: Vec<_> = lines.iter().map(|line| line.sessions()).collect();
    let families = [0, 1].into_iter().flat_map(|family| all.iter().map(move |sessions| &sessions[family]));
    let sessions: Vec<_> = families.map(|(local, remote)| (local.as_str(), remote.as_str())).collect();
    PeerConfig::new(asn, GATEWAY, &sessions)?.sources(sources)
}

/// Writes a key file beside the configuration.
pub fn write_key(testbed: &Testbed, key: &str) -> anyhow::Result<()> {
    let path = testbed.config.with_file_name("bgp.key");
    fs::write(&path, format!("{key}\n"))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

/// The standard topology and a gateway without static routes, whose VIFs have more keys. It is told to `change` its text.
pub fn testbed(
    keys: &[(Line, &[&str])],
    change: impl FnOnce(String) -> String,
) -> anyhow::Result<(Testbed, Daemon)> {
    let testbed = Testbed::new()?;
    let daemon = start(&testbed, keys, change)?;
    Ok((testbed, daemon))
}

/// Starts such a gateway in a topology.
pub fn start(
    testbed: &Testbed,
    keys: &[(Line, &[&str])],
    change: impl FnOnce(String) -> String,
) -> anyhow::Result<Daemon> {
    write_key(testbed, KEY)?;
    let mut text = change(config::without_routes(&config::standard(&testbed.run)));
    for (line, keys) in keys {
        text = config::with_keys_of_vif(&text, line.vif, keys);
    }
    fs::write(&testbed.config, text)?;
    // What is learned leads to the VPCs, and nothing else does.
    for customer in [&testbed.cust_a, &testbed.cust_b, &testbed.cust_d, &testbed.cust_e] {
        forget_vpcs(customer)?;
    }
    Daemon::start(&testbed.server, &testbed.config)
}

const VPCS: [&str; 6] =
    ["10.1.0.0/16", "10.2.0.0/16", "10.4.0.0/16", "fd00:1::/48", "fd00:2::/48", "fd00:4::/48"];

/// Removes the static routes to VPCs.
fn forget_vpcs(customer: &Netns) -> anyhow::Result<()> {
    let commands = VPCS.map(|vpc| format!("route del {vpc}"));
    customer.ip(&commands.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Static routes to a VPC by a line, for routers that write none into the kernel.
pub fn lead_to_vpc(customer: &Netns, line: Line, routes: &[(&str, &str)]) -> anyhow::Result<()> {
    let [v4, v6] = line.sessions();
    let commands = routes.iter().map(|(vpc, source)| {
        let via = if vpc.contains(':') { &v6.1 } else { &v4.1 };
        format!("route replace {vpc} via {via} src {source}")
    });
    let commands: Vec<_> = commands.collect();
    customer.ip(&commands.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until all sessions of a router are established.
pub fn comes_up(peer: &Peer, daemon: &Daemon) -> anyhow::Result<()> {
    eventually("all sessions are established", || peer.is_established())
        .with_context(|| format!("{:?}\n{}\n{}\n{}", peer.kind, peer.view(), peer.log(), daemon.log()))
}

/// Learned routes of a border gateway: prefix, and the VIFs that it leads to.
pub fn learned(daemon: &Daemon, gateway: &str) -> anyhow::Result<Vec<(String, Vec<String>)>> {
    let routes = daemon.show("routes")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let rows = routes.as_array().context("no routes")?.iter();
    let of_gateway = rows.filter(|row| row["border_gateway"] == gateway && row["source"] == "learned");
    Ok(of_gateway
        .map(|row| (text(&row["prefix"]), row["owners"].as_array().into_iter().flatten().map(text).collect()))
        .collect())
}

/// Waits until a border gateway has learned exactly these.
pub fn learns(daemon: &Daemon, gateway: &str, wanted: &[(&str, &[&str])]) -> anyhow::Result<()> {
    let mut wanted: Vec<(String, Vec<String>)> = wanted
        .iter()
        .map(|(prefix, vifs)| ((*prefix).to_owned(), vifs.iter().map(|&vif| vif.to_owned()).collect()))
        .collect();
    wanted.sort();
    let mut found = Vec::new();
    eventually(&format!("{gateway} learns {wanted:?}"), || {
        found = learned(daemon, gateway)?;
        found.sort();
        Ok(found == wanted)
    })
    .with_context(|| format!("it has {found:?}\n{}", daemon.log()))
}

/// Pings that go on until they are counted.
pub struct Pings(Vec<(String, Running)>);

impl Pings {
    /// A hundred a second to each of some addresses.
    pub fn start(from: &Netns, to: &[&str]) -> anyhow::Result<Self> {
        let pings = to
            .iter()
            .map(|to| Ok(((*to).to_owned(), from.start(&format!("ping -q -i 0.01 -W 1 {to}"))?)))
            .collect::<anyhow::Result<_>>()?;
        thread::sleep(Duration::from_millis(200));
        Ok(Self(pings))
    }

    /// Ends them; how many had no answer, of those to the address that lost most.
    pub fn lost(self) -> anyhow::Result<u64> {
        let mut most = 0;
        for (to, ping) in self.0 {
            let said = String::from_utf8_lossy(&ping.interrupt(Signal::SIGINT)?.stdout).into_owned();
            let number = |end: &str| -> Option<u64> {
                said.split(end).next()?.split([' ', '\n']).rfind(|word| !word.is_empty())?.parse().ok()
            };
            let sent = number(" packets transmitted").with_context(|| said.clone())?;
            let received = number(" received").with_context(|| said.clone())?;
            ensure!(sent > 15, "{to}: {said}");
            // The last one may still have been on its way.
            most = most.max(sent.saturating_sub(1).saturating_sub(received));
        }
        Ok(most)
    }
}

/// The namespace of a border gateway; it is the gateway's, and stays.
pub fn inside(testbed: &Testbed, gateway: &str) -> std::mem::ManuallyDrop<Netns> {
    std::mem::ManuallyDrop::new(Netns { name: format!("{}.{gateway}", testbed.run) })
}
