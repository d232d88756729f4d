//! Tables of DSCP: `{46: 34, 0: 8}`.

use std::collections::BTreeMap;

use super::diagnostic::{Place, Report};
use super::record::{Record, kind, scalar};
use super::tree::{Node, Value};
use super::{Dscp, values};

/// Reads `dscp` of a virtual interface; none where it is absent.
pub(super) fn dscp(report: &mut Report, record: &Record<'_>) -> Dscp {
    let Some(node) = record.get("dscp") else { return Dscp::default() };
    let Some(record) = Record::new(report, node, "`dscp`", &[], &["to_vpc", "to_customer"]) else {
        return Dscp::default();
    };
    let mut read = |key| record.get(key).map(|node| table(report, node, key)).unwrap_or_default();
    Dscp { to_vpc: read("to_vpc"), to_customer: read("to_customer") }
}

fn table(report: &mut Report, node: &Node, what: &str) -> BTreeMap<u8, u8> {
    let Value::Map(entries) = &node.value else {
        report
            .error(node.at, format!("`{what}` is a mapping, not {}", kind(&node.value)))
            .suggest("write what arrives and what goes on, such as {46: 34}");
        return BTreeMap::new();
    };
    let mut table = BTreeMap::new();
    let mut places: BTreeMap<u8, Place> = BTreeMap::new();
    for (key, node) in entries {
        let from = match values::dscp(&key.value) {
            Ok(from) => from,
            Err(wrong) => {
                report.wrong(key.at, wrong);
                continue;
            }
        };
        if let Some(first) = places.insert(from, key.at) {
            let message = format!("DSCP {from} is there twice: first at {}", report.show(first));
            report.error(key.at, message).suggest("remove one");
            continue;
        }
        if let Some(to) = scalar(report, node, "a DSCP", values::dscp) {
            table.insert(from, to.value);
        }
    }
    table
}
