//! Observes numbered datagrams at a customer's ports: which number came in by which port. And cuts lines, silently.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT};
use aya_ebpf::btf_maps::{Array, HashMap};
use aya_ebpf::macros::{btf_map, classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};

/// By number of a datagram: number of the run, and below that the index of the port. Who loads it says how many.
#[btf_map]
static SEEN: Array<u32, 1> = Array::new();

/// Indices of ports that are cut: in neither direction anything passes.
#[btf_map]
static CUTS: HashMap<u32, u32, 64> = HashMap::new();

/// DSCP and ECN of numbered datagrams.
const NUMBERED: u8 = 0x28;

fn is_cut(port: u32) -> bool {
    // SAFETY: the value is read at once, and is not.
    unsafe { CUTS.get(&port) }.is_some()
}

/// A tag, a header of IPv4 without options, that of UDP, then number of the datagram and of the run.
#[xdp]
fn observe(ctx: XdpContext) -> u32 {
    const DATAGRAM: usize = 18 + 20 + 8;
    let port = ctx.ingress_ifindex() as u32;
    if is_cut(port) {
        return XDP_DROP;
    }
    if ctx.data() + DATAGRAM + 8 > ctx.data_end() {
        return XDP_PASS;
    }
    let at = |offset: usize| {
        // SAFETY: it lies before the end, which was just looked at.
        unsafe { *((ctx.data() + offset) as *const u8) }
    };
    if at(12) != 0x81 || at(16) != 0x08 || at(18) != 0x45 || at(19) != NUMBERED {
        return XDP_PASS;
    }
    let word = |offset| u32::from_be_bytes([at(offset), at(offset + 1), at(offset + 2), at(offset + 3)]);
    let (number, run) = (word(DATAGRAM), word(DATAGRAM + 4));
    if let Some(seen) = SEEN.get_ptr_mut(number) {
        // SAFETY: a slot of a map of fixed size; nobody else has this number.
        unsafe { *seen = run << 16 | port & 0xffff };
    }
    XDP_DROP
}

#[classifier]
fn cut(ctx: TcContext) -> i32 {
    // SAFETY: the context is the program's own.
    let port = unsafe { (*ctx.skb.skb).ifindex };
    if is_cut(port) { TC_ACT_SHOT } else { TC_ACT_OK }
}
