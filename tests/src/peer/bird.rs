//! BIRD 2 as a customer's router.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use anyhow::ensure;

use super::{Announced, Peer, PeerConfig, Ttl, prefixes_of_lines};
use crate::proof::eventually;

pub(super) fn start(peer: &mut Peer) -> anyhow::Result<()> {
    let many = peer.path("many.conf");
    if !many.exists() {
        fs::write(&many, "")?;
    }
    fs::write(peer.path("bird.conf"), config(&peer.config))?;
    let [conf, socket, pid] = ["bird.conf", "bird.ctl", "bird.pid"].map(|name| peer.path(name));
    let line =
        format!("nice -n -10 bird -f -c {} -s {} -P {}", conf.display(), socket.display(), pid.display());
    peer.spawn("bird", &line, &[])?;
    eventually("bird answers", || Ok(ask(peer, "show status").is_ok()))
}

/// Takes the configuration that [`Peer::config`] has become.
pub(super) fn configure(peer: &Peer) -> anyhow::Result<()> {
    fs::write(peer.path("bird.conf"), config(&peer.config))?;
    let said = ask(peer, "configure")?;
    ensure!(said.contains("econfigur"), "birdc configure: {said}");
    Ok(())
}

pub(super) fn announce_many(peer: &Peer, v4: u32, v6: u32) -> anyhow::Result<()> {
    let mut text = String::new();
    if v4 > 0 {
        text.push_str("protocol static many4 {\n  ipv4;\n");
        for number in 0..v4 {
            let [first, second, third, _] = (0x1400_0000 + (number << 8)).to_be_bytes();
            writeln!(text, "  route {first}.{second}.{third}.0/24 unreachable;")?;
        }
        text.push_str("}\n");
    }
    if v6 > 0 {
        text.push_str("protocol static many6 {\n  ipv6;\n");
        for number in 0..v6 {
            writeln!(text, "  route 2a00:{:x}:{:x}::/48 unreachable;", 1 + (number >> 16), number & 0xffff)?;
        }
        text.push_str("}\n");
    }
    fs::write(peer.path("many.conf"), text)?;
    configure(peer)
}

pub(super) fn ask(peer: &Peer, command: &str) -> anyhow::Result<String> {
    peer.netns().run(&format!("birdc -s {} {command}", peer.path("bird.ctl").display()))
}

pub(super) fn established(peer: &Peer) -> anyhow::Result<usize> {
    let said = ask(peer, "show protocols")?;
    Ok(said.lines().filter(|line| line.starts_with("peer") && line.contains("Established")).count())
}

pub(super) fn received(peer: &Peer) -> anyhow::Result<BTreeSet<String>> {
    Ok(prefixes_of_lines(&ask(peer, "show route where source = RTS_BGP")?))
}

fn config(config: &PeerConfig) -> String {
    let mut text = format!("router id {};\nprotocol device {{ scan time 1; }}\n", config.router_id);
    // RFC 8326: what is about to go is the last choice.
    text.push_str("filter last_choice { if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }\n");
    for (family, v6) in [("ipv4", false), ("ipv6", true)] {
        let source = config.source(v6).map_or_else(String::new, |source| format!("krt_prefsrc = {source}; "));
        text.extend([format!(
            "protocol kernel kernel_{family} {{\n  merge paths on limit 64;\n  {family} {{ import none; export filter {{ if source \
             != RTS_BGP then reject; {source}accept; }}; }};\n}}\n"
        )]);
        let routes: Vec<_> = config.announced.iter().filter(|route| route.is_v6() == v6).collect();
        text.extend([format!("protocol static static_{family} {{\n  {family};\n")]);
        for route in routes {
            text.extend([format!("  {}\n", static_route(route))]);
        }
        text.push_str("}\n");
    }
    if let Some(bfd) = config.bfd {
        let interval = bfd.interval_ms;
        text.extend([format!(
            "protocol bfd {{\n  interface \"*\" {{ min rx interval {interval} ms; min tx interval {interval} ms; multiplier {}; \
             }};\n}}\n",
            bfd.multiplier
        )]);
    }
    for number in 0..config.sessions.len() {
        text.push_str(&session(config, number));
    }
    text + "include \"many.conf\";\n"
}

fn static_route(route: &Announced) -> String {
    let mut attributes = String::new();
    // The first that is prepended ends up last.
    for asn in route.path.iter().rev() {
        attributes.extend([format!("bgp_path.prepend({asn}); ")]);
    }
    for community in &route.communities {
        let kind = if community.matches(':').count() == 1 { "bgp_community" } else { "bgp_large_community" };
        attributes.extend([format!("{kind}.add(({})); ", community.replace(':', ", "))]);
    }
    let attributes = if attributes.is_empty() { attributes } else { format!(" {{ {attributes}}}") };
    format!("route {} unreachable{attributes};", route.prefix)
}

fn session(config: &PeerConfig, number: usize) -> String {
    let (local, remote) = config.sessions[number];
    let mut lines = vec![
        format!("local {local} as {};", config.asn),
        format!("neighbor {remote} as {};", config.remote_asn),
        "connect delay time 1;".to_owned(),
        "connect retry time 2;".to_owned(),
        "error wait time 1, 2;".to_owned(),
        format!("graceful restart {};", if config.graceful_restart { "on" } else { "off" }),
    ];
    lines.extend(config.password.as_ref().map(|password| format!("password \"{password}\";")));
    match config.ttl {
        Ttl::Ordinary => {}
        Ttl::Security => lines.push("ttl security on;".to_owned()),
        Ttl::Sent(ttl) => lines.push(format!("multihop {ttl};")),
    }
    if let Some(bfd) = config.bfd {
        lines.push(
            if config.graceful_restart && bfd.graceful { "bfd graceful;" } else { "bfd on;" }.to_owned(),
        );
    }
    for family in config.families(remote) {
        let extended = if *family == "ipv4" && remote.is_ipv6() { "extended next hop on; " } else { "" };
        lines.push(format!(
            "{family} {{ {extended}import filter last_choice; export where source = RTS_STATIC; }};"
        ));
    }
    format!("protocol bgp peer{number} {{\n  {}\n}}\n", lines.join("\n  "))
}
