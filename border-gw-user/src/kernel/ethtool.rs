//! Offloads, carrier and speed, by the ioctls of ethtool (linux/ethtool.h). The only unsafe of the kernel side.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

const GET_DRIVER: u32 = 0x03;
const GET_SETTINGS: u32 = 0x01;
const GET_LINK: u32 = 0x0a;
const GET_STRINGS: u32 = 0x1b;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;
/// The set of strings that names features.
const FEATURE_STRINGS: u32 = 4;
/// Bytes of a string.
const STRING: usize = 32;

/// `struct ifreq`, as far as these ioctls use it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    data: [usize; 3],
}

/// Asks about interfaces of the namespace in which it was opened.
pub(super) struct Ethtool {
    socket: OwnedFd,
}

impl Ethtool {
    /// Opens a socket in the calling thread's namespace.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket })
    }

    fn request(interface: &str) -> io::Result<Request> {
        let mut request = Request { name: [0; 16], data: [0; 3] };
        let room = request.name.get_mut(..interface.len()).filter(|room| room.len() < 16);
        room.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(interface.as_bytes());
        Ok(request)
    }

    fn ioctl(&self, number: libc::c_ulong, request: &mut Request) -> io::Result<()> {
        // SAFETY: `request` is a whole `struct ifreq`, and what it points to outlives the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), number, std::ptr::from_mut(request)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// One ethtool command; `buffer` starts with the command and has room for the answer.
    fn command(&self, interface: &str, buffer: &mut [u32]) -> io::Result<()> {
        let mut request = Self::request(interface)?;
        request.data[0] = buffer.as_mut_ptr().addr();
        // The kernel writes through this address.
        let _exposed = buffer.as_mut_ptr().expose_provenance();
        self.ioctl(libc::SIOCETHTOOL as libc::c_ulong, &mut request)
    }

    /// Up, and with carrier: asked of the device. `IFF_RUNNING` is the operational state, which follows up to a second
    /// later when any interface of the machine changed within the last second (`net/core/link_watch.c`).
    pub(super) fn is_up(&self, interface: &str) -> bool {
        let mut link = [GET_LINK, 0];
        self.command(interface, &mut link).is_ok() && link[1] == 1
    }

    /// Speed in bits a second, of a device that sits on a bus; others only claim one.
    pub(super) fn speed(&self, interface: &str) -> Option<u64> {
        const BUS_INFO: usize = size_of::<u32>() + 3 * STRING;
        let mut driver = [0; 49];
        driver[0] = GET_DRIVER;
        self.command(interface, &mut driver).ok()?;
        if driver[BUS_INFO / 4] == 0 {
            return None;
        }
        let mut settings = [0; 11];
        settings[0] = GET_SETTINGS;
        self.command(interface, &mut settings).ok()?;
        let mbps = settings[3] & 0xffff | (settings[7] & 0xffff) << 16;
        // 0xffff and 0xffff_ffff: unknown.
        (mbps != 0 && mbps & 0xffff != 0xffff).then(|| u64::from(mbps) * 1_000_000)
    }

    /// Names of features, by bit.
    fn names(&self, interface: &str) -> io::Result<Vec<String>> {
        let mut info = [GET_SET_INFO, 0, 1 << FEATURE_STRINGS, 0, 0];
        self.command(interface, &mut info)?;
        let count = info[4] as usize;
        let mut strings = vec![0; 3 + count * STRING / 4];
        strings[..3].copy_from_slice(&[GET_STRINGS, FEATURE_STRINGS, count as u32]);
        self.command(interface, &mut strings)?;
        let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = |chunk: &[u8]| {
            let end = chunk.iter().position(|byte| *byte == 0).unwrap_or(chunk.len());
            String::from_utf8_lossy(&chunk[..end]).into_owned()
        };
        Ok(bytes.chunks(STRING).map(name).collect())
    }

    /// Switches features; those that the device does not have are left out. Returns the first that stays as it was.
    pub(super) fn switch(
        &self,
        interface: &str,
        wanted: &[(&'static str, bool)],
    ) -> io::Result<Option<(&'static str, bool)>> {
        let names = self.names(interface)?;
        let blocks = names.len().div_ceil(32);
        let mut set = vec![0; 2 + blocks * 2];
        set[..2].copy_from_slice(&[SET_FEATURES, blocks as u32]);
        let bits: Vec<_> = wanted
            .iter()
            .filter_map(|(name, on)| Some((names.iter().position(|found| found == name)?, *name, *on)))
            .collect();
        let active = self.active(interface, blocks)?;
        for (bit, _, on) in bits.iter().filter(|(bit, _, on)| is_set(&active, *bit) != *on) {
            set[2 + bit / 32 * 2] |= 1 << (bit % 32);
            set[2 + bit / 32 * 2 + 1] |= u32::from(*on) << (bit % 32);
        }
        if set[2..].iter().any(|word| *word != 0) {
            self.command(interface, &mut set)?;
        }
        let active = self.active(interface, blocks)?;
        Ok(bits.into_iter().find(|(bit, _, on)| is_set(&active, *bit) != *on).map(|(_, name, on)| (name, on)))
    }

    /// The features that are on, in words of 32 bits.
    fn active(&self, interface: &str, blocks: usize) -> io::Result<Vec<u32>> {
        let mut get = vec![0; 2 + blocks * 4];
        get[..2].copy_from_slice(&[GET_FEATURES, blocks as u32]);
        self.command(interface, &mut get)?;
        // available, requested, active, never_changed
        Ok(get[2..].chunks(4).map(|block| block[2]).collect())
    }
}

fn is_set(words: &[u32], bit: usize) -> bool {
    words[bit / 32] >> (bit % 32) & 1 == 1
}
