//! Next-hop records with their ready headers, as `abi.rs` documents them.

use border_gw_common::abi::{
    Address, HEADER, NextHop, OWNER_ATTACHMENT, OWNER_VIF, Owner, Settings, TAGGED, V4, VXLAN_V4, VXLAN_V6,
    Vif,
};
use border_gw_common::net::MacAddr;

/// The Ethernet addresses of a frame on its way out.
#[derive(Clone, Copy)]
pub(crate) struct Macs {
    pub(crate) to: MacAddr,
    pub(crate) from: MacAddr,
}

/// Where a tunnel leads.
pub(crate) struct Tunnel {
    pub(crate) domain: u32,
    pub(crate) attachment: u32,
    pub(crate) vni: u32,
    pub(crate) vtep: Address,
    pub(crate) outer: Macs,
    pub(crate) inner: Macs,
    pub(crate) egress_ifindex: u32,
    pub(crate) port: u32,
    pub(crate) mtu: u16,
}

/// A next hop on a line: Ethernet, the VIF's tags, and the `EtherType` that the path fills in.
pub(crate) fn on_line(index: u32, vif: &Vif, neighbor: MacAddr, port: u32, mtu: u16) -> NextHop {
    let tags = &vif.tags[..usize::from(vif.tags_len)];
    let bytes = [&neighbor.0, &vif.mac.0, tags, &[0, 0]].concat();
    let (header, header_len) = header(&bytes);
    NextHop {
        identity: 0,
        domain: vif.domain,
        owner: Owner::new(OWNER_VIF, index),
        egress_ifindex: vif.port_ifindex,
        port,
        connection: vif.connection,
        mtu,
        encapsulation: TAGGED,
        header_len,
        header,
        flags: 0,
        reserved: 0,
    }
}

/// A next hop at a VTEP: Ethernet, IP, UDP, VXLAN, inner Ethernet; lengths, outer checksum, source port, DSCP and inner
/// `EtherType` are for the path to fill in.
pub(crate) fn at_vtep(settings: &Settings, to: &Tunnel) -> NextHop {
    let v4 = settings.vtep_version == V4;
    let mut bytes = [to.outer.to.0, to.outer.from.0].concat();
    if v4 {
        bytes.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]);
        bytes.extend(&settings.vtep[..4]);
        bytes.extend(&to.vtep[..4]);
    } else {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 17, 64]);
        bytes.extend(settings.vtep);
        bytes.extend(to.vtep);
    }
    bytes.extend([0, 0]);
    bytes.extend(settings.vxlan_port.bytes());
    bytes.extend([0, 0, 0, 0]);
    bytes.extend([8, 0, 0, 0]);
    bytes.extend((to.vni << 8).to_be_bytes());
    bytes.extend(to.inner.to.0);
    bytes.extend(to.inner.from.0);
    bytes.extend([0, 0]);
    let (header, header_len) = header(&bytes);
    assert_eq!(header_len, if v4 { 64 } else { 84 });
    NextHop {
        identity: 0,
        domain: to.domain,
        owner: Owner::new(OWNER_ATTACHMENT, to.attachment),
        egress_ifindex: to.egress_ifindex,
        port: to.port,
        connection: 0,
        mtu: to.mtu,
        encapsulation: if v4 { VXLAN_V4 } else { VXLAN_V6 },
        header_len,
        header,
        flags: 0,
        reserved: 0,
    }
}

fn header(bytes: &[u8]) -> ([u8; HEADER], u8) {
    let mut header = [0; HEADER];
    header[..bytes.len()].copy_from_slice(bytes);
    (header, bytes.len() as u8)
}
