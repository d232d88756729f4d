//! Policers: what is declared, and what protects the gateway itself.

use std::collections::BTreeMap;

use border_gw_common::abi::{
    AttachmentPolicer, Policer, TO_CUSTOMER, TO_VPC, VifPolicer, attachment_policer, connection_policer,
    port_policer, vif_policer,
};

use crate::intent::{Cap, Caps};

/// A limiter of packets handed to the kernel, or answered in its place, for each VIF or attachment.
struct PuntLimit {
    /// Packets a second.
    rate: u64,
    /// Packets at once.
    burst: u64,
}

/// BGP: a full table at once is well below it.
const CONTROL: PuntLimit = PuntLimit { rate: 5_000, burst: 2_000 };
/// Openings of BGP sessions: both sides try every few seconds.
const OPEN: PuntLimit = PuntLimit { rate: 20, burst: 40 };
/// BFD at 10 ms, of two peers, with echoes of their changes.
const BFD: PuntLimit = PuntLimit { rate: 1_000, burst: 200 };
/// ARP and neighbour discovery of declared peers: two peers that verify each other every second need four.
const NEIGHBOR: PuntLimit = PuntLimit { rate: 100, burst: 100 };
/// Answers to everybody else who asks where we are: they cost the kernel nothing, but each is a frame on the line.
const ANSWER: PuntLimit = PuntLimit { rate: 200, burst: 100 };
/// Ping to the gateway, and whatever else: enough for a person.
const REST: PuntLimit = PuntLimit { rate: 1_000, burst: 500 };

/// ICMP errors (RFC 1812, section 4.3.2.8; RFC 4443, section 2.4 (f)): some traceroutes at once.
const ERROR: PuntLimit = PuntLimit { rate: 200, burst: 200 };
/// Those that say what would fit: each connection that has to learn an MTU needs one.
const TOO_BIG: PuntLimit = PuntLimit { rate: 200, burst: 200 };

type Policers = BTreeMap<u32, Policer>;

/// Time that a byte costs, and depth of the bucket, for a rate in bits a second and a burst in bytes.
fn policer(rate: u64, burst: u64) -> Policer {
    border_gw_common::policer::policer(rate, burst)
}

fn cap(policers: &mut Policers, index: u32, cap: Option<Cap>) {
    if let Some(cap) = cap {
        policers.insert(index, policer(cap.rate, cap.burst));
    }
}

fn punt(policers: &mut Policers, index: u32, limit: &PuntLimit) {
    policers.insert(index, policer(limit.rate * 8, limit.burst));
}

/// A VIF's caps and punt limiters.
pub(super) fn vif(policers: &mut Policers, index: u32, caps: &Caps) {
    cap(policers, vif_policer(index, VifPolicer::ToVpc), caps.to_vpc);
    cap(policers, vif_policer(index, VifPolicer::ToCustomer), caps.to_customer);
    punt(policers, vif_policer(index, VifPolicer::PuntControl), &CONTROL);
    punt(policers, vif_policer(index, VifPolicer::PuntOpen), &OPEN);
    punt(policers, vif_policer(index, VifPolicer::PuntBfd), &BFD);
    punt(policers, vif_policer(index, VifPolicer::PuntNeighbor), &NEIGHBOR);
    punt(policers, vif_policer(index, VifPolicer::PuntRest), &REST);
    punt(policers, vif_policer(index, VifPolicer::Answer), &ANSWER);
    punt(policers, vif_policer(index, VifPolicer::Error), &ERROR);
    punt(policers, vif_policer(index, VifPolicer::TooBig), &TOO_BIG);
}

/// An attachment's limiters.
pub(super) fn attachment(policers: &mut Policers, index: u32) {
    punt(policers, attachment_policer(index, AttachmentPolicer::Punt), &REST);
    punt(policers, attachment_policer(index, AttachmentPolicer::Error), &ERROR);
    punt(policers, attachment_policer(index, AttachmentPolicer::TooBig), &TOO_BIG);
}

/// A connection's caps.
pub(super) fn connection(policers: &mut Policers, index: u32, caps: &Caps) {
    cap(policers, connection_policer(index, TO_VPC), caps.to_vpc);
    cap(policers, connection_policer(index, TO_CUSTOMER), caps.to_customer);
}

/// A port's egress limit, 99 % of the link's speed with 2 ms of burst: its ring must not be full when `host` sends.
pub(super) fn port(policers: &mut Policers, index: u32, speed: Option<u64>) {
    if let Some(speed) = speed {
        let rate = speed / 100 * 99;
        policers.insert(port_policer(index), policer(rate, (rate / 8 / 500).max(65_536)));
    }
}
