//! What the operator declares about routing protocols, validated.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Most groups of several lines that learned routes of a border gateway make. Customers choose which of their lines a prefix is
/// announced on: n lines make 2^n groups, and all border gateways share the map. A route beyond takes the first of its lines.
pub const MAX_LEARNED_GROUPS: usize = 256;

/// Who speaks routing protocols in a border gateway's namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// BIRD, configured and started by the gateway.
    #[default]
    Bird,
    /// The operator's own daemon; what it writes to the namespace's kernel table is compiled.
    External,
}

/// A BGP community as it is written: `65000:100` (RFC 1997) or `65000:1:2` (RFC 8092).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Community {
    /// Of 16 bits each.
    Standard(u16, u16),
    /// Of 32 bits each.
    Large(u32, u32, u32),
}

impl FromStr for Community {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = text.split(':').collect();
        let number = |part: &str| part.parse::<u32>().map_err(|_not_a_number| ());
        let short = |part: &str| part.parse::<u16>().map_err(|_not_a_number| ());
        match parts[..] {
            [a, b] => Ok(Self::Standard(short(a)?, short(b)?)),
            [a, b, c] => Ok(Self::Large(number(a)?, number(b)?, number(c)?)),
            _ => Err(()),
        }
    }
}

/// A password, which no log, dump or error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The key of TCP's MD5 option (RFC 2385).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// File that it was read from.
    pub file: PathBuf,
    /// The key, 1 to 80 bytes.
    pub key: Secret,
}

/// Routes that are refused unless the configuration asks for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accept {
    /// `0.0.0.0/0` and `::/0`.
    pub default_route: bool,
    /// Special-purpose prefixes that could be routed: documentation, benchmarking, link-local.
    pub bogons: bool,
    /// Routes with our own autonomous system in their path.
    pub own_asn: bool,
}

/// BGP with the peers of a virtual interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// The peer's autonomous system.
    pub asn: u32,
    /// MD5; none is no authentication.
    pub password: Option<Password>,
    /// Most prefixes that are taken, of each family.
    pub max_prefixes: u32,
    /// Hold time, in whole seconds.
    pub hold_time: Duration,
    /// Preference of what the peer announces; higher is preferred.
    pub local_preference: u32,
    /// How many times more our autonomous system is in the path of what we announce.
    pub prepend: u8,
    /// Whether packets of the session must come from the link itself (RFC 5082).
    pub ttl_security: bool,
    /// Whether forwarding goes on while either side's routing daemon restarts (RFC 4724).
    pub graceful_restart: bool,
    /// What is taken beside ordinary routes.
    pub accept: Accept,
}

/// Bidirectional forwarding detection with the peers of a virtual interface (RFC 5880, RFC 5881).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bfd {
    /// Between packets, in both directions, in whole milliseconds.
    pub interval: Duration,
    /// How many may be missed.
    pub multiplier: u8,
}

/// How far a virtual interface is taken out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// Both sides are asked to prefer other lines (RFC 8326).
    Announced,
    /// Its sessions are down.
    Down,
}
