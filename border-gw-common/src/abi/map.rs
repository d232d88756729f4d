//! Names of the maps, as in the object and as files under the pin directory.

/// `Array[1]` of [`super::Settings`].
pub const SETTINGS: &str = "SETTINGS";
/// Hash: interface index to [`super::Port`].
pub const PORTS: &str = "PORTS";
/// Hash: veth index to [`super::HostPort`].
pub const HOST_PORTS: &str = "HOST_PORTS";
/// Device map, keyed by interface index.
pub const DEVICES: &str = "DEVICES";
/// Hash: [`super::VifKey`] to VIF index.
pub const VIF_BY_TAG: &str = "VIF_BY_TAG";
/// Array of [`super::Vif`].
pub const VIFS: &str = "VIFS";
/// Hash: VNI to attachment index.
pub const ATTACHMENT_BY_VNI: &str = "ATTACHMENT_BY_VNI";
/// Array of [`super::Attachment`].
pub const ATTACHMENTS: &str = "ATTACHMENTS";
/// Hash: [`super::VtepKey`] to 1.
pub const VTEPS: &str = "VTEPS";
/// Array of [`super::Domain`].
pub const DOMAINS: &str = "DOMAINS";
/// Array of [`super::Connection`].
pub const CONNECTIONS: &str = "CONNECTIONS";
/// Array of maps: border gateway to its IPv4 trie of [`super::Route`].
pub const FIB_V4: &str = "FIB_V4";
/// Array of maps: border gateway to its IPv6 trie of [`super::Route`].
pub const FIB_V6: &str = "FIB_V6";
/// Array of maps: VIF to its IPv4 trie of [`super::SourceClass`].
pub const SOURCES_V4: &str = "SOURCES_V4";
/// Array of maps: VIF to its IPv6 trie of [`super::SourceClass`].
pub const SOURCES_V6: &str = "SOURCES_V6";
/// Array of [`super::Group`].
pub const GROUPS: &str = "GROUPS";
/// Array of [`super::NextHop`].
pub const NEXT_HOPS: &str = "NEXT_HOPS";
/// Array of [`super::Dscp`], by [`super::dscp_index`].
pub const DSCP: &str = "DSCP";
/// Array of [`super::Policer`].
pub const POLICERS: &str = "POLICERS";
/// Array of `u64`: each policer's theoretical arrival time.
pub const POLICER_STATE: &str = "POLICER_STATE";
/// Per-CPU array[1] of [`super::Complaint`]: from the program that refused a packet to the one that says so.
pub const COMPLAINTS: &str = "COMPLAINTS";
/// Programs by [`super::STAGE_ERROR`].
pub const STAGES: &str = "STAGES";
/// Per-CPU array of `u64`: packets received, a program.
pub const RECEIVED: &str = "RECEIVED";
/// Per-CPU array of [`super::Tally`].
pub const TALLIES: &str = "TALLIES";
/// Per-CPU array of [`super::Traffic`].
pub const TRAFFIC: &str = "TRAFFIC";
/// Per-CPU hash: identity of a next hop to [`super::TooBig`]. The least recently used entry goes where there is no room.
pub const TOO_BIG: &str = "TOO_BIG";
