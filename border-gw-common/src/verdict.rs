//! What becomes of a packet. A drop has a name, and the name is its counter.

/// What the packet path decided; the shell turns it into an XDP action and counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sent on, out of the interface with this index.
    Forward(u32),
    /// Handed to the kernel in the border gateway's namespace, through the veth with this index.
    Punt(u32),
    /// Left to the kernel of the server's own namespace, unchanged.
    Pass,
    /// Turned into an answer that leaves by the port on which the question came.
    Answer,
    /// Not forwarded, and its sender may be to be told: the program `error` goes on. No packet ends so.
    Complain,
    /// Not forwarded, and turned into an ICMP error that tells its sender why.
    Refuse(DropReason),
    /// Dropped.
    Drop(DropReason),
}

/// Defines the enum, its labels and its explanations in one table.
macro_rules! reasons {
    ($($name:ident = $label:literal, $help:literal;)+) => {
        /// Why a packet was dropped. The number is the index of its counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $help] $name,)+
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The value of the metric's label `reason`, of drops and of ICMP errors.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)+ }
            }

            /// One sentence for the operator.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)+ }
            }
        }
    };
}

reasons! {
    Truncated = "truncated", "The frame ends inside a header that it announces.";
    Untagged = "untagged", "A frame without a VLAN tag on a line port, and no link control protocol.";
    UnknownVlan = "unknown_vlan", "No virtual interface owns this tag on this port.";
    VifDown = "vif_down", "The virtual interface is administratively down.";
    WrongMac = "wrong_mac", "The destination MAC address is not ours.";
    ArpMalformed = "arp_malformed", "An ARP packet that is not Ethernet and IPv4, or not a request or reply.";
    ArpStranger = "arp_stranger", "An ARP packet whose sender is not a declared peer, or not in the attachment.";
    NeighborNotForUs = "neighbor_not_for_us", "ARP or a neighbour solicitation that asks for no address of ours.";
    EtherType = "ether_type", "Neither ARP, IPv4 nor IPv6.";
    IpVersion = "ip_version", "The version in the IP header is not the one that the frame announces.";
    IpHeaderLength = "ip_header_length", "An IPv4 header length below 20 bytes or beyond the packet.";
    IpTotalLength = "ip_total_length", "An IP length beyond the frame or below its header.";
    IpChecksum = "ip_checksum", "A wrong IPv4 header checksum.";
    ExtensionHeaders = "extension_headers", "More than 6 IPv6 extension headers, or one, or an ICMP header behind them, that starts beyond byte 1,535 of the frame.";
    MartianSource = "martian_source", "A source that is multicast, broadcast, loopback or unspecified, an address of the gateway, or the network, broadcast or anycast address of a link subnet.";
    MartianDestination = "martian_destination", "A destination that is loopback, unspecified or reserved, another link-local address than ours, or the network, broadcast or anycast address of a link subnet.";
    UnicastInBroadcast = "unicast_in_broadcast", "An IP unicast in a broadcast or multicast frame.";
    Multicast = "multicast", "A multicast beyond the link, or any from a VPC.";
    Broadcast = "broadcast", "An IPv4 limited broadcast.";
    RouterAdvertisement = "router_advertisement", "An IPv6 router advertisement.";
    Redirect = "redirect", "An ICMP redirect, for IPv4 or IPv6.";
    NeighborMalformed = "neighbor_malformed", "A neighbour solicitation or advertisement that RFC 4861 calls invalid, by its hop limit, code, addresses or lengths.";
    LinkLocalSource = "link_local_source", "A link-local source of anything but neighbour solicitations and advertisements.";
    SourceInvalid = "source_invalid", "A source that the virtual interface may not use, or that is not in the attachment.";
    StrangerOnLink = "stranger_on_link", "Addressed to the gateway by another address of the link subnet than a declared peer's, to a group of the link by anybody but a declared peer, or a neighbour advertisement about anybody else.";
    PuntLimit = "punt_limit", "Addressed to the gateway, or asking where it is, over the limiter of its class.";
    TtlExpired = "ttl_expired", "The TTL or hop limit ran out.";
    NoRoute = "no_route", "No route in the border gateway's table.";
    Transit = "transit", "From a virtual interface to a virtual interface of a border gateway without transit.";
    Hairpin = "hairpin", "Back into the attachment that it came from.";
    NextHopDead = "next_hop_dead", "No live next hop: a line, a port, a VTEP or a neighbour is down.";
    NextHopForeign = "next_hop_foreign", "The next hop belongs to another border gateway: tables are being changed, or wrong.";
    TooBig = "too_big", "Larger than the next hop's MTU.";
    VifCap = "vif_cap", "Over the bandwidth of the virtual interface.";
    ConnectionCap = "connection_cap", "Over the bandwidth of the connection.";
    PortCap = "port_cap", "Over the speed of the port that it leaves by.";
    NoEgress = "no_egress", "The interface that it should leave by is not known to the program, or the next hop's record is of no known kind.";
    Headroom = "headroom", "No room in front of the frame for the header that it needs.";
    VxlanMalformed = "vxlan_malformed", "Addressed to our VTEP and port, and not VXLAN, or with lengths or a checksum that are wrong.";
    UnknownVni = "unknown_vni", "No attachment has this VNI.";
    UnknownVtep = "unknown_vtep", "The outer source is not a VTEP of the attachment.";
    UnknownHostPort = "unknown_host_port", "Sent by the kernel on an interface that the program does not know.";
    KernelNotForwarded = "kernel_not_forwarded", "Sent by the kernel toward a VPC, to an address that is not in it.";
    Congestion = "congestion", "Marked as congested in the tunnel, and the packet inside cannot carry the mark (RFC 6040).";
    SourceRoute = "source_route", "A way that the sender picks, around every check: an IPv4 source route, loose or strict (RFC 7126), or an IPv6 routing header of type 0 (RFC 5095).";
    IpOptions = "ip_options", "An IPv4 option that ends beyond the header, or whose length is none.";
    GroupSource = "group_source", "A source MAC address that is a group's (IEEE 802.3, clause 3.2.3).";
    NoteLost = "note_lost", "Refused, and the note of why was another packet's when its sender was to be told: a program was preempted, on a real-time kernel.";
    TunnelFragment = "tunnel_fragment", "A tunnel packet in fragments: a host's VPC MTU is too large for the fabric. Lower it, on the hypervisors, to the fabric's MTU less 50 bytes (IPv4 tunnel) or 70 (IPv6).";
}

/// Reasons that a sender is told, in the order of their counters.
pub const ERRORS: [DropReason; 6] = [
    DropReason::TtlExpired,
    DropReason::NoRoute,
    DropReason::NextHopDead,
    DropReason::SourceInvalid,
    DropReason::Transit,
    DropReason::TooBig,
];

/// Room for them in a counter record.
pub const MAX_ERRORS: usize = 8;

impl DropReason {
    /// Index in [`ERRORS`] of a reason that senders are told.
    #[inline(always)]
    pub const fn error_index(self) -> Option<usize> {
        Some(match self {
            Self::TtlExpired => 0,
            Self::NoRoute => 1,
            Self::NextHopDead => 2,
            Self::SourceInvalid => 3,
            Self::Transit => 4,
            Self::TooBig => 5,
            _ => return None,
        })
    }
}

/// Room for reasons in a counter record.
pub const MAX_REASONS: usize = 56;

const _: () = assert!(DropReason::ALL.len() <= MAX_REASONS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_is_told_has_a_counter_of_its_own() {
        for reason in DropReason::ALL {
            let index = ERRORS.iter().position(|error| error == reason);
            assert_eq!(reason.error_index(), index, "{reason:?}");
        }
    }

    #[test]
    fn a_reason_is_the_index_of_its_counter_and_its_label_is_unique() {
        let mut labels = std::collections::BTreeSet::new();
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(labels.insert(reason.label()), "{}", reason.label());
        }
    }
}
