//! A small world: two border gateways with the same addresses, lines, VPCs one inside the other, broken groups.

use border_gw_common::abi::{
    Attachment, AttachmentPolicer, BUCKETS, HostPort, NAME, OWNER_ATTACHMENT, OWNER_LOCAL_ROUTER,
    OWNER_LOCAL_VIF, OWNER_NOBODY, OWNER_VIF, Owner, Port, Route, SOURCE_FORBIDDEN, SOURCE_LINK,
    SOURCE_MARTIAN, SOURCE_OWN, SOURCE_PEER, SOURCE_ROUTED, Settings, TO_CUSTOMER, TO_VPC, VIF_ENABLED,
    VIF_POLICERS, VIF_VALIDATE, Vif, VifKey, VtepKey, attachment_policer, connection_policer, port_policer,
};
use border_gw_common::net::{Be16, MacAddr};
use border_gw_ebpf::policer::policer;

use super::memory::Memory;
use super::next_hop::{Macs, Tunnel, at_vtep, on_line};
use super::wire::address;

/// The first border gateway.
pub(crate) const DOMAIN: u32 = 1;
/// Another with the same addresses.
pub(crate) const OTHER_DOMAIN: u32 = 2;

/// Line ports.
pub(crate) const PORT_A: u32 = 10;
/// See [`PORT_A`].
pub(crate) const PORT_B: u32 = 11;
/// The fabric port.
pub(crate) const FABRIC: u32 = 20;

/// A VIF with one tag: `172.16.0.0/16` is behind it.
pub(crate) const VIF_A: u32 = 1;
/// A VIF on another line, without source validation: `172.17.0.0/16` is behind it.
pub(crate) const VIF_B: u32 = 2;
/// A VIF of the other border gateway, with two tags, and all else like the first.
pub(crate) const VIF_OTHER: u32 = 3;
/// A VIF that is administratively down.
pub(crate) const VIF_DOWN: u32 = 4;

/// An attachment: `10.1.0.0/16`.
pub(crate) const VPC: u32 = 1;
/// An attachment inside the other's CIDR: `10.1.7.0/24`.
pub(crate) const NESTED: u32 = 2;
/// An attachment of the other border gateway, `10.1.0.0/16` as well.
pub(crate) const VPC_OTHER: u32 = 3;

/// VNIs, by attachment.
pub(crate) const VNI: [u32; 4] = [0, 5001, 5002, 6001];

/// The customer's router.
pub(crate) const CUSTOMER: MacAddr = MacAddr([2, 0, 0, 0xc, 0, 1]);
/// The fabric's router.
pub(crate) const SPINE: MacAddr = MacAddr([2, 0, 0, 0xf, 0, 1]);
/// A host of a VPC.
pub(crate) const HOST: MacAddr = MacAddr([2, 0, 0, 0xd, 0, 1]);

/// The Ethernet address of a port.
pub(crate) const fn port_mac(ifindex: u32) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, ifindex as u8])
}

/// The Ethernet address of an attachment's router.
pub(crate) const fn router_mac(attachment: u32) -> MacAddr {
    MacAddr([2, 0, 0x5e, 0, 0x50, attachment as u8])
}

/// The inner destination at a VTEP.
pub(crate) const fn vtep_mac(number: usize) -> MacAddr {
    MacAddr([2, 0, 0x5e, 0, 0x60, number as u8])
}

/// The outer end of a VIF's veth.
pub(crate) const fn vif_veth(vif: u32) -> u32 {
    100 + vif
}

/// The outer end of an attachment's veth.
pub(crate) const fn vpc_veth(attachment: u32) -> u32 {
    200 + attachment
}

/// Index of the policer of a port.
pub(crate) const fn port_index(ifindex: u32) -> u32 {
    ifindex % 7
}

/// The line port of a VIF.
pub(crate) const fn vif_port(vif: u32) -> u32 {
    if vif == VIF_B { PORT_B } else { PORT_A }
}

/// The tags of a VIF.
pub(crate) const fn tags(vif: u32) -> &'static [u8] {
    match vif {
        VIF_OTHER => &[0x88, 0xa8, 0, 200, 0x81, 0, 0, 100],
        VIF_DOWN => &[0x81, 0, 1, 44],
        _ => &[0x81, 0, 0, 100],
    }
}

/// Connection of each VIF.
pub(crate) const CONNECTION: [u32; 5] = [0, 1, 2, 1, 1];

/// The tunnels' ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Underlay {
    V4,
    V6,
}

impl Underlay {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// Our tunnel address.
    pub(crate) const fn gateway(self) -> &'static str {
        match self {
            Self::V4 => "192.0.2.10",
            Self::V6 => "2001:db8::10",
        }
    }

    /// A VTEP: 1 and 2 serve [`VPC`], 3 serves [`NESTED`], 1 serves [`VPC_OTHER`]; 9 is a stranger.
    pub(crate) fn vtep(self, number: usize) -> String {
        match self {
            Self::V4 => format!("192.0.2.{}", 20 + number),
            Self::V6 => format!("2001:db8::2{number}"),
        }
    }

    /// Largest inner packet.
    pub(crate) const fn mtu(self) -> u16 {
        match self {
            Self::V4 => 1450,
            Self::V6 => 1430,
        }
    }
}

/// Group of a VIF.
pub(crate) const fn vif_group(vif: u32) -> u32 {
    vif
}
/// Group with the VIFs A and B.
const BOTH_LINES: u32 = 8;
/// Group of an attachment.
pub(crate) const fn vpc_group(attachment: u32) -> u32 {
    10 + attachment
}
/// Group with the first VTEP alone.
pub(crate) const FIRST_VTEP: u32 = 19;
/// A group whose buckets are all empty.
const DEAD: u32 = 20;
/// A group whose bucket names a next hop of the other border gateway's VPC.
const FOREIGN_VPC: u32 = 21;
/// A group whose bucket names a next hop of the other border gateway's VIF.
const FOREIGN_VIF: u32 = 22;
/// A group whose bucket names an empty record.
const EMPTY: u32 = 23;
/// A group that is not there.
const ABSENT: u32 = 24;

/// An empty next hop.
const EMPTY_NEXT_HOP: u16 = 77;

/// Next hop of a VIF.
pub(crate) const fn vif_next_hop(vif: u32) -> u16 {
    vif as u16
}

/// Next hop of an attachment at a VTEP.
pub(crate) const fn vpc_next_hop(attachment: u32, vtep: usize) -> u16 {
    (100 * attachment) as u16 + vtep as u16
}

/// The tables of the world.
pub(crate) fn world(underlay: Underlay) -> Memory {
    let mut world = Memory::default();
    let (vtep_version, vtep) = address(underlay.gateway());
    world.settings = Settings { vtep, vtep_version, vxlan_port: Be16::new(4789), reserved: 0 };
    world.clock.set(1_000_000_000_000);
    let fabric = Port { index: port_index(FABRIC), mac: port_mac(FABRIC), reserved: 0 };
    world.ports.insert(FABRIC, fabric);
    lines(&mut world);
    vpcs(&mut world, underlay);
    for domain in [DOMAIN, OTHER_DOMAIN] {
        routes(&mut world, domain);
    }
    // Generous caps everywhere, so that what is charged is seen.
    let vifs = (VIF_A * VIF_POLICERS)..((VIF_DOWN + 1) * VIF_POLICERS);
    let vpcs = [VPC, NESTED, VPC_OTHER].into_iter().flat_map(|vpc| {
        [AttachmentPolicer::Punt, AttachmentPolicer::Error, AttachmentPolicer::TooBig]
            .map(|which| attachment_policer(vpc, which))
    });
    let connections =
        [1, 2].into_iter().flat_map(|c| [TO_VPC, TO_CUSTOMER].map(|to| connection_policer(c, to)));
    let ports = [PORT_A, PORT_B, FABRIC].map(|port| port_policer(port_index(port)));
    for index in vifs.chain(vpcs).chain(connections).chain(ports) {
        world.policers.insert(index, policer(10_000_000_000, 100_000_000));
    }
    world
}

fn lines(world: &mut Memory) {
    const C_TAG: u16 = 0x8100;
    const S_TAG: u16 = 0x88a8;
    let vifs = [
        (VIF_A, PORT_A, DOMAIN, VIF_ENABLED | VIF_VALIDATE, (C_TAG, 100, 0)),
        (VIF_B, PORT_B, DOMAIN, VIF_ENABLED, (C_TAG, 100, 0)),
        (VIF_OTHER, PORT_A, OTHER_DOMAIN, VIF_ENABLED | VIF_VALIDATE, (S_TAG, 200, 100)),
        (VIF_DOWN, PORT_A, DOMAIN, VIF_VALIDATE, (C_TAG, 300, 0)),
    ];
    for (index, port, domain, flags, (tpid, outer, inner)) in vifs {
        let key = VifKey { ifindex: port, tpid: Be16::new(tpid), outer, inner, reserved: 0 };
        world.vif_by_tag.insert(key, index);
        let mut tags = [0; 8];
        tags[..4].copy_from_slice(&[tpid.to_be_bytes(), outer.to_be_bytes()].concat());
        if inner != 0 {
            tags[4..].copy_from_slice(&[C_TAG.to_be_bytes(), inner.to_be_bytes()].concat());
        }
        let vif = Vif {
            name: [0; NAME],
            domain,
            flags,
            port_ifindex: port,
            veth_ifindex: vif_veth(index),
            connection: CONNECTION[index as usize],
            hash_mode: 0,
            tags,
            tags_len: if inner == 0 { 4 } else { 8 },
            mac: port_mac(port),
            mtu: 1500,
            port: port_index(port) as u16,
            // Nobody is told anything, but where a case says so.
            error_v4: [0; 16],
            error_v6: [0; 16],
        };
        let next_hop = on_line(index, &vif, CUSTOMER, port_index(port), 1500);
        world.next_hops.insert(vif_next_hop(index), next_hop);
        world.groups.insert(vif_group(index), [vif_next_hop(index); BUCKETS]);
        world.vifs.insert(index, vif);
        world.host_ports.insert(vif_veth(index), HostPort { owner: Owner::new(OWNER_VIF, index) });
        sources(world, index);
    }
    world.groups.insert(BOTH_LINES, alternating(vif_next_hop(VIF_A), vif_next_hop(VIF_B)));
}

fn alternating(even: u16, odd: u16) -> [u16; BUCKETS] {
    std::array::from_fn(|bucket| if bucket % 2 == 0 { even } else { odd })
}

fn sources(world: &mut Memory, vif: u32) {
    let (link, behind) = if vif == VIF_B { (20, 17) } else { (10, 16) };
    let sources = world.sources.entry(vif).or_default();
    sources.add(&format!("169.254.{link}.2/32"), SOURCE_OWN);
    sources.add(&format!("169.254.{link}.1/32"), SOURCE_PEER);
    sources.add(&format!("169.254.{link}.0/29"), SOURCE_LINK);
    sources.add(&format!("172.{behind}.0.0/16"), SOURCE_ROUTED);
    for end in [format!("169.254.{link}.0/32"), format!("169.254.{link}.7/32"), format!("fd00:{link}::/128")]
    {
        sources.add(&end, SOURCE_MARTIAN);
    }
    sources.add(&format!("fd00:{link}::2/128"), SOURCE_OWN);
    sources.add(&format!("fd00:{link}::1/128"), SOURCE_PEER);
    sources.add(&format!("fd00:{link}::/124"), SOURCE_LINK);
    sources.add(&format!("fd00:172:{behind}::/48"), SOURCE_ROUTED);
    // Without validation any source is good, but for those of VPCs and other lines.
    if vif == VIF_B {
        for prefix in ["10.1.0.0/16", "fd00:1::/48", "169.254.10.0/29", "fd00:10::/124"] {
            sources.add(prefix, SOURCE_FORBIDDEN);
        }
    }
}

fn vpcs(world: &mut Memory, underlay: Underlay) {
    let places: [(u32, u32, &[usize]); 3] =
        [(VPC, DOMAIN, &[1, 2]), (NESTED, DOMAIN, &[3]), (VPC_OTHER, OTHER_DOMAIN, &[1])];
    for (index, domain, vteps) in places {
        let vni = VNI[index as usize];
        world.attachment_by_vni.insert(vni, index);
        let attachment = Attachment {
            name: [0; NAME],
            domain,
            veth_ifindex: vpc_veth(index),
            vni,
            hash_mode: 0,
            router_mac: router_mac(index),
            mtu: 1500,
            flags: 0,
            error_v4: [0; 16],
            error_v6: [0; 16],
        };
        world.attachments.insert(index, attachment);
        world.host_ports.insert(vpc_veth(index), HostPort { owner: Owner::new(OWNER_ATTACHMENT, index) });
        for number in vteps {
            let (version, vtep) = address(&underlay.vtep(*number));
            world.vteps.insert(VtepKey { attachment: index, version, address: vtep });
            let tunnel = Tunnel {
                domain,
                attachment: index,
                vni,
                vtep,
                outer: Macs { to: SPINE, from: port_mac(FABRIC) },
                inner: Macs { to: vtep_mac(*number), from: router_mac(index) },
                egress_ifindex: FABRIC,
                port: port_index(FABRIC),
                mtu: underlay.mtu(),
            };
            world.next_hops.insert(vpc_next_hop(index, *number), at_vtep(&world.settings, &tunnel));
        }
        let (first, last) = (vteps[0], vteps[vteps.len() - 1]);
        let buckets = alternating(vpc_next_hop(index, first), vpc_next_hop(index, last));
        world.groups.insert(vpc_group(index), buckets);
    }
    world.groups.insert(FIRST_VTEP, [vpc_next_hop(VPC, 1); BUCKETS]);
    world.groups.insert(DEAD, [0; BUCKETS]);
    world.groups.insert(FOREIGN_VPC, [vpc_next_hop(VPC_OTHER, 1); BUCKETS]);
    world.groups.insert(FOREIGN_VIF, [vif_next_hop(VIF_OTHER); BUCKETS]);
    world.groups.insert(EMPTY, [EMPTY_NEXT_HOP; BUCKETS]);
    // SAFE by layout: all zero is how an unused slot of an array map looks.
    let mut empty = world.next_hops[&vif_next_hop(VIF_A)];
    empty.encapsulation = 0;
    empty.domain = 0;
    world.next_hops.insert(EMPTY_NEXT_HOP, empty);
}

fn routes(world: &mut Memory, domain: u32) {
    let first = domain == DOMAIN;
    let (vif, vpc) = if first { (VIF_A, VPC) } else { (VIF_OTHER, VPC_OTHER) };
    let to_vif = |group, index| Route { group, owner: Owner::new(OWNER_VIF, index) };
    let to_vpc = |group, index| Route { group, owner: Owner::new(OWNER_ATTACHMENT, index) };
    let local = |kind, index| Route { group: 0, owner: Owner::new(kind, index) };
    let host = if first { FIRST_VTEP } else { vpc_group(VPC_OTHER) };
    let mut all = vec![
        ("10.1.0.0/16", to_vpc(vpc_group(vpc), vpc)),
        ("fd00:1::/48", to_vpc(vpc_group(vpc), vpc)),
        ("10.1.0.10/32", to_vpc(host, vpc)),
        ("fd00:1::10/128", to_vpc(host, vpc)),
        ("10.1.0.1/32", local(OWNER_LOCAL_ROUTER, vpc)),
        ("fd00:1::1/128", local(OWNER_LOCAL_ROUTER, vpc)),
        ("172.16.0.0/16", to_vif(vif_group(vif), vif)),
        ("fd00:172:16::/48", to_vif(vif_group(vif), vif)),
        ("169.254.10.2/32", local(OWNER_LOCAL_VIF, vif)),
        ("fd00:10::2/128", local(OWNER_LOCAL_VIF, vif)),
        ("169.254.10.0/32", local(OWNER_NOBODY, vif)),
        ("169.254.10.7/32", local(OWNER_NOBODY, vif)),
        ("fd00:10::/128", local(OWNER_NOBODY, vif)),
    ];
    if first {
        all.extend([
            ("10.1.7.0/24", to_vpc(vpc_group(NESTED), NESTED)),
            ("fd00:1:0:7::/64", to_vpc(vpc_group(NESTED), NESTED)),
            ("10.1.7.1/32", local(OWNER_LOCAL_ROUTER, NESTED)),
            ("fd00:1:0:7::1/128", local(OWNER_LOCAL_ROUTER, NESTED)),
            ("172.17.0.0/16", to_vif(vif_group(VIF_B), VIF_B)),
            ("fd00:172:17::/48", to_vif(vif_group(VIF_B), VIF_B)),
            ("172.18.0.0/16", to_vif(BOTH_LINES, VIF_A)),
            ("169.254.20.2/32", local(OWNER_LOCAL_VIF, VIF_B)),
            ("fd00:20::2/128", local(OWNER_LOCAL_VIF, VIF_B)),
            ("169.254.20.0/32", local(OWNER_NOBODY, VIF_B)),
            ("169.254.20.7/32", local(OWNER_NOBODY, VIF_B)),
            ("fd00:20::/128", local(OWNER_NOBODY, VIF_B)),
            ("10.90.0.0/16", to_vpc(DEAD, VPC)),
            ("10.91.0.0/16", to_vpc(FOREIGN_VPC, VPC)),
            ("10.92.0.0/16", to_vpc(EMPTY, VPC)),
            ("10.93.0.0/16", to_vpc(ABSENT, VPC)),
            ("172.30.0.0/16", to_vif(DEAD, VIF_A)),
            ("172.31.0.0/16", to_vif(FOREIGN_VIF, VIF_A)),
        ]);
    }
    let routes = world.routes.entry(domain).or_default();
    for (prefix, route) in all {
        routes.add(prefix, route);
    }
}
