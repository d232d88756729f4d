//! Entries: a context in, an action out. `Packet` over an XDP context is the one place with packet pointers.
//!
//! All programs take frames in several buffers (`frags`, Linux 5.18), which jumbo frames are on most drivers; a program calls
//! only those that agree in this.

use core::{hint, ptr};

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{bpf_csum_diff, bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use border_gw_common::abi::Entry;
use border_gw_common::verdict::{DropReason, Verdict};
use border_gw_ebpf::Outcome;
use border_gw_ebpf::mss::{self, Segment};
use border_gw_ebpf::packet::{MAX_OFFSET, MAX_SUMMED, Packet};
use border_gw_ebpf::tables::Tables as _;
use border_gw_ebpf::{checksum, error, fabric, host, line, options};

use crate::maps::{self, Maps, SUMMED_AT_ONCE};

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";

/// Frames from customers' lines.
#[xdp(frags)]
#[inline(always)]
fn line(ctx: XdpContext) -> u32 {
    maps::received(Entry::Line);
    let ifindex = ifindex(&ctx);
    let outcome = line::line(&mut Frame(&ctx), &Maps, ifindex);
    told(&ctx, ifindex, outcome)
}

/// Frames from the fabric.
#[xdp(frags)]
#[inline(always)]
fn fabric(ctx: XdpContext) -> u32 {
    maps::received(Entry::Fabric);
    let ifindex = ifindex(&ctx);
    let outcome = fabric::fabric(&mut Frame(&ctx), &Maps, ifindex);
    told(&ctx, ifindex, outcome)
}

/// Frames from the kernel, on the outer ends of veths.
#[xdp(frags)]
#[inline(always)]
fn host(ctx: XdpContext) -> u32 {
    maps::received(Entry::Host);
    let ifindex = ifindex(&ctx);
    let outcome = host::host(&mut Frame(&ctx), &Maps, ifindex);
    finish(&ctx, ifindex, outcome)
}

/// Makes the error about a packet that `line` or `fabric` refused, and counts it for them.
#[xdp(frags)]
#[inline(always)]
fn error(ctx: XdpContext) -> u32 {
    let ifindex = ifindex(&ctx);
    let outcome = error::error(&mut Frame(&ctx), &Maps, ifindex);
    finish(&ctx, ifindex, outcome)
}

/// Lets another program tell a sender why its packet is refused; without that one, the packet is just dropped.
#[inline(always)]
fn told(ctx: &XdpContext, ingress: u32, mut outcome: Outcome) -> u32 {
    if matches!(outcome.verdict, Verdict::Complain) {
        maps::go_on_with_error(ctx);
        let reason = Maps.complaint().map_or(0, |complaint| complaint.reason);
        outcome.verdict = Verdict::Drop(error::told_reason(reason));
    }
    finish(ctx, ingress, outcome)
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
        Verdict::Answer | Verdict::Refuse(_) => Some(ingress),
        Verdict::Pass | Verdict::Complain | Verdict::Drop(_) => None,
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
        Verdict::Refuse(reason) => ("refuse", reason as u32),
        Verdict::Complain => ("complain", 0),
        Verdict::Drop(reason) => ("drop", reason as u32),
    };
    aya_log_ebpf::debug!(ctx, "{} {}", what, number);
}

#[cfg(not(feature = "log"))]
#[inline(always)]
fn trace(_ctx: &XdpContext, _verdict: Verdict) {}

/// [`mss::clamp`], called and not inlined; global, so that the verifier follows it once and not from every call
/// (kernel/bpf/verifier.c, `do_check_subprogs`; Linux 5.6).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn clamp_mss(ctx: *mut xdp_md, ip: u32, at: u32, end: u32, most: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    let segment = Segment { ip: ip as usize, at: at as usize, end: end as usize, most: most as u16 };
    mss::clamp(&mut Frame(&ctx), segment);
    0
}

/// [`options::check`], as [`clamp_mss`] is called: [`SOUND`], or why not.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn check_options(ctx: *mut xdp_md, at: u32, header_len: u32) -> u32 {
    let ctx = XdpContext::new(ctx);
    match options::check(&mut Frame(&ctx), at as usize, header_len as usize) {
        Ok(()) => SOUND,
        Err(DropReason::SourceRoute) => SOURCE_ROUTE,
        Err(_) => MALFORMED,
    }
}

/// What [`check_options`] returns.
const SOUND: u32 = 0;
/// See [`SOUND`].
const SOURCE_ROUTE: u32 = 1;
/// See [`SOUND`].
const MALFORMED: u32 = 2;

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
    fn sum(&mut self, at: usize, len: usize) -> Option<u32> {
        let buffer = maps::scratch()?;
        // What the compiler knows of it, it would not ask again, and the verifier may have lost it (see `packet::in_sight`).
        let len = hint::black_box(len);
        if len == 0 || len > MAX_SUMMED {
            return None;
        }
        // SAFETY: the buffer is this CPU's own and four bytes longer than `MAX_SUMMED`; the context is the program's own.
        let sum = unsafe {
            // What is behind the last byte of a word counts as zero.
            buffer.add(len).cast::<u32>().write_unaligned(0);
            if bpf_xdp_load_bytes(self.0.ctx, at as u32, buffer.cast(), len as u32) != 0 {
                return None;
            }
            let mut sum = 0;
            for part in 0..MAX_SUMMED.div_ceil(SUMMED_AT_ONCE) {
                let left = ((len + 3) & !3).saturating_sub(part * SUMMED_AT_ONCE).min(SUMMED_AT_ONCE);
                // The compiler knows the bound by a signed comparison, of which the verifier makes nothing.
                let left = hint::black_box(left);
                if left > SUMMED_AT_ONCE {
                    return None;
                }
                let from = buffer.add(part * SUMMED_AT_ONCE);
                sum = bpf_csum_diff(ptr::null_mut(), 0, from.cast(), left as u32, sum as u32);
            }
            sum as u32
        };
        // The helper sums words as this machine reads them.
        Some(u32::from(u16::from_be(checksum::fold(sum))))
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

    #[inline(always)]
    fn check_options(&mut self, at: usize, header_len: usize) -> Result<(), DropReason> {
        match check_options(self.0.ctx, at as u32, header_len as u32) {
            SOUND => Ok(()),
            SOURCE_ROUTE => Err(DropReason::SourceRoute),
            _ => Err(DropReason::IpOptions),
        }
    }

    #[inline(always)]
    fn clamp(&mut self, segment: Segment) {
        let Segment { ip, at, end, most } = segment;
        clamp_mss(self.0.ctx, ip as u32, at as u32, end as u32, u32::from(most));
    }
}
