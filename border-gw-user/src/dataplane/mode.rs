//! How a program runs on an interface, as the kernel says it. A link does not tell: `bpf_link_info` has the interface alone.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::intent::XdpMode;

/// The mode in which a program, by its number, runs on an interface; none where it does not run there.
pub(super) fn mode(ifindex: u32, program: u32) -> io::Result<Option<XdpMode>> {
    let link = link(ifindex)?;
    let attributes = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::Xdp(attributes) => Some(attributes),
        _ => None,
    });
    Ok(attributes.flatten().find_map(|attribute| match attribute {
        LinkXdp::DrvProgId(id) if *id == program => Some(XdpMode::Native),
        LinkXdp::SkbProgId(id) if *id == program => Some(XdpMode::Skb),
        _ => None,
    }))
}

/// Asks for one interface, and waits for the answer, which the kernel gives within the call that sends the question.
pub(super) fn link(ifindex: u32) -> io::Result<LinkMessage> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut question = LinkMessage::default();
    question.header.index = ifindex;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(question));
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(link),
        NetlinkPayload::Error(error) => Err(error.to_io()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
