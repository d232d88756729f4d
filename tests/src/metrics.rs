//! The gateway's metrics, scraped and added up.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::netns::Netns;

/// One scrape: series by their text, such as `border_gw_dropped_packets_total{reason="no_route",..}`.
#[derive(Clone, Debug, Default)]
pub struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    /// Scrapes the gateway in a server's namespace.
    pub fn of(server: &Netns) -> anyhow::Result<Self> {
        let text = server.inside(|| get("127.0.0.1:9900", "/metrics"))?;
        let mut series = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, value) =
                line.rsplit_once(' ').with_context(|| format!("a line without a value: {line}"))?;
            series.insert(name.to_owned(), value.parse()?);
        }
        Ok(Self(series))
    }

    /// Sum of the series of a family that have all of these labels.
    pub fn sum(&self, family: &str, labels: &[(&str, &str)]) -> u64 {
        let wanted: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let of_family = |name: &str| name.split('{').next() == Some(family);
        let has_all = |name: &str| {
            wanted
                .iter()
                .all(|label| name.contains(&format!("{{{label}")) || name.contains(&format!(",{label}")))
        };
        self.0
            .iter()
            .filter(|(name, _)| of_family(name) && has_all(name))
            .map(|(_, value)| *value as u64)
            .sum()
    }

    /// Packets refused for a reason: dropped, or turned into an ICMP error.
    pub fn refused(&self, reason: &str) -> u64 {
        let families = ["border_gw_dropped_packets_total", "border_gw_icmp_errors_total"];
        families.iter().map(|family| self.sum(family, &[("reason", reason)])).sum()
    }

    /// `received - (forwarded + punted + passed + answered + dropped)` of each program: nothing but zeros.
    pub fn unaccounted(&self) -> BTreeMap<&'static str, i64> {
        ["line", "fabric", "host"]
            .into_iter()
            .map(|program| {
                let received = self.sum("border_gw_received_packets_total", &[("program", program)]);
                let ended = self.sum("border_gw_verdict_packets_total", &[("program", program)]);
                (program, received.cast_signed() - ended.cast_signed())
            })
            .collect()
    }

    /// Every drop reason with its count.
    pub fn all_drops(&self) -> BTreeMap<String, u64> {
        let mut drops = BTreeMap::new();
        for (name, value) in
            self.0.iter().filter(|(name, _)| name.starts_with("border_gw_dropped_packets_total{"))
        {
            let reason = name.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
            *drops.entry(reason.to_owned()).or_default() += *value as u64;
        }
        drops
    }
}

/// A plain HTTP request.
pub fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("GET {path}: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
