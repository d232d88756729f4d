//! Scalars of the document: text to types that hold only what makes sense.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use border_gw_common::abi::{HashMode, NAME};
use border_gw_common::net::{MacAddr, VlanId, Vni};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::diagnostic::Wrong;
use super::{ConnectionKind, Routing, XdpMode};

/// Smallest MTU: what every IPv4 host must take (RFC 791, section 3.2).
const MIN_MTU: u16 = 576;
/// Largest MTU: jumbo frames, with room for a tunnel or two tags in the 9,216 bytes that switches take.
const MAX_MTU: u16 = 9000;
/// Longest name of a network interface (`IFNAMSIZ` less the zero byte).
const MAX_INTERFACE: usize = 15;
/// Longest path of a Unix socket (`sun_path` less the zero byte).
const MAX_SOCKET_PATH: usize = 107;

/// Result of reading a scalar.
pub(super) type Read<T> = Result<T, Wrong>;

fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Read<T> {
    Err(Wrong { message: message.into(), help: help.into() })
}

/// Path or pattern of a file.
pub(super) fn path(text: &str) -> Read<String> {
    if text.is_empty() || text.contains('\0') {
        return wrong(format!("`{text}` is not a path"), "write a path, relative to this file or absolute");
    }
    Ok(text.to_owned())
}

/// Name of an object.
pub(super) fn name(text: &str) -> Read<String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=NAME).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    let help = format!("a name is 1 to {NAME} of the characters a-z, 0-9 and -");
    wrong(format!("`{text}` is not a name"), help)
}

/// Name of a network interface.
pub(super) fn interface(text: &str) -> Read<String> {
    let fits = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    if (1..=MAX_INTERFACE).contains(&text.len()) && text.chars().all(fits) && text != "." && text != ".." {
        return Ok(text.to_owned());
    }
    let help = format!("1 to {MAX_INTERFACE} characters, as `ip link` shows it, such as ens1f0");
    wrong(format!("`{text}` is not the name of a network interface"), help)
}

/// A number of a range.
pub(super) fn number(text: &str, what: &str, range: std::ops::RangeInclusive<u32>) -> Read<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(value) if digits && range.contains(&value) => Ok(value),
        _ => {
            let help = format!("write a number from {} to {}", range.start(), range.end());
            wrong(format!("`{text}` is not {what}"), help)
        }
    }
}

/// Our autonomous system.
pub(super) fn asn(text: &str) -> Read<u32> {
    let value = number(text, "an autonomous system number", 1..=u32::MAX - 1)?;
    if matches!(value, 23456 | 65535) {
        let help = "use a number of your own, or a private one: 64512 to 65534, 4200000000 to 4294967294";
        return wrong(format!("the autonomous system number {value} is reserved (RFC 6793, RFC 7300)"), help);
    }
    Ok(value)
}

/// A UDP or TCP port.
pub(super) fn port(text: &str) -> Read<u16> {
    number(text, "a port", 1..=65535).map(|value| value as u16)
}

/// Largest IP packet, in bytes.
pub(super) fn mtu(text: &str) -> Read<u16> {
    number(text, "an MTU", u32::from(MIN_MTU)..=u32::from(MAX_MTU)).map(|value| value as u16)
}

/// Differentiated services code point.
pub(super) fn dscp(text: &str) -> Read<u8> {
    number(text, "a DSCP", 0..=63).map(|value| value as u8)
}

/// VXLAN network identifier.
pub(super) fn vni(text: &str) -> Read<Vni> {
    let value = number(text, "a VNI", 0..=0xff_ffff)?;
    Vni::try_from(value).map_err(|invalid| Wrong { message: invalid.to_string(), help: String::new() })
}

/// VLAN identifier.
pub(super) fn vlan(text: &str) -> Read<VlanId> {
    let value = number(text, "a VLAN identifier", 1..=4094)?;
    VlanId::try_from(value).map_err(|invalid| Wrong { message: invalid.to_string(), help: String::new() })
}

/// `TPID` of an outer tag.
pub(super) fn tpid(text: &str) -> Read<u16> {
    let value = match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    match value {
        Some(value @ (0x8100 | 0x88a8)) => Ok(value),
        _ => wrong(format!("`{text}` is not a TPID that is spoken here"), "write 0x8100 or 0x88a8"),
    }
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Read<bool> {
    choice(text, &[("true", true), ("false", false)])
}

/// How a flow is told from another.
pub(super) fn hash(text: &str) -> Read<HashMode> {
    choice(text, &[("5-tuple", HashMode::FiveTuple), ("3-tuple", HashMode::ThreeTuple), ("l3", HashMode::L3)])
}

/// Kind of a connection.
pub(super) fn kind(text: &str) -> Read<ConnectionKind> {
    let kinds = [
        ("dedicated", ConnectionKind::Dedicated),
        ("hosted", ConnectionKind::Hosted),
        ("partner", ConnectionKind::Partner),
    ];
    choice(text, &kinds)
}

/// How programs are attached.
pub(super) fn xdp_mode(text: &str) -> Read<XdpMode> {
    choice(text, &[("native", XdpMode::Native), ("skb", XdpMode::Skb)])
}

/// Whether sources are checked.
pub(super) fn source_validation(text: &str) -> Read<bool> {
    choice(text, &[("feasible", true), ("off", false)])
}

/// Who speaks routing protocols.
pub(super) fn routing(text: &str) -> Read<Routing> {
    choice(text, &[("bird", Routing::Bird), ("external", Routing::External)])
}

/// A time such as `300ms`, `90s` or `10m`.
pub(super) fn duration(text: &str) -> Read<Duration> {
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (digits.parse::<u64>().ok(), factor) {
        (Some(value), Some(factor)) if digits.len() <= 9 => Ok(Duration::from_millis(value * factor)),
        _ => wrong(format!("`{text}` is not a time"), "write a whole number and ms, s, m or h, such as 90s"),
    }
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Read<T> {
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*value);
    }
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    wrong(format!("`{text}` is not known here"), format!("write {}", any_of(&names)))
}

/// `a, b or c`.
pub(super) fn any_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// An Ethernet address of one station.
pub(super) fn mac(text: &str) -> Read<MacAddr> {
    const HELP: &str = "write six bytes in hex, such as \"02:00:5e:00:50:01\"";
    let Ok(mac) = text.parse::<MacAddr>() else {
        return wrong(format!("`{text}` is not a MAC address"), HELP);
    };
    if mac.is_zero() {
        return wrong("a MAC address of zeros belongs to nobody", HELP);
    }
    if mac.is_multicast() {
        let help = "the lowest bit of the first byte is 0 in the address of one station";
        return wrong(format!("{mac} is a group's MAC address"), help);
    }
    Ok(mac)
}

/// An address of one host.
pub(super) fn address(text: &str) -> Read<IpAddr> {
    let Ok(address) = text.parse::<IpAddr>() else {
        let help = if text.parse::<IpNet>().is_ok() {
            "leave the prefix length out"
        } else {
            "write an address such as 192.0.2.10 or 2001:db8::10"
        };
        return wrong(format!("`{text}` is not an IP address"), help);
    };
    match special(IpNet::from(address)) {
        Some(what) => wrong(format!("{address} is {what}"), "write the address of one host"),
        None => Ok(address),
    }
}

/// The server's identifier.
pub(super) fn router_id(text: &str) -> Read<Ipv4Addr> {
    match address(text)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => {
            wrong(format!("`{text}` is not an IPv4 address"), "a router identifier looks like 10.255.0.1")
        }
    }
}

/// Where metrics are served.
pub(super) fn socket(text: &str) -> Read<SocketAddr> {
    match text.parse::<SocketAddr>() {
        Ok(socket) if socket.port() > 0 => Ok(socket),
        _ => wrong(
            format!("`{text}` is not an address and a port"),
            "write it as 127.0.0.1:9900 or [::1]:9900",
        ),
    }
}

/// Path of the control socket.
pub(super) fn control(text: &str) -> Read<PathBuf> {
    if text.starts_with('/') && text.len() <= MAX_SOCKET_PATH && !text.contains('\0') {
        return Ok(text.into());
    }
    let help = format!("an absolute path of at most {MAX_SOCKET_PATH} bytes");
    wrong(format!("`{text}` is not a path for a Unix socket"), help)
}

/// A prefix without host bits.
pub(super) fn prefix(text: &str) -> Read<IpNet> {
    let net = net(text)?;
    if net.addr() != net.network() {
        return wrong(format!("{net} has host bits set"), format!("write {}", net.trunc()));
    }
    match special(net) {
        Some(what) => wrong(format!("{net} is {what}"), "write a prefix of hosts"),
        None => Ok(net),
    }
}

/// Our address on a link, with the length of the subnet.
pub(super) fn local(text: &str) -> Read<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let help = format!(
            "add the length of the link subnet, such as {address}/{}",
            if address.is_ipv4() { 30 } else { 126 }
        );
        return wrong(format!("`{text}` has no prefix length"), help);
    }
    let net = net(text)?;
    match special(IpNet::from(net.addr())) {
        Some(what) => wrong(format!("{} is {what}", net.addr()), "write the address of one host"),
        None => Ok(net),
    }
}

fn net(text: &str) -> Read<IpNet> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(net);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let help = format!("for this one address write {}", IpNet::from(address));
        return wrong(format!("`{text}` has no prefix length"), help);
    }
    wrong(format!("`{text}` is not a prefix"), "write it as 10.1.0.0/16 or fd00:1::/48")
}

/// What a prefix is, if it holds nothing that one host could have.
fn special(net: IpNet) -> Option<&'static str> {
    SPECIAL.iter().find(|(special, _)| special.contains(&net)).map(|(_, what)| *what)
}

/// What a prefix holds that no host could have, if it holds such a thing.
pub(super) fn holds_special(net: IpNet) -> Option<(IpNet, &'static str)> {
    SPECIAL.iter().find(|(special, _)| net.contains(special)).copied()
}

/// Addresses that no host has (the IANA registries of special-purpose addresses), the narrower ranges first.
const SPECIAL: [(IpNet, &str); 12] = [
    (v4([0, 0, 0, 0], 8), "unspecified (0.0.0.0/8)"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([255, 255, 255, 255], 32), "broadcast"),
    (v4([240, 0, 0, 0], 4), "reserved (240.0.0.0/4)"),
    (v4([224, 0, 0, 0], 3), "multicast and reserved (224.0.0.0/3)"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), "unspecified"),
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "loopback"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "an IPv4 address in IPv6's clothes"),
    // Not all of ::/8: 64:ff9b::/96 is NAT64's.
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 16), "reserved (::/16)"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast"),
];

/// A prefix of IPv4.
pub(crate) const fn v4(octets: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), length))
}

/// A prefix of IPv6.
pub(crate) const fn v6(segments: [u16; 8], length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads and forgets the type.
    fn refused<T: std::fmt::Debug>(result: Read<T>) -> String {
        let wrong = result.unwrap_err();
        format!("{}; {}", wrong.message, wrong.help)
    }

    #[test]
    fn each_wrong_scalar_says_what_is_wrong_and_what_would_be_right() {
        let long = "a".repeat(65);
        let rows = [
            (refused(name("Line-A")), "`Line-A` is not a name; a name is 1 to 64 of"),
            (refused(name("")), "`` is not a name"),
            (refused(name(&long)), "is not a name"),
            (refused(interface("a-very-long-name0")), "is not the name of a network interface"),
            (refused(interface("ens 1")), "is not the name of a network interface"),
            (refused(interface("..")), "is not the name of a network interface"),
            (refused(path("")), "`` is not a path"),
            (refused(asn("0")), "write a number from 1 to 4294967294"),
            (refused(asn("23456")), "reserved"),
            (refused(asn("65000.1")), "is not an autonomous system number"),
            (refused(port("65536")), "`65536` is not a port"),
            (refused(mtu("575")), "write a number from 576 to 9000"),
            (refused(mtu("+1500")), "`+1500` is not an MTU"),
            (refused(vni("16777216")), "write a number from 0 to 16777215"),
            (refused(vlan("4095")), "write a number from 1 to 4094"),
            (refused(tpid("0x9100")), "write 0x8100 or 0x88a8"),
            (refused(duration("90")), "`90` is not a time; write a whole number and ms, s, m or h"),
            (refused(duration("1.5s")), "is not a time"),
            (refused(duration("9999999999s")), "is not a time"),
            (refused(boolean("yes")), "write true or false"),
            (refused(hash("6-tuple")), "write 5-tuple, 3-tuple or l3"),
            (refused(mac("00:00:00:00:00:00")), "belongs to nobody"),
            (refused(mac("01:00:5e:00:00:01")), "group's MAC address"),
            (refused(mac("2:0:5e:0:0:1")), "is not a MAC address"),
            (refused(address("10.0.0.1/32")), "leave the prefix length out"),
            (refused(address("10.0.0.256")), "is not an IP address"),
            (refused(address("224.0.0.1")), "224.0.0.1 is multicast"),
            (refused(address("127.0.0.1")), "loopback"),
            (refused(address("0.0.0.0")), "unspecified"),
            (refused(address("255.255.255.255")), "broadcast"),
            (refused(address("ff02::1")), "multicast"),
            (refused(address("fe80::1")), "link-local"),
            (refused(address("::1")), "loopback"),
            (refused(address("::")), "unspecified"),
            (refused(address("::ffff:10.0.0.1")), "IPv4 address in IPv6"),
            (refused(router_id("fd00::1")), "is not an IPv4 address"),
            (refused(socket("127.0.0.1")), "127.0.0.1:9900"),
            (refused(socket("127.0.0.1:0")), "127.0.0.1:9900"),
            (refused(control("run/control.sock")), "absolute path"),
            (refused(prefix("10.1.2.3/16")), "10.1.2.3/16 has host bits set; write 10.1.0.0/16"),
            (refused(prefix("fd00:1::1/48")), "write fd00:1::/48"),
            (refused(prefix("10.1.2.3")), "has no prefix length; for this one address write 10.1.2.3/32"),
            (refused(prefix("10.1.0.0/33")), "is not a prefix"),
            (refused(prefix("239.1.0.0/16")), "multicast"),
            (refused(prefix("fe80::/64")), "link-local"),
            (refused(prefix("127.1.0.0/16")), "loopback"),
            (refused(prefix("0.1.0.0/16")), "unspecified (0.0.0.0/8)"),
            (refused(prefix("240.0.0.0/4")), "reserved (240.0.0.0/4)"),
            (refused(prefix("224.0.0.0/3")), "multicast and reserved"),
            (refused(prefix("ff00::/8")), "multicast"),
            (refused(prefix("::/64")), "reserved (::/16)"),
            (refused(local("169.254.10.2")), "has no prefix length"),
            (refused(local("127.0.0.2/8")), "loopback"),
        ];
        for (got, want) in rows {
            assert!(got.contains(want), "{got} should say {want}");
        }
    }

    #[test]
    fn what_makes_sense_is_read() {
        assert_eq!(tpid("0x88a8"), Ok(0x88a8));
        assert_eq!(tpid("33024"), Ok(0x8100));
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(local("169.254.10.2/30").map(|net| net.to_string()), Ok("169.254.10.2/30".into()));
        for text in
            ["0.0.0.0/0", "::/0", "128.0.0.0/1", "10.0.0.0/8", "fd00::/8", "169.254.0.0/16", "64:ff9b::/96"]
        {
            assert_eq!(prefix(text).map(|net| net.to_string()), Ok(text.into()));
        }
        assert_eq!(interface("eth0.100@x"), Ok("eth0.100@x".into()));
        assert_eq!(vni("0").map(Vni::get), Ok(0));
    }
}
