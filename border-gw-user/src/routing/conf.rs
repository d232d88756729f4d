//! BIRD's configuration of a border gateway: pure text, one block a virtual interface.
//!
//! In BIRD every virtual interface has tables of its own, one a family, with all that its peer announces. From there its best
//! routes go to the border gateway's tables and the kernel's main table, and all of them to the kernel table [`SOURCES_TABLE`]` + N`.
//! What is announced is in the interface's table, too, with the lowest preference: a peer that announces the same is heard, and
//! hears us. [`BFD_TABLE`] has one route a peer that BFD watches, which goes as soon as BFD says that the peer is gone.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::refusal::{BOGONS, NEVER, Refusal};
use crate::intent::{Bgp, BorderGateway, Community, Drain, Intent, LinkAddress, Routing, VirtualInterface};
use crate::kernel::{BFD_TABLE, SOURCES_TABLE};

/// Most next hops of one route.
const MOST_PATHS: u32 = 64;
/// Routes of a peer that are remembered beyond those that are taken, so that they can be shown and taken later.
const REMEMBERED: u32 = 1_000;
/// Largest log, in bytes; there are two, the older one with the ending `.1`.
const LOG: u32 = 1_000_000;
/// How long BIRD waits for its peers after a restart before it removes kernel routes that nobody announced, in seconds. Nothing
/// that peers change arrives in the kernel while it waits.
const RECOVERY: u32 = 30;
/// How long peers shall keep our routes while BIRD restarts, in seconds.
const RESTART: u32 = 120;
/// Preference of what is announced, in the tables of virtual interfaces: below that of BGP, which is 100.
const OWN_PREFERENCE: u32 = 50;
/// Communities by which a peer chooses a preference, with that.
const PREFERENCES: [(u32, u32); 3] = [(7100, 50), (7200, 100), (7300, 150)];
/// What [`recovering`] looks for.
const SETTLED: &str = "define recovering = 0;";
/// What stands there instead, in a recovery.
const RECOVERING: &str = "define recovering = 1;";

/// What [`leaving`] looks for.
const PERSISTENT: &str = "define persistent = 1;";

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// End of the names of what is of this family.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }

    /// BIRD's name of a channel of this family.
    pub(super) const fn channel(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// Directory of a border gateway's BIRD.
pub fn directory(gateway_name: &str, border_gateway: &str) -> PathBuf {
    Path::new("/run/border-gw").join(gateway_name).join(border_gateway)
}

/// Whether a border gateway needs BIRD.
pub fn wants_bird(gateway: &BorderGateway) -> bool {
    gateway.routing == Routing::Bird
        && gateway.virtual_interfaces.iter().any(|vif| vif.bgp.is_some() || vif.bfd.is_some())
}

/// Name of the protocol of a session: `N` is the number of `vifN`.
pub(super) fn session_name(number: u32, session: Family) -> String {
    format!("bgp{number}_{}", session.suffix())
}

/// BIRD's table of a family of `vifN`.
pub(super) fn table_name(number: u32, family: Family) -> String {
    format!("vif{number}_{}", family.suffix())
}

/// The families that a session with a peer carries, of a virtual interface with these addresses.
pub(super) fn carried(vif: &VirtualInterface, session: Family) -> &'static [Family] {
    let has_v4 = vif.addresses.iter().any(|link| link.peer.is_ipv4());
    match session {
        Family::V4 => &[Family::V4],
        // IPv4 over an IPv6 session (RFC 8950).
        Family::V6 if !has_v4 => &Family::BOTH,
        Family::V6 => &[Family::V6],
    }
}

/// The configuration that is run with just after a restart, while BFD finds its peers again: kernel routes that BFD guards are
/// left as they are.
pub(super) fn recovering(text: &str) -> String {
    text.replacen(SETTLED, RECOVERING, 1)
}

/// Whether a configuration is that of a recovery.
pub(super) fn is_recovering(text: &str) -> bool {
    text.contains(RECOVERING)
}

/// The same configuration, with which kernel routes go when BIRD, or the protocol that wrote them, ends.
pub(super) fn leaving(text: &str) -> String {
    text.replacen(PERSISTENT, "define persistent = 0;", 1)
}

/// Whether a protocol that writes to the kernel is in one configuration, and not in the other.
pub(super) fn leaves_kernel(from: &str, to: &str) -> bool {
    let writers = |text| str::lines(text).filter(|line| line.starts_with("protocol kernel "));
    let kept: std::collections::HashSet<&str> = writers(to).collect();
    writers(from).any(|writer| !kept.contains(writer))
}

/// The whole file. Virtual interfaces without a number (`vifN` is not there yet) are left out.
pub fn text(intent: &Intent, gateway: &BorderGateway, numbers: &BTreeMap<String, u32>) -> String {
    let vifs: Vec<Vif<'_>> = gateway
        .virtual_interfaces
        .iter()
        .filter(|vif| vif.bgp.is_some() || vif.bfd.is_some())
        .filter_map(|vif| {
            let number = *numbers.get(&vif.name)?;
            Some(Vif { gateway, of: vif, number, drain: intent.drained.get(&vif.name).copied() })
        })
        .collect();
    let mut lines = head(intent, gateway);
    lines.extend(refusals(gateway));
    lines.extend(shared(&vifs));
    lines.extend(vifs.iter().flat_map(Vif::block));
    lines.join("\n") + "\n"
}

fn head(intent: &Intent, gateway: &BorderGateway) -> Vec<String> {
    let log = directory(&intent.gateway.name, &gateway.name).join("bird.log");
    let log = log.display();
    let mut lines = vec![
        format!(
            "# BIRD of border gateway {}, written by border-gw: what is changed here is lost.",
            gateway.name
        ),
        format!("log \"{log}\" {LOG} \"{log}.1\" all;"),
        "debug protocols { states };".into(),
        format!("router id {};", intent.gateway.router_id),
        format!("graceful restart wait {RECOVERY};"),
    ];
    for what in ["base", "log", "protocol", "route"] {
        lines.push(format!("timeformat {what} \"{}\";", super::status::TIME_FORMAT));
    }
    lines.extend([
        String::new(),
        "# Whether kernel routes stay when BIRD, or the protocol that wrote them, ends.".into(),
        PERSISTENT.into(),
    ]);
    lines
}

/// What is refused from everybody.
fn refusals(gateway: &BorderGateway) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        "# Why a route was refused: `show route all filtered` says it.".into(),
        "attribute int refused_because;".into(),
    ];
    for refusal in Refusal::FILTERED {
        lines.push(format!("define {} = {};", refusal.symbol(), refusal.number()));
    }
    let cidrs = gateway.vpc_attachments.iter().flat_map(|vpc| &vpc.cidrs).copied();
    let links = gateway.virtual_interfaces.iter().flat_map(|vif| &vif.addresses);
    let ours: Vec<IpNet> = cidrs.chain(links.map(|link| link.local.trunc())).collect();
    for (name, prefixes) in [("never", &NEVER[..]), ("bogons", &BOGONS), ("ours", &ours)] {
        for family in Family::BOTH {
            if let Some(set) = set(prefixes, family) {
                lines.push(format!("define {name}_{} = {set};", family.suffix()));
            }
        }
    }
    lines
}

/// A set of prefixes and what is inside them; BIRD knows no empty one.
fn set(prefixes: &[IpNet], family: Family) -> Option<String> {
    let of_family = prefixes.iter().filter(|prefix| Family::of(prefix.addr()) == family);
    let members: Vec<String> = of_family.map(|prefix| format!("{prefix}+")).collect();
    (!members.is_empty()).then(|| format!("[ {} ]", members.join(", ")))
}

/// Interfaces, BFD, and what goes to the kernel's main table and that of the sentinels.
fn shared(vifs: &[Vif<'_>]) -> Vec<String> {
    let mut lines = vec![String::new(), "protocol device { scan time 10; }".into()];
    for family in Family::BOTH {
        let (suffix, channel) = (family.suffix(), family.channel());
        lines.extend([
            format!("{channel} table master{};", &suffix[1..]),
            format!("protocol kernel main_{suffix} {{"),
            "\tkernel table 254; persist persistent; graceful restart;".into(),
            format!("\tmerge paths on limit {MOST_PATHS};"),
            format!("\t{channel} {{ table master{}; import none; export all; }};", &suffix[1..]),
            "}".into(),
        ]);
    }
    let watched: Vec<&Vif<'_>> = vifs.iter().filter(|vif| vif.of.bfd.is_some() && vif.of.enabled).collect();
    if watched.is_empty() {
        return lines;
    }
    lines.extend([
        String::new(),
        "# BFD. Sentinels stay in the kernel until BFD has had the time to find its peers after a restart."
            .into(),
        SETTLED.into(),
    ]);
    for family in Family::BOTH {
        let (suffix, channel) = (family.suffix(), family.channel());
        lines.extend([
            format!("{channel} table sentinels_{suffix};"),
            format!("protocol kernel alive_{suffix} {{"),
            format!("\tdisabled recovering; kernel table {BFD_TABLE}; persist persistent;"),
            format!("\t{channel} {{ table sentinels_{suffix}; import none; export all; }};"),
            "}".into(),
        ]);
    }
    lines.push("protocol bfd bfd1 {".into());
    lines.push("\taccept direct;".into());
    for Vif { of, number, .. } in watched {
        if let Some(bfd) = of.bfd {
            lines.push(format!(
                "\tinterface \"vif{number}\" {{ interval {} ms; multiplier {}; }};",
                bfd.interval.as_millis(),
                bfd.multiplier
            ));
        }
    }
    lines.push("}".into());
    lines
}

/// A virtual interface with a number.
struct Vif<'a> {
    gateway: &'a BorderGateway,
    of: &'a VirtualInterface,
    number: u32,
    drain: Option<Drain>,
}

impl Vif<'_> {
    fn block(&self) -> Vec<String> {
        let mut lines = vec![String::new(), format!("# Virtual interface {}", self.of.name)];
        if self.of.bfd.is_some() && self.of.enabled {
            lines.extend(self.of.addresses.iter().flat_map(|link| self.sentinel(link)));
        }
        let Some(bgp) = &self.of.bgp else { return lines };
        let sessions: Vec<_> =
            self.of.addresses.iter().map(|link| (link, carried(self.of, Family::of(link.peer)))).collect();
        for (link, families) in &sessions {
            for family in *families {
                lines.extend(self.tables(*family));
                lines.extend(self.import_filter(bgp, *family, link.peer));
            }
        }
        lines.extend(self.export_filter(bgp));
        for (link, families) in &sessions {
            lines.extend(self.session(bgp, link, families));
        }
        lines
    }

    /// A route that is there as long as BFD sees the peer.
    fn sentinel(&self, link: &LinkAddress) -> Vec<String> {
        let (number, peer, family) = (self.number, link.peer, Family::of(link.peer));
        let (suffix, channel) = (family.suffix(), family.channel());
        vec![
            format!("protocol static alive{number}_{suffix} {{"),
            format!("\t{channel} {{ table sentinels_{suffix}; }}; check link;"),
            format!("\troute {} via {peer}%vif{number} bfd;", IpNet::from(peer)),
            "}".into(),
        ]
    }

    /// The tables of a family, what is announced in it, and the way of what is learned.
    fn tables(&self, family: Family) -> Vec<String> {
        let (number, suffix, channel) = (self.number, family.suffix(), family.channel());
        let table = table_name(number, family);
        let cidrs = self.gateway.vpc_attachments.iter().flat_map(|vpc| &vpc.cidrs);
        let announced: Vec<&IpNet> = cidrs
            .chain(&self.gateway.advertise)
            .filter(|prefix| Family::of(prefix.addr()) == family)
            .collect();
        let mut lines = vec![format!("{channel} table {table} {{ sorted on; }};")];
        if !announced.is_empty() {
            lines.push(format!("protocol static own{number}_{suffix} {{"));
            lines.push(format!("\t{channel} {{ table {table}; preference {OWN_PREFERENCE}; }};"));
            lines.extend(announced.iter().map(|prefix| format!("\troute {prefix} blackhole;")));
            lines.push("}".into());
        }
        lines.extend([
            format!("protocol pipe best{number}_{suffix} {{"),
            format!("\ttable {table}; peer table master{};", &suffix[1..]),
            "\timport none; export where source = RTS_BGP;".into(),
            "}".into(),
            format!("protocol kernel all{number}_{suffix} {{"),
            format!("\tkernel table {}; persist persistent; graceful restart;", SOURCES_TABLE + number),
            format!("\t{channel} {{ table {table}; import none; export where source = RTS_BGP; }};"),
            "}".into(),
        ]);
        lines
    }

    fn import_filter(&self, bgp: &Bgp, family: Family, peer: IpAddr) -> Vec<String> {
        let suffix = family.suffix();
        let mut lines = vec![format!("filter from{}_{suffix} {{", self.number)];
        let mut refuse = |refusal: Refusal, condition: &dyn Display| {
            let symbol = refusal.symbol();
            lines.push(format!("\tif {condition} then {{ refused_because = {symbol}; reject; }}"));
        };
        if !bgp.accept.default_route {
            refuse(Refusal::DefaultRoute, &"net.len < 8");
        }
        refuse(Refusal::Special, &format!("net ~ never_{suffix}"));
        if self.has_ours(family) {
            refuse(Refusal::Ours, &format!("net ~ ours_{suffix}"));
        }
        if !bgp.accept.bogons {
            refuse(Refusal::Bogon, &format!("net ~ bogons_{suffix}"));
        }
        if !bgp.accept.own_asn {
            refuse(Refusal::OwnAsn, &format!("bgp_path ~ [ {} ]", self.gateway.asn));
        }
        refuse(Refusal::FirstAsn, &format!("bgp_path.first != {}", bgp.asn));
        refuse(Refusal::NextHop, &format!("gw != {peer}"));
        lines.extend(self.preference(bgp));
        lines.push("\taccept;".into());
        lines.push("}".into());
        lines
    }

    /// Whether `ours_v4` or `ours_v6` is there.
    fn has_ours(&self, family: Family) -> bool {
        let links = self.gateway.virtual_interfaces.iter().flat_map(|vif| &vif.addresses);
        let cidrs = self.gateway.vpc_attachments.iter().flat_map(|vpc| &vpc.cidrs);
        links.map(|link| &link.local).chain(cidrs).any(|prefix| Family::of(prefix.addr()) == family)
    }

    /// Of several communities the one with the lowest preference wins.
    fn preference(&self, bgp: &Bgp) -> Vec<String> {
        if self.drain.is_some() {
            return vec!["\tbgp_local_pref = 0;".into()];
        }
        let asn = self.gateway.asn;
        let mut lines = vec!["\tif (65535, 0) ~ bgp_community then bgp_local_pref = 0;".into()];
        for (value, preference) in PREFERENCES {
            let large = format!("({asn}, {value}, 0) ~ bgp_large_community");
            let condition = match u16::try_from(asn) {
                Ok(asn) => format!("({asn}, {value}) ~ bgp_community || {large}"),
                Err(_too_long) => large,
            };
            lines.push(format!("\telse if {condition} then bgp_local_pref = {preference};"));
        }
        lines.push(format!("\telse bgp_local_pref = {};", bgp.local_preference));
        lines
    }

    fn export_filter(&self, bgp: &Bgp) -> Vec<String> {
        let mut lines =
            vec![format!("filter to{} {{", self.number), "\tif source != RTS_STATIC then reject;".into()];
        let graceful_shutdown = self.drain.map(|_| Community::Standard(65535, 0));
        for community in self.gateway.communities.iter().copied().chain(graceful_shutdown) {
            lines.push(match community {
                Community::Standard(a, b) => format!("\tbgp_community.add(({a}, {b}));"),
                Community::Large(a, b, c) => format!("\tbgp_large_community.add(({a}, {b}, {c}));"),
            });
        }
        let prepend = format!("\tbgp_path.prepend({});", self.gateway.asn);
        lines.extend(std::iter::repeat_n(prepend, usize::from(bgp.prepend)));
        lines.extend(["\taccept;".into(), "}".into()]);
        lines
    }

    fn session(&self, bgp: &Bgp, link: &LinkAddress, families: &[Family]) -> Vec<String> {
        let (number, session) = (self.number, Family::of(link.peer));
        let hold = bgp.hold_time.as_secs();
        let mut lines = vec![
            format!("protocol bgp {} {{", session_name(number, session)),
            format!("\tdescription \"{}\";", self.of.name),
        ];
        if self.drain == Some(Drain::Down) || !self.of.enabled {
            lines.push("\tdisabled;".into());
        }
        lines.extend([
            format!("\tlocal {} as {};", link.local.addr(), self.gateway.asn),
            format!("\tneighbor {} as {};", link.peer, bgp.asn),
            // Nobody is heard on another interface, or by an address that is not this one.
            format!("\tinterface \"vif{number}\"; direct; strict bind; check link;"),
        ]);
        if let Some(password) = &bgp.password {
            lines.push(format!("\tpassword \"{}\";", password.key.reveal()));
        }
        lines.extend([
            format!("\tttl security {};", switch(bgp.ttl_security)),
            // A peer that wants no keepalives would never be missed.
            format!(
                "\thold time {hold}; keepalive time {}; min hold time 3; startup hold time 20;",
                hold / 3
            ),
            "\tconnect delay time 1; connect retry time 5; error wait time 5, 30; error forget time 60;"
                .into(),
            format!("\tgraceful restart {}; graceful restart time {RESTART};", switch(bgp.graceful_restart)),
            "\tlong lived graceful restart off;".into(),
            // Not `graceful`: a peer that BFD has lost is gone, and another line takes its place at once.
            format!("\tbfd {};", switch(self.of.bfd.is_some())),
            // The filters look for it, so that it is seen what they refuse.
            "\tallow local as;".into(),
        ]);
        for family in families {
            lines.extend(self.channel(bgp, session, *family));
        }
        lines.push("}".into());
        lines
    }

    fn channel(&self, bgp: &Bgp, session: Family, family: Family) -> Vec<String> {
        let (number, suffix, most) = (self.number, family.suffix(), bgp.max_prefixes);
        let next_hop = match (session, family) {
            (Family::V6, Family::V4) => " extended next hop;",
            (Family::V6, Family::V6) => " next hop prefer global;",
            (Family::V4, _) => "",
        };
        vec![
            format!("\t{} {{", family.channel()),
            format!("\t\ttable vif{number}_{suffix}; secondary;{next_hop}"),
            format!("\t\timport filter from{number}_{suffix}; export filter to{number};"),
            format!("\t\timport keep filtered; import limit {most} action block;"),
            format!("\t\treceive limit {} action block;", most.saturating_add(REMEMBERED)),
            "\t};".into(),
        ]
    }
}

const fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}
