//! What `border-gw check` prints for the documented example, to the letter.
#![expect(clippy::unwrap_used, reason = "a test that fails here fails")]

use std::path::Path;

use border_gw::cli::check::{Compiled, write};
use border_gw::intent::{Intent, load};

fn example() -> Intent {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml")).unwrap()
}

fn printed(intent: &Intent, notes: &[String]) -> String {
    let mut text = Vec::new();
    write(&mut text, &Compiled::new(intent).unwrap(), notes).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_example_is_printed_with_its_tables() {
    let said = printed(&example(), &["a cable is loose".into()]);
    let (tables, note) = said.split_at(said.rfind("note:").unwrap());
    assert_eq!(note, "note: a cable is loose\n");
    for (number, (line, want)) in tables.lines().zip(include_str!("check.txt").lines()).enumerate() {
        assert_eq!(line, want, "line {} of tests/check.txt", number + 1);
    }
    assert_eq!(tables.lines().count(), include_str!("check.txt").lines().count());
}

#[test]
fn what_carries_nothing_and_what_is_not_checked_is_said() {
    let mut intent = example();
    let [vif_a, vif_b] = &mut intent.border_gateways[0].virtual_interfaces[..] else { panic!() };
    vif_a.enabled = false;
    vif_b.source_validation = false;
    let said = printed(&intent, &[]);
    for want in [
        "virtual interface vif-a: line-a on ens1f0, TPID 0x8100, VLAN 100, MTU 1500, disabled,",
        "  route 172.16.0.0/16 -> vif-a 169.254.10.1 (disabled), vif-b 169.254.10.5\n",
        "    source 10.1.0.0/16: somebody else's, refused\n",
        "    source any other: accepted\n  VPC attachment vpc-1",
    ] {
        assert!(said.contains(want), "{want}\n{said}");
    }
    assert_eq!(said.matches("any other").count(), 1);
}
