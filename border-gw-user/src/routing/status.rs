//! What BIRD says about sessions: its text to types. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::conf::{Family, carried, session_name};
use super::refusal::Refusal;
use crate::intent::VirtualInterface;

/// How BIRD is told to write times: what people can read, and programs too.
pub(super) const TIME_FORMAT: &str = "%FT%T%z";

/// How far a session is (RFC 4271, section 8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BgpState {
    /// BIRD does not answer, or does not know this session yet.
    Unknown,
    /// Disabled: drained, or its virtual interface is administratively down.
    Down,
    /// Waits for its interface, or after an error.
    Idle,
    /// Tries to connect.
    Connect,
    /// Waits to try again.
    Active,
    /// Has said what it is.
    OpenSent,
    /// Has agreed with the peer.
    OpenConfirm,
    /// Up.
    Established,
    /// Ends.
    Close,
}

impl BgpState {
    fn of_text(text: &str) -> Self {
        match text {
            "Down" => Self::Down,
            "Idle" => Self::Idle,
            "Connect" => Self::Connect,
            "Active" => Self::Active,
            "OpenSent" => Self::OpenSent,
            "OpenConfirm" => Self::OpenConfirm,
            "Established" => Self::Established,
            "Close" => Self::Close,
            _ => Self::Unknown,
        }
    }

    /// As in tables, and as value of labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Active => "active",
            Self::OpenSent => "open_sent",
            Self::OpenConfirm => "open_confirm",
            Self::Established => "established",
            Self::Close => "close",
        }
    }
}

/// How far a BFD session is (RFC 5880, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BfdState {
    /// BIRD does not answer, or has no such session.
    Unknown,
    /// Taken out of service.
    AdminDown,
    /// Nothing is heard.
    Down,
    /// The peer is heard, but does not hear us yet.
    Init,
    /// Up.
    Up,
}

impl BfdState {
    fn of_text(text: &str) -> Self {
        match text {
            "AdminDown" => Self::AdminDown,
            "Down" => Self::Down,
            "Init" => Self::Init,
            "Up" => Self::Up,
            _ => Self::Unknown,
        }
    }

    /// As in tables, and as value of labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::AdminDown => "admin_down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        }
    }
}

/// A BFD session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BfdStatus {
    /// Its state.
    pub state: BfdState,
    /// When it came to that state, in seconds since 1970.
    pub since: Option<u64>,
}

/// Routes of one family, and the session that carries them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyStatus {
    /// The peer; that of IPv6 carries IPv4, too, where the virtual interface has no IPv4 address.
    pub peer: IpAddr,
    /// State of the session.
    pub state: BgpState,
    /// When the session came up, or down, in seconds since 1970.
    pub since: Option<u64>,
    /// What ended the session last, as BIRD says it.
    pub last_error: Option<String>,
    /// Whether the peer speaks this family: a session can be up without it.
    pub negotiated: bool,
    /// Prefixes that are taken.
    pub accepted: u32,
    /// Prefixes that are refused by what they are.
    pub refused_by_filter: u32,
    /// Prefixes that are refused because as many as may be are taken; of those that are remembered.
    pub refused_by_limit: u32,
    /// Announcements of prefixes that BIRD takes from nobody (loopback, multicast, reserved), since the session came up.
    pub invalid: u32,
    /// Prefixes that are announced.
    pub announced: u32,
    /// Most prefixes that are taken.
    pub limit: u32,
    /// Whether more were announced than are taken.
    pub limit_hit: bool,
    /// Whether even more were announced than are remembered.
    pub overflow: bool,
}

impl FamilyStatus {
    /// Of a peer that may announce so many prefixes, with nothing known of it.
    pub(super) fn unknown(peer: IpAddr, limit: u32) -> Self {
        Self {
            peer,
            state: BgpState::Unknown,
            since: None,
            last_error: None,
            negotiated: false,
            accepted: 0,
            refused_by_filter: 0,
            refused_by_limit: 0,
            invalid: 0,
            announced: 0,
            limit,
            limit_hit: false,
            overflow: false,
        }
    }

    /// Whether the session is up and carries this family.
    pub fn is_up(&self) -> bool {
        self.state == BgpState::Established && self.negotiated
    }

    /// Whether four fifths of the limit are reached.
    pub fn is_near_limit(&self) -> bool {
        u64::from(self.accepted) * 5 >= u64::from(self.limit) * 4
    }

    /// Whether some of what the limit refused could be taken now, by a [`super::Routing::reload_in`].
    pub fn has_room(&self) -> bool {
        let waiting = self.refused_by_limit > 0 || self.overflow;
        self.is_up() && waiting && self.accepted < self.limit
    }
}

/// Sessions of a virtual interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SessionStatus {
    /// Whether BIRD answered: nothing is known otherwise.
    pub answered: bool,
    /// IPv4; none where it is not configured.
    pub ipv4: Option<FamilyStatus>,
    /// IPv6; none where it is not configured.
    pub ipv6: Option<FamilyStatus>,
    /// BFD, by peer.
    pub bfd: BTreeMap<IpAddr, BfdStatus>,
}

impl SessionStatus {
    /// What is to be there, with nothing known of it.
    pub(super) fn unknown(vif: &VirtualInterface) -> Self {
        let mut status = Self::default();
        for link in &vif.addresses {
            if vif.bfd.is_some() {
                status.bfd.insert(link.peer, BfdStatus { state: BfdState::Unknown, since: None });
            }
            let Some(bgp) = &vif.bgp else { continue };
            for family in carried(vif, Family::of(link.peer)) {
                *status.family(*family) = Some(FamilyStatus::unknown(link.peer, bgp.max_prefixes));
            }
        }
        status
    }

    pub(super) fn family(&mut self, family: Family) -> &mut Option<FamilyStatus> {
        match family {
            Family::V4 => &mut self.ipv4,
            Family::V6 => &mut self.ipv6,
        }
    }
}

/// A protocol of `show protocols all`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Protocol {
    state: Option<BgpState>,
    since: Option<u64>,
    last_error: Option<String>,
    /// By BIRD's name.
    pub(super) channels: BTreeMap<String, Channel>,
}

/// A channel of a protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Channel {
    up: bool,
    imported: u32,
    pub(super) filtered: u32,
    exported: u32,
    invalid: u32,
    import_limit_hit: bool,
    receive_limit_hit: bool,
}

/// Reads `show protocols all`: lines of text without their codes.
pub(super) fn protocols<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, Protocol> {
    let mut all = BTreeMap::new();
    let mut name = String::new();
    let mut channel = None;
    for line in lines {
        if !line.starts_with(' ') {
            let mut words = line.split_whitespace();
            words.next().unwrap_or_default().clone_into(&mut name);
            channel = None;
            if !name.is_empty() && name != "Name" {
                // Name, kind, table, state, since.
                let since = words.nth(3).and_then(seconds);
                all.insert(name.clone(), Protocol { since, ..Protocol::default() });
            }
            continue;
        }
        let Some(protocol) = all.get_mut(&name) else { continue };
        if let Some(of) = line.trim().strip_prefix("Channel ") {
            protocol.channels.insert(of.to_owned(), Channel::default());
            channel = Some(of.to_owned());
            continue;
        }
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim();
        match channel.as_ref().and_then(|channel| protocol.channels.get_mut(channel)) {
            Some(channel) => channel.line(key, value),
            None => match key {
                "BGP state" => protocol.state = Some(BgpState::of_text(value)),
                "Last error" => protocol.last_error = Some(value.to_owned()),
                _ => {}
            },
        }
    }
    all
}

impl Channel {
    fn line(&mut self, key: &str, value: &str) {
        match key {
            "State" => self.up = value == "UP",
            "Import limit" => self.import_limit_hit = value.ends_with("[HIT]"),
            "Receive limit" => self.receive_limit_hit = value.ends_with("[HIT]"),
            // Received, rejected, filtered, ignored, accepted.
            "Import updates" => {
                self.invalid =
                    value.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
            }
            "Routes" => {
                // `5 imported, 4 filtered, 2 exported, 5 preferred`.
                for (number, what) in value.split(", ").filter_map(|part| part.split_once(' ')) {
                    let number = number.parse().unwrap_or(0);
                    match what {
                        "imported" => self.imported = number,
                        "filtered" => self.filtered = number,
                        "exported" => self.exported = number,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// Seconds since 1970 of a time in [`TIME_FORMAT`].
fn seconds(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers::<3>(date, '-')?;
    let (time, zone) = time.split_at_checked(8)?;
    let [hour, minute, second] = numbers::<3>(time, ':')?;
    let (sign, zone) = zone.split_at_checked(1)?;
    let zone: i64 = zone.parse().ok()?;
    let offset = (zone / 100 * 60 + zone % 100) * 60 * if sign == "-" { -1 } else { 1 };
    // Days since 1970, with years that begin in March: leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    u64::try_from(days * 86400 + hour * 3600 + minute * 60 + second - offset).ok()
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let numbers: Option<Vec<i64>> = text.split(separator).map(|part| part.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// Reads `show bfd sessions`: lines of text without their codes. By interface and address.
pub(super) fn bfd<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<(String, IpAddr), BfdStatus> {
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            let interface = words.next()?.to_owned();
            let state = BfdState::of_text(words.next()?);
            Some(((interface, address), BfdStatus { state, since: words.next().and_then(seconds) }))
        })
        .collect()
}

/// What is known of a virtual interface with this number. `limited` has how many routes the limit refused, by session and
/// family.
pub(super) fn vif(
    vif: &VirtualInterface,
    number: u32,
    protocols: &BTreeMap<String, Protocol>,
    bfd: &BTreeMap<(String, IpAddr), BfdStatus>,
    limited: &BTreeMap<(String, Family), u32>,
) -> SessionStatus {
    let mut status = SessionStatus { answered: true, ..SessionStatus::unknown(vif) };
    for (peer, session) in &mut status.bfd {
        if let Some(found) = bfd.get(&(format!("vif{number}"), *peer)) {
            *session = *found;
        }
    }
    for family in Family::BOTH {
        let Some(entry) = status.family(family) else { continue };
        let session = session_name(number, Family::of(entry.peer));
        let Some(protocol) = protocols.get(&session) else { continue };
        entry.state = protocol.state.unwrap_or(BgpState::Unknown);
        entry.since = protocol.since;
        entry.last_error.clone_from(&protocol.last_error);
        let Some(channel) = protocol.channels.get(family.channel()) else { continue };
        let limited = limited.get(&(session, family)).copied().unwrap_or(0).min(channel.filtered);
        entry.negotiated = channel.up;
        entry.accepted = channel.imported;
        entry.announced = channel.exported;
        entry.invalid = channel.invalid;
        entry.refused_by_limit = limited;
        entry.refused_by_filter = channel.filtered - limited;
        entry.limit_hit = channel.import_limit_hit || limited > 0;
        entry.overflow = channel.receive_limit_hit;
    }
    status
}

/// A route that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRoute {
    /// The prefix.
    pub prefix: ipnet::IpNet,
    /// Why.
    pub why: Refusal,
}

/// Whether a line of `show route` begins a route: further ones of the same prefix do not repeat it.
pub(super) fn is_route(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| word.parse::<ipnet::IpNet>().is_ok())
}

/// Reads `show route all filtered`: lines of text without their codes.
pub(super) fn refused<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<RefusedRoute> {
    let mut routes: Vec<RefusedRoute> = Vec::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let (Some(first), second) = (words.next(), words.next()) else { continue };
        if let Ok(prefix) = first.parse() {
            routes.push(RefusedRoute { prefix, why: Refusal::Limit });
        } else if let (Some(route), "refused_because:", Some(number)) = (routes.last_mut(), first, second) {
            let known = number.parse().ok().and_then(Refusal::of_number);
            route.why = known.unwrap_or(route.why);
        }
    }
    routes
}

/// Reads the answer to `show route .. count`: how many routes matched.
pub(super) fn count<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<u32> {
    lines.find_map(|line| line.split_once(" of ")?.0.trim().parse().ok())
}

/// Reads what a BIRD could have said; for fuzzers.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(text: &str) {
    let (protocols, bfd) = (protocols(text.lines()), bfd(text.lines()));
    let routes = refused(text.lines()).len();
    assert!(routes <= text.lines().filter(|line| is_route(line)).count(), "a route is a line");
    std::hint::black_box((protocols, bfd, count(text.lines())));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What BIRD 2.0.12 said.
    const PROTOCOLS: &str = include_str!("tests/protocols.txt");
    const BFD: &str = "bfd1:
IP address                Interface  State      Since         Interval  Timeout
169.254.10.1              vif1       Up         2026-11-25T13:45:36+0000    0.020    0.060
fd00:10::1                vif1       Down       2026-11-25T14:45:36+0100    1.000    0.000
";

    #[test]
    fn sessions_and_channels_are_read() {
        let all = protocols(PROTOCOLS.lines());
        assert_eq!(all.keys().collect::<Vec<_>>(), ["best1_v4", "bgp1_v4", "bgp1_v6", "bgp2_v6", "device1"]);
        let up = &all["bgp1_v4"];
        assert_eq!((up.state, up.since), (Some(BgpState::Established), Some(1_795_614_337)));
        assert_eq!(up.last_error, None);
        let channel = Channel {
            up: true,
            imported: 5,
            filtered: 4,
            exported: 2,
            invalid: 2,
            import_limit_hit: true,
            receive_limit_hit: false,
        };
        assert_eq!(up.channels["ipv4"], channel);
        let waits = &all["bgp1_v6"];
        assert_eq!(waits.state, Some(BgpState::Connect));
        assert_eq!(waits.last_error.as_deref(), Some("BFD session down"));
        assert!(!waits.channels["ipv6"].up);
        assert_eq!(all["bgp2_v6"].state, Some(BgpState::Down));
        assert_eq!(all["bgp2_v6"].channels.len(), 2);
        assert_eq!(all["best1_v4"].state, None);
    }

    #[test]
    fn bfd_sessions_are_read() {
        let all = bfd(BFD.lines());
        let of = |address: &str| all[&("vif1".to_owned(), address.parse().unwrap())];
        let since = Some(1_795_614_336);
        assert_eq!(of("169.254.10.1"), BfdStatus { state: BfdState::Up, since });
        assert_eq!(of("fd00:10::1"), BfdStatus { state: BfdState::Down, since }, "in another time zone");
        assert_eq!(all.len(), 2);
        assert_eq!(bfd("bfd1: is not up".lines()).len(), 0);
    }

    #[test]
    fn times_are_seconds() {
        for (text, want) in [
            ("1970-01-01T00:00:00+0000", Some(0)),
            ("2024-02-29T23:59:59+0000", Some(1_709_251_199)),
            ("2024-03-01T00:00:00-0130", Some(1_709_256_600)),
            ("2100-03-01T00:00:00+0000", Some(4_107_542_400)),
            ("13:45:37.056", None),
            ("", None),
            ("2024-03-01T00:00:0", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }

    #[test]
    fn refused_routes_say_why() {
        let text = "Table vif1_v4:
0.0.0.0/0            unicast [bgp1_v4 2026-11-25T13:45:37+0000] (100) [AS65010i]
\tvia 169.254.10.1 on vif1
\tType: BGP univ
\tBGP.as_path: 65010
\trefused_because: 1
172.17.0.0/16        unicast [bgp1_v4 2026-11-25T13:45:37+0000] * (100) [AS65010i]
\tvia 169.254.10.1 on vif1
";
        let routes = refused(text.lines());
        let found: Vec<_> = routes.iter().map(|route| (route.prefix.to_string(), route.why)).collect();
        assert_eq!(
            found,
            [("0.0.0.0/0".into(), Refusal::DefaultRoute), ("172.17.0.0/16".into(), Refusal::Limit)]
        );
        assert_eq!(text.lines().filter(|line| is_route(line)).count(), 2);
        assert_eq!(count("1 of 8 routes for 5 networks in table vif1_v4".lines()), Some(1));
        assert_eq!(count("".lines()), None);
    }

    #[test]
    fn limits_say_when_they_are_near_and_when_there_is_room() {
        let family = FamilyStatus {
            peer: IpAddr::from([169, 254, 10, 1]),
            state: BgpState::Established,
            since: None,
            last_error: None,
            negotiated: true,
            accepted: 79,
            refused_by_filter: 0,
            refused_by_limit: 0,
            invalid: 0,
            announced: 0,
            limit: 100,
            limit_hit: false,
            overflow: false,
        };
        assert!(!family.is_near_limit());
        assert!(FamilyStatus { accepted: 80, ..family.clone() }.is_near_limit());
        assert!(!family.has_room(), "nothing waits");
        let waiting = FamilyStatus { refused_by_limit: 1, ..family };
        assert!(waiting.has_room());
        assert!(!FamilyStatus { accepted: 100, ..waiting.clone() }.has_room());
        assert!(!FamilyStatus { state: BgpState::Active, ..waiting }.has_room());
    }
}
