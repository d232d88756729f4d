//! Ways to VTEPs: what the kernel's routes say, over fabric ports.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures::TryStreamExt as _;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteProtocol, RouteType, RouteVia,
};
use rtnetlink::RouteMessageBuilder;

use super::KernelError;
use super::netlink::Netlink;

/// A way: interface index, and the address to resolve there.
pub(super) type Way = (u32, IpAddr);

/// The ways of one VTEP by the route that the kernel would use; none where it has no route.
pub(super) async fn ways(netlink: &Netlink, vtep: IpAddr) -> Result<Vec<Way>, KernelError> {
    let mut query = match vtep {
        IpAddr::V4(vtep) => {
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().destination_prefix(vtep, 32).build()
        }
        IpAddr::V6(vtep) => {
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().destination_prefix(vtep, 128).build()
        }
    };
    // The whole route with all of its next hops, not the one that this query would take (Linux 4.13).
    query.header.flags = RouteFlags::FibMatch;
    let mut answers = Box::pin(netlink.handle.route().get(query).execute());
    match answers.try_next().await {
        Ok(Some(route)) => Ok(next_hops(&route, vtep)),
        // Without a route the kernel answers ENETUNREACH or EHOSTUNREACH.
        Ok(None) | Err(rtnetlink::Error::NetlinkError(_)) => Ok(Vec::new()),
        Err(cause) => Err(KernelError::netlink(format!("look up the route to VTEP {vtep}"))(cause)),
    }
}

/// Next hops of a unicast route; those learned by router advertisement never count.
fn next_hops(route: &RouteMessage, vtep: IpAddr) -> Vec<Way> {
    if route.header.kind != RouteType::Unicast || route.header.protocol == RouteProtocol::Ra {
        return Vec::new();
    }
    let multipath = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops),
        _ => None,
    });
    if let Some(hops) = multipath {
        hops.iter().map(|hop: &RouteNextHop| (hop.interface_index, via(&hop.attributes, vtep))).collect()
    } else {
        let index = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        index.map(|index| (index, via(&route.attributes, vtep))).into_iter().collect()
    }
}

/// The gateway of a next hop, or the VTEP itself where it is on-link.
fn via(attributes: &[RouteAttribute], vtep: IpAddr) -> IpAddr {
    let gateway = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    });
    gateway.unwrap_or(vtep)
}

/// Ways of every VTEP.
pub(super) async fn all(
    netlink: &Netlink,
    vteps: impl Iterator<Item = IpAddr>,
) -> Result<BTreeMap<IpAddr, Vec<Way>>, KernelError> {
    let mut all = BTreeMap::new();
    for vtep in vteps {
        all.insert(vtep, ways(netlink, vtep).await?);
    }
    Ok(all)
}
