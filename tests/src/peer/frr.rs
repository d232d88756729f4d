//! FRR as a customer's router: zebra, bgpd and bfdd, all of whose sockets and files are private.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Context as _;
use nix::unistd::{User, chown};
use serde_json::Value;

use super::{Announced, Peer, PeerConfig, Ttl};
use crate::proof::eventually;

/// The daemons, in the order in which they are started. `-n` is not for zebra: it would take every namespace of the machine.
const DAEMONS: [&str; 3] = ["zebra", "bfdd", "bgpd"];

pub(super) fn start(peer: &mut Peer) -> anyhow::Result<()> {
    let directory = peer.directory.display().to_string();
    // They give up root at once, and make their sockets then.
    let user = User::from_name("frr")?.context("there is no user `frr`")?;
    chown(&peer.directory, Some(user.uid), Some(user.gid))?;
    for daemon in DAEMONS {
        if daemon == "bfdd" && peer.config.bfd.is_none() {
            continue;
        }
        let text = match daemon {
            "zebra" => zebra(&peer.config),
            "bfdd" => bfdd(&peer.config),
            _ => bgpd(&peer.config),
        };
        fs::write(peer.path(&format!("{daemon}.conf")), text)?;
        let more = if daemon == "bfdd" { format!(" --bfdctl {directory}/bfdd.ctl") } else { String::new() };
        peer.spawn(
            daemon,
            &format!(
                "/usr/lib/frr/{daemon} -f {directory}/{daemon}.conf -i {directory}/{daemon}.pid -z {directory}/zserv.api \
                 --vty_socket {directory} -A 127.0.0.1 -P 0 --log stdout{more}"
            ),
            &[],
        )?;
        let socket = peer.path(&format!("{daemon}.vty"));
        eventually(daemon, || Ok(std::os::unix::net::UnixStream::connect(&socket).is_ok()))?;
    }
    Ok(())
}

fn vtysh(peer: &Peer, commands: &[String]) -> anyhow::Result<String> {
    let directory = peer.directory.display().to_string();
    let mut command = peer.netns().command("vtysh");
    command.args(["--vty_socket", &directory, "--config_dir", &directory]);
    for line in commands {
        command.args(["-c", line]);
    }
    crate::netns::output(&mut command)
}

pub(super) fn view(peer: &Peer) -> anyhow::Result<String> {
    vtysh(peer, &["show bgp summary".to_owned(), "show running-config".to_owned()])
}

fn json(peer: &Peer, command: &str) -> anyhow::Result<Value> {
    let said = vtysh(peer, &[command.to_owned()])?;
    serde_json::from_str(&said).with_context(|| format!("{command}: {said}"))
}

pub(super) fn established(peer: &Peer) -> anyhow::Result<usize> {
    let neighbors = json(peer, "show bgp neighbors json")?;
    let rows = neighbors.as_object().context("no neighbours")?;
    Ok(rows.values().filter(|row| row["bgpState"] == "Established").count())
}

pub(super) fn received(peer: &Peer) -> anyhow::Result<BTreeSet<String>> {
    let mut prefixes = BTreeSet::new();
    for family in ["ipv4", "ipv6"] {
        let table = json(peer, &format!("show bgp {family} unicast json"))?;
        for (prefix, paths) in table["routes"].as_object().into_iter().flatten() {
            let is_learned = |path: &Value| path["peerId"] != "(unspec)";
            if paths.as_array().is_some_and(|paths| paths.iter().any(is_learned)) {
                prefixes.insert(prefix.clone());
            }
        }
    }
    Ok(prefixes)
}

pub(super) fn announce(peer: &Peer, routes: &[Announced]) -> anyhow::Result<()> {
    let mut lines = vec!["configure terminal".to_owned()];
    lines.extend(routes.iter().flat_map(route_map));
    for route in routes {
        lines.extend(within(&peer.config, route));
        lines.push(network(route));
    }
    vtysh(peer, &lines).map(drop)
}

pub(super) fn withdraw(peer: &Peer, routes: &[Announced]) -> anyhow::Result<()> {
    let mut lines = vec!["configure terminal".to_owned()];
    for route in routes {
        lines.extend(within(&peer.config, route));
        lines.push(format!("no network {}", route.prefix));
    }
    vtysh(peer, &lines).map(drop)
}

/// The mode in which a route is announced.
fn within(config: &PeerConfig, route: &Announced) -> [String; 2] {
    let family = if route.is_v6() { "ipv6" } else { "ipv4" };
    [format!("router bgp {}", config.asn), format!("address-family {family} unicast")]
}

/// Name of the route map of a route.
fn map_name(route: &Announced) -> String {
    format!("M-{}", route.prefix.replace(['/', ':', '.'], "-"))
}

fn network(route: &Announced) -> String {
    format!("network {} route-map {}", route.prefix, map_name(route))
}

fn route_map(route: &Announced) -> Vec<String> {
    let mut lines = vec![format!("route-map {} permit 10", map_name(route))];
    let words = |values: &[&str]| values.join(" ");
    if !route.path.is_empty() {
        let path: Vec<_> = route.path.iter().map(u32::to_string).collect();
        lines.push(format!("set as-path prepend {}", path.join(" ")));
    }
    let (ordinary, large) = route.split_communities();
    if !ordinary.is_empty() {
        lines.push(format!("set community {}", words(&ordinary)));
    }
    if !large.is_empty() {
        lines.push(format!("set large-community {}", words(&large)));
    }
    lines.push("exit".to_owned());
    lines
}

fn zebra(config: &PeerConfig) -> String {
    let mut text = String::new();
    for (family, v6) in [("ip", false), ("ipv6", true)] {
        if let Some(source) = config.source(v6) {
            text.extend([format!(
                "route-map SOURCE-{family} permit 10\n set src {source}\n{family} protocol bgp route-map SOURCE-{family}\n"
            )]);
        }
    }
    text
}

fn bfdd(config: &PeerConfig) -> String {
    let Some(bfd) = config.bfd else { return String::new() };
    let (interval, multiplier) = (bfd.interval_ms, bfd.multiplier);
    format!(
        "bfd\n profile peers\n  receive-interval {interval}\n  transmit-interval {interval}\n  detect-multiplier {multiplier}\n"
    )
}

fn bgpd(config: &PeerConfig) -> String {
    let mut lines: Vec<String> = config.announced.iter().flat_map(route_map).collect();
    lines.extend([
        format!("router bgp {}", config.asn),
        format!("bgp router-id {}", config.router_id),
        "no bgp ebgp-requires-policy".to_owned(),
        "no bgp network import-check".to_owned(),
        "no bgp default ipv4-unicast".to_owned(),
    ]);
    // By default it helps others that restart. In its own first 120 s it says in each session that it has just restarted,
    // and who restarts then waits for nothing of its (RFC 4724, section 4.1).
    if !config.graceful_restart {
        lines.push("bgp graceful-restart-disable".to_owned());
    }
    for (local, remote) in &config.sessions {
        let mut say = |what: &str| lines.push(format!("neighbor {remote} {what}"));
        say(&format!("remote-as {}", config.remote_asn));
        say(&format!("update-source {local}"));
        say("timers connect 1");
        if let Some(password) = &config.password {
            say(&format!("password {password}"));
        }
        if config.bfd.is_some() {
            say("bfd profile peers");
        }
        match config.ttl {
            Ttl::Ordinary => {}
            Ttl::Security => say("ttl-security hops 1"),
            Ttl::Sent(ttl) => say(&format!("ebgp-multihop {ttl}")),
        }
        if config.ipv4_over_ipv6 && remote.is_ipv6() {
            say("capability extended-nexthop");
        }
    }
    for family in ["ipv4", "ipv6"] {
        lines.push(format!("address-family {family} unicast"));
        let routes = config.announced.iter().filter(|route| route.is_v6() == (family == "ipv6"));
        lines.extend(routes.map(network));
        let sessions =
            config.sessions.iter().filter(|(_, remote)| config.families(*remote).contains(&family));
        lines.extend(sessions.map(|(_, remote)| format!("neighbor {remote} activate")));
        lines.push("exit-address-family".to_owned());
    }
    lines.join("\n") + "\n"
}
