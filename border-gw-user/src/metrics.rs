//! Prometheus metrics: counters are read from the maps at scrape time, gauges from the state of the last turn.

mod failovers;
mod sessions;

use std::collections::BTreeMap;

use border_gw_common::abi::{INTO, OUT_OF, OWNER_ATTACHMENT, OWNER_VIF, Owner, TO_CUSTOMER, TO_VPC, VERSION};
use prometheus::{Encoder as _, GaugeVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::dataplane;
use crate::health;
use crate::intent::{Cap, Caps};
use crate::state::State;
use crate::view::{self, Count, NextHopRow};

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The maps.
    #[error(transparent)]
    Counters(#[from] dataplane::Error),
    /// The library.
    #[error("cannot render metrics: {0}")]
    Prometheus(#[from] prometheus::Error),
}

struct Page(Registry);

impl Page {
    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        let family = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn real(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        let family = GaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

/// The page that `/metrics` serves, in the text format.
pub fn render(state: &State, count: &impl Count) -> Result<String, Error> {
    let page = Page(Registry::new());
    build(&page, state)?;
    verdicts(&page, state, count)?;
    drops(&page, state, count)?;
    errors(&page, state, count)?;
    vif_traffic(&page, state, count)?;
    attachment_traffic(&page, state, count)?;
    limits(&page, state)?;
    links(&page, state)?;
    tables(&page, state)?;
    next_hops(&page, state)?;
    too_big(&page, state, count)?;
    losses(&page, state, count)?;
    failovers::failovers(&page, state)?;
    sessions::sessions(&page, state)?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&page.0.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn build(page: &Page, state: &State) -> Result<(), Error> {
    let abi = VERSION.to_string();
    page.gauge(
        "border_gw_build_info",
        "Version of the daemon and of the maps' layout.",
        &["version", "abi"],
    )?
    .with_label_values(&[env!("CARGO_PKG_VERSION"), &abi])
    .set(1);
    page.gauge("border_gw_config_last_reload_successful", "1 when the files are what runs.", &[])?
        .with_label_values(&[] as &[&str])
        .set(i64::from(state.config_error.is_none()));
    page.counter("border_gw_reconcile_total", "Turns of the loop since the daemon's start.", &[])?
        .with_label_values(&[] as &[&str])
        .inc_by(state.turns);
    page.counter("border_gw_reconcile_failures_total", "Turns of the loop that failed.", &[])?
        .with_label_values(&[] as &[&str])
        .inc_by(state.failures);
    Ok(())
}

fn verdicts(page: &Page, state: &State, count: &impl Count) -> Result<(), Error> {
    let ended = page.counter(
        "border_gw_verdict_packets_total",
        "What became of the packets of a program; the sum is what it received.",
        &["program", "verdict"],
    )?;
    let received =
        page.counter("border_gw_received_packets_total", "Packets that a program received.", &["program"])?;
    for row in view::summary(state, count)? {
        for (verdict, packets) in [
            ("forwarded", row.forwarded),
            ("punted", row.punted),
            ("passed", row.passed),
            ("answered", row.answered),
            ("dropped", row.dropped),
        ] {
            ended.with_label_values(&[row.program, verdict]).inc_by(packets);
        }
        received.with_label_values(&[row.program]).inc_by(row.received);
    }
    Ok(())
}

fn drops(page: &Page, state: &State, count: &impl Count) -> Result<(), Error> {
    let family = page.counter(
        "border_gw_dropped_packets_total",
        "Packets dropped, by reason; only reasons that were seen.",
        &["program", "border_gateway", "vif", "attachment", "reason"],
    )?;
    for row in view::drops(state, count)? {
        let labels = [row.program, &row.border_gateway, &row.vif, &row.attachment, row.reason];
        family.with_label_values(&labels).inc_by(row.packets);
    }
    Ok(())
}

fn errors(page: &Page, state: &State, count: &impl Count) -> Result<(), Error> {
    let family = page.counter(
        "border_gw_icmp_errors_total",
        "Packets whose senders were told by ICMP why they are not forwarded; only reasons that were seen.",
        &["program", "border_gateway", "vif", "attachment", "reason"],
    )?;
    for row in view::errors(state, count)? {
        let labels = [row.program, &row.border_gateway, &row.vif, &row.attachment, row.reason];
        family.with_label_values(&labels).inc_by(row.packets);
    }
    Ok(())
}

fn vif_traffic(page: &Page, state: &State, count: &impl Count) -> Result<(), Error> {
    let labels = ["connection", "border_gateway", "vif", "direction"];
    let packets = page.counter("border_gw_vif_packets_total", "Packets forwarded.", &labels)?;
    let bytes = page.counter("border_gw_vif_bytes_total", "Bytes of IP packets forwarded.", &labels)?;
    let policed =
        page.counter("border_gw_vif_policed_packets_total", "Packets that a cap refused.", &labels)?;
    let policed_bytes =
        page.counter("border_gw_vif_policed_bytes_total", "Bytes that a cap refused.", &labels)?;
    for (gateway, vif) in view::all_vifs(state) {
        let Some(slot) = state.slots.vifs.get(&vif.name) else { continue };
        let traffic = count.traffic(Owner::new(OWNER_VIF, *slot))?;
        for (direction, name) in [(TO_VPC, "to_vpc"), (TO_CUSTOMER, "to_customer")] {
            let flow = traffic.flows[direction as usize];
            let labels = [vif.connection.as_str(), &gateway.name, &vif.name, name];
            packets.with_label_values(&labels).inc_by(flow.packets);
            bytes.with_label_values(&labels).inc_by(flow.bytes);
            policed.with_label_values(&labels).inc_by(flow.policed_packets);
            policed_bytes.with_label_values(&labels).inc_by(flow.policed_bytes);
        }
    }
    Ok(())
}

fn attachment_traffic(page: &Page, state: &State, count: &impl Count) -> Result<(), Error> {
    let labels = ["border_gateway", "attachment", "direction"];
    let packets = page.counter("border_gw_attachment_packets_total", "Packets forwarded.", &labels)?;
    let bytes =
        page.counter("border_gw_attachment_bytes_total", "Bytes of IP packets forwarded.", &labels)?;
    for gateway in &state.intent.border_gateways {
        for vpc in &gateway.vpc_attachments {
            let Some(slot) = state.slots.attachments.get(&vpc.name) else { continue };
            let traffic = count.traffic(Owner::new(OWNER_ATTACHMENT, *slot))?;
            for (direction, name) in [(INTO, "into_vpc"), (OUT_OF, "out_of_vpc")] {
                let flow = traffic.flows[direction as usize];
                let labels = [gateway.name.as_str(), &vpc.name, name];
                packets.with_label_values(&labels).inc_by(flow.packets);
                bytes.with_label_values(&labels).inc_by(flow.bytes);
            }
        }
    }
    Ok(())
}

fn directions(caps: &Caps) -> impl Iterator<Item = (&'static str, Cap)> {
    [("to_vpc", caps.to_vpc), ("to_customer", caps.to_customer)]
        .into_iter()
        .filter_map(|(direction, cap)| Some((direction, cap?)))
}

fn limits(page: &Page, state: &State) -> Result<(), Error> {
    let labels = ["connection", "border_gateway", "vif", "direction"];
    let rate = page.real("border_gw_vif_limit_bytes_per_second", "Cap of a virtual interface.", &labels)?;
    let burst = page.real("border_gw_vif_burst_bytes", "Depth of a virtual interface's bucket.", &labels)?;
    for (gateway, vif) in view::all_vifs(state) {
        for (direction, cap) in directions(&vif.caps) {
            let labels = [vif.connection.as_str(), &gateway.name, &vif.name, direction];
            rate.with_label_values(&labels).set(cap.rate as f64 / 8.0);
            burst.with_label_values(&labels).set(cap.burst as f64);
        }
    }
    let labels = ["connection", "direction"];
    let rate = page.real("border_gw_connection_limit_bytes_per_second", "Cap of a connection.", &labels)?;
    let burst = page.real("border_gw_connection_burst_bytes", "Depth of a connection's bucket.", &labels)?;
    for connection in &state.intent.connections {
        for (direction, cap) in directions(&connection.caps) {
            let labels = [connection.name.as_str(), direction];
            rate.with_label_values(&labels).set(cap.rate as f64 / 8.0);
            burst.with_label_values(&labels).set(cap.burst as f64);
        }
    }
    Ok(())
}

fn links(page: &Page, state: &State) -> Result<(), Error> {
    let up =
        page.gauge("border_gw_port_up", "1 when a port is up and has carrier.", &["interface", "side"])?;
    for (interface, port) in &state.observed.ports {
        let side = if state.intent.fabric.interfaces.contains(interface) { "fabric" } else { "line" };
        up.with_label_values(&[interface, side]).set(i64::from(port.up));
    }
    let xdp = page.gauge(
        "border_gw_xdp_info",
        "How the program runs on a port, as the kernel says.",
        &["interface", "mode"],
    )?;
    for interface in state.observed.ports.keys() {
        if let Some(mode) = view::xdp_mode(state, interface) {
            xdp.with_label_values(&[interface.as_str(), mode]).set(1);
        }
    }
    let labels = ["connection", "border_gateway", "vif"];
    let vif_up = page.gauge("border_gw_vif_up", "1 when a virtual interface can carry traffic.", &labels)?;
    let labels = ["border_gateway", "vif", "peer"];
    let neighbor = page.gauge("border_gw_neighbor_up", "1 when a customer's router answers.", &labels)?;
    for (gateway, vif) in view::all_vifs(state) {
        let is_up = health::summary(state, gateway, vif) == "up";
        vif_up.with_label_values(&[&vif.connection, &gateway.name, &vif.name]).set(i64::from(is_up));
        for link in &vif.addresses {
            let known = state.observed.neighbors.contains_key(&(vif.name.clone(), link.peer));
            let peer = link.peer.to_string();
            neighbor.with_label_values(&[&gateway.name, &vif.name, &peer]).set(i64::from(known));
        }
    }
    Ok(())
}

fn tables(page: &Page, state: &State) -> Result<(), Error> {
    let labels = ["border_gateway", "state"];
    let hops = page.gauge("border_gw_next_hops", "Next hops of a border gateway.", &labels)?;
    let mut members: BTreeMap<(u32, &str), std::collections::BTreeSet<u64>> = BTreeMap::new();
    for group in state.tables.groups.values() {
        for member in &group.declared {
            let alive = if group.live.contains(member) { "live" } else { "dead" };
            members.entry((group.domain, alive)).or_default().insert(*member);
        }
    }
    let labels = ["border_gateway", "family", "source"];
    let routes = page.gauge("border_gw_routes", "Routes that are installed.", &labels)?;
    for slot in state.installed.domains.keys() {
        let name = view::domain(state, *slot);
        for alive in ["live", "dead"] {
            let number = members.get(&(*slot, alive)).map_or(0, |members| members.len() as i64);
            hops.with_label_values(&[name.as_str(), alive]).set(number);
        }
    }
    page.gauge(
        "border_gw_learned_left_out",
        "Learned routes and sources for which tables have no room.",
        &[],
    )?
    .with_label_values(&[] as &[&str])
    .set(state.tables.left_out as i64);
    for (slot, installed) in &state.installed.routes {
        let (name, origins) = (view::domain(state, *slot), view::Origins::of(state, *slot));
        let mut counts: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for (prefix, route) in installed {
            let family = if prefix.addr().is_ipv4() { "ipv4" } else { "ipv6" };
            *counts.entry((family, origins.source(*prefix, route.owner))).or_default() += 1;
        }
        for ((family, source), count) in counts {
            routes.with_label_values(&[name.as_str(), family, source]).set(count);
        }
    }
    Ok(())
}

/// One series for each pair of next hop and port, however many paths or hosts it stands for: their number is the configuration's.
fn next_hops(page: &Page, state: &State) -> Result<(), Error> {
    let labels = ["border_gateway", "attachment", "vif", "next_hop", "interface"];
    let up = page.gauge("border_gw_next_hop_up", "1 when a next hop can carry traffic.", &labels)?;
    for row in view::next_hops(state) {
        let address = row.way.address.to_string();
        let series = up.with_label_values(&next_hop_labels(&row, &address));
        series.set(series.get().max(i64::from(row.live)));
    }
    Ok(())
}

/// Values of the labels `border_gateway`, `attachment`, `vif`, `next_hop` and `interface`.
fn next_hop_labels<'a>(row: &'a NextHopRow<'_>, address: &'a str) -> [&'a str; 5] {
    let (attachment, vif) = match row.way.owner.kind() {
        OWNER_VIF => ("", row.way.name.as_str()),
        _ => (row.way.name.as_str(), ""),
    };
    let interface = row.way.interface.as_deref().unwrap_or_default();
    [&row.border_gateway, attachment, vif, address, interface]
}

/// As with [`next_hops`]: what several paths or hosts counted is one sum.
fn too_big(page: &Page, state: &State, count: &impl Count) -> Result<(), Error> {
    let labels = ["border_gateway", "attachment", "vif", "next_hop", "interface", "df"];
    let family = page.counter(
        "border_gw_too_big_packets_total",
        "Packets larger than a next hop's MTU; only next hops that refused one.",
        &labels,
    )?;
    let counted = count.too_big()?;
    for row in view::next_hops(state) {
        let Some(counts) = counted.get(&row.identity) else { continue };
        let address = row.way.address.to_string();
        let [gateway, attachment, vif, next_hop, interface] = next_hop_labels(&row, &address);
        for (df, packets) in [("true", counts.with_df), ("false", counts.without_df)] {
            family.with_label_values(&[gateway, attachment, vif, next_hop, interface, df]).inc_by(packets);
        }
    }
    Ok(())
}

fn losses(page: &Page, state: &State, count: &impl Count) -> Result<(), Error> {
    page.gauge("border_gw_losses_counted", "1 when losses after the verdict are counted.", &[])?
        .with_label_values(&[] as &[&str])
        .set(i64::from(count.counts_losses()?));
    let family = page.counter(
        "border_gw_lost_packets_total",
        "Packets that a program sent on and the kernel did not, by the interface that they were to leave by; only reasons that were seen.",
        &["interface", "vif", "attachment", "reason"],
    )?;
    for row in view::losses(state, count)? {
        let name = |kind| if row.kind == kind { row.name.as_str() } else { "" };
        let labels = [row.interface.as_str(), name("vif"), name("attachment"), row.reason];
        family.with_label_values(&labels).inc_by(row.packets);
    }
    Ok(())
}
