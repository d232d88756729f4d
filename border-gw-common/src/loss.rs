//! Packets lost after the program's verdict: what the kernel says when it does not send what was redirected.

/// Hash: interface index to [`Losses`] of each CPU. Only devices of the gateway are in it, and [`RETIRED`].
pub const LOSSES: &str = "LOSSES";
/// `Array[1]` of [`LossSettings`].
pub const LOSS_SETTINGS: &str = "LOSS_SETTINGS";
/// Hash: interface index to [`DeviceDrops`], of devices whose own losses count. The daemon's alone, in no object.
pub const DEVICE_DROPS: &str = "DEVICE_DROPS";

/// Where the losses of devices that are gone are added up; no interface has this index.
pub const RETIRED: u32 = 0;

/// Defines the enum, its labels and its explanations in one table.
macro_rules! reasons {
    ($($name:ident = $label:literal, $help:literal;)+) => {
        /// Why a packet was lost. The number is the index of its counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum LossReason {
            $(#[doc = $help] $name,)+
        }

        impl LossReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The value of the metric's label `reason`.
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
    PortMtu = "port_mtu", "Larger than the interface's own MTU: raise it, or lower that of the VIF or attachment.";
    PortDown = "port_down", "The interface was administratively down.";
    NoTransmit = "no_transmit", "The interface takes no frames from XDP: on a veth, its peer has neither an XDP program nor GRO (`ethtool -K PEER gro on`).";
    RingFull = "ring_full", "The driver took no more: its ring was full, or a frame was larger than the MTU of a veth's peer, which then takes none of the batch that follow it.";
    RedirectError = "redirect_error", "Any other error of the kernel on the way to the interface.";
    DeviceDropped = "device_dropped", "The device dropped it (skb mode): its ring was full, the other end of a veth was down or took none that large. What the server's own kernel lost there is among them.";
}

/// Room for reasons in a counter record.
pub const MAX_LOSS_REASONS: usize = 8;

/// `ENXIO`, `EMSGSIZE`, `EOPNOTSUPP` and `ENETDOWN` (asm-generic/errno.h).
const ENXIO: i32 = 6;
const EMSGSIZE: i32 = 90;
const EOPNOTSUPP: i32 = 95;
const ENETDOWN: i32 = 100;

impl LossReason {
    /// Of a frame that did not get into the queue of its device: `err` of `xdp_redirect_err`.
    #[inline(always)]
    pub const fn of_redirect(err: i32) -> Self {
        match -err {
            EMSGSIZE => Self::PortMtu,
            ENETDOWN => Self::PortDown,
            // Since Linux 6.3 the device's features are asked first; before, its driver refused the batch.
            EOPNOTSUPP | ENXIO => Self::NoTransmit,
            _ => Self::RedirectError,
        }
    }

    /// Of frames that the driver left in a batch: `err` of `xdp_devmap_xmit`, nothing where the driver took a part.
    #[inline(always)]
    pub const fn of_transmit(err: i32) -> Self {
        if err == 0 { Self::RingFull } else { Self::of_redirect(err) }
    }
}

/// Packets lost on the way to one interface, by reason.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// By [`LossReason`].
    pub packets: [u64; MAX_LOSS_REASONS],
}

/// What a device lost of what it was given, by its own statistics.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceDrops {
    /// What its statistics said when they were last looked at.
    pub seen: u64,
    /// Packets lost since it is looked at.
    pub lost: u64,
}

impl DeviceDrops {
    /// The same when the statistics say `now`. A driver that starts again counts from 0.
    #[must_use]
    pub const fn grown(self, now: u64) -> Self {
        let lost = if now < self.seen { now } else { now - self.seen };
        Self { seen: now, lost: self.lost + lost }
    }
}

/// What tells this gateway's packets from those of other users of XDP, and where the kernel keeps it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossSettings {
    /// Cookie of the network namespace of the gateway's devices (`SO_NETNS_COOKIE`); 0: nothing is counted.
    pub netns_cookie: u64,
    /// The kernel's number of the map `DEVICES`.
    pub devices_map: u32,
    /// Offset of `net_device.ifindex`, in bytes.
    pub device_ifindex: u32,
    /// Offset of `net_device.nd_net`, in bytes.
    pub device_net: u32,
    /// Offset of `net.net_cookie`, in bytes.
    pub net_cookie: u32,
}

const _: () = {
    assert!(LossReason::ALL.len() <= MAX_LOSS_REASONS);
    assert!(size_of::<Losses>() == 64);
    assert!(size_of::<LossSettings>() == 24);
    assert!(size_of::<DeviceDrops>() == 16);
};

#[cfg(feature = "user")]
mod pod {
    use super::{DeviceDrops, LossSettings, Losses};

    // SAFETY: `repr(C)` of integers, whose size assertions leave no padding.
    unsafe impl aya::Pod for Losses {}
    // SAFETY: as above.
    unsafe impl aya::Pod for LossSettings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DeviceDrops {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_has_a_name() {
        for (err, redirect, transmit) in [
            (0, LossReason::RedirectError, LossReason::RingFull),
            (-EMSGSIZE, LossReason::PortMtu, LossReason::PortMtu),
            (-ENETDOWN, LossReason::PortDown, LossReason::PortDown),
            (-EOPNOTSUPP, LossReason::NoTransmit, LossReason::NoTransmit),
            (-ENXIO, LossReason::NoTransmit, LossReason::NoTransmit),
            (-12, LossReason::RedirectError, LossReason::RedirectError),
        ] {
            assert_eq!(LossReason::of_redirect(err), redirect, "{err}");
            assert_eq!(LossReason::of_transmit(err), transmit, "{err}");
        }
    }

    #[test]
    fn a_device_loses_what_its_statistics_grow_by() {
        let mut device = DeviceDrops { seen: 10, lost: 0 };
        for (sentence, now, lost) in [
            ("what it lost before is not counted", 10, 0),
            ("it loses some", 13, 3),
            ("nothing new", 13, 3),
            ("its statistics start again", 2, 5),
            ("and go on", 4, 7),
        ] {
            device = device.grown(now);
            assert_eq!(device.lost, lost, "{sentence}");
        }
    }

    #[test]
    fn a_reason_is_the_index_of_its_counter_and_its_label_is_unique() {
        let mut labels = std::collections::BTreeSet::new();
        for (index, reason) in LossReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(labels.insert(reason.label()), "{}", reason.label());
        }
    }
}
