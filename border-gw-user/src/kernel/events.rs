//! Netlink events of a namespace, on a socket of their own: each one only says what has to be read again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What may have changed, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changes(u8);

impl Changes {
    /// Neighbours.
    pub(super) const NEIGHBORS: Self = Self(1);
    /// Everything: an interface or an address changed (which takes neighbours and routes with it without a word), or
    /// events were lost.
    pub(super) const ALL: Self = Self(u8::MAX);

    /// Whether any of `what` may have changed.
    pub(super) fn any(self, what: Self) -> bool {
        self.0 & what.0 != 0
    }

    /// What an event of this type says (linux/rtnetlink.h).
    fn of(message_type: u16) -> Self {
        const RTM_NEWNEIGH: u16 = 28;
        const RTM_DELNEIGH: u16 = 29;
        match message_type {
            RTM_NEWNEIGH | RTM_DELNEIGH => Self::NEIGHBORS,
            _ => Self::ALL,
        }
    }
}

/// Groups of rtnetlink whose events change what is observed.
const GROUPS: [u32; 6] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
];
/// Receive buffer, in bytes: some thousands of events. What overflows it is read again whole.
const BUFFER: usize = 1 << 20;

/// Listens until it is dropped.
pub(super) struct Events {
    changes: Arc<AtomicU8>,
    task: AbortHandle,
}

impl Events {
    /// Opens a socket in the calling thread's namespace; within a runtime.
    pub(super) fn open(nudge: Arc<Notify>) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        socket.socket_mut().set_rx_buf_sz(BUFFER as libc::c_int)?;
        for group in GROUPS {
            socket.socket_mut().add_membership(group)?;
        }
        let changes = Arc::new(AtomicU8::new(Changes::ALL.0));
        let task = tokio::spawn(listen(socket, Arc::clone(&changes), nudge)).abort_handle();
        Ok(Self { changes, task })
    }

    /// What may have changed since the last call.
    pub(super) fn take(&self) -> Changes {
        Changes(self.changes.swap(0, Ordering::AcqRel))
    }

    /// To be read again.
    pub(super) fn mark(&self, changes: Changes) {
        self.changes.fetch_or(changes.0, Ordering::AcqRel);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(socket: TokioSocket, changes: Arc<AtomicU8>, nudge: Arc<Notify>) {
    let mut buffer = Vec::with_capacity(32 << 10);
    loop {
        buffer.clear();
        // ENOBUFS is an event, too: some were lost.
        let seen = match socket.recv(&mut buffer).await {
            Ok(()) => message_type(&buffer).map_or(Changes::ALL, Changes::of),
            Err(_) => Changes::ALL,
        };
        changes.fetch_or(seen.0, Ordering::AcqRel);
        nudge.notify_one();
    }
}

/// Type of the one message that an event's datagram holds (linux/netlink.h, `struct nlmsghdr`).
fn message_type(datagram: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes([*datagram.get(4)?, *datagram.get(5)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_event_about_neighbors_leaves_the_rest_alone() {
        for (message_type, all) in [(28, false), (29, false), (16, true), (20, true), (24, true), (25, true)]
        {
            assert_eq!(Changes::of(message_type) == Changes::ALL, all, "{message_type}");
            assert!(Changes::of(message_type).any(Changes::NEIGHBORS), "{message_type}");
        }
    }
}
