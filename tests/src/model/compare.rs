//! What came out beside what is right: verdict, bytes, counts and charges.

use std::collections::{BTreeMap, HashMap};

use border_gw::intent::Intent;
use border_gw::tables::Slots;
use border_gw_common::abi::{
    Entry, Flow as Counted, INTO, OUT_OF, OWNER_ATTACHMENT, OWNER_VIF, Owner, Policer, TO_CUSTOMER, TO_VPC,
    VifPolicer, attachment_policer, attachment_scope, connection_policer, entry_scope, port_policer,
    vif_policer, vif_scope,
};
use border_gw_common::policer::cost;
use border_gw_common::verdict::Verdict;

use super::case::{Scene, dump};
use super::{Fate, Flow, Judgement, Limiter, Outcome, Scope, Written};

/// First of the dynamic ports (RFC 6335, section 6), of which a tunnel's source port is one (RFC 7348, section 5).
const DYNAMIC: u16 = 0xc000;

/// What a packet path made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Index of the scope that counted it.
    pub scope: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// The frame as it is now.
    pub bytes: Vec<u8>,
    /// Traffic that was counted.
    pub traffic: BTreeMap<(Owner, u32), Counted>,
    /// Whether what was counted as too big may be fragmented by nobody.
    pub too_big: Option<bool>,
    /// What is missing from policers that were full.
    pub charged: BTreeMap<u32, u64>,
}

/// A difference.
#[derive(Clone, Debug)]
pub struct Mismatch {
    /// The kind of it, so that a smaller case can be known to have the same.
    pub kind: String,
    /// All of it, to be read.
    pub text: String,
}

/// What the names of a scene are to the packet path.
pub struct Names {
    slots: Slots,
    /// Connection of each virtual interface.
    connections: BTreeMap<String, String>,
    /// Index of the policer of each port, by interface index.
    ports: BTreeMap<u32, u32>,
    policers: BTreeMap<u32, Policer>,
}

impl Names {
    /// Of a scene that was compiled with these slots into these policers.
    pub fn of(scene: &Scene, slots: &Slots, policers: &BTreeMap<u32, Policer>) -> Self {
        let intent: &Intent = &scene.intent;
        let vifs = intent.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces);
        let mut interfaces: Vec<&String> = intent.connections.iter().map(|each| &each.interface).collect();
        interfaces.extend(&intent.fabric.interfaces);
        interfaces.sort();
        interfaces.dedup();
        let ports = interfaces
            .into_iter()
            .zip(0..)
            .filter_map(|(name, index)| Some((scene.observed.ports.get(name)?.ifindex, index)));
        Self {
            slots: slots.clone(),
            connections: vifs.map(|vif| (vif.name.clone(), vif.connection.clone())).collect(),
            ports: ports.collect(),
            policers: policers.clone(),
        }
    }

    fn owner(&self, scope: &Scope) -> Option<Owner> {
        match scope {
            Scope::Program => None,
            Scope::Vif(name) => Some(Owner::new(OWNER_VIF, self.slots.vifs[name])),
            Scope::Vpc(name) => Some(Owner::new(OWNER_ATTACHMENT, self.slots.attachments[name])),
        }
    }

    fn scope(&self, scope: &Scope, entry: Entry) -> u32 {
        match scope {
            Scope::Program => entry_scope(entry),
            Scope::Vif(name) => vif_scope(self.slots.vifs[name]),
            Scope::Vpc(name) => attachment_scope(self.slots.attachments[name]),
        }
    }

    /// What is counted when a packet is sent on: at both ends, the bytes of IP.
    fn traffic(&self, outcome: &Outcome) -> BTreeMap<(Owner, u32), Counted> {
        let Some((to, bytes)) = &outcome.sent else { return BTreeMap::new() };
        let counted = Counted { packets: 1, bytes: u64::from(*bytes), ..Counted::default() };
        let from = self
            .owner(&outcome.scope)
            .map(|owner| (owner, if owner.kind() == OWNER_VIF { TO_VPC } else { OUT_OF }));
        let to =
            self.owner(to).map(|owner| (owner, if owner.kind() == OWNER_VIF { TO_CUSTOMER } else { INTO }));
        from.into_iter().chain(to).map(|key| (key, counted)).collect()
    }

    /// The caps that a packet is charged to (of virtual interfaces, their connections, and the port that it leaves by), and the
    /// limiters of what is not sent on.
    fn charged(&self, outcome: &Outcome) -> BTreeMap<u32, u64> {
        let mut takes = Vec::new();
        if let (Some((to, bytes)), Fate::Forward(port, _)) = (&outcome.sent, &outcome.fate) {
            takes.push((port_policer(self.ports[port]), *bytes));
            let ends =
                [(&outcome.scope, VifPolicer::ToVpc, TO_VPC), (to, VifPolicer::ToCustomer, TO_CUSTOMER)];
            for (scope, cap, direction) in ends {
                let Scope::Vif(name) = scope else { continue };
                takes.push((vif_policer(self.slots.vifs[name], cap), *bytes));
                let connection = self.slots.connections[&self.connections[name]];
                takes.push((connection_policer(connection, direction), *bytes));
            }
        }
        takes.extend(outcome.limits.iter().map(|(limiter, amount)| {
            let policer = match limiter {
                Limiter::Vif(name, which) => vif_policer(self.slots.vifs[name], *which),
                Limiter::Vpc(name, which) => attachment_policer(self.slots.attachments[name], *which),
                Limiter::Port(port) => port_policer(self.ports[port]),
            };
            (policer, *amount)
        }));
        let mut charged = BTreeMap::new();
        for (policer, amount) in takes {
            if let Some(config) = self.policers.get(&policer).filter(|config| config.cost != 0) {
                *charged.entry(policer).or_default() += cost(config, amount);
            }
        }
        charged
    }
}

/// Which way each flow went: all of its packets go the same.
#[derive(Debug, Default)]
pub struct Flows(HashMap<Flow, (usize, Vec<u8>)>);

/// Compares; a difference is told.
pub fn compare(
    names: &Names,
    flows: &mut Flows,
    (entry, asked): (Entry, &[u8]),
    right: &Judgement,
    seen: &Seen,
) -> Result<(), Mismatch> {
    let wrong = |outcome: &Outcome| differs(names, (entry, asked), outcome, seen);
    let all: Vec<Option<String>> = right.allowed.iter().map(wrong).collect();
    let Some(way) = all.iter().position(Option::is_none) else {
        // The one that it is most like.
        let nearest = right.allowed.iter().zip(all).max_by_key(|(outcome, _)| likeness(outcome, seen));
        let (outcome, why) =
            nearest.map_or(("nothing".to_owned(), None), |(outcome, why)| (said(outcome), why));
        let why = why.unwrap_or_default();
        return Err(Mismatch {
            kind: format!("{}: model {outcome}, path {}: {why}", entry.name(), heard(seen.verdict)),
            text: describe(right, seen, &why),
        });
    };
    let Some(flow) = right.flow.as_ref().filter(|_| matches!(seen.verdict, Verdict::Forward(_))) else {
        return Ok(());
    };
    // What the flow decides: the member, the tunnel's source port, and its flow label.
    let mut decided = Vec::new();
    if let Fate::Forward(_, Written { port_at, label_at, .. }) = &right.allowed[way].fate {
        let free = port_at.iter().chain(label_at);
        decided.extend(free.flat_map(|at| seen.bytes[*at..*at + 2].to_vec()));
    }
    let now = (way, decided);
    let before = flows.0.entry(flow.clone()).or_insert_with(|| now.clone());
    if *before == now {
        return Ok(());
    }
    Err(Mismatch {
        kind: format!("{}: a flow on two ways", entry.name()),
        text: format!("{flow:?} went {before:?}, and goes {now:?}\n{}", describe(right, seen, "flow")),
    })
}

/// What differs first.
fn differs(names: &Names, (entry, asked): (Entry, &[u8]), right: &Outcome, seen: &Seen) -> Option<String> {
    let (verdict, written) = match &right.fate {
        Fate::Drop(reason) => (Verdict::Drop(*reason), None),
        Fate::Pass => (Verdict::Pass, Some(Written::from(asked.to_vec()))),
        Fate::Punt(ifindex, written) => (Verdict::Punt(*ifindex), Some(written.clone())),
        Fate::Answer(written) => (Verdict::Answer, Some(written.clone())),
        Fate::Refuse(reason, written) => (Verdict::Refuse(*reason), Some(written.clone())),
        Fate::Forward(ifindex, written) => (Verdict::Forward(*ifindex), Some(written.clone())),
    };
    if verdict != seen.verdict {
        return Some("verdict".into());
    }
    if names.scope(&right.scope, entry) != seen.scope {
        return Some("scope".into());
    }
    if let Some(written) = written
        && let Some(what) = bytes_differ(&written, &seen.bytes)
    {
        return Some(what);
    }
    if names.traffic(right) != seen.traffic {
        return Some("counted traffic".into());
    }
    if right.too_big != seen.too_big {
        return Some(format!("too big: {:?} instead of {:?}", seen.too_big, right.too_big));
    }
    if names.charged(right) != seen.charged {
        return Some(format!("charges: {:?} instead of {:?}", seen.charged, names.charged(right)));
    }
    None
}

fn bytes_differ(written: &Written, got: &[u8]) -> Option<String> {
    let mut want = written.bytes.clone();
    if let Some(at) = written.port_at
        && let Some(port) = got.get(at..at + 2).filter(|_| at + 2 <= want.len())
    {
        if u16::from_be_bytes([port[0], port[1]]) < DYNAMIC {
            return Some("tunnel source port".into());
        }
        want[at..at + 2].copy_from_slice(port);
    }
    if let Some(at) = written.label_at
        && let Some(label) = got.get(at..at + 2).filter(|_| at + 2 <= want.len())
    {
        want[at..at + 2].copy_from_slice(label);
    }
    if want == got {
        return None;
    }
    let at = want.iter().zip(got).position(|(want, got)| want != got);
    let at = at.map_or("the end".to_owned(), |at| format!("byte {at}"));
    Some(format!("bytes, from {at} on"))
}

/// How far a frame is what it should be.
fn likeness(right: &Outcome, seen: &Seen) -> usize {
    let written = match (&right.fate, seen.verdict) {
        (Fate::Forward(port, written), Verdict::Forward(ifindex)) if *port == ifindex => written,
        (Fate::Refuse(_, written), Verdict::Refuse(_)) => written,
        _ => return 0,
    };
    written.bytes.iter().zip(&seen.bytes).take_while(|(want, got)| want == got).count()
}

fn said(outcome: &Outcome) -> String {
    match &outcome.fate {
        Fate::Drop(reason) => format!("drop {}", reason.label()),
        Fate::Pass => "pass".into(),
        Fate::Punt(..) => "punt".into(),
        Fate::Answer(_) => "answer".into(),
        Fate::Refuse(reason, _) => format!("refuse {}", reason.label()),
        Fate::Forward(..) => "forward".into(),
    }
}

fn heard(verdict: Verdict) -> String {
    match verdict {
        Verdict::Drop(reason) => format!("drop {}", reason.label()),
        Verdict::Refuse(reason) => format!("refuse {}", reason.label()),
        Verdict::Forward(_) => "forward".into(),
        Verdict::Punt(_) => "punt".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Both sides, to be read.
pub fn describe(right: &Judgement, seen: &Seen, why: &str) -> String {
    let mut text = format!("differs in: {why}\n");
    for outcome in &right.allowed {
        text.extend([format!("right is: {:?} {}", outcome.scope, said(outcome))]);
        let (port, written) = match &outcome.fate {
            Fate::Drop(_) | Fate::Pass => (None, None),
            Fate::Answer(written) | Fate::Refuse(_, written) => (None, Some(written)),
            Fate::Punt(port, written) | Fate::Forward(port, written) => (Some(port), Some(written)),
        };
        text += &port.map_or("\n".to_owned(), |port| format!(" by interface {port}\n"));
        text += &written.map_or(String::new(), |written| dump(&written.bytes));
    }
    let left = match seen.verdict {
        Verdict::Drop(_) => String::new(),
        _ => dump(&seen.bytes),
    };
    text + &format!("came: scope {} {:?}\n{left}", seen.scope, seen.verdict)
}
