//! Addresses and messages that no packet may have, whoever sends it (design, what a packet meets, step 3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use super::ip::Packet;
use super::neighbor::SOLICITATION;

const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT_V4: u8 = 5;
const REDIRECT_V6: u8 = 137;

/// A source that no host has: multicast, broadcast, loopback or unspecified (RFC 1122, section 3.2.1.3; RFC 4291, section 2.7).
fn source(address: IpAddr) -> Result<(), DropReason> {
    let wrong = match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_loopback() || v4.octets()[0] >= 224,
        IpAddr::V6(v6) => is_reserved(v6) || v6.is_multicast(),
    };
    if wrong { Err(DropReason::MartianSource) } else { Ok(()) }
}

/// What kind of destination it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// One host.
    One,
    /// A group of the link.
    Link,
}

/// A destination to which nothing is sent, or not so.
fn destination(address: IpAddr, to: MacAddr) -> Result<Cast, DropReason> {
    match address {
        IpAddr::V4(Ipv4Addr::BROADCAST) => return Err(DropReason::Broadcast),
        IpAddr::V4(v4) if v4.is_multicast() => return group(v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) if v6.is_multicast() => return group(v6.octets()[1] & 0xf <= 2),
        _ => {}
    }
    let wrong = match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_loopback() || v4.octets()[0] >= 240,
        IpAddr::V6(v6) => is_reserved(v6),
    };
    if wrong {
        return Err(DropReason::MartianDestination);
    }
    // RFC 1122, section 3.3.6.
    if to.is_multicast() { Err(DropReason::UnicastInBroadcast) } else { Ok(Cast::One) }
}

/// Unspecified, loopback, IPv4-compatible and IPv4-mapped (RFC 4291, sections 2.5.2, 2.5.3 and 2.5.5).
fn is_reserved(address: Ipv6Addr) -> bool {
    let octets = address.octets();
    octets[..10] == [0; 10] && matches!(octets[10..12], [0, 0] | [0xff, 0xff])
}

/// Scopes up to link-local (RFC 4291, section 2.7; RFC 5771, section 4).
fn group(of_the_link: bool) -> Result<Cast, DropReason> {
    if of_the_link { Ok(Cast::Link) } else { Err(DropReason::Multicast) }
}

/// What no packet may be, whichever way it came: its source, its destination, its message.
pub(super) fn screen(packet: &Packet, to: MacAddr) -> Result<Cast, DropReason> {
    super::ip::has_icmp_header(packet)?;
    // Whoever has no address yet asks whether somebody has it (RFC 4862, section 5.4.2).
    let asks = !packet.is_v4() && packet.icmp_type() == Some(SOLICITATION);
    if !(asks && packet.source.is_unspecified()) {
        source(packet.source)?;
    }
    let cast = destination(packet.destination, to)?;
    message(packet)?;
    Ok(cast)
}

/// Messages by which somebody else would tell where packets go.
fn message(packet: &Packet) -> Result<(), DropReason> {
    match (packet.is_v4(), packet.icmp_type()) {
        (true, Some(REDIRECT_V4)) | (false, Some(REDIRECT_V6)) => Err(DropReason::Redirect),
        (false, Some(ROUTER_ADVERTISEMENT)) => Err(DropReason::RouterAdvertisement),
        _ => Ok(()),
    }
}

/// Whether an address is link-local. IPv4 has none here: lines use 169.254.0.0/16 as any other subnet.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The address that an Ethernet address makes (RFC 4291, appendix A).
pub(super) fn link_local(mac: MacAddr) -> IpAddr {
    let word = |at: [u8; 2]| u16::from_be_bytes(at);
    let [first, second, third, fourth, fifth, sixth] = mac.0;
    let middle = (word([third, 0xff]), word([0xfe, fourth]));
    Ipv6Addr::new(0xfe80, 0, 0, 0, word([first ^ 2, second]), middle.0, middle.1, word([fifth, sixth])).into()
}

/// Whether an address is one host's, anywhere.
pub(super) fn is_host(address: IpAddr) -> bool {
    !is_link_local(address) && destination(address, MacAddr([2; 6])) == Ok(Cast::One)
}
