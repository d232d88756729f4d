//! Two tc programs for a customer's line: `push` puts tags on what leaves, `pop` takes them off what comes. And `arrived`, an XDP
//! program that counts the gateway's frames at the other end of its cables; `observe` and `cut`, which number arrivals and cut lines.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[path = "arrived.rs"]
mod arrived;

#[cfg(target_arch = "bpf")]
#[path = "observe.rs"]
mod observe;

#[cfg(target_arch = "bpf")]
mod shim {
    use aya_ebpf::Global;
    use aya_ebpf::bindings::{TC_ACT_OK, TC_ACT_SHOT};
    use aya_ebpf::helpers::{bpf_skb_vlan_pop, bpf_skb_vlan_push};
    use aya_ebpf::macros::classifier;
    use aya_ebpf::programs::TcContext;

    const TPID_8021Q: u16 = 0x8100;

    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 4] = *b"GPL\0";

    /// `TPID` of the outer tag.
    #[unsafe(no_mangle)]
    static TPID: Global<u16> = Global::new(TPID_8021Q);
    /// Identifier of the outer tag.
    #[unsafe(no_mangle)]
    static OUTER: Global<u16> = Global::new(0);
    /// Identifier of the inner tag, or 0.
    #[unsafe(no_mangle)]
    static INNER: Global<u16> = Global::new(0);

    #[classifier]
    fn push(ctx: TcContext) -> i32 {
        let skb = ctx.skb.skb;
        let inner = INNER.load();
        // SAFETY: the context is the program's own.
        let failed = unsafe {
            inner != 0 && bpf_skb_vlan_push(skb, TPID_8021Q.to_be(), inner) != 0
                || bpf_skb_vlan_push(skb, TPID.load().to_be(), OUTER.load()) != 0
        };
        if failed { TC_ACT_SHOT } else { TC_ACT_OK }
    }

    #[classifier]
    fn pop(ctx: TcContext) -> i32 {
        let skb = ctx.skb.skb;
        // SAFETY: the context is the program's own; the kernel checks these reads when it loads the program.
        let (present, tag, tpid) = unsafe { ((*skb).vlan_present, (*skb).vlan_tci, (*skb).vlan_proto) };
        if present == 0 || tag & 0xfff != u32::from(OUTER.load()) || tpid as u16 != TPID.load().to_be() {
            return TC_ACT_SHOT;
        }
        // SAFETY: as above.
        let failed = unsafe { bpf_skb_vlan_pop(skb) != 0 || INNER.load() != 0 && bpf_skb_vlan_pop(skb) != 0 };
        if failed { TC_ACT_SHOT } else { TC_ACT_OK }
    }

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}
