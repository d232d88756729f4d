//! System calls that no library here has: a wait for programs, and a link that is detached at once.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use log::debug;

/// Longer than any program runs, for kernels that do not tell.
const LONGER_THAN_A_PROGRAM: Duration = Duration::from_millis(20);

/// Waits until every program that runs now has ended. It is `synchronize_rcu`, and a program runs in a read-side section
/// (kernel/sched/membarrier.c).
pub(super) fn wait_for_programs() {
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        // With `nohz_full`, and where a sandbox forbids it.
        debug!("the kernel has no global membarrier: {}", io::Error::last_os_error());
        thread::sleep(LONGER_THAN_A_PROGRAM);
    }
}

/// `enum bpf_cmd` (linux/bpf.h).
const BPF_OBJ_GET: libc::c_int = 7;
/// Since Linux 5.9.
const BPF_LINK_DETACH: libc::c_int = 34;

/// The part of `union bpf_attr` that `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjectByPath {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_DETACH` reads.
#[repr(C)]
struct DetachLink {
    descriptor: u32,
}

/// Takes the program of a pinned link off its interface, now. When only the pin is removed, the kernel does so some time
/// later, and the interface takes no other program until then.
pub(super) fn detach_link(pin: &Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let object = ObjectByPath { path: path.as_ptr() as u64, descriptor: 0, flags: 0 };
    let descriptor = bpf(BPF_OBJ_GET, &object)?;
    // SAFETY: the kernel has just made it, for nobody else.
    let link = unsafe { OwnedFd::from_raw_fd(descriptor) };
    bpf(BPF_LINK_DETACH, &DetachLink { descriptor: link.as_raw_fd().cast_unsigned() }).map(drop)
}

/// Number of this thread's network namespace that no other ever has, since Linux 5.14.
pub(super) fn netns_cookie() -> io::Result<u64> {
    /// asm-generic/socket.h.
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    let mut cookie = 0_u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    let place = (&raw mut cookie).cast();
    // SAFETY: the kernel writes at most `len` bytes, to a number that lives through the call.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_NETNS_COOKIE, place, &raw mut len)
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: the attributes live through the call, and the kernel reads as many bytes of them as it is told.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
