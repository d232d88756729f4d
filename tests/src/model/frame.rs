//! An Ethernet frame, read: addresses, tags, type, payload.

use border_gw_common::net::MacAddr;
use border_gw_common::verdict::DropReason;
use etherparse::{Ethernet2HeaderSlice, SingleVlanSlice};

/// A frame.
pub(super) struct Frame<'a> {
    pub(super) to: MacAddr,
    pub(super) from: MacAddr,
    /// `TPID` and VLAN identifier of each tag.
    pub(super) tags: Vec<(u16, u16)>,
    pub(super) ether_type: u16,
    pub(super) payload: &'a [u8],
    /// The tags, as they came.
    pub(super) tag_bytes: Vec<u8>,
    /// Where the payload starts.
    pub(super) at: usize,
}

/// Without looking for tags.
pub(super) fn untagged(frame: &[u8]) -> Result<Frame<'_>, DropReason> {
    let Ok(header) = Ethernet2HeaderSlice::from_slice(frame) else { return Err(DropReason::Truncated) };
    Ok(Frame {
        to: MacAddr(header.destination()),
        from: MacAddr(header.source()),
        tags: Vec::new(),
        ether_type: header.ether_type().0,
        payload: &frame[14..],
        tag_bytes: Vec::new(),
        at: 14,
    })
}

/// With none, one or two tags. The outer one has `TPID` 0x8100 or 0x88a8, the inner one 0x8100.
pub(super) fn tagged(frame: &[u8]) -> Result<Frame<'_>, DropReason> {
    let mut read = untagged(frame)?;
    for tpids in [&[0x8100, 0x88a8][..], &[0x8100]] {
        if !tpids.contains(&read.ether_type) {
            break;
        }
        let Ok(tag) = SingleVlanSlice::from_slice(read.payload) else { return Err(DropReason::Truncated) };
        read.tags.push((read.ether_type, tag.vlan_identifier().value()));
        // The identifier 0 names no VLAN (IEEE 802.1Q, table 9-2): nobody owns a tag with one inside.
        if read.tags.len() == 2 && read.tags[1].1 == 0 {
            return Err(DropReason::UnknownVlan);
        }
        read.tag_bytes = frame[12..read.at + 2].to_vec();
        read.ether_type = tag.ether_type().0;
        read.payload = &read.payload[4..];
        read.at += 4;
    }
    Ok(read)
}
