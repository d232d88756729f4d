//! A server by chance: a configuration that `check` accepts, and a kernel that has most of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use border_gw::intent::{
    Accept, Bgp, BorderGateway, Cap, Caps, Connection, ConnectionKind, Drain, Dscp, Fabric, Gateway,
    HostRoute, Intent, LinkAddress, Router, Routing, Sources, StaticRoute, Tag, VirtualInterface,
    VpcAttachment, Vtep, XdpMode,
};
use border_gw::kernel::{Hop, Learned, Observed, PortState, UnderlayPath};
use border_gw_common::abi::HashMode;
use border_gw_common::net::{MacAddr, VlanId, Vni};
use ipnet::IpNet;

use super::Dice;
use crate::model::case::Scene;

/// Index of the first line port, of three.
const LINE: u32 = 10;
/// Index of the first fabric port, of two.
const FABRIC: u32 = 20;
/// Index of the first veth of a virtual interface, of nine.
const VIF_VETH: u32 = 100;
/// Index of the first veth of an attachment, of nine.
const VPC_VETH: u32 = 200;

/// Every interface that a generated server may have, by index.
pub const INTERFACES: [u32; 23] = [
    10, 11, 12, 20, 21, 100, 101, 102, 103, 104, 105, 106, 107, 108, 200, 201, 202, 203, 204, 205, 206, 207,
    208,
];

/// A server.
pub fn scene(dice: &mut Dice) -> Scene {
    let mut maker = Maker { v6_underlay: dice.chance(40), dice, tags: BTreeSet::new(), vifs: 0, vpcs: 0 };
    let mut intent = maker.intent();
    maker.drain(&mut intent);
    let observed = maker.observed(&intent);
    Scene { intent, observed }
}

struct Maker<'a> {
    dice: &'a mut Dice,
    v6_underlay: bool,
    /// Port, TPID, outer and inner tag: once each.
    tags: BTreeSet<(usize, u16, u32, u32)>,
    vifs: usize,
    vpcs: usize,
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap_or_else(|_| unreachable!("a prefix: {text}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|_| unreachable!("an address: {text}"))
}

fn vlan(number: u32) -> VlanId {
    VlanId::try_from(number).unwrap_or_else(|wrong| unreachable!("{wrong}"))
}

fn mac(kind: u8, number: usize) -> MacAddr {
    MacAddr([2, 0, 0x5e, kind, 0, number as u8])
}

impl Maker<'_> {
    fn intent(&mut self) -> Intent {
        let fabric_ports = self.dice.between(1, 2);
        let lines = self.dice.between(1, 3);
        let generous =
            |dice: &mut Dice| dice.chance(40).then_some(Cap { rate: 100_000_000_000, burst: 1_000_000_000 });
        let connections = (0..lines).map(|line| Connection {
            name: format!("wire-{line}"),
            interface: format!("line{line}"),
            kind: self.dice.pick(&[
                ConnectionKind::Dedicated,
                ConnectionKind::Hosted,
                ConnectionKind::Partner,
            ]),
            caps: Caps { to_vpc: generous(self.dice), to_customer: generous(self.dice) },
        });
        let connections: Vec<_> = connections.collect();
        let gateways = self.dice.between(1, 3);
        Intent {
            gateway: Gateway {
                name: "server".into(),
                router_id: Ipv4Addr::new(10, 255, 0, 1),
                metrics: None,
                control: PathBuf::from("/run/border-gw/control.sock"),
                xdp_mode: XdpMode::Native,
            },
            fabric: Fabric {
                interfaces: (0..fabric_ports).map(|port| format!("fab{port}")).collect(),
                vtep: ip(if self.v6_underlay { "2001:db8::10" } else { "192.0.2.10" }),
                vxlan_port: self.dice.pick(&[4789, 4789, 8472]),
            },
            border_gateways: (0..gateways).map(|number| self.border_gateway(number, lines)).collect(),
            connections,
            sources: Sources::default(),
            drained: BTreeMap::new(),
        }
    }

    fn border_gateway(&mut self, number: usize, lines: usize) -> BorderGateway {
        let routing = if self.dice.chance(30) { Routing::External } else { Routing::Bird };
        let vifs = self.dice.between(1, 3);
        let vifs: Vec<_> = (0..vifs).map(|vif| self.virtual_interface(number, vif, lines, routing)).collect();
        let vpcs = self.dice.between(1, 3);
        let vpcs: Vec<_> = (0..vpcs).map(|vpc| self.vpc(number, vpc)).collect();
        let routes = self.static_routes(&vifs);
        BorderGateway {
            name: format!("bgw-{number}"),
            asn: 65_000 + number as u32,
            transit: self.dice.chance(40),
            hash: self.dice.pick(&[
                HashMode::FiveTuple,
                HashMode::FiveTuple,
                HashMode::ThreeTuple,
                HashMode::L3,
            ]),
            mss_clamp: self.dice.chance(70),
            routing,
            advertise: Vec::new(),
            communities: Vec::new(),
            virtual_interfaces: vifs,
            vpc_attachments: vpcs,
            routes,
        }
    }

    fn tag(&mut self, line: usize) -> Tag {
        loop {
            let tpid = self.dice.pick(&[0x8100, 0x8100, 0x88a8]);
            let outer = self.dice.pick(&[100, 101, 200, 4094, 1]);
            let inner = if self.dice.chance(40) { self.dice.pick(&[100, 7, 4094]) } else { 0 };
            if self.tags.insert((line, tpid, outer, inner)) {
                return Tag { tpid, outer: vlan(outer), inner: (inner != 0).then(|| vlan(inner)) };
            }
        }
    }

    fn virtual_interface(
        &mut self,
        gateway: usize,
        number: usize,
        lines: usize,
        routing: Routing,
    ) -> VirtualInterface {
        let line = self.dice.below(lines);
        self.vifs += 1;
        let dice = &mut *self.dice;
        let addresses = links(dice, number);
        let has_v6 = addresses.iter().any(|link| link.peer.is_ipv6());
        let mtus: &[u16] =
            if has_v6 { &[1500, 1500, 1280, 9000, 1400] } else { &[1500, 1500, 576, 9000, 1400] };
        let asked = Accept { default_route: dice.chance(30), ..Accept::default() };
        let bgp = (routing == Routing::Bird && dice.chance(60)).then(|| Bgp {
            asn: 65_100 + number as u32,
            password: None,
            max_prefixes: 100,
            hold_time: Duration::from_secs(90),
            local_preference: 100,
            prepend: 0,
            ttl_security: false,
            graceful_restart: true,
            accept: asked,
        });
        let mut generous = || dice.chance(50).then_some(Cap { rate: 50_000_000_000, burst: 1_000_000_000 });
        let caps = Caps { to_vpc: generous(), to_customer: generous() };
        VirtualInterface {
            name: format!("vif-{gateway}-{number}"),
            connection: format!("wire-{line}"),
            enabled: !self.dice.once_in(20),
            mtu: self.dice.pick(mtus),
            caps,
            source_validation: self.dice.chance(70),
            dscp: Dscp { to_vpc: self.dscp(), to_customer: self.dscp() },
            addresses,
            bgp,
            bfd: None,
            tag: self.tag(line),
        }
    }

    fn dscp(&mut self) -> BTreeMap<u8, u8> {
        if self.dice.chance(70) {
            return BTreeMap::new();
        }
        let entries = self.dice.between(1, 6);
        (0..entries)
            .map(|_| (self.dice.byte() & 63, self.dice.byte() & 63))
            .chain([(0, 8), (46, 0)])
            .collect()
    }

    fn static_routes(&mut self, vifs: &[VirtualInterface]) -> Vec<StaticRoute> {
        const PREFIXES: [&str; 16] = [
            "172.16.0.0/16",
            "172.17.0.0/16",
            "172.16.7.0/24",
            "172.16.7.9/32",
            "172.16.0.0/12",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "fd00:172:16::/48",
            "fd00:172:16:7::/64",
            "fd00:172:16::9/128",
            "fd00::/16",
            "::/0",
            "2000::/3",
            "128.0.0.0/1",
        ];
        let mut routes = BTreeMap::new();
        for _ in 0..self.dice.between(1, 6) {
            let prefix = net(self.dice.pick(&PREFIXES));
            let same = |vif: &&VirtualInterface| {
                vif.addresses.iter().any(|l| l.peer.is_ipv4() == prefix.addr().is_ipv4())
            };
            let good: Vec<_> = vifs.iter().filter(same).collect();
            let some = good.iter().filter(|_| self.dice.chance(60)).map(|vif| vif.name.clone());
            let via: Vec<_> = some.collect();
            if !via.is_empty() {
                routes.insert(prefix, StaticRoute { prefix, via });
            }
        }
        routes.into_values().collect()
    }

    fn vtep(&mut self) -> Vtep {
        let number = self.dice.between(1, 6);
        let text = if self.v6_underlay {
            format!("2001:db8::2{number}")
        } else {
            format!("192.0.2.{}", 20 + number)
        };
        Vtep { address: ip(&text), mac: mac(3, number) }
    }

    fn vteps(&mut self, most: usize) -> Vec<Vtep> {
        let count = self.dice.between(1, most);
        let all: BTreeMap<_, _> = (0..count).map(|_| self.vtep()).map(|vtep| (vtep.address, vtep)).collect();
        all.into_values().collect()
    }

    /// The first VPC has large networks, the second one lies inside, the third one is apart.
    fn vpc(&mut self, gateway: usize, number: usize) -> VpcAttachment {
        self.vpcs += 1;
        let cidrs = match number {
            0 => [net("10.1.0.0/16"), net("fd00:1::/48")],
            1 => [net("10.1.7.0/24"), net("fd00:1:0:7::/64")],
            _ => [net("10.2.0.0/20"), net("fd00:2::/64")],
        };
        let mut cidrs = cidrs.to_vec();
        if self.dice.chance(25) {
            cidrs.remove(self.dice.below(2));
        }
        let hosts: &[&str] = match number {
            0 => &["10.1.0.10/32", "10.1.8.0/24", "fd00:1::10/128", "fd00:1:0:8::/64"],
            1 => &["10.1.7.10/32", "fd00:1:0:7::10/128"],
            _ => &["10.2.1.0/24", "fd00:2::10/128"],
        };
        let hosts =
            hosts.iter().map(|text| net(text)).filter(|host| cidrs.iter().any(|cidr| cidr.contains(host)));
        let hosts: Vec<IpNet> = hosts.collect();
        let hosts = hosts.into_iter().filter(|_| self.dice.chance(40)).collect::<Vec<_>>();
        let hosts = hosts.into_iter().map(|prefix| HostRoute { prefix, vteps: self.vteps(3) }).collect();
        // The first host: `10.1.0.1` of `10.1.0.0/16`, `fd00:1::1` of `fd00:1::/48`.
        let router = |cidr: &IpNet| ip(&format!("{}1", cidr.network().to_string().trim_end_matches('0')));
        let mut addresses: Vec<IpAddr> = cidrs.iter().map(router).collect();
        if addresses.len() > 1 && self.dice.chance(20) {
            addresses.remove(0);
        }
        let most = self.dice.pick(&[1, 2, 5]);
        VpcAttachment {
            name: format!("vpc-{gateway}-{number}"),
            vni: Vni::try_from(5_000 + gateway as u32 * 10 + number as u32)
                .unwrap_or_else(|wrong| unreachable!("{wrong}")),
            cidrs,
            router: Router { mac: mac(5, gateway * 10 + number), addresses },
            vteps: self.vteps(most),
            mtu: self.dice.pick(&[1500, 1500, 1280, 8950]),
            hosts,
        }
    }

    fn observed(&mut self, intent: &Intent) -> Observed {
        let mut seen = Observed::default();
        let lines = (0..3).map(|line| (format!("line{line}"), LINE + line));
        let fabric = (0..2).map(|port| (format!("fab{port}"), FABRIC + port));
        for (name, ifindex) in lines.chain(fabric) {
            let mtus: &[u32] =
                if ifindex < FABRIC { &[1508, 9216, 9216, 1500] } else { &[1550, 1600, 9216, 1500] };
            let port = PortState {
                ifindex,
                mac: MacAddr([2, 0, 0, 0, 0, ifindex as u8]),
                up: !self.dice.once_in(25),
                mtu: self.dice.pick(mtus),
                speed: self.dice.chance(50).then_some(400_000_000_000),
            };
            seen.ports.insert(name, port);
        }
        let gateways = || intent.border_gateways.iter();
        for (vif, index) in gateways().flat_map(|gateway| &gateway.virtual_interfaces).zip(VIF_VETH..) {
            self.seen_vif(&mut seen, vif, index);
        }
        for (vpc, index) in gateways().flat_map(|gateway| &gateway.vpc_attachments).zip(VPC_VETH..) {
            if !self.dice.once_in(40) {
                seen.attachment_veths.insert(vpc.name.clone(), index);
            }
        }
        self.underlay(&mut seen, intent);
        for gateway in gateways() {
            let learned = self.learned(gateway);
            if learned != Learned::default() {
                seen.learned.insert(gateway.name.clone(), Arc::new(learned));
            }
        }
        seen
    }

    fn seen_vif(&mut self, seen: &mut Observed, vif: &VirtualInterface, index: u32) {
        if !self.dice.once_in(60) {
            seen.vif_veths.insert(vif.name.clone(), index);
        }
        for link in &vif.addresses {
            let key = (vif.name.clone(), link.peer);
            if !self.dice.once_in(12) {
                seen.neighbors.insert(key.clone(), mac(0xc, index as usize));
            }
            if self.dice.once_in(25) {
                seen.bfd_down.insert(key);
            }
        }
    }

    fn underlay(&mut self, seen: &mut Observed, intent: &Intent) {
        for number in 1..=6 {
            let text = if self.v6_underlay {
                format!("2001:db8::2{number}")
            } else {
                format!("192.0.2.{}", 20 + number)
            };
            let vtep = ip(&text);
            let next_hop = if self.dice.chance(50) {
                vtep
            } else {
                ip(if self.v6_underlay { "fe80::1" } else { "192.0.2.1" })
            };
            let mut paths = Vec::new();
            for interface in &intent.fabric.interfaces {
                if self.dice.chance(80) {
                    let mac = (!self.dice.once_in(20)).then(|| mac(0xf, number));
                    paths.push(UnderlayPath { interface: interface.clone(), next_hop, mac });
                }
            }
            if !paths.is_empty() {
                seen.underlay.insert(vtep, paths);
            }
        }
    }

    /// Also what must not be taken.
    fn learned(&mut self, gateway: &BorderGateway) -> Learned {
        const PREFIXES: [&str; 16] = [
            "172.18.0.0/16",
            "172.16.0.0/16",
            "172.16.7.0/25",
            "172.18.3.0/24",
            "10.1.2.0/24",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "128.0.0.0/2",
            "169.254.10.0/24",
            "127.1.0.0/16",
            "198.18.0.0/16",
            "fd00:172:18::/48",
            "fd00:1::/64",
            "::/0",
            "fd00:172:16:7::/72",
            "fe80:1::/64",
        ];
        let mut learned = Learned::default();
        let vifs = &gateway.virtual_interfaces;
        for _ in 0..self.dice.between(0, 8) {
            let prefix = net(self.dice.pick(&PREFIXES));
            let mut hops = BTreeSet::new();
            for vif in vifs {
                if self.dice.chance(50) {
                    let is_v4 =
                        prefix.addr().is_ipv4() && (vif.addresses.iter().any(|link| link.peer.is_ipv4()));
                    hops.insert(Hop { vif: vif.name.as_str().into(), is_v4 });
                }
                if self.dice.chance(60) {
                    learned.sources.entry(vif.name.clone()).or_default().insert(prefix);
                }
            }
            if !hops.is_empty() {
                learned.routes.insert(prefix, hops.into_iter().collect());
            }
        }
        learned
    }

    /// Lines that are being taken out of service.
    fn drain(&mut self, intent: &mut Intent) {
        let drained = &mut intent.drained;
        for vif in intent.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces) {
            if self.dice.once_in(15) {
                drained.insert(vif.name.clone(), Drain::Announced);
            }
        }
    }
}

/// Link addresses of the virtual interface with this number: subnets of several lengths, in one family or both.
fn links(dice: &mut Dice, number: usize) -> Vec<LinkAddress> {
    let n = 10 + number;
    let v4: [(String, String); 3] = [
        (format!("169.254.{n}.2/30"), format!("169.254.{n}.1")),
        (format!("169.254.{n}.2/29"), format!("169.254.{n}.5")),
        (format!("169.254.{n}.0/31"), format!("169.254.{n}.1")),
    ];
    let v6: [(String, String); 3] = [
        (format!("fd00:{n}::2/126"), format!("fd00:{n}::1")),
        (format!("fd00:{n}::2/64"), format!("fd00:{n}::1")),
        (format!("fd00:{n}::4/127"), format!("fd00:{n}::5")),
    ];
    let (v4, v6) = (dice.pick(&v4), dice.pick(&v6));
    let taken = match dice.below(10) {
        0 => vec![v4],
        1 => vec![v6],
        _ => vec![v4, v6],
    };
    let link = |(local, peer): (String, String)| LinkAddress {
        local: local.parse().unwrap_or_else(|_| unreachable!("{local}")),
        peer: ip(&peer),
    };
    taken.into_iter().map(link).collect()
}
