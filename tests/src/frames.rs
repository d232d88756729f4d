//! Frames made by hand, and a raw socket that sends them past tc (so that no tag is put on them).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use etherparse::PacketBuilder;

use crate::netns::Netns;

/// An IPv4 or IPv6 packet with a UDP datagram of `len` payload bytes.
pub fn udp(from: &str, to: &str, ports: (u16, u16), ttl: u8, len: usize) -> anyhow::Result<Vec<u8>> {
    let payload = vec![0; len];
    let mut packet = Vec::new();
    let builder = match (from.parse()?, to.parse()?) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), ttl),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), ttl),
        _ => bail!("{from} and {to} are of two families"),
    };
    builder.udp(ports.0, ports.1).write(&mut packet, &payload)?;
    Ok(packet)
}

/// An IPv4 packet that opens a TCP connection.
pub fn syn(from: Ipv4Addr, to: Ipv4Addr, ports: (u16, u16), ttl: u8) -> anyhow::Result<Vec<u8>> {
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4(from.octets(), to.octets(), ttl).tcp(ports.0, ports.1, 1, 64_000).syn();
    builder.write(&mut packet, &[])?;
    Ok(packet)
}

/// Gives an IPv4 packet, whose DSCP and ECN are 0, others.
pub fn set_class(packet: &mut [u8], class: u8) {
    packet[1] = class;
    let sum = u16::from_be_bytes([packet[10], packet[11]]);
    // RFC 1624: the first word grows by the class, and the sum with it.
    let sum = u32::from(!sum) + u32::from(class);
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// A router advertisement from a link-local address to all nodes.
pub fn router_advertisement() -> anyhow::Result<Vec<u8>> {
    let (from, to) = ("fe80::bad".parse::<std::net::Ipv6Addr>()?, "ff02::1".parse::<std::net::Ipv6Addr>()?);
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv6(from.octets(), to.octets(), 255);
    builder.icmpv6_raw(134, 0, [64, 0, 0x07, 0x08]).write(&mut packet, &[0; 8])?;
    Ok(packet)
}

/// An ARP request.
pub fn arp_request(mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(mac);
    packet.extend(from.octets());
    packet.extend([0; 6]);
    packet.extend(to.octets());
    packet
}

/// An Ethernet frame; `tag` is an 802.1Q identifier, or none.
pub fn ethernet(to: [u8; 6], from: [u8; 6], tag: Option<u16>, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(18 + payload.len());
    frame.extend(to);
    frame.extend(from);
    if let Some(tag) = tag {
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A VXLAN packet around an inner frame.
pub fn vxlan(from: &str, to: &str, vni: u32, inner: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut payload = vec![0x08, 0, 0, 0];
    payload.extend((vni << 8).to_be_bytes());
    payload.extend(inner);
    let (from, to): (Ipv4Addr, Ipv4Addr) = (from.parse()?, to.parse()?);
    let mut packet = Vec::new();
    PacketBuilder::ipv4(from.octets(), to.octets(), 64).udp(50_000, 4789).write(&mut packet, &payload)?;
    Ok(packet)
}

/// The Ethernet address of a port.
pub fn mac_of(netns: &Netns, port: &str) -> anyhow::Result<[u8; 6]> {
    let text = netns.run(&format!("ip -j link show dev {port}"))?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    let address = links[0]["address"].as_str().context("no address")?;
    let mut mac = [0; 6];
    for (byte, part) in mac.iter_mut().zip(address.split(':')) {
        *byte = u8::from_str_radix(part, 16)?;
    }
    Ok(mac)
}

/// Sends whole frames out of a port.
pub struct Raw {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl Raw {
    /// Opens a socket on a port of a namespace.
    pub fn open(netns: &Netns, port: &str) -> anyhow::Result<Self> {
        let port = port.to_owned();
        netns.inside(move || {
            let name = std::ffi::CString::new(port)?;
            // SAFETY: plain system calls; the descriptor is owned at once.
            unsafe {
                let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
                if socket < 0 {
                    bail!("cannot open a packet socket: {}", std::io::Error::last_os_error());
                }
                let socket = OwnedFd::from_raw_fd(socket);
                let on: libc::c_int = 1;
                let len = size_of::<libc::c_int>() as libc::socklen_t;
                let option = libc::PACKET_QDISC_BYPASS;
                libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, (&raw const on).cast(), len);
                let mut address: libc::sockaddr_ll = std::mem::zeroed();
                address.sll_family = libc::AF_PACKET as u16;
                address.sll_ifindex = libc::if_nametoindex(name.as_ptr()).cast_signed();
                Ok(Self { socket, address })
            }
        })
    }

    /// Sends frames, each once; how many the kernel took.
    pub fn send(&self, frames: &[Vec<u8>]) -> usize {
        let mut parts: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: an all-zero message header is an empty one.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_name = (&raw const self.address).cast_mut().cast();
                message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as u32;
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let mut sent = 0;
        while sent < messages.len() {
            let left = &mut messages[sent..];
            // SAFETY: every pointer in the messages is to something that outlives the call.
            let took =
                unsafe { libc::sendmmsg(self.socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0) };
            // A full queue refuses one: it is left out, as on a wire.
            sent += usize::try_from(took).unwrap_or(1).max(1);
        }
        sent
    }
}

/// Longest wait for a frame.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sees whole frames that arrive at a port.
pub struct Tap(OwnedFd);

impl Tap {
    /// Opens a socket on a port of a namespace.
    pub fn open(netns: &Netns, port: &str) -> anyhow::Result<Self> {
        let Raw { socket, mut address } = Raw::open(netns, port)?;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        let patience = libc::timeval { tv_sec: PATIENCE.as_secs().cast_signed(), tv_usec: 0 };
        // SAFETY: plain system calls, with pointers to what outlives them.
        let (bound, timed) = unsafe {
            let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            let bound = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len);
            let len = size_of::<libc::timeval>() as libc::socklen_t;
            let place = (&raw const patience).cast();
            (bound, libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, place, len))
        };
        if bound < 0 || timed < 0 {
            bail!("cannot listen on a packet socket: {}", std::io::Error::last_os_error());
        }
        Ok(Self(socket))
    }

    /// All that have arrived, and were not looked at.
    pub fn waiting(&self) -> Vec<Vec<u8>> {
        let mut bytes = vec![0; 16_384];
        let mut all = Vec::new();
        let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT;
        while let Ok(len) = nix::sys::socket::recv(self.0.as_raw_fd(), &mut bytes, flags) {
            all.push(bytes[..len].to_vec());
        }
        all
    }

    /// The next frame that is meant.
    pub fn next(&self, is_meant: impl Fn(&[u8]) -> bool) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; 16_384];
        let started = Instant::now();
        loop {
            if started.elapsed() > PATIENCE {
                bail!("no such frame arrives, but others");
            }
            let len = nix::unistd::read(&self.0, &mut bytes).context("no such frame arrives")?;
            if is_meant(&bytes[..len]) {
                bytes.truncate(len);
                return Ok(bytes);
            }
        }
    }
}

/// Bytes as hexadecimal, for messages.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").ok();
        text
    })
}
