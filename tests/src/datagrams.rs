//! Datagrams by ordinary sockets: how they are marked when they arrive, what hosts learn about the way, and a steady stream.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::socket::sockopt::{IpRecvTos, Ipv6RecvTClass, RcvBufForce};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};

use crate::netns::Netns;

/// How long something that is sent may take to arrive.
const PATIENCE: Duration = Duration::from_secs(2);
/// Port of receivers.
const PORT: u16 = 7777;

/// A socket in a namespace, with an address and a port there.
fn socket(at: &Netns, address: &str, port: u16) -> anyhow::Result<UdpSocket> {
    let address = SocketAddr::new(address.parse()?, port);
    let name = at.name.clone();
    at.inside(move || UdpSocket::bind(address).with_context(|| format!("cannot use {address} in {name}")))
}

fn set_option(socket: &UdpSocket, level: i32, option: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value lives through the call.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn option(socket: &UdpSocket, level: i32, option: i32) -> io::Result<i32> {
    let (mut value, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
    let place = (&raw mut value).cast();
    // SAFETY: the kernel writes at most `len` bytes, to a number that lives through the call.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, place, &raw mut len) };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// Sends a datagram whose DSCP and ECN are `class`, to where a [`Receiver`] is.
pub fn send_marked(at: &Netns, from: &str, to: &str, class: u8) -> anyhow::Result<()> {
    let socket = socket(at, from, 0)?;
    let to: IpAddr = to.parse()?;
    let (level, name) =
        if to.is_ipv4() { (libc::IPPROTO_IP, libc::IP_TOS) } else { (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) };
    set_option(&socket, level, name, class.into()).context("cannot mark datagrams")?;
    socket.send_to(&[0; 32], (to, PORT))?;
    Ok(())
}

/// Sees how datagrams are marked that arrive.
pub struct Receiver(UdpSocket);

impl Receiver {
    /// At an address in a namespace.
    pub fn at(netns: &Netns, address: &str) -> anyhow::Result<Self> {
        let socket = socket(netns, address, PORT)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, IpRecvTos, &true)?;
        } else {
            setsockopt(&socket, Ipv6RecvTClass, &true)?;
        }
        Ok(Self(socket))
    }

    /// The port that datagrams are to have.
    pub const fn port() -> u16 {
        PORT
    }

    /// DSCP and ECN of the next datagram.
    pub fn class(&self) -> anyhow::Result<u8> {
        let mut bytes = [0; 2048];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!(i32);
        let message = recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())
            .context("nothing arrives")?;
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::Ipv4Tos(class) => return Ok(class),
                ControlMessageOwned::Ipv6TClass(class) => return Ok(class as u8),
                _ => {}
            }
        }
        bail!("a datagram without its class")
    }
}

/// What a host learns of the way to an address when it sends datagrams of that many bytes, none of which may be fragmented.
pub fn learned_mtu(at: &Netns, from: &str, to: &str, len: usize) -> anyhow::Result<i32> {
    let socket = socket(at, from, 0)?;
    let to: IpAddr = to.parse()?;
    socket.connect((to, 9))?;
    let (level, discover, mtu) = if to.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_MTU)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_MTU)
    };
    // The same number in both families.
    set_option(&socket, level, discover, libc::IP_PMTUDISC_DO)?;
    let payload = vec![0; len];
    socket.send(&payload).context("the first datagram is to fit the host's own interface")?;
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        match socket.send(&payload) {
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                // One is the news, as an error of the socket; the one after that would not be sent at all.
                return Ok(option(&socket, level, mtu)?);
            }
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
    bail!("{} is not told that {len} bytes to {to} are too many", at.name)
}

/// Sends back what comes, as long as this lives.
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// At an address in a namespace.
    pub fn at(netns: &Netns, address: &str) -> anyhow::Result<Self> {
        let socket = socket(netns, address, PORT)?;
        make_room(&socket)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut bytes = [0; 2048];
            while !ends.load(Ordering::Relaxed) {
                if let Ok((len, from)) = socket.recv_from(&mut bytes) {
                    // What is not sent is missing at the other end, which counts.
                    socket.send_to(&bytes[..len], from).ok();
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A receiver that is not on its processor for a while loses nothing.
fn make_room(socket: &UdpSocket) -> nix::Result<()> {
    const ROOM: usize = 8 << 20;
    setsockopt(&socket.as_fd(), RcvBufForce, &ROOM)
}

/// Sends datagrams at a steady pace to an [`Echo`]; how many came back.
pub fn stream(at: &Netns, from: &str, to: &str, datagrams: u32, every: Duration) -> anyhow::Result<u32> {
    let socket = socket(at, from, 0)?;
    make_room(&socket)?;
    socket.connect((to.parse::<IpAddr>()?, PORT))?;
    let receiver = socket.try_clone()?;
    receiver.set_read_timeout(Some(PATIENCE))?;
    let received = thread::spawn(move || {
        let (mut received, mut bytes) = (0, [0; 2048]);
        while received < datagrams {
            match receiver.recv(&mut bytes) {
                Ok(_) => received += 1,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        received
    });
    let started = Instant::now();
    for number in 0..datagrams {
        ensure!(socket.send(&[0; 200])? == 200, "a datagram is cut");
        thread::sleep((every * (number + 1)).saturating_sub(started.elapsed()));
    }
    received.join().map_err(|_panic| anyhow::anyhow!("the receiver panicked"))
}
