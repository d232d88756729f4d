//! `GoBGP` as a customer's router.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use anyhow::Context as _;
use serde_json::Value;

use super::{Announced, Peer, PeerConfig, Ttl};
use crate::proof::eventually;

/// What the daemon says of an established session.
const ESTABLISHED: u64 = 6;

pub(super) fn start(peer: &mut Peer) -> anyhow::Result<()> {
    let conf = peer.path("gobgpd.toml");
    fs::write(&conf, config(&peer.config))?;
    // Its API is on the loopback of the namespace, where nobody else is.
    let line = format!("gobgpd -p --pprof-disable --api-hosts 127.0.0.1:50051 -f {}", conf.display());
    peer.spawn("gobgpd", &line, &[])?;
    eventually("gobgpd answers", || Ok(ask(peer, "global").is_ok()))?;
    let announced = peer.config.announced.clone();
    announce(peer, &announced)
}

fn ask(peer: &Peer, words: &str) -> anyhow::Result<String> {
    peer.netns().run(&format!("gobgp -u 127.0.0.1 -p 50051 {words}"))
}

pub(super) fn view(peer: &Peer) -> anyhow::Result<String> {
    ask(peer, "neighbor")
}

fn neighbors(peer: &Peer) -> anyhow::Result<Vec<Value>> {
    let said = ask(peer, "neighbor -j")?;
    serde_json::from_str(&said).with_context(|| format!("gobgp neighbor -j: {said}"))
}

pub(super) fn established(peer: &Peer) -> anyhow::Result<usize> {
    let is_up = |row: &&Value| row["state"]["session_state"].as_u64() == Some(ESTABLISHED);
    Ok(neighbors(peer)?.iter().filter(is_up).count())
}

pub(super) fn received(peer: &Peer) -> anyhow::Result<BTreeSet<String>> {
    let mut prefixes = BTreeSet::new();
    for (_, remote) in &peer.config.sessions {
        for family in peer.config.families(*remote) {
            let said = ask(peer, &format!("neighbor {remote} adj-in -a {family} -j"))?;
            // A neighbour that is away has no table.
            let table: Value = serde_json::from_str(&said).unwrap_or_default();
            prefixes.extend(table.as_object().into_iter().flatten().map(|(prefix, _)| prefix.clone()));
        }
    }
    Ok(prefixes)
}

pub(super) fn announce(peer: &Peer, routes: &[Announced]) -> anyhow::Result<()> {
    change(peer, "add", routes)
}

pub(super) fn withdraw(peer: &Peer, routes: &[Announced]) -> anyhow::Result<()> {
    change(peer, "del", routes)
}

fn change(peer: &Peer, what: &str, routes: &[Announced]) -> anyhow::Result<()> {
    for route in routes {
        let family = if route.is_v6() { "ipv6" } else { "ipv4" };
        let mut words = format!("global rib {what} -a {family} {}", route.prefix);
        if !route.path.is_empty() {
            let path: Vec<_> = route.path.iter().map(u32::to_string).collect();
            words.extend([format!(" aspath {}", path.join(","))]);
        }
        let (ordinary, large) = route.split_communities();
        if !ordinary.is_empty() {
            words.extend([format!(" community {}", ordinary.join(","))]);
        }
        if !large.is_empty() {
            words.extend([format!(" large-community {}", large.join(","))]);
        }
        ask(peer, &words)?;
    }
    Ok(())
}

fn config(config: &PeerConfig) -> String {
    let mut text = format!(
        "[global.config]\n  as = {}\n  router-id = \"{}\"\n  port = 179\n",
        config.asn, config.router_id
    );
    for (local, remote) in &config.sessions {
        text.push_str(&neighbor(config, *local, *remote));
    }
    text
}

fn neighbor(config: &PeerConfig, local: IpAddr, remote: IpAddr) -> String {
    let mut text = format!(
        "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{remote}\"\n    peer-as = {}\n",
        config.remote_asn
    );
    if let Some(password) = &config.password {
        text.extend([format!("    auth-password = \"{password}\"\n")]);
    }
    text.extend([format!("  [neighbors.transport.config]\n    local-address = \"{local}\"\n")]);
    text.push_str("  [neighbors.timers.config]\n    connect-retry = 5\n    idle-hold-time-after-reset = 1\n");
    match config.ttl {
        Ttl::Ordinary => {}
        Ttl::Security => {
            text.push_str("  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255\n");
        }
        Ttl::Sent(ttl) => {
            text.extend([format!(
                "  [neighbors.ebgp-multihop.config]\n    enabled = true\n    multihop-ttl = {ttl}\n"
            )]);
        }
    }
    if config.graceful_restart {
        text.push_str("  [neighbors.graceful-restart.config]\n    enabled = true\n    restart-time = 120\n");
    }
    for family in config.families(remote) {
        text.extend([format!(
            "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      afi-safi-name = \"{family}-unicast\"\n"
        )]);
        if config.graceful_restart {
            text.push_str("    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true\n");
        }
    }
    text
}
