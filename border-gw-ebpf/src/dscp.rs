//! DSCP, translated for a VIF (RFC 2474): what a network means by a code point ends at its edge.

use border_gw_common::abi::{DSCP_MAPPED, dscp_index};
use border_gw_common::verdict::DropReason;

use crate::headers::Ip;
use crate::packet::Packet;
use crate::rewrite;
use crate::tables::Tables;

/// Translates the code point of a packet by the table of a VIF and direction; the ECN field beside it is left alone.
#[inline(always)]
pub fn translate<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    ip: &mut Ip,
    vif: u32,
    direction: u32,
) -> Result<(), DropReason> {
    const ECN: u8 = 3;
    let found = tables.dscp(dscp_index(vif, direction), ip.traffic_class >> 2).unwrap_or(0);
    if found & DSCP_MAPPED == 0 {
        return Ok(());
    }
    let traffic_class = found << 2 | ip.traffic_class & ECN;
    rewrite::write_traffic_class(packet, ip, traffic_class)
}
