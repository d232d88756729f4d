//! Route tables of a namespace, dumped one message after the other: memory does not grow with the table.

use std::io;

use netlink_packet_route::route::{RouteAttribute, RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};

use super::{KernelError, netns};

/// Room for what one call receives, in bytes; the kernel fills at most 32 KiB of it.
const BUFFER: usize = 64 << 10;
/// How often a table is read that changes meanwhile.
const ATTEMPTS: usize = 3;

/// A socket for dumps.
pub(super) struct Dump {
    namespace: String,
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Dump {
    /// Opens a socket in a namespace.
    pub(super) fn open(namespace: &str) -> Result<Self, KernelError> {
        let socket = netns::inside(namespace, || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            // Without it the kernel ignores which table is asked for (Linux 4.20).
            socket.set_netlink_get_strict_chk(true)?;
            Ok(socket)
        });
        let socket =
            socket.map_err(KernelError::system(format!("open a netlink socket in `{namespace}`")))?;
        Ok(Self { namespace: namespace.to_owned(), socket, buffer: Vec::with_capacity(BUFFER), sequence: 0 })
    }

    /// Folds the routes of a table, of both families. A dump under which the table changed is begun again, since it may lack
    /// routes that were there all the time (`fib6_dump_table` in `net/ipv6/ip6_fib.c`); where the table never rests, the last
    /// one counts, and the events that disturbed it lead to the next.
    pub(super) fn table<T: Default>(
        &mut self,
        table: u32,
        each: &mut dyn FnMut(&mut T, &RouteMessage),
    ) -> Result<T, KernelError> {
        let mut attempt = 1;
        loop {
            let mut all = T::default();
            let mut whole = true;
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                let dumped = self.family(table, family, &mut |route| each(&mut all, route));
                whole &= dumped.map_err(KernelError::system(format!(
                    "read route table {table} of network namespace `{}`",
                    self.namespace
                )))?;
            }
            if whole || attempt == ATTEMPTS {
                return Ok(all);
            }
            attempt += 1;
        }
    }

    /// One dump; false where the table changed under it.
    fn family(
        &mut self,
        table: u32,
        family: AddressFamily,
        each: &mut dyn FnMut(&RouteMessage),
    ) -> io::Result<bool> {
        self.ask(table, family)?;
        let mut whole = true;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let part = read(&self.buffer, self.sequence, each)?;
            whole &= part.whole;
            if part.last {
                return Ok(whole);
            }
        }
    }

    fn ask(&mut self, table: u32, family: AddressFamily) -> io::Result<()> {
        let mut route = RouteMessage::default();
        route.header = RouteHeader { address_family: family, ..RouteHeader::default() };
        route.attributes.push(RouteAttribute::Table(table));
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let payload = NetlinkPayload::from(RouteNetlinkMessage::GetRoute(route));
        let mut message = NetlinkMessage::new(header, payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }
}

/// One part of the answer to a dump.
pub(super) struct Part {
    /// The table did not change under it.
    whole: bool,
    /// Nothing follows.
    last: bool,
}

/// Reads what one call received.
pub(super) fn read(mut rest: &[u8], sequence: u32, each: &mut dyn FnMut(&RouteMessage)) -> io::Result<Part> {
    let mut part = Part { whole: true, last: false };
    while !rest.is_empty() && !part.last {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
        let length = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            continue;
        }
        part.whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
        match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => each(&route),
            NetlinkPayload::Done(_) => part.last = true,
            NetlinkPayload::Error(error) => {
                no_table(&error.to_io())?;
                part.last = true;
            }
            _ => {}
        }
    }
    Ok(part)
}

/// A table that nobody has written to yet has no routes.
fn no_table(error: &io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(()),
        _ => Err(io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))),
    }
}
