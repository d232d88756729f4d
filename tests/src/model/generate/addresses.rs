//! Addresses that mean something to a border gateway, and some that do not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use border_gw_common::net::MacAddr;
use ipnet::IpNet;

use super::Dice;
use crate::model::screen::link_local;
use crate::model::world::{Gateway, ends};

/// Addresses, of one family or both.
pub(super) struct Addresses {
    /// Ours, on lines.
    own: Vec<IpAddr>,
    /// Of customers' routers.
    peers: Vec<IpAddr>,
    /// Routers of VPCs.
    routers: Vec<IpAddr>,
    /// Networks of VPCs.
    pub(super) cidrs: Vec<IpNet>,
    /// Behind customers' routers.
    behind: Vec<IpNet>,
    /// Of links: the rest, and the ends.
    links: Vec<IpAddr>,
    /// Link-local ones that our ports make.
    local: Vec<IpAddr>,
}

/// What nobody has.
const STRANGE: [&str; 27] = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "224.0.0.1",
    "224.0.0.5",
    "224.0.1.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "198.51.100.7",
    "169.254.99.99",
    "10.255.0.1",
    "172.16.0.0",
    "172.16.255.255",
    "::",
    "::1",
    "::7",
    "::ffff:10.1.0.10",
    "ff01::1",
    "ff02::1",
    "ff02::2",
    "ff02::1:ff00:2",
    "ff05::2",
    "ff12::9",
    "fe80::1234",
    "2001:db8:9::9",
    "fec0::1",
];

impl Addresses {
    /// Those of a border gateway.
    pub(super) fn of(gateway: &Gateway) -> Self {
        let links = || gateway.vifs.iter().flat_map(|vif| &vif.links);
        let subnets = || links().map(|link| link.subnet);
        let macs = gateway.vifs.iter().filter_map(|vif| vif.port.map(|(_, mac)| mac));
        let routers = gateway.vpcs.iter().map(|vpc| vpc.router_mac);
        Self {
            own: links().map(|link| link.own).collect(),
            peers: links().map(|link| link.peer).collect(),
            routers: gateway.vpcs.iter().flat_map(|vpc| vpc.routers.iter().copied()).collect(),
            cidrs: gateway.vpcs.iter().flat_map(|vpc| vpc.cidrs.iter().copied()).collect(),
            behind: gateway.vifs.iter().flat_map(|vif| vif.accepted.iter().copied()).collect(),
            links: subnets().flat_map(ends).chain(subnets().map(|subnet| host(subnet, 3))).collect(),
            local: macs.chain(routers).map(link_local).collect(),
        }
    }

    fn family(all: &[IpAddr], v4: bool, dice: &mut Dice) -> Option<IpAddr> {
        let good: Vec<_> = all.iter().filter(|address| address.is_ipv4() == v4).copied().collect();
        (!good.is_empty()).then(|| dice.pick(&good))
    }

    fn inside(all: &[IpNet], v4: bool, dice: &mut Dice) -> Option<IpAddr> {
        let good: Vec<_> = all.iter().filter(|net| net.addr().is_ipv4() == v4).copied().collect();
        (!good.is_empty()).then(|| {
            let net = dice.pick(&good);
            if net.prefix_len() < 8 {
                // Hosts somewhere in it, of which most of a default route has none.
                let number = u128::from(dice.next()) << 64 | u128::from(dice.next());
                return match net {
                    IpNet::V4(_) => IpAddr::from(Ipv4Addr::from((number >> 96) as u32)),
                    IpNet::V6(_) => IpAddr::from(Ipv6Addr::from(0x2 << 124 | number >> 4)),
                };
            }
            let number = dice.pick(&[1, 7, 9, 10, 0x0709, 0x0110, 0xffff, 0]);
            host(net, number)
        })
    }

    /// A host of one of these networks.
    pub(super) fn host(nets: &[IpNet], v4: bool, dice: &mut Dice) -> Option<IpAddr> {
        Self::inside(nets, v4, dice)
    }

    /// A host of a VPC.
    pub(super) fn in_vpc(&self, v4: bool, dice: &mut Dice) -> Option<IpAddr> {
        Self::inside(&self.cidrs, v4, dice)
    }

    /// A host behind a customer's router.
    pub(super) fn behind(&self, v4: bool, dice: &mut Dice) -> Option<IpAddr> {
        let pool: [&str; 6] = if v4 {
            ["172.16.0.9", "172.16.7.9", "172.17.0.7", "172.18.3.1", "192.168.0.9", "198.18.0.1"]
        } else {
            [
                "fd00:172:16::9",
                "fd00:172:16:7::9",
                "fd00:172:18::1",
                "fd00:99::9",
                "2001:db8:1::1",
                "fd00:172:16:7::1",
            ]
        };
        if dice.chance(40) { Self::inside(&self.behind, v4, dice) } else { dice.pick(&pool).parse().ok() }
    }

    /// Any address at all.
    pub(super) fn any(&self, v4: bool, dice: &mut Dice) -> IpAddr {
        let found = match dice.below(8) {
            0 => Self::family(&self.own, v4, dice),
            1 => Self::family(&self.peers, v4, dice),
            2 => Self::family(&self.routers, v4, dice),
            3 => self.in_vpc(v4, dice),
            4 => self.behind(v4, dice),
            5 => Self::family(&self.links, v4, dice),
            6 => Self::family(&self.local, v4, dice),
            _ => None,
        };
        found.unwrap_or_else(|| strange(v4, dice))
    }
}

/// An address that nobody has, or of a group.
pub(super) fn strange(v4: bool, dice: &mut Dice) -> IpAddr {
    loop {
        let address: Result<IpAddr, _> = dice.pick(&STRANGE).parse();
        if let Ok(address) = address
            && address.is_ipv4() == v4
        {
            return address;
        }
    }
}

/// The address with this number in a network, as far as it has so many.
pub(super) fn host(net: IpNet, number: u32) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            let mask = u32::from(net.hostmask());
            Ipv4Addr::from(u32::from(net.network()) | number & mask).into()
        }
        IpNet::V6(net) => {
            let mask = u128::from(net.hostmask());
            Ipv6Addr::from(u128::from(net.network()) | u128::from(number) & mask).into()
        }
    }
}

/// An Ethernet address of somebody.
pub(super) fn somebody(dice: &mut Dice) -> MacAddr {
    MacAddr([2, 0, 0x5e, 0xc, 0, dice.byte() & 0xf])
}

/// A group's Ethernet address.
pub(super) fn group(dice: &mut Dice) -> MacAddr {
    dice.pick(&[
        MacAddr::BROADCAST,
        MacAddr([0x33, 0x33, 0, 0, 0, 1]),
        MacAddr([0x33, 0x33, 0xff, 0, 0, 2]),
        MacAddr([1, 0, 0x5e, 0, 0, 1]),
        MacAddr([1, 0x80, 0xc2, 0, 0, 0xe]),
        MacAddr([3, 0, 0, 0, 0, 1]),
    ])
}

/// The Ethernet address of a group, or of somebody else.
pub(super) fn anybody(dice: &mut Dice) -> MacAddr {
    if dice.chance(50) { group(dice) } else { somebody(dice) }
}
