//! Tables of DSCP: what is installed, and when.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::Path;
use std::sync::Arc;

use border_gw::cli::check::ideal;
use border_gw::dataplane::memory::Memory;
use border_gw::intent::{Dscp, Intent, load};
use border_gw::reconcile::Reconciler;
use border_gw::tables::Op;
use border_gw_common::abi::{
    self, DSCP_MAPPED, DSCPS, NEXT_HOP_DSCP, TO_CUSTOMER, TO_VPC, VIF_DSCP_TO_VPC, dscp_index,
};

fn example() -> Intent {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml")).unwrap()
}

/// One turn of the loop: what is installed then, and what was done for it.
fn reconcile(mut memory: Memory, intent: &Intent) -> Memory {
    memory.log.clear();
    let mut reconciler = Reconciler::new(memory);
    let (state, result) = reconciler.turn(&Arc::new(intent.clone()), ideal(intent));
    result.unwrap();
    assert!(state.slots.vifs["vif-a"] < state.slots.vifs["vif-b"]);
    reconciler.into_dataplane()
}

fn table(pairs: &[(usize, u8)]) -> abi::Dscp {
    let mut table = [0; DSCPS];
    for (from, to) in pairs {
        table[*from] = DSCP_MAPPED | to;
    }
    table
}

/// What a plan does with tables and with what uses them, a word each, those that follow one another once.
fn words(log: &[Op]) -> Vec<&'static str> {
    let word = |op: &Op| match op {
        Op::Dscp(_, Some(_)) => Some("table"),
        Op::Dscp(_, None) => Some("no table"),
        Op::Vif(_, Some(vif)) if vif.flags & VIF_DSCP_TO_VPC != 0 => Some("use"),
        Op::NextHop(_, Some(next_hop)) if next_hop.flags & NEXT_HOP_DSCP != 0 => Some("use"),
        Op::Vif(_, Some(_)) | Op::NextHop(_, _) => Some("no use"),
        _ => None,
    };
    let mut words: Vec<_> = log.iter().filter_map(word).collect();
    words.dedup();
    words
}

#[test]
fn a_table_is_there_before_what_uses_it_and_goes_after_it() {
    let plain = example();
    let mut translating = plain.clone();
    translating.border_gateways[0].virtual_interfaces[0].dscp =
        Dscp { to_vpc: [(46, 34), (0, 8)].into(), to_customer: [(34, 0)].into() };
    let before = reconcile(Memory::default(), &plain);
    assert_eq!(before.installed.dscp, [].into());
    let with = reconcile(before, &translating);
    let want = [
        (dscp_index(0, TO_VPC), table(&[(46, 34), (0, 8)])),
        (dscp_index(0, TO_CUSTOMER), table(&[(34, 0)])),
    ];
    assert_eq!(with.installed.dscp, want.into());
    assert_eq!(words(&with.log), ["table", "use", "no use"], "the old next hops go last");
    let again = reconcile(with.clone(), &translating);
    assert_eq!(again.log, []);
    let without = reconcile(with, &plain);
    assert_eq!(without.installed.dscp, [].into());
    let words = words(&without.log);
    assert_eq!(words.last(), Some(&"no table"), "{words:?}");
}
