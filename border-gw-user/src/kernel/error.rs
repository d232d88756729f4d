//! What can go wrong between the daemon and the kernel's networking.

use std::io;

/// One sentence each: what was tried, on what, why not, what to do.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// Frames that the generic hook cannot handle.
    #[error(
        "interface `{interface}` has MTU {mtu}, and `xdp_mode: skb` handles at most {most}: `ip link set {interface} mtu {most}`, or \
         use a driver with native XDP"
    )]
    SkbMtu {
        /// The port.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// Largest.
        most: u32,
    },
    /// A system call.
    #[error("cannot {what}: {cause}")]
    System {
        /// What was tried, and on what.
        what: String,
        /// Why not.
        cause: io::Error,
    },
    /// A netlink request.
    #[error("cannot {what}: {cause}")]
    Netlink {
        /// What was tried, and on what.
        what: String,
        /// Why not.
        cause: rtnetlink::Error,
    },
    /// An interface is missing.
    #[error(
        "interface `{interface}` ({role}) does not exist here: create it, or mend the configuration (`ip link` lists what is here)"
    )]
    NoInterface {
        /// Its name.
        interface: String,
        /// What it is for.
        role: String,
    },
    /// A port is too small for what it carries.
    #[error(
        "interface `{interface}` has MTU {mtu}, and virtual interface `{vif}` needs {needed} there ({vif_mtu} and {tags} bytes of tags): `ip link set {interface} mtu {needed}`, or lower the `mtu` of `{vif}`"
    )]
    PortMtu {
        /// The port.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// The VIF.
        vif: String,
        /// The VIF's MTU.
        vif_mtu: u16,
        /// Bytes of its tags.
        tags: u16,
        /// The sum.
        needed: u32,
    },
    /// A fabric port leaves no room for the tunnel.
    #[error(
        "interface `{interface}` has MTU {mtu}, and the tunnel needs at least {needed} there: `ip link set {interface} mtu {needed}`"
    )]
    FabricMtu {
        /// The port.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// What is needed for 1,280 bytes inside.
        needed: u32,
    },
    /// The kernel is too old.
    #[error(
        "this is Linux {found}, and border-gw needs {}.{} or newer, the oldest that it is tested on: boot a newer kernel",
        oldest.0,
        oldest.1
    )]
    OldKernel {
        /// Its release.
        found: String,
        /// What is needed.
        oldest: (u32, u32),
    },
    /// An offload cannot be set as it must be.
    #[error(
        "interface `{interface}` keeps `{feature}` {state}, with which packets would be lost or unseen: choose a device or driver that can switch it (`ethtool -k {interface}`)"
    )]
    Offload {
        /// The interface.
        interface: String,
        /// Name of the feature, as in `ethtool -k`.
        feature: &'static str,
        /// `on` or `off`.
        state: &'static str,
    },
}

impl KernelError {
    /// An error of a system call, with what was tried.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |cause| Self::System { what, cause }
    }

    /// An error of a netlink request, with what was tried.
    pub(super) fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |cause| Self::Netlink { what, cause }
    }
}
