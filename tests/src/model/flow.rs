//! What tells a flow from another (docs/reference.md, `hash`).

use std::net::IpAddr;

use border_gw_common::abi::HashMode;

use super::ip::Packet;
use super::world::Gateway;

/// Protocols whose header starts with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// A flow; all of its packets take the same of several equal ways.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Border gateway, by its place.
    gateway: usize,
    addresses: (IpAddr, IpAddr),
    protocol: Option<u8>,
    ports: Option<[u8; 4]>,
}

impl Flow {
    /// The flow of a packet. A fragment never tells its ports, so that all of a datagram's go the same way.
    pub(super) fn of(packet: &Packet, gateway: &Gateway) -> Self {
        let mode = gateway.hash;
        let ports = packet.message().first_chunk().filter(|_| {
            mode == HashMode::FiveTuple && packet.fragment.is_none() && WITH_PORTS.contains(&packet.protocol)
        });
        Self {
            gateway: gateway.number,
            addresses: (packet.source, packet.destination),
            protocol: (mode != HashMode::L3).then_some(packet.carries),
            ports: ports.copied(),
        }
    }
}
