//! A case made smaller, as long as it still shows what it is kept for.

use std::collections::BTreeMap;
use std::sync::Arc;

use border_gw::intent::{BorderGateway, Caps, Dscp, Intent};
use border_gw::kernel::Learned;

use super::case::Case;

/// Rounds after which it is small enough.
const ROUNDS: usize = 4;

/// The smallest case found that still `fails`.
pub fn shrink(mut case: Case, fails: impl Fn(&Case) -> bool) -> Case {
    for _ in 0..ROUNDS {
        let size = size(&case);
        frame(&mut case, &fails);
        scene(&mut case, &fails);
        if self::size(&case) == size {
            break;
        }
    }
    case
}

fn size(case: &Case) -> (usize, usize) {
    (case.write().len(), case.frame.iter().filter(|byte| **byte != 0).count())
}

/// Takes the change, if the case still fails with it.
fn attempt(case: &mut Case, fails: &impl Fn(&Case) -> bool, change: impl FnOnce(&mut Case)) -> bool {
    let mut changed = case.clone();
    change(&mut changed);
    let good = fails(&changed);
    if good {
        *case = changed;
    }
    good
}

/// A shorter frame, then one with more zeros.
fn frame(case: &mut Case, fails: &impl Fn(&Case) -> bool) {
    let mut cut = case.frame.len() / 2;
    while cut > 0 {
        let len = case.frame.len().saturating_sub(cut);
        if !attempt(case, fails, |case| case.frame.truncate(len)) {
            cut /= 2;
        }
    }
    for at in 0..case.frame.len() {
        if case.frame[at] != 0 {
            attempt(case, fails, |case| case.frame[at] = 0);
        }
    }
}

/// Less of everything that is declared and seen.
fn scene(case: &mut Case, fails: &impl Fn(&Case) -> bool) {
    each(
        case,
        fails,
        |case| case.scene.intent.border_gateways.len(),
        |case, at| {
            case.scene.intent.border_gateways.remove(at);
        },
    );
    for gateway in 0..case.scene.intent.border_gateways.len() {
        border_gateway(case, fails, gateway);
    }
    each(
        case,
        fails,
        |case| case.scene.intent.connections.len(),
        |case, at| {
            case.scene.intent.connections.remove(at);
        },
    );
    each(
        case,
        fails,
        |case| case.scene.observed.bfd_down.len(),
        |case, at| {
            let key = case.scene.observed.bfd_down.iter().nth(at).cloned();
            key.map(|key| case.scene.observed.bfd_down.remove(&key));
        },
    );
    each(
        case,
        fails,
        |case| case.scene.observed.underlay.len(),
        |case, at| {
            let key = case.scene.observed.underlay.keys().nth(at).copied();
            key.map(|key| case.scene.observed.underlay.remove(&key));
        },
    );
    attempt(case, fails, |case| case.scene.intent.drained.clear());
    learned(case, fails);
}

/// Leaves out one after the other.
fn each(
    case: &mut Case,
    fails: &impl Fn(&Case) -> bool,
    count: impl Fn(&Case) -> usize,
    remove: impl Fn(&mut Case, usize),
) {
    for at in (0..count(case)).rev() {
        attempt(case, fails, |case| remove(case, at));
    }
}

fn border_gateway(case: &mut Case, fails: &impl Fn(&Case) -> bool, number: usize) {
    let of = |case: &Case| case.scene.intent.border_gateways[number].clone();
    each(
        case,
        fails,
        |case| of(case).virtual_interfaces.len(),
        |case, at| {
            let gateway = gateway(&mut case.scene.intent, number);
            let vif = gateway.virtual_interfaces.remove(at);
            gateway.routes.iter_mut().for_each(|route| route.via.retain(|name| *name != vif.name));
            gateway.routes.retain(|route| !route.via.is_empty());
        },
    );
    each(
        case,
        fails,
        |case| of(case).vpc_attachments.len(),
        |case, at| {
            gateway(&mut case.scene.intent, number).vpc_attachments.remove(at);
        },
    );
    each(
        case,
        fails,
        |case| of(case).routes.len(),
        |case, at| {
            gateway(&mut case.scene.intent, number).routes.remove(at);
        },
    );
    for vif in 0..of(case).virtual_interfaces.len() {
        attempt(case, fails, |case| {
            let vif = &mut gateway(&mut case.scene.intent, number).virtual_interfaces[vif];
            (vif.dscp, vif.bgp) = (Dscp::default(), None);
        });
        attempt(case, fails, |case| {
            gateway(&mut case.scene.intent, number).virtual_interfaces[vif].caps = Caps::default();
        });
        each(
            case,
            fails,
            |case| of(case).virtual_interfaces[vif].addresses.len(),
            |case, at| {
                gateway(&mut case.scene.intent, number).virtual_interfaces[vif].addresses.remove(at);
            },
        );
    }
    for vpc in 0..of(case).vpc_attachments.len() {
        attempt(case, fails, |case| {
            gateway(&mut case.scene.intent, number).vpc_attachments[vpc].hosts.clear();
        });
        attempt(case, fails, |case| {
            gateway(&mut case.scene.intent, number).vpc_attachments[vpc].vteps.truncate(1);
        });
    }
    attempt(case, fails, |case| gateway(&mut case.scene.intent, number).mss_clamp = false);
    attempt(case, fails, |case| gateway(&mut case.scene.intent, number).transit = false);
}

fn gateway(intent: &mut Intent, number: usize) -> &mut BorderGateway {
    &mut intent.border_gateways[number]
}

fn learned(case: &mut Case, fails: &impl Fn(&Case) -> bool) {
    let names: Vec<String> = case.scene.observed.learned.keys().cloned().collect();
    for name in names {
        let of = |case: &Case| case.scene.observed.learned.get(&name).map(|learned| (**learned).clone());
        let set = |case: &mut Case, learned: Learned| {
            case.scene.observed.learned.insert(name.clone(), Arc::new(learned));
        };
        if attempt(case, fails, |case| drop(case.scene.observed.learned.remove(&name))) {
            continue;
        }
        attempt(case, fails, |case| {
            let learned = of(case).unwrap_or_default();
            set(case, Learned { sources: BTreeMap::default(), ..learned });
        });
        for prefix in of(case).unwrap_or_default().routes.into_keys() {
            attempt(case, fails, |case| {
                let mut learned = of(case).unwrap_or_default();
                learned.routes.remove(&prefix);
                set(case, learned);
            });
        }
    }
}
