//! Which routes of customers are refused, and how BIRD tells us why.

use ipnet::IpNet;
use serde::Serialize;

use crate::intent::{v4, v6};

/// Why a route is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It is a default route or a part of one, and none is accepted.
    DefaultRoute,
    /// No host has an address in it: [`NEVER`].
    Special,
    /// It lies inside a CIDR or link subnet of the border gateway.
    Ours,
    /// It is for documentation, tests and the like ([`BOGONS`]), and these are not accepted.
    Bogon,
    /// Our own autonomous system is in its path, and that is not accepted.
    OwnAsn,
    /// Its path does not begin with the peer.
    FirstAsn,
    /// Its next hop is not the peer.
    NextHop,
    /// As many as may be taken are there.
    Limit,
}

impl Refusal {
    /// Those that a filter tells, in the order of the filter. A limit leaves no mark on a route.
    pub(super) const FILTERED: [Self; 7] = [
        Self::DefaultRoute,
        Self::Special,
        Self::Ours,
        Self::Bogon,
        Self::OwnAsn,
        Self::FirstAsn,
        Self::NextHop,
    ];

    /// Its name in BIRD's configuration.
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::DefaultRoute => "REFUSED_DEFAULT_ROUTE",
            Self::Special => "REFUSED_SPECIAL",
            Self::Bogon => "REFUSED_BOGON",
            Self::Ours => "REFUSED_OURS",
            Self::OwnAsn => "REFUSED_OWN_ASN",
            Self::FirstAsn => "REFUSED_FIRST_ASN",
            Self::NextHop => "REFUSED_NEXT_HOP",
            Self::Limit => "REFUSED_LIMIT",
        }
    }

    /// Its number in BIRD's attribute.
    pub(super) const fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The one with this number.
    pub(super) fn of_number(number: u32) -> Option<Self> {
        Self::FILTERED.into_iter().find(|refusal| refusal.number() == number)
    }

    /// What an operator reads.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::DefaultRoute => {
                "a default route, or a part of one (shorter than /8); `accept: [default_route]` takes it"
            }
            Self::Special => "no host has an address in it",
            Self::Bogon => "a special-purpose prefix; `accept: [bogons]` takes it",
            Self::Ours => "inside a CIDR or link subnet of the border gateway",
            Self::OwnAsn => "our autonomous system is in its path; `accept: [own_asn]` takes it",
            Self::FirstAsn => "its path does not begin with the peer's autonomous system",
            Self::NextHop => "its next hop is not the peer",
            Self::Limit => "over `max_prefixes`",
        }
    }
}

/// Never taken, nor what lies inside: no host has such an address (RFC 6890). `::/16` holds loopback, the unspecified
/// address and those that stand for IPv4.
pub const NEVER: [IpNet; 7] = [
    v4([0, 0, 0, 0], 8),
    v4([127, 0, 0, 0], 8),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
];

/// Not taken unless asked for, nor what lies inside: registered for a purpose (RFC 6890 and its registries).
pub const BOGONS: [IpNet; 15] = [
    // Shared between a provider and its customers (RFC 6598).
    v4([100, 64, 0, 0], 10),
    // Link-local (RFC 3927).
    v4([169, 254, 0, 0], 16),
    // Protocol assignments (RFC 6890).
    v4([192, 0, 0, 0], 24),
    // Documentation (RFC 5737).
    v4([192, 0, 2, 0], 24),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    // Benchmarking (RFC 2544).
    v4([198, 18, 0, 0], 15),
    // Discard only (RFC 6666).
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    // Benchmarking (RFC 5180).
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48),
    // Identifiers that are not routed (RFC 4843, RFC 7343).
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28),
    // Documentation (RFC 3849, RFC 9637).
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    // Returned test network (RFC 3701), and site-local (RFC 3879).
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_leads_back_to_its_refusal() {
        for refusal in Refusal::FILTERED {
            assert_eq!(Refusal::of_number(refusal.number()), Some(refusal));
        }
        assert_eq!(Refusal::of_number(0), None);
        assert_eq!(Refusal::of_number(Refusal::Limit.number()), None, "no filter tells it");
    }

    #[test]
    fn prefixes_have_no_host_bits() {
        for prefix in NEVER.iter().chain(&BOGONS) {
            assert_eq!(*prefix, prefix.trunc());
        }
    }
}
