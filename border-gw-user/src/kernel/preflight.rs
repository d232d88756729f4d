//! Whether this kernel and these ports can carry an intent. Changes nothing, and needs no privilege.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::netlink::{Link, Netlink};
use super::{KernelError, line_of, ports};
use crate::intent::{Intent, XdpMode};

/// Oldest kernel: the oldest that is tested (`cargo xtask vm`). What is used is older (`bpf_xdp_get_buff_len` came with 5.18,
/// managed neighbours with 5.16), but what a verifier takes is known of one that was asked.
const OLDEST: (u32, u32) = (6, 1);
/// Bytes that the tunnel adds to an inner IP packet, over IPv4 and IPv6: inner Ethernet, VXLAN, UDP, IP.
const TUNNEL: (u32, u32) = (50, 70);
/// The smallest MTU that IPv6 knows (RFC 8200, section 5): no host makes its packets smaller, whatever it is told.
pub(crate) const SMALLEST_MTU: u32 = 1280;

/// Largest MTU of a port in skb mode: a page less headroom (256), the end of a buffer (320), Ethernet and a tag (18).
const MAX_SKB_MTU: u32 = 3_500;

/// What an interface that does not exist is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// An error: the gateway is to run here.
    Refused,
    /// A note: the configuration may be for another machine.
    Noted,
}

/// Checks the kernel's version, and that every port exists and is large enough; returns what is worth knowing beside.
pub async fn preflight(intent: &Intent, missing: Missing) -> Result<Vec<String>, KernelError> {
    if missing == Missing::Refused {
        require_kernel(&release()?)?;
    }
    let links = Netlink::open(None, Arc::default())?.links_by_name().await?;
    let mut notes = Vec::new();
    for error in absent(intent, &links) {
        match missing {
            Missing::Refused => return Err(error),
            Missing::Noted => notes.push(error.to_string()),
        }
    }
    generic_hook(intent, &links)?;
    lines(intent, &links)?;
    fabric(intent, &links, &mut notes)?;
    Ok(notes)
}

fn absent<'a>(
    intent: &'a Intent,
    links: &'a BTreeMap<String, Link>,
) -> impl Iterator<Item = KernelError> + 'a {
    let lines = intent
        .connections
        .iter()
        .map(|connection| (&connection.interface, format!("line of connection `{}`", connection.name)));
    let fabric = intent.fabric.interfaces.iter().map(|interface| (interface, "fabric port".to_owned()));
    let absent = lines.chain(fabric).filter(|(interface, _)| !links.contains_key(*interface));
    absent.map(|(interface, role)| KernelError::NoInterface { interface: interface.clone(), role })
}

/// What the kernel's generic hook makes of a frame is one page; larger ones would be several buffers, which it cannot shorten
/// (`skb_pp_cow_data` and `bpf_prog_run_generic_xdp`, net/core): an ICMP error about one would be sent with what lay behind it.
fn generic_hook(intent: &Intent, links: &BTreeMap<String, Link>) -> Result<(), KernelError> {
    let all = ports::names(intent);
    let ports = all.iter().filter_map(|name| links.get(name));
    for link in ports.filter(|_| intent.gateway.xdp_mode == XdpMode::Skb) {
        if link.mtu > MAX_SKB_MTU {
            let interface = link.name.clone();
            return Err(KernelError::SkbMtu { interface, mtu: link.mtu, most: MAX_SKB_MTU });
        }
    }
    Ok(())
}

/// A port's MTU is at least its VIFs' and their tags.
fn lines(intent: &Intent, links: &BTreeMap<String, Link>) -> Result<(), KernelError> {
    for vif in intent.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces) {
        let Some(link) = line_of(intent, vif).and_then(|interface| links.get(interface)) else { continue };
        let needed = u32::from(vif.mtu) + u32::from(vif.tag.len());
        if link.mtu < needed {
            return Err(KernelError::PortMtu {
                interface: link.name.clone(),
                mtu: link.mtu,
                vif: vif.name.clone(),
                vif_mtu: vif.mtu,
                tags: vif.tag.len(),
                needed,
            });
        }
    }
    Ok(())
}

/// Bytes that the tunnel adds to an inner IP packet.
pub(super) fn tunnel(intent: &Intent) -> u32 {
    if intent.fabric.vtep.is_ipv4() { TUNNEL.0 } else { TUNNEL.1 }
}

/// A fabric port has room for the tunnel around the smallest packets; less than an attachment's MTU is a note.
fn fabric(
    intent: &Intent,
    links: &BTreeMap<String, Link>,
    notes: &mut Vec<String>,
) -> Result<(), KernelError> {
    let tunnel = tunnel(intent);
    for link in intent.fabric.interfaces.iter().filter_map(|interface| links.get(interface)) {
        let (interface, mtu) = (&link.name, link.mtu);
        if mtu < SMALLEST_MTU + tunnel {
            return Err(KernelError::FabricMtu {
                interface: interface.clone(),
                mtu,
                needed: SMALLEST_MTU + tunnel,
            });
        }
        let room = mtu - tunnel;
        let vpcs = intent.border_gateways.iter().flat_map(|gateway| &gateway.vpc_attachments);
        notes.extend(vpcs.filter(|vpc| u32::from(vpc.mtu) > room).map(|vpc| {
            format!(
                "VPC attachment `{}` has MTU {}, and fabric port `{interface}` leaves {room} (MTU {mtu} less {tunnel} for the \
                 tunnel): larger packets are dropped; `ip link set {interface} mtu {}`, or lower the attachment's `mtu`",
                vpc.name,
                vpc.mtu,
                u32::from(vpc.mtu) + tunnel
            )
        }));
    }
    Ok(())
}

fn release() -> Result<String, KernelError> {
    let name = nix::sys::utsname::uname()
        .map_err(|errno| KernelError::system("read the kernel's release")(errno.into()))?;
    Ok(name.release().to_string_lossy().into_owned())
}

fn require_kernel(release: &str) -> Result<(), KernelError> {
    if version(release) < OLDEST {
        return Err(KernelError::OldKernel { found: release.to_owned(), oldest: OLDEST });
    }
    Ok(())
}

/// The first two numbers of a release; what is no number is older than all.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|mark: char| !mark.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_refused_with_its_release() {
        for (release, found, ok) in [
            ("6.1.0-56-amd64", (6, 1), true),
            ("6.12.117+deb12-amd64", (6, 12), true),
            ("6.18.44-fc", (6, 18), true),
            ("6.1", (6, 1), true),
            ("6.1-rc3", (6, 1), true),
            ("10.0.1", (10, 0), true),
            ("6.0.19", (6, 0), false),
            ("5.18.0-1-amd64", (5, 18), false),
            ("4.19", (4, 19), false),
            ("mine", (0, 0), false),
            ("", (0, 0), false),
        ] {
            assert_eq!(version(release), found, "{release}");
            assert_eq!(require_kernel(release).is_ok(), ok, "{release}");
        }
        let error = require_kernel("5.10.0-30-amd64").unwrap_err().to_string();
        assert_eq!(
            error,
            "this is Linux 5.10.0-30-amd64, and border-gw needs 6.1 or newer, the oldest that it is tested on: boot a newer kernel"
        );
    }
}
