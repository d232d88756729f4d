//! A netlink socket in a namespace: requests, dumps, and events that mark it as changed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use border_gw_common::net::MacAddr;
use futures::{StreamExt as _, TryStreamExt as _};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Prop};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};
use tokio::sync::Notify;

use super::{KernelError, netns};

/// Whatever may change what is observed.
const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// A socket, and whether anything happened since the last look.
#[derive(Clone)]
pub(super) struct Netlink {
    pub(super) handle: Handle,
    dirty: Arc<AtomicBool>,
}

/// An interface, as far as it matters.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) altnames: Vec<String>,
    pub(super) mac: MacAddr,
    pub(super) mtu: u32,
    pub(super) admin_up: bool,
    /// Index of the other end of a veth.
    pub(super) peer: Option<u32>,
}

/// A neighbour that can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Neighbor {
    pub(super) mac: Option<MacAddr>,
    pub(super) managed: bool,
}

impl Netlink {
    /// Opens a socket in a namespace, or in the daemon's own; `nudge` is notified of every event.
    pub(super) fn open(namespace: Option<&str>, nudge: Arc<Notify>) -> Result<Self, KernelError> {
        let runtime = tokio::runtime::Handle::current();
        let connect = move || {
            let _context = runtime.enter();
            new_multicast_connection(&GROUPS)
        };
        let connection = match namespace {
            Some(namespace) => netns::inside(namespace, connect),
            None => connect(),
        };
        let place = namespace.unwrap_or("the daemon's network namespace");
        let (connection, handle, mut events) =
            connection.map_err(KernelError::system(format!("open a netlink socket in `{place}`")))?;
        tokio::spawn(connection);
        let dirty = Arc::new(AtomicBool::new(true));
        let mark = Arc::clone(&dirty);
        // An overflow arrives as an event, too: each one only says that everything has to be read again.
        tokio::spawn(async move {
            while events.next().await.is_some() {
                mark.store(true, Ordering::Release);
                nudge.notify_one();
            }
        });
        Ok(Self { handle, dirty })
    }

    /// Whether anything happened since the last call.
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// To be read again.
    pub(super) fn mark_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// All interfaces.
    pub(super) async fn links(&self) -> Result<Vec<Link>, KernelError> {
        let messages = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        Ok(messages.map_err(KernelError::netlink("list interfaces"))?.iter().map(link).collect())
    }

    /// All neighbours, by interface index and address.
    pub(super) async fn neighbors(&self) -> Result<BTreeMap<(u32, IpAddr), Neighbor>, KernelError> {
        let messages = self.handle.neighbours().get().execute().try_collect::<Vec<_>>().await;
        Ok(messages.map_err(KernelError::netlink("list neighbours"))?.iter().filter_map(neighbor).collect())
    }

    /// Lets the kernel resolve a neighbour, and go on verifying it without traffic.
    pub(super) async fn manage_neighbor(&self, index: u32, address: IpAddr) -> Result<(), KernelError> {
        let mut request = self.handle.neighbours().add(index, address).state(NeighbourState::None).replace();
        request.message_mut().attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        request
            .execute()
            .await
            .map_err(KernelError::netlink(format!("manage neighbour {address} on interface index {index}")))
    }
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        altnames: Vec::new(),
        mac: MacAddr::default(),
        mtu: 0,
        admin_up: flags.contains(LinkFlags::Up),
        peer: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(peer) => link.peer = Some(*peer),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes).unwrap_or_default(),
            LinkAttribute::PropList(props) => {
                link.altnames.extend(props.iter().filter_map(|prop| match prop {
                    Prop::AltIfName(name) => Some(name.clone()),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    link
}

fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}

fn neighbor(message: &NeighbourMessage) -> Option<((u32, IpAddr), Neighbor)> {
    // Being verified again is not being gone: only FAILED, or never having answered, is.
    let usable = matches!(
        message.header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    );
    let mut address = None;
    let mut neighbor = Neighbor { mac: None, managed: false };
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(to)) => address = Some(IpAddr::V4(*to)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(to)) => address = Some(IpAddr::V6(*to)),
            NeighbourAttribute::LinkLayerAddress(bytes) if usable => neighbor.mac = mac(bytes),
            NeighbourAttribute::ExtFlags(flags) => {
                neighbor.managed = flags.contains(NeighbourExtFlags::Managed);
            }
            _ => {}
        }
    }
    Some(((message.header.ifindex, address?), neighbor))
}
