//! Ports that leave IPv6 less than it needs. `check` and the start refuse them; at run time somebody may lower an MTU.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::headers;
use crate::intent::{Intent, VirtualInterface, VpcAttachment};
use crate::kernel::{Observed, PortState, SMALLEST_MTU};

/// What a port leaves.
struct Narrow<'a> {
    port: &'a PortState,
    /// Bytes of IP, the least of all.
    room: u32,
    /// `VPC attachment` or `virtual interface`.
    kind: &'static str,
    first: &'a str,
    others: usize,
}

impl Narrow<'_> {
    fn describe(&self, interface: &str) -> String {
        let Self { port, room, kind, first, others } = self;
        let others = if *others == 0 { String::new() } else { format!(" and {others} more") };
        format!(
            "interface `{interface}` has MTU {} and leaves {room} bytes to {kind} `{first}`{others}: IPv6 needs {SMALLEST_MTU}, and its \
             larger packets are lost; `ip link set {interface} mtu {}`",
            port.mtu,
            port.mtu + SMALLEST_MTU - room
        )
    }
}

/// A sentence about each port that leaves too little to what uses IPv6, by the port's name.
pub fn too_narrow(intent: &Intent, observed: &Observed) -> BTreeMap<String, String> {
    let mut all: BTreeMap<&str, Narrow<'_>> = BTreeMap::new();
    let mut note = |interface, port, room: u16, kind, name| {
        let room = u32::from(room);
        if room >= SMALLEST_MTU {
            return;
        }
        all.entry(interface)
            .and_modify(|narrow| {
                narrow.room = narrow.room.min(room);
                narrow.others += 1;
            })
            .or_insert(Narrow { port, room, kind, first: name, others: 0 });
    };
    for gateway in &intent.border_gateways {
        for vpc in gateway.vpc_attachments.iter().filter(|vpc| attachment_uses_v6(vpc)) {
            let ports = intent.fabric.interfaces.iter();
            for (name, port) in ports.filter_map(|name| Some((name, observed.ports.get(name)?))) {
                note(name, port, headers::tunnel_mtu(intent, vpc, port), "VPC attachment", &vpc.name);
            }
        }
        for vif in gateway.virtual_interfaces.iter().filter(|vif| vif_uses_v6(vif)) {
            let Some(connection) = intent.connection(&vif.connection) else { continue };
            let Some(port) = observed.ports.get(&connection.interface) else { continue };
            note(
                &connection.interface,
                port,
                headers::line_mtu(vif, Some(port)),
                "virtual interface",
                &vif.name,
            );
        }
    }
    all.into_iter().map(|(interface, narrow)| (interface.to_owned(), narrow.describe(interface))).collect()
}

fn attachment_uses_v6(vpc: &VpcAttachment) -> bool {
    vpc.cidrs.iter().any(|cidr| cidr.addr().is_ipv6()) || vpc.router.addresses.iter().any(IpAddr::is_ipv6)
}

fn vif_uses_v6(vif: &VirtualInterface) -> bool {
    vif.addresses.iter().any(|link| link.peer.is_ipv6())
}
