//! IPv4 options: none that takes a packet another way than its addresses say, and none that nobody can read.

use core::hint;

use border_gw_common::verdict::DropReason;

use crate::packet::Packet;

/// Bytes of an IPv4 header without options.
const HEADER: usize = 20;
/// Most bytes of options: the header's length is a number of 4 bits, of words.
const MAX_OPTIONS: usize = 40;
/// A mask over offsets in an IPv4 header.
const IN_HEADER: usize = 63;

/// Looks through the options of the IPv4 header of `header_len` bytes at `at`, which the frame holds.
///
/// A source route, loose or strict, is a way around every check of sources and destinations (RFC 7126, sections 4.3 and 4.4). An
/// option whose length leads out of the header, or nowhere, is one that RFC 1812, section 4.3.3.5, calls a problem. All others
/// are for routers that care (RFC 1812, section 4.2.2.1), and so is what stands behind the end of the list.
#[inline(always)]
pub fn check<P: Packet>(packet: &mut P, at: usize, header_len: usize) -> Result<(), DropReason> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    // The byte in front of the next option: a window has two bytes, and none may reach beyond the header.
    let mut before = HEADER - 1;
    for _ in 0..MAX_OPTIONS {
        // Every way through the loop leaves the same bounds, so that the verifier follows one of them.
        before = hint::black_box(before) & IN_HEADER;
        if before + 1 >= header_len {
            return Ok(());
        }
        let kind = packet.window::<2>(at + before).ok_or(DropReason::IpOptions)?[1];
        before += match kind {
            END => return Ok(()),
            NO_OPERATION => 1,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(DropReason::SourceRoute),
            _ => {
                // Where the header ends in front of it, no length is short enough.
                let len = packet.window::<2>(at + before + 1).ok_or(DropReason::IpOptions)?[1];
                if len < 2 || before + usize::from(len) >= header_len {
                    return Err(DropReason::IpOptions);
                }
                usize::from(len)
            }
        };
    }
    Ok(())
}
