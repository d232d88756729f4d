//! Netlink in a namespace: requests and dumps.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use border_gw_common::net::MacAddr;
use futures::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Prop};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteProtocol;
use rtnetlink::{Handle, new_connection};
use tokio::sync::Notify;

use super::events::{Changes, Events};
use super::{KernelError, netns};

/// Number of what we make in the kernel's tables: routes (`ip route show proto 178`) and neighbours. No other daemon's
/// (`rt_protos` of iproute2).
pub(super) const PROTOCOL: u8 = 178;

/// A socket for requests. Events have a socket of their own: one that overflows must not swallow an answer.
#[derive(Clone)]
pub(super) struct Netlink {
    pub(super) handle: Handle,
    events: Arc<Events>,
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
    /// Made by [`Netlink::manage_neighbor`].
    pub(super) ours: bool,
}

impl Netlink {
    /// Opens sockets in a namespace, or in the daemon's own; `nudge` is notified of every event.
    pub(super) fn open(namespace: Option<&str>, nudge: Arc<Notify>) -> Result<Self, KernelError> {
        let runtime = tokio::runtime::Handle::current();
        let connect = move || {
            let _context = runtime.enter();
            let (connection, handle, _unsolicited) = new_connection()?;
            Ok((connection, handle, Events::open(nudge)?))
        };
        let connection = match namespace {
            Some(namespace) => netns::inside(namespace, connect),
            None => connect(),
        };
        let place = namespace.unwrap_or("the daemon's network namespace");
        let (connection, handle, events) =
            connection.map_err(KernelError::system(format!("open a netlink socket in `{place}`")))?;
        tokio::spawn(connection);
        Ok(Self { handle, events: Arc::new(events) })
    }

    /// What may have changed since the last call.
    pub(super) fn take_changes(&self) -> Changes {
        self.events.take()
    }

    /// Whether a table may have changed since the last call of [`Netlink::take_changes`].
    pub(super) fn has_changed(&self, table: u32) -> bool {
        self.events.has_changed(table)
    }

    /// To be read again.
    pub(super) fn mark(&self, changes: Changes) {
        self.events.mark(changes);
    }

    /// All interfaces.
    pub(super) async fn links(&self) -> Result<Vec<Link>, KernelError> {
        let messages = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        Ok(messages.map_err(KernelError::netlink("list interfaces"))?.iter().map(link).collect())
    }

    /// All interfaces by name.
    pub(super) async fn links_by_name(&self) -> Result<BTreeMap<String, Link>, KernelError> {
        Ok(self.links().await?.into_iter().map(|link| (link.name.clone(), link)).collect())
    }

    /// All neighbours, by interface index and address.
    pub(super) async fn neighbors(&self) -> Result<BTreeMap<(u32, IpAddr), Neighbor>, KernelError> {
        let messages = self.handle.neighbours().get().execute().try_collect::<Vec<_>>().await;
        Ok(messages.map_err(KernelError::netlink("list neighbours"))?.iter().filter_map(neighbor).collect())
    }

    /// Lets the kernel resolve a neighbour, and go on verifying it without traffic.
    pub(super) async fn manage_neighbor(&self, index: u32, address: IpAddr) -> Result<(), KernelError> {
        let mut request = self.handle.neighbours().add(index, address).state(NeighbourState::None).replace();
        let attributes = &mut request.message_mut().attributes;
        attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
        attributes.push(NeighbourAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
        request
            .execute()
            .await
            .map_err(KernelError::netlink(format!("manage neighbour {address} on interface index {index}")))
    }

    /// Removes the neighbours that were to be managed, and are not kept.
    pub(super) async fn forget_neighbors(
        &self,
        keep: impl Fn(u32, IpAddr) -> bool,
    ) -> Result<(), KernelError> {
        for ((index, address), neighbor) in self.neighbors().await? {
            if neighbor.ours && !keep(index, address) {
                let removed = self.handle.neighbours().del(neighbor_message(index, address)).execute().await;
                match removed {
                    // It went by itself meanwhile, or with its interface.
                    Ok(()) | Err(rtnetlink::Error::NetlinkError(_)) => {}
                    Err(cause) => {
                        return Err(KernelError::netlink(format!("remove neighbour {address}"))(cause));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A neighbour, as far as a request to remove it needs it.
fn neighbor_message(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
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
    let mut neighbor = Neighbor { mac: None, managed: false, ours: false };
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(to)) => address = Some(IpAddr::V4(*to)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(to)) => address = Some(IpAddr::V6(*to)),
            NeighbourAttribute::Protocol(protocol) => neighbor.ours = u8::from(*protocol) == PROTOCOL,
            NeighbourAttribute::LinkLayerAddress(bytes) if usable => neighbor.mac = mac(bytes),
            NeighbourAttribute::ExtFlags(flags) => {
                neighbor.managed = flags.contains(NeighbourExtFlags::Managed);
            }
            _ => {}
        }
    }
    Some(((message.header.ifindex, address?), neighbor))
}
