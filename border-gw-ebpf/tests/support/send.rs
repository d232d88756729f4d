//! Frames as the lines and the hosts of the world send them.

use border_gw_common::net::MacAddr;

use super::datagram::{Datagram, with_checksum};
use super::wire::{self, ether_type, ethernet, set};
use super::world::{
    CUSTOMER, FABRIC, HOST, SPINE, Underlay, VNI, port_mac, router_mac, tags, vif_port, world,
};

/// A packet from the customer's router on a VIF.
pub(crate) fn on_vif(vif: u32, datagram: &Datagram) -> Vec<u8> {
    on_vif_to(port_mac(vif_port(vif)), vif, datagram)
}

/// The same, to another Ethernet address.
pub(crate) fn on_vif_to(destination: MacAddr, vif: u32, datagram: &Datagram) -> Vec<u8> {
    let packet = datagram.bytes();
    tagged(destination, tags(vif), ether_type(&packet), &packet)
}

/// Anything from the customer's router.
pub(crate) fn tagged(destination: MacAddr, tags: &[u8], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(destination, CUSTOMER, tags, ether_type, payload)
}

/// A packet from a host to its router.
pub(crate) fn inner(attachment: u32, datagram: &Datagram) -> Vec<u8> {
    inner_to(router_mac(attachment), datagram)
}

/// A packet from a host.
pub(crate) fn inner_to(destination: MacAddr, datagram: &Datagram) -> Vec<u8> {
    let packet = datagram.bytes();
    ethernet(destination, HOST, &[], ether_type(&packet), &packet)
}

/// A packet from a host to its router, in the tunnel of its attachment.
pub(crate) fn in_vpc(underlay: Underlay, attachment: u32, vtep: usize, datagram: &Datagram) -> Vec<u8> {
    tunnelled(underlay, attachment, vtep, &inner(attachment, datagram))
}

/// An inner frame in the tunnel of an attachment.
pub(crate) fn tunnelled(underlay: Underlay, attachment: u32, vtep: usize, inner: &[u8]) -> Vec<u8> {
    let settings = world(underlay).settings;
    let macs = (port_mac(FABRIC), SPINE);
    wire::tunnel(macs, &settings, &underlay.vtep(vtep), VNI[attachment as usize], inner)
}

/// Bytes in front of the inner frame.
pub(crate) const fn outer_len(underlay: Underlay) -> usize {
    match underlay {
        Underlay::V4 => 14 + 20 + 16,
        Underlay::V6 => 14 + 40 + 16,
    }
}

/// A tunnel packet with the traffic class 0xbb: a class, and congestion experienced.
pub(crate) fn marked(underlay: Underlay, frame: Vec<u8>) -> Vec<u8> {
    match underlay {
        Underlay::V4 => {
            let frame = set(frame, 15, &[0xbb]);
            [&frame[..14], &with_checksum(frame[14..].to_vec())].concat()
        }
        Underlay::V6 => set(frame, 14, &[0x6b, 0xb0]),
    }
}
