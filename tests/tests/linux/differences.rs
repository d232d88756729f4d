//! Where the packet path and Linux differ, and why that is right.

use super::packets::{Packet, Side};

/// A difference that is meant.
pub(crate) struct Difference {
    /// What the packet path does: a fate, or the reason of a drop or an error.
    pub(crate) ours: &'static str,
    /// What Linux does.
    pub(crate) linux: &'static str,
    /// With which packets.
    pub(crate) when: fn(&Packet) -> bool,
    /// Seen with damaged packets alone.
    pub(crate) damaged: bool,
    /// Why.
    pub(crate) why: &'static str,
}

/// One row.
const fn row(
    ours: &'static str,
    linux: &'static str,
    when: fn(&Packet) -> bool,
    why: &'static str,
) -> Difference {
    Difference { ours, linux, when, damaged: false, why }
}

/// One that takes damage.
const fn row_of_damage(
    ours: &'static str,
    linux: &'static str,
    when: fn(&Packet) -> bool,
    why: &'static str,
) -> Difference {
    Difference { ours, linux, when, damaged: true, why }
}

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    row(
        "ttl_expired",
        "told 3.0",
        Packet::is_v4,
        "the TTL is looked at before the route (RFC 1812, section 5.2.1): who traces a way to nowhere sees this hop",
    ),
    row("ttl_expired", "told 1.0", Packet::is_v6, "the hop limit is looked at before the route, as in IPv4"),
    row(
        "ip_options",
        "told 12.0",
        Packet::is_v4,
        "options that end nowhere are dropped by name, and nobody is told: RFC 792 leaves that open, and the sender made them",
    ),
    row(
        "forwarded",
        "forwarded",
        |packet| packet.has_option(&[7, 68]),
        "a route or time that is to be recorded is not (RFC 7126, sections 4.5 and 4.6)",
    ),
    row(
        "martian_source",
        "forwarded",
        Packet::is_v4,
        "class E and this network are no sources (RFC 6890); Linux allows them for private use",
    ),
    row(
        "martian_destination",
        "told 3.0",
        Packet::is_v4,
        "class E and this network are no destinations, and nobody is told (RFC 1812, section 5.3.7)",
    ),
    row(
        "ttl_expired",
        "told 3.0",
        |packet| !packet.is_v4() && packet.is_later_fragment(),
        "nobody is told about a fragment other than the first, in IPv6 as in IPv4; RFC 4443 would allow it",
    ),
    row(
        "forwarded",
        "nothing",
        Packet::has_hop_by_hop,
        "hop-by-hop options are for routers that are told to look at them (RFC 8200, section 4.3; RFC 9673): an unknown one that says `drop`",
    ),
    row("forwarded", "told 4.2", Packet::has_hop_by_hop, "the same of an unknown one that says `tell`"),
    row(
        "source_route",
        "forwarded",
        Packet::is_v6,
        "a routing header of type 0 is dropped on its way, too (RFC 5095, section 4.2): its next stop may be behind another check",
    ),
    row(
        "extension_headers",
        "forwarded",
        Packet::is_v6,
        "more extension headers than are looked through (docs/reference.md, what limits packets)",
    ),
    row(
        "martian_destination",
        "told 1.0",
        Packet::is_v6,
        "nobody, IPv4-mapped and IPv4-compatible addresses are no destinations, and nobody is told",
    ),
    row(
        "martian_source",
        "forwarded",
        Packet::is_v6,
        "nor are they sources (RFC 4291, section 2.5.5; RFC 6890)",
    ),
    row(
        "too_big",
        "fragmented",
        Packet::is_v4,
        "nothing is fragmented on its way: what is too large is dropped by name, and its sender told, also without DF",
    ),
    row(
        "source_invalid",
        "forwarded",
        |packet| packet.from == Side::Vpc,
        "from a VPC only its own addresses are sources: nothing turns that off",
    ),
    row_of_damage(
        "ip_total_length",
        "forwarded",
        Packet::is_v6,
        "extension headers that end beyond the packet: a check that looks behind them cannot be led astray",
    ),
    row_of_damage("truncated", "forwarded", Packet::is_v6, "the same of a header that ends beyond the frame"),
    row_of_damage(
        "source_route",
        "told 12.0",
        Packet::is_v4,
        "a source route that is no list of addresses: dropped by name as any other",
    ),
    row(
        "ttl_expired",
        "nothing",
        |packet| packet.name.contains(" from "),
        "an error leaves by the line that the packet came by; Linux has no route to this sender",
    ),
    row(
        "ttl_expired",
        "nothing",
        |packet| packet.is_v4() && packet.has_icmp_type(&[9, 10]),
        "router advertisements and solicitations are no errors (RFC 1256); Linux takes them for such",
    ),
    row_of_damage(
        "forwarded",
        "forwarded",
        |packet| packet.has_option(&[0]),
        "what stands behind the end of options stays as it is; Linux makes it zeros",
    ),
    row_of_damage(
        "forwarded",
        "told 12.0",
        |packet| packet.has_option(&[7, 68]),
        "what is not recorded is not looked at",
    ),
];
