//! Netlink events of a namespace, on a socket of their own: each one only says what has to be read again.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// What may have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// An interface or an address (which takes neighbours and routes with it without a word), or events were lost.
    everything: bool,
    neighbors: bool,
    tables: BTreeSet<u32>,
}

impl Changes {
    /// All that there is.
    pub(super) fn everything() -> Self {
        Self { everything: true, ..Self::default() }
    }

    /// The routes of a table.
    pub(super) fn of_table(table: u32) -> Self {
        Self { tables: BTreeSet::from([table]), ..Self::default() }
    }

    /// Whether neighbours may have changed.
    pub(super) fn neighbors(&self) -> bool {
        self.everything || self.neighbors
    }

    /// Whether the routes of a table may have changed.
    pub(super) fn table(&self, table: u32) -> bool {
        self.everything || self.tables.contains(&table)
    }

    /// Whether the routes of any table may have changed.
    pub(super) fn any_table(&self) -> bool {
        self.everything || !self.tables.is_empty()
    }

    /// Whether the routes of a table may have changed, of which it is then taken that they were read.
    pub(super) fn take_table(&mut self, table: u32) -> bool {
        self.tables.remove(&table) || self.everything
    }

    /// These and others.
    pub(super) fn add(&mut self, other: Self) {
        self.everything |= other.everything;
        self.neighbors |= other.neighbors;
        self.tables.extend(other.tables);
    }

    /// What an event says; a datagram holds one message (linux/netlink.h, linux/rtnetlink.h).
    fn of(datagram: &[u8]) -> Self {
        const RTM_NEWROUTE: u16 = 24;
        const RTM_DELROUTE: u16 = 25;
        const RTM_NEWNEIGH: u16 = 28;
        const RTM_DELNEIGH: u16 = 29;
        match message_type(datagram) {
            Some(RTM_NEWNEIGH | RTM_DELNEIGH) => Self { neighbors: true, ..Self::default() },
            Some(RTM_NEWROUTE | RTM_DELROUTE) => {
                table(datagram).map_or_else(Self::everything, Self::of_table)
            }
            _ => Self::everything(),
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
    changes: Arc<Mutex<Changes>>,
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
        let changes = Arc::new(Mutex::new(Changes::everything()));
        let task = tokio::spawn(listen(socket, Arc::clone(&changes), nudge)).abort_handle();
        Ok(Self { changes, task })
    }

    /// What may have changed since the last call.
    pub(super) fn take(&self) -> Changes {
        std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a table may have changed since the last [`Events::take`].
    pub(super) fn has_changed(&self, table: u32) -> bool {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).table(table)
    }

    /// To be read again.
    pub(super) fn mark(&self, changes: Changes) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).add(changes);
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(socket: TokioSocket, changes: Arc<Mutex<Changes>>, nudge: Arc<Notify>) {
    let mut buffer = Vec::with_capacity(32 << 10);
    loop {
        buffer.clear();
        // ENOBUFS is an event, too: some were lost.
        let seen = match socket.recv(&mut buffer).await {
            Ok(()) => Changes::of(&buffer),
            Err(_) => Changes::everything(),
        };
        changes.lock().unwrap_or_else(PoisonError::into_inner).add(seen);
        nudge.notify_one();
    }
}

/// Type of the one message that an event's datagram holds (linux/netlink.h, `struct nlmsghdr`).
fn message_type(datagram: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes([*datagram.get(4)?, *datagram.get(5)?]))
}

/// Table of the one route that an event's datagram holds: of the message's header, or of its attribute where it has more than
/// eight bits (linux/rtnetlink.h, `struct rtmsg`, `RTA_TABLE`).
fn table(datagram: &[u8]) -> Option<u32> {
    const NETLINK_HEADER: usize = 16;
    const ROUTE_HEADER: usize = 12;
    const TABLE_COMPAT: u8 = 252;
    const RTA_TABLE: u16 = 15;
    let short = *datagram.get(NETLINK_HEADER + 4)?;
    if short != TABLE_COMPAT {
        return Some(u32::from(short));
    }
    let mut attributes = datagram.get(NETLINK_HEADER + ROUTE_HEADER..)?;
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        if u16::from_ne_bytes([c, d]) == RTA_TABLE {
            return Some(u32::from_ne_bytes(attributes.get(4..8)?.try_into().ok()?));
        }
        attributes = attributes.get(length.next_multiple_of(4).max(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of a type; a route has a table and the attribute of its address before that of its table.
    fn event(message_type: u16, short: u8, table: u32) -> Vec<u8> {
        let mut datagram = vec![0; 28];
        datagram[4..6].copy_from_slice(&message_type.to_ne_bytes());
        datagram[20] = short;
        for (length, kind, value) in [(8_u16, 1_u16, 0x0a01_0000_u32), (8, 15, table)] {
            datagram.extend(length.to_ne_bytes());
            datagram.extend(kind.to_ne_bytes());
            datagram.extend(value.to_ne_bytes());
        }
        datagram
    }

    #[test]
    fn an_event_says_what_has_to_be_read_again() {
        for (sentence, datagram, neighbors, main, vif) in [
            ("a new neighbour", event(28, 0, 0), true, false, false),
            ("a neighbour that went", event(29, 0, 0), true, false, false),
            ("a route of the main table", event(24, 254, 254), false, true, false),
            ("a route that left the main table", event(25, 254, 254), false, true, false),
            ("a route of a VIF's table", event(24, 252, 1001), false, false, true),
            ("a route of a table that is not told", event(24, 252, 0)[..28].to_vec(), true, true, true),
            ("an interface", event(16, 0, 0), true, true, true),
            ("an address", event(20, 0, 0), true, true, true),
            ("nothing that makes sense", vec![0; 3], true, true, true),
        ] {
            let changes = Changes::of(&datagram);
            assert_eq!(changes.neighbors(), neighbors, "{sentence}");
            assert_eq!(changes.table(254), main, "{sentence}");
            assert_eq!(changes.table(1001), vif, "{sentence}");
        }
    }
}
