//! From a document in which nothing is wrong to an intent.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use border_gw_common::net::MacAddr;

use super::diagnostic::At;
use super::document::{self, Directions, Document};
use super::{
    BorderGateway, Cap, Caps, Connection, Fabric, Gateway, HostRoute, Intent, LinkAddress, Router, Sources,
    StaticRoute, VirtualInterface, VpcAttachment, Vtep, bandwidth,
};

/// Builds the intent; none if a value is absent, which was reported before.
pub(super) fn build(document: Document, sources: Sources) -> Option<Intent> {
    let Document { gateways, fabrics, connections, border_gateways, .. } = document;
    let gateway = gateways.into_iter().next()?.value?;
    let fabric = fabrics.into_iter().next()?.value?;
    let mtus = largest_mtus(&border_gateways);
    Some(Intent {
        gateway: Gateway {
            name: gateway.name?.value,
            router_id: gateway.router_id?.value,
            metrics: gateway.metrics.map(|metrics| metrics.value),
            control: gateway.control?,
            xdp_mode: gateway.xdp_mode,
        },
        fabric: Fabric {
            interfaces: fabric.interfaces.into_iter().map(|interface| interface.value).collect(),
            vtep: fabric.vtep?.value,
            vxlan_port: fabric.vxlan_port,
        },
        connections: connections
            .into_iter()
            .map(|connection| build_connection(connection, &mtus))
            .collect::<Option<_>>()?,
        border_gateways: border_gateways.into_iter().map(border_gateway).collect::<Option<_>>()?,
        sources,
        drained: BTreeMap::new(),
    })
}

/// The largest MTU of the virtual interfaces on each connection.
fn largest_mtus(gateways: &[document::BorderGateway]) -> HashMap<String, u16> {
    let mut mtus = HashMap::new();
    for vif in gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces) {
        if let Some(connection) = &vif.connection {
            let largest = mtus.entry(connection.value.clone()).or_insert(0);
            *largest = vif.mtu.value.max(*largest);
        }
    }
    mtus
}

fn build_connection(connection: document::Connection, mtus: &HashMap<String, u16>) -> Option<Connection> {
    let name = connection.name?.value;
    let mtu = mtus.get(&name).copied().unwrap_or(document::DEFAULT_MTU);
    Some(Connection {
        interface: connection.interface?.value,
        kind: connection.kind?.value,
        caps: caps(&connection.bandwidth, &Directions::default(), mtu),
        name,
    })
}

fn caps(bandwidth: &Directions<u64>, burst: &Directions<u64>, mtu: u16) -> Caps {
    let cap = |rate: Option<At<u64>>, burst: Option<At<u64>>| {
        let rate = rate?.value;
        Some(Cap {
            rate,
            burst: burst.map_or_else(|| bandwidth::default_burst(rate, mtu), |burst| burst.value),
        })
    };
    Caps {
        to_vpc: cap(bandwidth.to_vpc, burst.to_vpc),
        to_customer: cap(bandwidth.to_customer, burst.to_customer),
    }
}

fn border_gateway(gateway: document::BorderGateway) -> Option<BorderGateway> {
    Some(BorderGateway {
        name: gateway.name?.value,
        asn: gateway.asn?.value,
        transit: gateway.transit,
        hash: gateway.hash,
        mss_clamp: gateway.mss_clamp,
        routing: gateway.routing,
        advertise: gateway.advertise.into_iter().map(|prefix| prefix.value).collect(),
        communities: gateway.communities,
        virtual_interfaces: gateway
            .virtual_interfaces
            .into_iter()
            .map(virtual_interface)
            .collect::<Option<_>>()?,
        vpc_attachments: gateway.vpc_attachments.into_iter().map(vpc_attachment).collect::<Option<_>>()?,
        routes: gateway.routes.into_iter().map(static_route).collect::<Option<_>>()?,
    })
}

fn virtual_interface(vif: document::VirtualInterface) -> Option<VirtualInterface> {
    let address = |address: document::LinkAddress| {
        Some(LinkAddress { local: address.local?.value, peer: address.peer?.value })
    };
    let bgp = match vif.bgp {
        Some(bgp) => Some(bgp.build()?),
        None => None,
    };
    Some(VirtualInterface {
        name: vif.name?.value,
        connection: vif.connection?.value,
        tag: vif.tag?.value,
        enabled: vif.enabled,
        mtu: vif.mtu.value,
        caps: caps(&vif.bandwidth, &vif.burst, vif.mtu.value),
        source_validation: vif.source_validation,
        dscp: vif.dscp,
        addresses: vif.addresses.into_iter().map(address).collect::<Option<_>>()?,
        bgp,
        bfd: vif.bfd.map(|bfd| bfd.value),
    })
}

fn vpc_attachment(attachment: document::VpcAttachment) -> Option<VpcAttachment> {
    let host_mac = attachment.host_mac.map(|mac| mac.value);
    let vteps =
        attachment.vteps.iter().map(|vtep| resolve(vtep, |_address| host_mac)).collect::<Option<Vec<_>>>()?;
    let macs: HashMap<IpAddr, MacAddr> = vteps.iter().map(|vtep| (vtep.address, vtep.mac)).collect();
    let of_attachment = |address| macs.get(&address).copied().or(host_mac);
    let host = |host: document::Host| {
        let vteps = host.vteps.iter().map(|vtep| resolve(vtep, of_attachment)).collect::<Option<_>>()?;
        Some(HostRoute { prefix: host.prefix.value, vteps })
    };
    let router = attachment.router?;
    Some(VpcAttachment {
        name: attachment.name?.value,
        vni: attachment.vni?.value,
        cidrs: attachment.cidrs.into_iter().map(|cidr| cidr.value).collect(),
        router: Router {
            mac: router.mac?.value,
            addresses: router.addresses.into_iter().map(|address| address.value).collect(),
        },
        vteps,
        mtu: attachment.mtu.value,
        hosts: attachment.hosts.into_iter().map(host).collect::<Option<_>>()?,
    })
}

/// A tunnel end with its own MAC address, or else the one that is known for it.
fn resolve(vtep: &document::Vtep, known: impl Fn(IpAddr) -> Option<MacAddr>) -> Option<Vtep> {
    let address = vtep.address.value;
    let mac = vtep.mac.map(|mac| mac.value).or_else(|| known(address))?;
    Some(Vtep { address, mac })
}

fn static_route(route: document::Route) -> Option<StaticRoute> {
    Some(StaticRoute {
        prefix: route.prefix?.value,
        via: route.via.into_iter().map(|name| name.value).collect(),
    })
}
