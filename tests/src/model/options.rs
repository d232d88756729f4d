//! IPv4 options, as far as they decide over a packet (RFC 791, section 3.1; RFC 7126).

use border_gw_common::verdict::DropReason;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;

/// Refuses what picks its own way, and a list that does not hold together.
pub(super) fn check_v4(mut options: &[u8]) -> Result<(), DropReason> {
    while let [kind, rest @ ..] = options {
        match *kind {
            END => return Ok(()),
            NO_OPERATION => options = rest,
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => return Err(DropReason::SourceRoute),
            _ => {
                let len = usize::from(*rest.first().ok_or(DropReason::IpOptions)?);
                options = options.get(len..).filter(|_| len >= 2).ok_or(DropReason::IpOptions)?;
            }
        }
    }
    Ok(())
}
