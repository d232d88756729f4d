//! The layout of every BPF map: keys, values, limits. A change of layout is a change of `VERSION`.

pub mod map;
mod policers;

use crate::net::{Be16, MacAddr};
use crate::verdict::{MAX_ERRORS, MAX_REASONS};

pub use self::policers::{
    ATTACHMENT_POLICERS, AttachmentPolicer, POLICERS, Policer, VIF_POLICERS, VifPolicer, attachment_policer,
    connection_policer, port_policer, vif_policer,
};

/// Version of this layout; it names the directory under bpffs, so that two layouts never share a map. (A map of programs takes
/// none that differs in being ready for frames in several buffers, so that is part of the layout, too.)
pub const VERSION: u32 = 4;

/// Border gateways on a server: slots of the FIB's outer maps.
pub const MAX_DOMAINS: u32 = 4096;
/// Virtual interfaces on a server: slots of the source tables' outer maps.
pub const MAX_VIFS: u32 = 4096;
/// VPC attachments on a server.
pub const MAX_ATTACHMENTS: u32 = 4096;
/// Connections on a server.
pub const MAX_CONNECTIONS: u32 = 256;
/// Line and fabric ports of a server.
pub const MAX_PORTS: u32 = 64;
/// (attachment, VTEP) pairs.
pub const MAX_VTEPS: u32 = 65_536;
/// Next-hop groups, 512 bytes each.
pub const MAX_GROUPS: u32 = 16_384;
/// Next hops; a bucket is 16 bits, and 0 means none.
pub const MAX_NEXT_HOPS: u32 = 32_768;
/// Buckets of a group: four for each of 64 equal members.
pub const BUCKETS: usize = 256;
/// Routes of one family of one border gateway.
pub const MAX_ROUTES: u32 = 2_000_000;
/// Prefixes that one virtual interface may use as sources, a family.
pub const MAX_SOURCES: u32 = 1_000_000;
/// Bytes of a ready header: outer Ethernet, IPv6, UDP, VXLAN and inner Ethernet need 84.
pub const HEADER: usize = 88;

/// Longest name of an object, in bytes.
pub const NAME: usize = 64;

/// A name, padded with zero bytes.
pub type Name = [u8; NAME];

/// Which of the three programs received a packet; the index of its `RECEIVED` counter and of its own scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Entry {
    /// From a customer's line.
    Line = 0,
    /// From the fabric.
    Fabric = 1,
    /// From the kernel, in a border gateway's namespace.
    Host = 2,
}

/// Index in `STAGES` of the program that makes ICMP errors.
pub const STAGE_ERROR: u32 = 0;
/// Name of that program.
pub const ERROR_PROGRAM: &str = "error";

impl Entry {
    /// The three, in the order of their counters.
    pub const ALL: [Self; 3] = [Self::Line, Self::Fabric, Self::Host];

    /// Name of the program, and value of the metric's label `program`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Fabric => "fabric",
            Self::Host => "host",
        }
    }
}

/// IP version of an address in a map: the number in the IP header.
pub const V4: u32 = 4;
/// See [`V4`].
pub const V6: u32 = 6;

/// An IPv4 or IPv6 address in 16 bytes, as on the wire; an IPv4 address stands in the first four.
pub type Address = [u8; 16];

/// What all programs know of the server.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Our tunnel address.
    pub vtep: Address,
    /// [`V4`] or [`V6`]; 0 before the daemon has written it: nothing is ours.
    pub vtep_version: u32,
    /// UDP port of VXLAN.
    pub vxlan_port: Be16,
    /// Zero.
    pub reserved: u16,
}

/// A line or fabric port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Index of the port's policer.
    pub index: u32,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Zero.
    pub reserved: u16,
}

/// What the outer end of a veth stands for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostPort {
    /// A VIF or an attachment.
    pub owner: Owner,
}

/// Key of a VIF: tags as the line sees them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VifKey {
    /// Index of the line port.
    pub ifindex: u32,
    /// `TPID` of the outer tag.
    pub tpid: Be16,
    /// VLAN identifier of the outer tag.
    pub outer: u16,
    /// VLAN identifier of the inner tag, or 0.
    pub inner: u16,
    /// Zero.
    pub reserved: u16,
}

/// How a flow is told from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum HashMode {
    /// Addresses, protocol, ports.
    #[default]
    FiveTuple = 0,
    /// Addresses, protocol.
    ThreeTuple = 1,
    /// Addresses.
    L3 = 2,
}

/// [`Vif::flags`]: administratively up.
pub const VIF_ENABLED: u32 = 1;
/// [`Vif::flags`]: the source must be one that the VIF may use.
pub const VIF_VALIDATE: u32 = 2;
/// [`Vif::flags`]: may reach other VIFs of the border gateway.
pub const VIF_TRANSIT: u32 = 4;

/// [`Vif::flags`]: the MSS of TCP connections is held to what fits.
pub const VIF_CLAMP_MSS: u32 = 8;
/// [`Vif::flags`]: DSCP toward VPCs is translated.
pub const VIF_DSCP_TO_VPC: u32 = 16;
/// [`Attachment::flags`]: the MSS of TCP connections is held to what fits.
pub const ATTACHMENT_CLAMP_MSS: u32 = 1;
/// [`NextHop::flags`]: DSCP toward the customer is translated.
pub const NEXT_HOP_DSCP: u32 = 1;

/// A virtual interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vif {
    /// Its name; the index of the record stays with the name.
    pub name: Name,
    /// Slot of its border gateway.
    pub domain: u32,
    /// `VIF_*` bits.
    pub flags: u32,
    /// Interface index of its line port.
    pub port_ifindex: u32,
    /// Interface index of the outer end of its veth.
    pub veth_ifindex: u32,
    /// Index of its connection.
    pub connection: u32,
    /// A [`HashMode`] as a number.
    pub hash_mode: u32,
    /// The tags to put on, as on the wire: 4 or 8 bytes are used.
    pub tags: [u8; 8],
    /// Bytes of `tags` in use.
    pub tags_len: u16,
    /// The line port's Ethernet address.
    pub mac: MacAddr,
    /// Largest IP packet that it carries, in bytes.
    pub mtu: u16,
    /// Index of its line port's policer.
    pub port: u16,
    /// From where errors about IPv4 packets come: its own address, or the server's identifier.
    pub error_v4: Address,
    /// The same for IPv6; zeros without an address of its own.
    pub error_v6: Address,
}

/// A VPC attachment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name; the index of the record stays with the name.
    pub name: Name,
    /// Slot of its border gateway.
    pub domain: u32,
    /// Interface index of the outer end of its veth.
    pub veth_ifindex: u32,
    /// Its VXLAN network identifier.
    pub vni: u32,
    /// A [`HashMode`] as a number.
    pub hash_mode: u32,
    /// Ethernet address of the VPC's router.
    pub router_mac: MacAddr,
    /// Largest IP packet that it carries, in bytes.
    pub mtu: u16,
    /// `ATTACHMENT_*` bits.
    pub flags: u32,
    /// From where errors about IPv4 packets come: its router, or the server's identifier.
    pub error_v4: Address,
    /// The same for IPv6; zeros without a router of that family.
    pub error_v6: Address,
}

/// A border gateway.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name; the slot stays with the name.
    pub name: Name,
}

/// A connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name; the index stays with the name.
    pub name: Name,
}

/// Key of an allowed VTEP.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VtepKey {
    /// Index of the attachment.
    pub attachment: u32,
    /// [`V4`] or [`V6`].
    pub version: u32,
    /// The VTEP.
    pub address: Address,
}

/// What a route, a next hop or a veth belongs to: a kind in the upper half, an index in the lower.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

/// [`Owner::kind`]: no host. With the index of a VIF: an address of its link subnet that stands for no single one (IPv4 network and
/// broadcast, IPv6 subnet-router anycast). Nothing is sent there, and nobody is told anything there or about it (RFC 1812, sections
/// 4.3.2.7 and 5.3.5.2).
pub const OWNER_NOBODY: u32 = 0;
/// [`Owner::kind`]: a virtual interface.
pub const OWNER_VIF: u32 = 1;
/// [`Owner::kind`]: a VPC attachment.
pub const OWNER_ATTACHMENT: u32 = 2;
/// [`Owner::kind`]: the gateway's own address on a VIF.
pub const OWNER_LOCAL_VIF: u32 = 3;
/// [`Owner::kind`]: the router address of a VPC attachment.
pub const OWNER_LOCAL_ROUTER: u32 = 4;

impl Owner {
    /// An owner of a kind.
    pub const fn new(kind: u32, index: u32) -> Self {
        Self(kind << 16 | index & 0xffff)
    }

    /// One of the `OWNER_*` numbers.
    #[inline(always)]
    pub const fn kind(self) -> u32 {
        self.0 >> 16
    }

    /// True for the gateway's own addresses.
    #[inline(always)]
    pub const fn is_local(self) -> bool {
        self.kind() >= OWNER_LOCAL_VIF
    }

    /// True for what stands for no host.
    #[inline(always)]
    pub const fn is_nobody(self) -> bool {
        self.kind() == OWNER_NOBODY
    }

    /// Index of the record.
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0 & 0xffff
    }
}

/// A route: which group, and whose addresses these are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Index of the group; 0 for what is local.
    pub group: u32,
    /// What the destination belongs to.
    pub owner: Owner,
}

/// Whose address a source is, for a VIF.
pub type SourceClass = u32;
/// A declared peer.
pub const SOURCE_PEER: SourceClass = 1;
/// Another address of the link subnet.
pub const SOURCE_LINK: SourceClass = 2;
/// Covered by a prefix accepted from the VIF.
pub const SOURCE_ROUTED: SourceClass = 3;
/// One of our own addresses: nobody else may use it.
pub const SOURCE_OWN: SourceClass = 4;
/// An address of a VPC attachment or of another VIF's link subnet: never a source here.
pub const SOURCE_FORBIDDEN: SourceClass = 5;
/// The network or broadcast address of the link subnet: no host's, and nobody is told anything there (RFC 1812, section 4.3.2.7;
/// RFC 4443, section 2.4 (e)).
pub const SOURCE_MARTIAN: SourceClass = 6;

/// A next-hop group.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Hash of the border gateway and of the members' names: tells the group again after a restart.
    pub identity: u64,
    /// The flow hash picks one of these; each is the index of a next hop, or 0 for none.
    pub buckets: [u16; BUCKETS],
}

/// [`NextHop::encapsulation`]: the record is empty.
pub const NOTHING: u8 = 0;
/// [`NextHop::encapsulation`]: Ethernet and tags.
pub const TAGGED: u8 = 1;
/// [`NextHop::encapsulation`]: VXLAN over IPv4.
pub const VXLAN_V4: u8 = 2;
/// [`NextHop::encapsulation`]: VXLAN over IPv6.
pub const VXLAN_V6: u8 = 3;

/// Where a packet goes, with everything that the rewrite needs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Hash of what it leads to: tells the next hop again after a restart, whatever its index.
    pub identity: u64,
    /// Slot of its border gateway; a packet of another one is never sent here.
    pub domain: u32,
    /// The VIF or attachment that it leads to.
    pub owner: Owner,
    /// Interface index of the port.
    pub egress_ifindex: u32,
    /// Index of the port's policer.
    pub port: u32,
    /// Index of the VIF's connection.
    pub connection: u32,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// One of the encapsulation numbers.
    pub encapsulation: u8,
    /// Bytes of `header` in use: up to and including the `EtherType` of the IP packet.
    pub header_len: u8,
    /// Ready to copy; lengths, outer checksum, source port, DSCP and the `EtherType` are patched.
    pub header: [u8; HEADER],
    /// `NEXT_HOP_*` bits.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

/// A packet about which its sender is to be told: what the program that makes ICMP errors needs of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// The program that received it, as its number.
    pub entry: u32,
    /// Index of the VIF or attachment.
    pub index: u32,
    /// [`V4`] or [`V6`].
    pub version: u32,
    /// Where the IP packet starts, in the frame.
    pub at: u32,
    /// Bytes of the IP packet.
    pub len: u32,
    /// Where the outer IP packet ends; 0 without a tunnel.
    pub outer_end: u32,
    /// IP version of the tunnel.
    pub outer_version: u32,
    /// Where its transport header starts, in the frame.
    pub transport: u32,
    /// Its transport protocol.
    pub protocol: u8,
    /// 1 for a fragment that does not hold the transport header.
    pub later_fragment: u8,
    /// MTU of the next hop, where the packet is too big for it.
    pub mtu: u16,
    /// The `DropReason` as its number.
    pub reason: u32,
    /// Who is told.
    pub to: Address,
    /// The VTEP by which it is told.
    pub outer_source: Address,
}

/// Direction of traffic, as an index.
pub const TO_VPC: u32 = 0;
/// See [`TO_VPC`].
pub const TO_CUSTOMER: u32 = 1;

/// What became of the packets of one scope, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Packets sent on.
    pub forwarded: u64,
    /// Packets handed to the kernel in a border gateway's namespace.
    pub punted: u64,
    /// Packets left to the kernel of the server's own namespace.
    pub passed: u64,
    /// Packets turned into answers.
    pub answered: u64,
    /// Of these, the errors, by `DropReason::error_index`.
    pub errors: [u64; MAX_ERRORS],
    /// Packets dropped, by `DropReason`.
    pub drops: [u64; MAX_REASONS],
}

/// Scopes that are the programs themselves: what no VIF or attachment is to blame for.
pub const ENTRY_SCOPES: u32 = 8;

/// Index in `TALLIES` of what a program received and could not tell whose it is.
#[inline(always)]
pub const fn entry_scope(entry: Entry) -> u32 {
    entry as u32
}

/// Index in `TALLIES` of what scopes of a program had counted that are gone: user space alone writes it, so that the sum of a
/// program's scopes stays what the program received.
#[inline(always)]
pub const fn retired_scope(entry: Entry) -> u32 {
    4 + entry as u32
}

/// Index in `TALLIES` of what came in on a VIF.
#[inline(always)]
pub const fn vif_scope(vif: u32) -> u32 {
    ENTRY_SCOPES + vif
}

/// Index in `TALLIES` of what came in from an attachment.
#[inline(always)]
pub const fn attachment_scope(attachment: u32) -> u32 {
    ENTRY_SCOPES + MAX_VIFS + attachment
}

/// Index in `TALLIES` of what came in on a VIF or from an attachment, and the program that counts there.
pub const fn owner_scope(owner: Owner) -> (u32, Entry) {
    if owner.kind() == OWNER_VIF {
        (vif_scope(owner.index()), Entry::Line)
    } else {
        (attachment_scope(owner.index()), Entry::Fabric)
    }
}

/// Number of scopes.
pub const SCOPES: u32 = ENTRY_SCOPES + MAX_VIFS + MAX_ATTACHMENTS;

/// A table of DSCP: for each one that arrives, the one that goes on with [`DSCP_MAPPED`], or 0 where it is kept.
pub type Dscp = [u8; DSCPS];
/// Code points (RFC 2474, section 3): 6 bits.
pub const DSCPS: usize = 64;
/// The bit in a [`Dscp`] that tells "becomes 0" from "is kept".
pub const DSCP_MAPPED: u8 = 0x40;
/// Number of tables of DSCP.
pub const DSCP_TABLES: u32 = MAX_VIFS * 2;

/// Index in `DSCP` of a VIF's table; `direction` is [`TO_VPC`] or [`TO_CUSTOMER`].
#[inline(always)]
pub const fn dscp_index(vif: u32, direction: u32) -> u32 {
    vif * 2 + direction
}

/// Traffic in one direction. Bytes are those of IP packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// Packets refused by the VIF's cap or its connection's.
    pub policed_packets: u64,
    /// Bytes refused by the VIF's cap or its connection's.
    pub policed_bytes: u64,
}

/// Traffic of a VIF ([`TO_VPC`], [`TO_CUSTOMER`]) or of an attachment ([`INTO`], [`OUT_OF`]), on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// By direction.
    pub flows: [Flow; 2],
}

/// Packets that were larger than a next hop's MTU, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TooBig {
    /// Those that no router may fragment: IPv4 with the flag DF, and IPv6.
    pub with_df: u64,
    /// IPv4 without DF.
    pub without_df: u64,
}

/// Direction of an attachment's traffic: into the VPC.
pub const INTO: u32 = 0;
/// Direction of an attachment's traffic: out of the VPC.
pub const OUT_OF: u32 = 1;

/// Index in `TRAFFIC` of a VIF or an attachment.
#[inline(always)]
pub const fn traffic_index(owner: Owner) -> u32 {
    if owner.kind() == OWNER_VIF { owner.index() } else { MAX_VIFS + owner.index() }
}

const _: () = {
    assert!(size_of::<Settings>() == 24);
    assert!(size_of::<Port>() == 12);
    assert!(size_of::<VifKey>() == 12);
    assert!(size_of::<Vif>() == 140);
    assert!(size_of::<Attachment>() == 124);
    assert!(size_of::<VtepKey>() == 24);
    assert!(size_of::<Route>() == 8);
    assert!(size_of::<Group>() == 520);
    assert!(size_of::<NextHop>() == 128);
    assert!(size_of::<Policer>() == 16);
    assert!(size_of::<Complaint>() == 72);
    assert!(size_of::<Tally>() == 544);
    assert!(size_of::<Traffic>() == 64);
    assert!(size_of::<TooBig>() == 16);
    assert!(MAX_VIFS <= 1 << 16 && MAX_ATTACHMENTS <= 1 << 16);
    assert!(BUCKETS.is_power_of_two());
    assert!(MAX_NEXT_HOPS <= 1 << 16);
    assert!(entry_scope(Entry::Host) < retired_scope(Entry::Line));
    assert!(retired_scope(Entry::Host) < ENTRY_SCOPES);
};

#[cfg(feature = "user")]
mod pod {
    use super::{
        Attachment, Connection, Domain, Group, HostPort, NextHop, Policer, Port, Route, Settings, Tally,
        TooBig, Traffic, Vif, VifKey, VtepKey,
    };

    macro_rules! pod {
        ($($type:ty),+ $(,)?) => {
            $(
                // SAFETY: `repr(C)` of integers and byte arrays, whose size assertions leave no padding.
                unsafe impl aya::Pod for $type {}
            )+
        };
    }

    pod!(
        Settings, Port, HostPort, VifKey, Vif, Attachment, Domain, Connection, VtepKey, Route, Group,
        NextHop, Policer, Tally, TooBig, Traffic
    );
}
