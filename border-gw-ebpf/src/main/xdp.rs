//! Entries: a context in, an action out. `Packet` over an XDP context is the one place with packet pointers.

use core::ptr;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use border_gw_common::abi::Entry;
use border_gw_common::verdict::{DropReason, Verdict};
use border_gw_ebpf::Outcome;
use border_gw_ebpf::packet::{MAX_OFFSET, Packet};
use border_gw_ebpf::{fabric, host, line};

use crate::maps::{self, Maps};

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// Frames from customers' lines.
#[xdp]
fn line(ctx: XdpContext) -> u32 {
    maps::received(Entry::Line);
    let ifindex = ifindex(&ctx);
    let outcome = line::line(&mut Frame(&ctx), &Maps, ifindex);
    finish(&ctx, ifindex, outcome)
}

/// Frames from the fabric.
#[xdp]
fn fabric(ctx: XdpContext) -> u32 {
    maps::received(Entry::Fabric);
    let ifindex = ifindex(&ctx);
    let outcome = fabric::fabric(&mut Frame(&ctx), &Maps, ifindex);
    finish(&ctx, ifindex, outcome)
}

/// Frames from the kernel, on the outer ends of veths.
#[xdp]
fn host(ctx: XdpContext) -> u32 {
    maps::received(Entry::Host);
    let ifindex = ifindex(&ctx);
    let outcome = host::host(&mut Frame(&ctx), &Maps, ifindex);
    finish(&ctx, ifindex, outcome)
}

#[inline(always)]
fn ifindex(ctx: &XdpContext) -> u32 {
    // Volatile: the verifier allows this field to be read whole, and the compiler would read a part where that is enough.
    // SAFETY: the context is the program's own.
    unsafe { ptr::read_volatile(&raw const (*ctx.ctx).ingress_ifindex) }
}

/// Turns a verdict into an action, and counts it: the one place where packets end.
#[inline(always)]
fn finish(ctx: &XdpContext, ingress: u32, outcome: Outcome) -> u32 {
    let egress = match outcome.verdict {
        Verdict::Forward(ifindex) | Verdict::Punt(ifindex) => Some(ifindex),
        // Not XDP_TX: on a veth whose peer has GRO and no XDP, that waits for the next packet (drivers/net/veth.c,
        // veth_xdp_flush).
        Verdict::Answer => Some(ingress),
        Verdict::Pass | Verdict::Drop(_) => None,
    };
    let (verdict, action) = match (egress, outcome.verdict) {
        (Some(ifindex), verdict) => match maps::redirect(ifindex) {
            Some(action) => (verdict, action),
            None => (Verdict::Drop(DropReason::NoEgress), XDP_DROP),
        },
        (None, Verdict::Pass) => (Verdict::Pass, XDP_PASS),
        (None, verdict) => (verdict, XDP_DROP),
    };
    maps::tally(outcome.scope, verdict);
    trace(ctx, verdict);
    action
}

#[cfg(feature = "log")]
fn trace(ctx: &XdpContext, verdict: Verdict) {
    let (what, number) = match verdict {
        Verdict::Forward(ifindex) => ("forward", ifindex),
        Verdict::Punt(ifindex) => ("punt", ifindex),
        Verdict::Pass => ("pass", 0),
        Verdict::Answer => ("answer", 0),
        Verdict::Drop(reason) => ("drop", reason as u32),
    };
    aya_log_ebpf::debug!(ctx, "{} {}", what, number);
}

#[cfg(not(feature = "log"))]
#[inline(always)]
fn trace(_ctx: &XdpContext, _verdict: Verdict) {}

struct Frame<'a>(&'a XdpContext);

impl Packet for Frame<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        // A helper and not `data_end - data`: that the compiler takes apart, into sums that the verifier refuses.
        // SAFETY: the context is the program's own.
        unsafe { bpf_xdp_get_buff_len(self.0.ctx) as usize }
    }

    #[inline(always)]
    fn window<const N: usize>(&mut self, at: usize) -> Option<&mut [u8; N]> {
        if at > MAX_OFFSET {
            return None;
        }
        let start = self.0.data() + at;
        if start + N > self.0.data_end() {
            return None;
        }
        // SAFETY: `start..start + N` lies within the frame, and `&mut self` keeps other windows away.
        Some(unsafe { &mut *(start as *mut [u8; N]) })
    }

    #[inline(always)]
    fn move_front(&mut self, by: i32) -> bool {
        // SAFETY: the context is the program's own; windows do not outlive the call.
        by == 0 || unsafe { bpf_xdp_adjust_head(self.0.ctx, -by) } == 0
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> bool {
        let by = len as i32 - self.len() as i32;
        // SAFETY: as above.
        unsafe { bpf_xdp_adjust_tail(self.0.ctx, by) == 0 }
    }
}
