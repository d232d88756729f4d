//! Programs on the kernel's XDP tracepoints: packets that a program sent on, and the kernel did not.
//!
//! Raw tracepoints: they need no tracefs, they run also while this CPU is in the middle of a map operation (those of perf events do
//! not, `trace_call_bpf`), and they see the device, whose index alone is another device's in another network namespace.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::btf_maps::{Array, PerCpuHashMap};
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::macros::{btf_map, raw_tracepoint};
use aya_ebpf::programs::RawTracePointContext;
use border_gw_common::loss::{LossReason, LossSettings, Losses};

use crate::maps::MAX_DEVICES;

/// Every device, and those that are gone.
const MAX_COUNTED: usize = MAX_DEVICES + 1;

#[btf_map]
static LOSS_SETTINGS: Array<LossSettings, 1> = Array::new();
#[btf_map]
static LOSSES: PerCpuHashMap<u32, Losses, MAX_COUNTED> = PerCpuHashMap::new();

/// Arguments of `xdp_redirect_err` (include/trace/events/xdp.h): device, program, target, error, kind of map, its number, key.
mod redirect {
    pub(super) const ERR: usize = 3;
    pub(super) const MAP_ID: usize = 5;
    pub(super) const INDEX: usize = 6;
}

/// Arguments of `xdp_devmap_xmit`: from, to, frames sent, frames dropped, error.
mod transmit {
    pub(super) const TO: usize = 1;
    pub(super) const DROPS: usize = 3;
    pub(super) const ERR: usize = 4;
}

/// A frame that did not get into the queue of its device. The key in `DEVICES` is the device's index.
#[raw_tracepoint(tracepoint = "xdp_redirect_err")]
fn lost_redirect(ctx: RawTracePointContext) -> i32 {
    let Some(settings) = LOSS_SETTINGS.get(0) else { return 0 };
    if argument(&ctx, redirect::MAP_ID) as u32 == settings.devices_map {
        let reason = LossReason::of_redirect(argument(&ctx, redirect::ERR) as u32 as i32);
        count(argument(&ctx, redirect::INDEX) as u32, reason, 1);
    }
    0
}

/// Frames of a batch that the driver did not take.
#[raw_tracepoint(tracepoint = "xdp_devmap_xmit")]
fn lost_transmit(ctx: RawTracePointContext) -> i32 {
    let drops = argument(&ctx, transmit::DROPS) as u32 as i32;
    if drops <= 0 {
        return 0;
    }
    let Some(settings) = LOSS_SETTINGS.get(0) else { return 0 };
    if let Some(ifindex) = own_device(settings, argument(&ctx, transmit::TO)) {
        let reason = LossReason::of_transmit(argument(&ctx, transmit::ERR) as u32 as i32);
        count(ifindex, reason, u64::from(drops.unsigned_abs()));
    }
    0
}

/// An argument of the tracepoint; integers are in the low bits.
#[inline(always)]
fn argument(ctx: &RawTracePointContext, index: usize) -> u64 {
    // SAFETY: the context is an array of the tracepoint's arguments, as many as the daemon saw in the kernel's BTF.
    unsafe { *ctx.as_ptr().cast::<u64>().add(index) }
}

/// Index of a device, when it is in the network namespace of this gateway.
#[inline(always)]
fn own_device(settings: &LossSettings, device: u64) -> Option<u32> {
    // SAFETY: the kernel checks the address; the offsets are those of its own BTF.
    unsafe {
        let net: u64 = bpf_probe_read_kernel((device + u64::from(settings.device_net)) as *const u64).ok()?;
        let cookie: u64 = bpf_probe_read_kernel((net + u64::from(settings.net_cookie)) as *const u64).ok()?;
        if cookie != settings.netns_cookie {
            return None;
        }
        bpf_probe_read_kernel((device + u64::from(settings.device_ifindex)) as *const u32).ok()
    }
}

#[inline(always)]
fn count(ifindex: u32, reason: LossReason, packets: u64) {
    let Some(losses) = LOSSES.get_ptr_mut(&ifindex) else { return };
    // SAFETY: this CPU's own record, in a map of fixed size.
    if let Some(count) = unsafe { (*losses).packets.get_mut(reason as usize) } {
        *count += packets;
    }
}
