//! A server of two border gateways, and what the kernel says when all is well.

use std::net::{IpAddr, Ipv4Addr};

use border_gw::intent::{
    BorderGateway, Caps, Connection, ConnectionKind, Dscp, Fabric, Gateway, HostRoute, Intent, LinkAddress,
    Router, Routing, Sources, StaticRoute, Tag, VirtualInterface, VpcAttachment, Vtep, XdpMode,
};
use border_gw::kernel::{Observed, PortState, UnderlayPath};
use border_gw_common::abi::HashMode;
use border_gw_common::net::MacAddr;

pub(super) fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

pub(super) fn vif(name: &str, connection: &str, vlan: u32, net: u8) -> VirtualInterface {
    VirtualInterface {
        name: name.into(),
        connection: connection.into(),
        tag: Tag { outer: vlan.try_into().unwrap(), inner: None, tpid: 0x8100 },
        enabled: true,
        mtu: 1500,
        caps: Caps::default(),
        source_validation: true,
        dscp: Dscp::default(),
        bgp: None,
        bfd: None,
        addresses: vec![LinkAddress {
            local: format!("169.254.{net}.2/30").parse().unwrap(),
            peer: format!("169.254.{net}.1").parse().unwrap(),
        }],
    }
}

pub(super) fn vpc(name: &str, vni: u32, cidr: &str, router: &str) -> VpcAttachment {
    let vtep = |last: u8| Vtep { address: IpAddr::from([192, 0, 2, last]), mac: mac(last) };
    VpcAttachment {
        name: name.into(),
        vni: vni.try_into().unwrap(),
        cidrs: vec![cidr.parse().unwrap()],
        router: Router { mac: mac(0xee), addresses: vec![router.parse().unwrap()] },
        vteps: vec![vtep(21), vtep(22)],
        mtu: 1500,
        hosts: vec![HostRoute { prefix: format!("{router}0/32").parse().unwrap(), vteps: vec![vtep(21)] }],
    }
}

pub(super) fn gateway(
    name: &str,
    vifs: Vec<VirtualInterface>,
    vpcs: Vec<VpcAttachment>,
    routes: Vec<StaticRoute>,
) -> BorderGateway {
    BorderGateway {
        name: name.into(),
        asn: 65000,
        transit: false,
        hash: HashMode::FiveTuple,
        mss_clamp: true,
        routing: Routing::Bird,
        advertise: Vec::new(),
        communities: Vec::new(),
        virtual_interfaces: vifs,
        vpc_attachments: vpcs,
        routes,
    }
}

pub(super) fn line(name: &str, interface: &str) -> Connection {
    Connection {
        name: name.into(),
        interface: interface.into(),
        kind: ConnectionKind::Dedicated,
        caps: Caps::default(),
    }
}

/// Two customers with the same addresses and the same tag on other lines; the first has two lines.
pub(super) fn intent() -> Intent {
    let via = |names: &[&str]| StaticRoute {
        prefix: "172.16.0.0/16".parse().unwrap(),
        via: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    Intent {
        gateway: Gateway {
            name: "gw".into(),
            router_id: Ipv4Addr::new(10, 255, 0, 1),
            metrics: None,
            control: "/run/x".into(),
            xdp_mode: XdpMode::Native,
        },
        fabric: Fabric {
            interfaces: vec!["fab0".into()],
            vtep: "192.0.2.10".parse().unwrap(),
            vxlan_port: 4789,
        },
        connections: vec![line("line-a", "eth0"), line("line-b", "eth1"), line("line-c", "eth2")],
        border_gateways: vec![
            gateway(
                "bgw-1",
                vec![vif("vif-a", "line-a", 100, 10), vif("vif-b", "line-b", 100, 11)],
                vec![vpc("vpc-1", 5001, "10.1.0.0/16", "10.1.0.1")],
                vec![via(&["vif-a", "vif-b"])],
            ),
            gateway(
                "bgw-2",
                vec![vif("vif-c", "line-c", 100, 10)],
                vec![vpc("vpc-3", 5003, "10.1.0.0/16", "10.1.0.1")],
                vec![via(&["vif-c"])],
            ),
        ],
        sources: Sources::default(),
        drained: std::collections::BTreeMap::new(),
    }
}

pub(super) fn observed(intent: &Intent) -> Observed {
    let port =
        |ifindex: u32| PortState { ifindex, mac: mac(ifindex as u8), up: true, mtu: 1600, speed: None };
    let mut observed = Observed::default();
    for (interface, ifindex) in [("eth0", 2), ("eth1", 3), ("eth2", 4), ("fab0", 5)] {
        observed.ports.insert(interface.into(), port(ifindex));
    }
    let mut veth = 100;
    for gateway in &intent.border_gateways {
        for vif in &gateway.virtual_interfaces {
            observed.vif_veths.insert(vif.name.clone(), veth);
            observed.neighbors.insert((vif.name.clone(), vif.addresses[0].peer), mac(veth as u8));
            veth += 1;
        }
        for vpc in &gateway.vpc_attachments {
            observed.attachment_veths.insert(vpc.name.clone(), veth);
            veth += 1;
        }
    }
    for last in [21, 22] {
        let vtep = IpAddr::from([192, 0, 2, last]);
        let path = UnderlayPath { interface: "fab0".into(), next_hop: vtep, mac: Some(mac(last)) };
        observed.underlay.insert(vtep, vec![path]);
    }
    observed
}
