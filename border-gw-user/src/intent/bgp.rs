//! Sections `bgp` and `bfd` of a virtual interface, and their values.

use std::time::Duration;

use super::diagnostic::{At, Place, Report, Wrong};
use super::record::{Record, scalar};
use super::tree::Node;
use super::values::{self, Read, any_of, number};
use super::{Accept, Bfd, Bgp, Community, Password, Secret};

/// Shortest hold time (RFC 4271, section 4.2: 0, or at least 3 seconds; without one a dead peer is never noticed).
const MIN_HOLD_TIME: Duration = Duration::from_secs(3);
/// Longest hold time: 16 bits of seconds.
const MAX_HOLD_TIME: Duration = Duration::from_secs(65535);
/// Default hold time (RFC 4271, section 10).
const DEFAULT_HOLD_TIME: Duration = Duration::from_secs(90);
/// Default of `max_prefixes`, a family.
const DEFAULT_MAX_PREFIXES: u32 = 100;
/// Default local preference, as of all routers.
const DEFAULT_LOCAL_PREFERENCE: u32 = 100;
/// Shortest interval of BFD.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Longest interval of BFD.
const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// Default interval and multiplier: 900 ms.
const DEFAULT_BFD: Bfd = Bfd { interval: Duration::from_millis(300), multiplier: 3 };
/// Longest key: what Linux takes (`TCP_MD5SIG_MAXKEYLEN`).
pub(super) const MAX_KEY: usize = 80;

/// A section `bgp`.
#[derive(Debug)]
pub(super) struct Document {
    /// Where it begins.
    pub(super) at: Place,
    pub(super) asn: Option<At<u32>>,
    /// `password_file`, not read yet.
    pub(super) password_file: Option<At<String>>,
    /// What was in it.
    pub(super) password: Option<Password>,
    pub(super) max_prefixes: u32,
    hold_time: Duration,
    local_preference: u32,
    prepend: u8,
    ttl_security: bool,
    graceful_restart: bool,
    accept: Accept,
}

impl Document {
    /// The section, validated; none if a value is absent.
    pub(super) fn build(self) -> Option<Bgp> {
        if self.password_file.is_some() && self.password.is_none() {
            return None;
        }
        Some(Bgp {
            asn: self.asn?.value,
            password: self.password,
            max_prefixes: self.max_prefixes,
            hold_time: self.hold_time,
            local_preference: self.local_preference,
            prepend: self.prepend,
            ttl_security: self.ttl_security,
            graceful_restart: self.graceful_restart,
            accept: self.accept,
        })
    }
}

/// Reads `bgp` of a virtual interface.
pub(super) fn bgp(report: &mut Report, node: &Node) -> Option<Document> {
    let optional = [
        "password_file",
        "max_prefixes",
        "hold_time",
        "local_preference",
        "prepend",
        "ttl_security",
        "graceful_restart",
        "accept",
    ];
    let record = Record::new(report, node, "`bgp`", &["asn"], &optional)?;
    Some(Document {
        at: node.at,
        asn: record.scalar(report, "asn", values::asn),
        password_file: record.scalar(report, "password_file", values::path),
        password: None,
        max_prefixes: record
            .scalar(report, "max_prefixes", |text| number(text, "a number of prefixes", 1..=1_000_000))
            .map_or(DEFAULT_MAX_PREFIXES, |most| most.value),
        hold_time: record.scalar(report, "hold_time", hold_time).map_or(DEFAULT_HOLD_TIME, |time| time.value),
        local_preference: record
            .scalar(report, "local_preference", |text| number(text, "a local preference", 0..=u32::MAX))
            .map_or(DEFAULT_LOCAL_PREFERENCE, |preference| preference.value),
        prepend: record
            .scalar(report, "prepend", |text| number(text, "a number of times to prepend", 0..=10))
            .map_or(0, |prepend| prepend.value as u8),
        ttl_security: record
            .scalar(report, "ttl_security", values::boolean)
            .is_some_and(|security| security.value),
        graceful_restart: record
            .scalar(report, "graceful_restart", values::boolean)
            .is_none_or(|restart| restart.value),
        accept: accept(report, &record),
    })
}

/// `accept: [default_route, bogons, own_asn]`.
fn accept(report: &mut Report, record: &Record<'_>) -> Accept {
    const WHAT: [&str; 3] = ["default_route", "bogons", "own_asn"];
    let asked = record.list(report, "accept", |report, node| {
        scalar(report, node, "an entry of `accept`", |text| {
            WHAT.iter().position(|what| *what == text).ok_or_else(|| Wrong {
                message: format!("`{text}` is not known here"),
                help: format!("write {}", any_of(&WHAT)),
            })
        })
    });
    let has = |index| asked.iter().any(|entry| entry.value == index);
    Accept { default_route: has(0), bogons: has(1), own_asn: has(2) }
}

/// Reads `bfd` of a virtual interface.
pub(super) fn bfd(report: &mut Report, node: &Node) -> Option<Bfd> {
    let record = Record::new(report, node, "`bfd`", &[], &["interval", "multiplier"])?;
    Some(Bfd {
        interval: record
            .scalar(report, "interval", |text| within(text, MIN_INTERVAL, MAX_INTERVAL, "BFD's interval"))
            .map_or(DEFAULT_BFD.interval, |interval| interval.value),
        multiplier: record
            .scalar(report, "multiplier", |text| number(text, "BFD's multiplier", 2..=50))
            .map_or(DEFAULT_BFD.multiplier, |multiplier| multiplier.value as u8),
    })
}

fn hold_time(text: &str) -> Read<Duration> {
    let time = within(text, MIN_HOLD_TIME, MAX_HOLD_TIME, "the hold time")?;
    if time.subsec_millis() > 0 {
        return Err(Wrong {
            message: format!("the hold time {text} is not in whole seconds"),
            help: "BGP counts it in seconds (RFC 4271, section 4.2)".into(),
        });
    }
    Ok(time)
}

fn within(text: &str, least: Duration, most: Duration, what: &str) -> Read<Duration> {
    let time = values::duration(text)?;
    if time < least || time > most {
        return Err(Wrong {
            message: format!("{what} {text} is too {}", if time < least { "short" } else { "long" }),
            help: format!("it is {least:?} to {most:?}"),
        });
    }
    Ok(time)
}

/// A community.
pub(super) fn community(text: &str) -> Read<Community> {
    text.parse().map_err(|()| Wrong {
        message: format!("`{text}` is not a BGP community"),
        help: "write it in quotes, as \"65000:100\" (RFC 1997) or \"65000:1:2\" (RFC 8092)".into(),
    })
}

/// A key as a file holds it: one line.
pub(super) fn key(text: &str) -> Read<Secret> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    // What BIRD's configuration can quote (its strings end with the line, and know no escapes).
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' || byte == b' ';
    if (1..=MAX_KEY).contains(&line.len()) && line.bytes().all(fits) {
        return Ok(Secret::from(line.to_owned()));
    }
    Err(Wrong {
        message: "this is not a key for BGP".into(),
        help: format!("one line of 1 to {MAX_KEY} printable ASCII characters without a quotation mark"),
    })
}
