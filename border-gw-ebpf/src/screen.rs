//! What no packet may be, whoever sent it: martians, broadcasts, router advertisements, redirects.

use border_gw_common::abi::{Address, V4};
use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;

use crate::headers::{Ip, PROTOCOL_ICMP, PROTOCOL_ICMPV6, out_of_sight, word};
use crate::packet::Packet;

/// `ICMPv6` type of a router advertisement (RFC 4861, section 4.2).
const ROUTER_ADVERTISEMENT: u8 = 134;
/// `ICMPv6` type of a neighbour solicitation (RFC 4861, section 4.3).
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// `ICMPv6` type of a neighbour advertisement (RFC 4861, section 4.4).
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// `ICMPv6` type of a redirect (RFC 4861, section 4.5).
const REDIRECT_V6: u8 = 137;
/// ICMP type of a redirect (RFC 792).
const REDIRECT_V4: u8 = 5;

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A host anywhere.
    Global,
    /// A host on the link (IPv6 only: IPv4's 169.254.0.0/16 is used for ordinary link subnets).
    LinkLocal,
    /// A group on the link.
    LinkGroup,
    /// A group beyond the link.
    Group,
    /// Every host on the link (IPv4).
    Broadcast,
    /// No host.
    Unspecified,
    /// This host, or reserved.
    Martian,
}

/// How far `address` reaches (RFC 6890, RFC 4291, RFC 5771).
#[inline(always)]
pub fn reach(version: u32, address: &Address) -> Reach {
    if version == V4 { reach_v4(address) } else { reach_v6(address) }
}

#[inline(always)]
fn reach_v4(a: &Address) -> Reach {
    match a[0] {
        0 if a[1] | a[2] | a[3] == 0 => Reach::Unspecified,
        224 if a[1] | a[2] == 0 => Reach::LinkGroup,
        224..=239 => Reach::Group,
        255 if a[1] & a[2] & a[3] == 255 => Reach::Broadcast,
        0 | 127 | 240..=255 => Reach::Martian,
        _ => Reach::Global,
    }
}

#[inline(always)]
fn reach_v6(a: &Address) -> Reach {
    match (a[0], a[1]) {
        // Interface-local (1) and link-local (2) groups, and the reserved scope 0.
        (0xff, scope) if scope & 0xf <= 2 => Reach::LinkGroup,
        (0xff, _) => Reach::Group,
        (0xfe, second) if second & 0xc0 == 0x80 => Reach::LinkLocal,
        (0, 0) if word(a, 0) | word(a, 4) == 0 => match word(a, 8) {
            0 if word(a, 12) == 0 => Reach::Unspecified,
            // Loopback and IPv4-compatible; IPv4-mapped (RFC 4291, section 2.5.5).
            0 | 0xffff => Reach::Martian,
            _ => Reach::Global,
        },
        _ => Reach::Global,
    }
}

/// Checks where a frame says to come from: to a group goes no answer.
#[inline(always)]
pub fn screen_mac(source: MacAddr) -> Result<(), DropReason> {
    if source.is_multicast() { Err(DropReason::GroupSource) } else { Ok(()) }
}

/// An IP packet that passed [`screen`].
#[derive(Clone, Copy)]
pub struct Screened {
    /// How far the source reaches.
    pub source: Reach,
    /// How far the destination reaches.
    pub destination: Reach,
    /// `ICMPv6` type, or 0.
    pub icmpv6: u8,
}

/// Checks what needs no table. `group_frame`: the frame was sent to a broadcast or multicast MAC address.
#[inline(always)]
pub fn screen<P: Packet>(packet: &mut P, ip: &Ip, group_frame: bool) -> Result<Screened, DropReason> {
    let source = reach(ip.version, &ip.source);
    let destination = reach(ip.version, &ip.destination);
    let icmp = icmp_type(packet, ip)?;
    let icmpv6 = if ip.protocol == PROTOCOL_ICMPV6 && ip.version != V4 { icmp } else { 0 };
    match source {
        Reach::Global | Reach::LinkLocal => {}
        Reach::Unspecified if icmpv6 == NEIGHBOR_SOLICITATION => {}
        _ => return Err(DropReason::MartianSource),
    }
    match destination {
        Reach::Global | Reach::LinkLocal if group_frame => return Err(DropReason::UnicastInBroadcast),
        Reach::Global | Reach::LinkLocal | Reach::LinkGroup => {}
        Reach::Group => return Err(DropReason::Multicast),
        Reach::Broadcast => return Err(DropReason::Broadcast),
        Reach::Unspecified | Reach::Martian => return Err(DropReason::MartianDestination),
    }
    if icmpv6 == ROUTER_ADVERTISEMENT {
        return Err(DropReason::RouterAdvertisement);
    }
    if icmpv6 == REDIRECT_V6 || ip.version == V4 && ip.protocol == PROTOCOL_ICMP && icmp == REDIRECT_V4 {
        return Err(DropReason::Redirect);
    }
    Ok(Screened { source, destination, icmpv6 })
}

/// The type of an ICMP or `ICMPv6` message; 0 for everything else, and where it is in another fragment.
#[inline(always)]
fn icmp_type<P: Packet>(packet: &mut P, ip: &Ip) -> Result<u8, DropReason> {
    let icmp = if ip.version == V4 { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
    if ip.protocol != icmp || ip.later_fragment {
        return Ok(0);
    }
    // Type, code and checksum at least.
    if ip.transport + 4 > ip.at + ip.len {
        return Err(DropReason::IpTotalLength);
    }
    Ok(packet.window::<4>(ip.transport).ok_or_else(|| out_of_sight(ip))?[0])
}
