//! The maps, and `Tables` over them.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};
use core::ptr;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{
    Array, ArrayOfMaps, DevMapHash, HashMap, LpmTrie, LruPerCpuHashMap, PerCpuArray, ProgramArray,
};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use border_gw_common::abi::{
    Address, Attachment, BUCKETS, Complaint, Connection, DSCP_TABLES, DSCPS, Domain, Dscp, Entry, Group,
    HostPort, MAX_ATTACHMENTS, MAX_CONNECTIONS, MAX_DOMAINS, MAX_GROUPS, MAX_NEXT_HOPS, MAX_PORTS,
    MAX_ROUTES, MAX_SOURCES, MAX_VIFS, MAX_VTEPS, NextHop, Owner, POLICERS as MAX_POLICERS, Policer, Port,
    Route, SCOPES, STAGE_ERROR, Settings, SourceClass, Tally, TooBig, Traffic, V4, Vif, VifKey, VtepKey,
    traffic_index,
};
use border_gw_common::verdict::Verdict;
use border_gw_ebpf::packet::MAX_SUMMED;
use border_gw_ebpf::policer;
use border_gw_ebpf::tables::Tables;

/// Every veth and every port.
pub(crate) const MAX_DEVICES: usize = (MAX_VIFS + MAX_ATTACHMENTS + MAX_PORTS) as usize;
const MAX_HOST_PORTS: usize = (MAX_VIFS + MAX_ATTACHMENTS) as usize;
const TRAFFIC_RECORDS: usize = (MAX_VIFS + MAX_ATTACHMENTS) as usize;

/// A [`Route`]: group and owner. No structure, because before Linux 6.2 an outer map whose tries have values of a structure's type takes
/// none whose types are not told (`timer_off` in `bpf_map_meta_equal`, kernel/bpf/map_in_map.c), as those are that the daemon makes.
type RouteWords = [u32; 2];
const _: () = assert!(size_of::<Route>() == size_of::<RouteWords>());
type RoutesV4 = LpmTrie<[u8; 4], RouteWords, { MAX_ROUTES as usize }>;
type RoutesV6 = LpmTrie<[u8; 16], RouteWords, { MAX_ROUTES as usize }>;
type SourcesV4 = LpmTrie<[u8; 4], SourceClass, { MAX_SOURCES as usize }>;
type SourcesV6 = LpmTrie<[u8; 16], SourceClass, { MAX_SOURCES as usize }>;

#[btf_map]
static SETTINGS: Array<Settings, 1> = Array::new();
#[btf_map]
static PORTS: HashMap<u32, Port, { MAX_PORTS as usize }> = HashMap::new();
#[btf_map]
static HOST_PORTS: HashMap<u32, HostPort, MAX_HOST_PORTS> = HashMap::new();
#[btf_map]
static DEVICES: DevMapHash<MAX_DEVICES> = DevMapHash::new();
#[btf_map]
static VIF_BY_TAG: HashMap<VifKey, u32, { MAX_VIFS as usize }> = HashMap::new();
#[btf_map]
static VIFS: Array<Vif, { MAX_VIFS as usize }> = Array::new();
#[btf_map]
static ATTACHMENT_BY_VNI: HashMap<u32, u32, { MAX_ATTACHMENTS as usize }> = HashMap::new();
#[btf_map]
static ATTACHMENTS: Array<Attachment, { MAX_ATTACHMENTS as usize }> = Array::new();
#[btf_map]
static VTEPS: HashMap<VtepKey, u32, { MAX_VTEPS as usize }> = HashMap::new();
#[btf_map]
static DOMAINS: Array<Domain, { MAX_DOMAINS as usize }> = Array::new();
#[btf_map]
static CONNECTIONS: Array<Connection, { MAX_CONNECTIONS as usize }> = Array::new();
#[btf_map]
static FIB_V4: ArrayOfMaps<RoutesV4, { MAX_DOMAINS as usize }> = ArrayOfMaps::new();
#[btf_map]
static FIB_V6: ArrayOfMaps<RoutesV6, { MAX_DOMAINS as usize }> = ArrayOfMaps::new();
#[btf_map]
static SOURCES_V4: ArrayOfMaps<SourcesV4, { MAX_VIFS as usize }> = ArrayOfMaps::new();
#[btf_map]
static SOURCES_V6: ArrayOfMaps<SourcesV6, { MAX_VIFS as usize }> = ArrayOfMaps::new();
#[btf_map]
static GROUPS: Array<Group, { MAX_GROUPS as usize }> = Array::new();
#[btf_map]
static NEXT_HOPS: Array<NextHop, { MAX_NEXT_HOPS as usize }> = Array::new();
#[btf_map]
static DSCP: Array<Dscp, { DSCP_TABLES as usize }> = Array::new();
#[btf_map]
static POLICERS: Array<Policer, { MAX_POLICERS as usize }> = Array::new();
#[btf_map]
static POLICER_STATE: Array<u64, { MAX_POLICERS as usize }> = Array::new();
#[btf_map]
static SCRATCH: PerCpuArray<[u8; SCRATCH_SIZE], 1> = PerCpuArray::new();
#[btf_map]
static COMPLAINTS: PerCpuArray<Complaint, 1> = PerCpuArray::new();
#[btf_map]
static STAGES: ProgramArray<1> = ProgramArray::new();
#[btf_map]
static RECEIVED: PerCpuArray<u64, { Entry::ALL.len() }> = PerCpuArray::new();
#[btf_map]
static TALLIES: PerCpuArray<Tally, { SCOPES as usize }> = PerCpuArray::new();
#[btf_map]
static TRAFFIC: PerCpuArray<Traffic, TRAFFIC_RECORDS> = PerCpuArray::new();

#[btf_map]
static TOO_BIG: LruPerCpuHashMap<u64, TooBig, { MAX_NEXT_HOPS as usize }> = LruPerCpuHashMap::new();

/// Counts a packet at its entry.
#[inline(always)]
pub(crate) fn received(entry: Entry) {
    if let Some(count) = RECEIVED.get_ptr_mut(entry as u32) {
        // SAFETY: this CPU's own number, in a map of fixed size.
        unsafe { *count += 1 };
    }
}

/// Counts what became of a packet.
#[inline(always)]
pub(crate) fn tally(scope: u32, verdict: Verdict) {
    let Some(tally) = TALLIES.get_ptr_mut(scope) else { return };
    // SAFETY: this CPU's own record, in a map of fixed size.
    let tally = unsafe { &mut *tally };
    match verdict {
        Verdict::Forward(_) => tally.forwarded += 1,
        Verdict::Punt(_) => tally.punted += 1,
        Verdict::Pass => tally.passed += 1,
        Verdict::Answer => tally.answered += 1,
        Verdict::Refuse(reason) => {
            tally.answered += 1;
            if let Some(count) = reason.error_index().and_then(|index| tally.errors.get_mut(index)) {
                *count += 1;
            }
        }
        // It goes on, and ends elsewhere.
        Verdict::Complain => {}
        Verdict::Drop(reason) => {
            if let Some(count) = tally.drops.get_mut(reason as usize) {
                *count += 1;
            }
        }
    }
}

/// The action that sends the frame out of an interface; none when the interface is not known.
#[inline(always)]
pub(crate) fn redirect(ifindex: u32) -> Option<u32> {
    DEVICES.redirect(ifindex, u64::from(XDP_DROP)).ok()
}

/// Most bytes that the helper summed at a time before Linux 6.13 (`bpf_csum_diff`, net/core/filter.c).
pub(crate) const SUMMED_AT_ONCE: usize = 512;
/// Bytes of the buffer that sums are taken over: whole parts.
const SCRATCH_SIZE: usize = MAX_SUMMED.next_multiple_of(SUMMED_AT_ONCE);
const _: () = assert!(SCRATCH_SIZE >= MAX_SUMMED + 4);

/// This CPU's buffer for sums.
#[inline(always)]
pub(crate) fn scratch() -> Option<*mut u8> {
    Some(SCRATCH.get_ptr_mut(0)?.cast())
}

/// Goes on in the program that makes ICMP errors; comes back only when it is not there.
#[inline(always)]
pub(crate) fn go_on_with_error(ctx: &XdpContext) {
    // SAFETY: nothing here has a destructor.
    unsafe { STAGES.tail_call(ctx, STAGE_ERROR) }
}

/// Charges a policer: 1, or 0 where that is over its rate. Called and not inlined; global, so that the verifier follows its loop
/// once and not from every call (see `clamp_mss`).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge_policer(policer: u32, bytes: u32, now: u64) -> u32 {
    /// Tries to win against other CPUs before the packet is refused; each try that fails let another packet pass.
    const TRIES: u32 = 16;
    let Some(config) = POLICERS.get(policer) else { return 0 };
    if config.cost == 0 {
        return 1;
    }
    let Some(state) = POLICER_STATE.get_ptr_mut(policer) else { return 0 };
    for _ in 0..TRIES {
        // SAFETY: an aligned number in a map of fixed size, written by other CPUs with the same atomic operations.
        let seen = unsafe { ptr::read_volatile(state) };
        let Some(next) = policer::conform(seen, config, bytes, now) else { return 0 };
        // SAFETY: as above.
        let (_, done) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(state, seen, next)
        };
        if done {
            return 1;
        }
    }
    0
}

/// The look-ups of the path, in BPF maps.
pub(crate) struct Maps;

/// A value in a hash map whose entries the daemon may free while we read.
///
/// The kernel frees after a grace period, and a program is a read-side section: the value stays readable.
#[inline(always)]
fn copied<K, V: Copy, const N: usize>(map: &HashMap<K, V, N>, key: &K) -> Option<V> {
    // SAFETY: see above; an update that overlaps is of at most eight bytes, or the program checks what it names.
    unsafe { map.get(key).copied() }
}

#[inline(always)]
fn first_four(address: &Address) -> [u8; 4] {
    [address[0], address[1], address[2], address[3]]
}

impl Tables for Maps {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        SETTINGS.get(0)
    }

    #[inline(always)]
    fn port(&self, ifindex: u32) -> Option<&Port> {
        // SAFETY: as in `copied`.
        unsafe { PORTS.get(&ifindex) }
    }

    #[inline(always)]
    fn host_port(&self, ifindex: u32) -> Option<HostPort> {
        copied(&HOST_PORTS, &ifindex)
    }

    #[inline(always)]
    fn vif_by_tag(&self, key: &VifKey) -> Option<u32> {
        copied(&VIF_BY_TAG, key)
    }

    #[inline(always)]
    fn vif(&self, index: u32) -> Option<&Vif> {
        VIFS.get(index)
    }

    #[inline(always)]
    fn attachment_by_vni(&self, vni: u32) -> Option<u32> {
        copied(&ATTACHMENT_BY_VNI, &vni)
    }

    #[inline(always)]
    fn attachment(&self, index: u32) -> Option<&Attachment> {
        ATTACHMENTS.get(index)
    }

    #[inline(always)]
    fn is_vtep(&self, key: &VtepKey) -> bool {
        copied(&VTEPS, key).is_some()
    }

    #[inline(always)]
    fn route(&self, domain: u32, version: u32, address: &Address) -> Option<Route> {
        let [group, owner] = if version == V4 {
            *FIB_V4.get(domain)?.get(&Key::new(32, first_four(address)))?
        } else {
            *FIB_V6.get(domain)?.get(&Key::new(128, *address))?
        };
        Some(Route { group, owner: Owner(owner) })
    }

    #[inline(always)]
    fn source(&self, vif: u32, version: u32, address: &Address) -> Option<SourceClass> {
        if version == V4 {
            SOURCES_V4.get(vif)?.get(&Key::new(32, first_four(address))).copied()
        } else {
            SOURCES_V6.get(vif)?.get(&Key::new(128, *address)).copied()
        }
    }

    #[inline(always)]
    fn bucket(&self, group: u32, hash: u32) -> Option<u16> {
        let group = GROUPS.get(group)?;
        Some(group.buckets[hash as usize % BUCKETS])
    }

    #[inline(always)]
    fn next_hop(&self, index: u16) -> Option<&NextHop> {
        NEXT_HOPS.get(u32::from(index))
    }

    #[inline(always)]
    fn dscp(&self, table: u32, dscp: u8) -> Option<u8> {
        let table = DSCP.get(table)?;
        Some(table[usize::from(dscp) % DSCPS])
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn charge(&self, policer: u32, bytes: u32, now: u64) -> bool {
        charge_policer(policer, bytes, now) != 0
    }

    #[inline(always)]
    fn complain(&self, complaint: &Complaint) {
        if let Some(place) = COMPLAINTS.get_ptr_mut(0) {
            // SAFETY: this CPU's own record, in a map of fixed size.
            unsafe { *place = *complaint };
        }
    }

    #[inline(always)]
    fn complaint(&self) -> Option<Complaint> {
        COMPLAINTS.get(0).copied()
    }

    #[inline(always)]
    fn refund(&self, policer: u32, bytes: u32) {
        let (Some(config), Some(state)) = (POLICERS.get(policer), POLICER_STATE.get_ptr_mut(policer)) else {
            return;
        };
        if config.cost != 0 {
            let back = policer::cost(config, bytes).wrapping_neg();
            // SAFETY: as in `charge_policer`.
            unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(state, back) };
        }
    }

    #[inline(always)]
    fn count_too_big(&self, next_hop: u64, df: bool) {
        let found = TOO_BIG.get_ptr_mut(next_hop);
        let Some(counts) = found.or_else(|| {
            // One that another CPU has made meanwhile is as good.
            let _exists = TOO_BIG.insert(next_hop, TooBig::default(), u64::from(BPF_NOEXIST));
            TOO_BIG.get_ptr_mut(next_hop)
        }) else {
            return;
        };
        // SAFETY: this CPU's own record; one that is evicted meanwhile stays memory of the map.
        let counts = unsafe { &mut *counts };
        if df {
            counts.with_df += 1;
        } else {
            counts.without_df += 1;
        }
    }

    #[inline(always)]
    fn count(&self, owner: Owner, direction: u32, bytes: u32, policed: bool) {
        let Some(traffic) = TRAFFIC.get_ptr_mut(traffic_index(owner)) else { return };
        // SAFETY: this CPU's own record, in a map of fixed size.
        let Some(flow) = (unsafe { (*traffic).flows.get_mut(direction as usize) }) else { return };
        if policed {
            flow.policed_packets += 1;
            flow.policed_bytes += u64::from(bytes);
        } else {
            flow.packets += 1;
            flow.bytes += u64::from(bytes);
        }
    }
}
