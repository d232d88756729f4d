//! `ExaBGP` as a customer's router: it says what a file tells it to, and writes what happens to another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;

use serde_json::Value;

use super::{Announced, Peer, PeerConfig, Ttl};
use crate::proof::eventually;

/// Talks to the daemon: commands go in, events come out. It ends with the daemon.
const EXCHANGE: &str =
    "#!/bin/sh\ncd \"$(dirname \"$0\")\" || exit 1\ntail -n +1 -f --pid=$$ commands &\nexec cat >>events\n";

pub(super) fn start(peer: &mut Peer) -> anyhow::Result<()> {
    let (conf, exchange) = (peer.path("exabgp.conf"), peer.path("exchange.sh"));
    fs::write(peer.path("commands"), "")?;
    fs::write(peer.path("events"), "")?;
    fs::write(&exchange, EXCHANGE)?;
    fs::write(&conf, config(&peer.config, &exchange.display().to_string()))?;
    let settings = [
        ("exabgp.daemon.drop", "false"),
        ("exabgp.api.cli", "false"),
        ("exabgp.api.ack", "false"),
        ("exabgp.log.destination", "stdout"),
        ("exabgp.cache.attributes", "false"),
    ];
    peer.spawn("exabgp", &format!("exabgp {}", conf.display()), &settings)?;
    let announced = peer.config.announced.clone();
    say(peer, "announce", &announced)?;
    let log = peer.path("exabgp.log");
    eventually("exabgp starts", || {
        Ok(fs::read_to_string(&log)?.contains("loaded new configuration successfully"))
    })
}

pub(super) fn say(peer: &Peer, what: &str, routes: &[Announced]) -> anyhow::Result<()> {
    let mut commands = fs::OpenOptions::new().append(true).open(peer.path("commands"))?;
    for route in routes {
        let carrier = peer.config.sessions.iter().filter(|(_, remote)| remote.is_ipv6() == route.is_v6());
        for (_, remote) in carrier {
            let mut line = format!("neighbor {remote} {what} route {} next-hop self", route.prefix);
            let path: Vec<_> = route.path.iter().map(u32::to_string).collect();
            if !path.is_empty() {
                line.extend([format!(" as-path [ {} {} ]", peer.config.asn, path.join(" "))]);
            }
            let (ordinary, large) = route.split_communities();
            if !ordinary.is_empty() {
                line.extend([format!(" community [ {} ]", ordinary.join(" "))]);
            }
            if !large.is_empty() {
                line.extend([format!(" large-community [ {} ]", large.join(" "))]);
            }
            writeln!(commands, "{line}")?;
        }
    }
    Ok(())
}

/// The last state of each neighbour, and what it announces.
fn neighbors(peer: &Peer) -> anyhow::Result<BTreeMap<String, (bool, BTreeSet<String>)>> {
    let mut all: BTreeMap<String, (bool, BTreeSet<String>)> = BTreeMap::new();
    for line in fs::read_to_string(peer.path("events"))?.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let neighbor = &event["neighbor"];
        let Some(name) = neighbor["address"]["peer"].as_str() else { continue };
        let (is_up, prefixes) = all.entry(name.to_owned()).or_default();
        match neighbor["state"].as_str() {
            Some("up") => *is_up = true,
            Some("down") => (*is_up, *prefixes) = (false, BTreeSet::new()),
            _ => {}
        }
        let update = &neighbor["message"]["update"];
        let families = |what: &str| update[what].as_object().cloned().into_iter().flatten();
        let names = |list: &Value| -> Vec<String> {
            let rows = list.as_array().into_iter().flatten();
            rows.filter_map(|row| row["nlri"].as_str().map(str::to_owned)).collect()
        };
        for (_, by_next_hop) in families("announce") {
            let lists = by_next_hop.as_object().into_iter().flatten();
            prefixes.extend(lists.flat_map(|(_, list)| names(list)));
        }
        for (_, list) in families("withdraw") {
            for name in names(&list) {
                prefixes.remove(&name);
            }
        }
    }
    Ok(all)
}

pub(super) fn established(peer: &Peer) -> anyhow::Result<usize> {
    Ok(neighbors(peer)?.values().filter(|(is_up, _)| *is_up).count())
}

pub(super) fn received(peer: &Peer) -> anyhow::Result<BTreeSet<String>> {
    Ok(neighbors(peer)?.into_values().flat_map(|(_, prefixes)| prefixes).collect())
}

fn config(config: &PeerConfig, exchange: &str) -> String {
    let mut text = format!("process exchange {{\n  run /bin/sh {exchange};\n  encoder json;\n}}\n");
    for (local, remote) in &config.sessions {
        text.push_str(&neighbor(config, *local, *remote));
    }
    text
}

fn neighbor(config: &PeerConfig, local: IpAddr, remote: IpAddr) -> String {
    let mut lines = vec![
        format!("router-id {};", config.router_id),
        format!("local-address {local};"),
        format!("local-as {};", config.asn),
        format!("peer-as {};", config.remote_asn),
        "hold-time 30;".to_owned(),
    ];
    lines.extend(config.password.as_ref().map(|password| format!("md5-password \"{password}\";")));
    match config.ttl {
        Ttl::Ordinary => {}
        Ttl::Security => lines.extend(["outgoing-ttl 255;", "incoming-ttl 255;"].map(str::to_owned)),
        Ttl::Sent(ttl) => lines.push(format!("outgoing-ttl {ttl};")),
    }
    let families: Vec<_> =
        config.families(remote).iter().map(|family| format!("{family} unicast;")).collect();
    lines.push(format!("family {{ {} }}", families.join(" ")));
    let graceful = if config.graceful_restart { " graceful-restart 120;" } else { "" };
    lines.push(format!("capability {{ asn4 enable;{graceful} }}"));
    lines.push("api { processes [ exchange ]; neighbor-changes; receive { parsed; update; } }".to_owned());
    format!("neighbor {remote} {{\n  {}\n}}\n", lines.join("\n  "))
}
