//! Counts what the gateway's XDP programs sent at the peer: on a line they always tag, on the fabric they always tunnel. What the
//! server's own kernel sends (ARP, neighbour discovery) is neither, and is not counted.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

/// Frames, on each CPU.
#[btf_map]
static ARRIVED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// DSCP and ECN of datagrams that only a test sends, and nobody answers: they end here.
const MARK: u8 = 0x20;
/// UDP, and the port of VXLAN.
const UDP: u8 = 17;
const VXLAN_PORT: u16 = 4789;

#[xdp]
fn arrived(ctx: XdpContext) -> u32 {
    let at = |offset: usize| -> Option<u8> {
        let place = ctx.data() + offset;
        // SAFETY: the byte lies within the frame.
        (place < ctx.data_end()).then(|| unsafe { *(place as *const u8) })
    };
    let half = |offset: usize| Some(u16::from_be_bytes([at(offset)?, at(offset + 1)?]));
    let tos = match half(12) {
        Some(0x8100 | 0x88a8) => at(19),
        Some(0x0800) if at(23) == Some(UDP) && half(36) == Some(VXLAN_PORT) => at(15),
        _ => return XDP_PASS,
    };
    if let Some(count) = ARRIVED.get_ptr_mut(0) {
        // SAFETY: this CPU's own number, in a map of fixed size.
        unsafe { *count += 1 };
    }
    if tos == Some(MARK) { XDP_DROP } else { XDP_PASS }
}
