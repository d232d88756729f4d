//! A reference model of the packet path: slow, over owned packets, from the design and the RFCs, and without a line of the
//! pipeline. What the two make of a packet is compared (`tests/tests/model.rs`).

mod answer;
pub mod case;
pub mod compare;
pub mod document;
mod fabric;
mod flow;
mod forward;
mod frame;
pub mod generate;
mod host;
mod icmp;
mod ip;
mod learned;
mod line;
mod mss;
mod neighbor;
mod options;
mod screen;
pub mod shrink;
mod sum;
pub mod world;
mod write;

use border_gw_common::abi::{AttachmentPolicer, Entry, VifPolicer};
use border_gw_common::verdict::DropReason;

pub use self::flow::Flow;
use self::world::World;
pub use self::write::Written;

/// Whose counters show a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The program's.
    Program,
    /// Those of the virtual interface with this name.
    Vif(String),
    /// Those of the attachment with this name.
    Vpc(String),
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Dropped.
    Drop(DropReason),
    /// Left to the server's own kernel, as it came.
    Pass,
    /// Handed to the kernel of the namespace through the veth with this index.
    Punt(u32, Written),
    /// Answered by the port on which it came.
    Answer(Written),
    /// Refused, and its sender is told by the port on which it came.
    Refuse(DropReason, Written),
    /// Sent on by the interface with this index.
    Forward(u32, Written),
}

/// One way in which a packet may end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Who counts it.
    pub scope: Scope,
    /// What becomes of it.
    pub fate: Fate,
    /// To whom it is counted as sent, and its bytes of IP.
    pub sent: Option<(Scope, u32)>,
    /// Of what is too big for its next hop: whether nobody may fragment it (DF, or IPv6).
    pub too_big: Option<bool>,
    /// Limiters that it takes from, beside the caps of what is sent on.
    pub limits: Vec<(Limiter, u32)>,
}

/// A limiter of what is not sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limiter {
    /// One of a virtual interface, in packets.
    Vif(String, VifPolicer),
    /// One of an attachment, in packets.
    Vpc(String, AttachmentPolicer),
    /// That of the port with this index, in bytes of IP.
    Port(u32),
}

/// What the model says of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// All that is right: one for each equal-cost member.
    pub allowed: Vec<Outcome>,
    /// Packets of one flow all go the same way of these.
    pub flow: Option<Flow>,
}

impl Judgement {
    fn one(scope: Scope, fate: Fate) -> Self {
        Self {
            allowed: vec![Outcome { scope, fate, sent: None, too_big: None, limits: Vec::new() }],
            flow: None,
        }
    }

    fn limited(mut self, limiter: &Limiter) -> Self {
        for outcome in &mut self.allowed {
            outcome.limits.push((limiter.clone(), 1));
        }
        self
    }

    fn drop(scope: Scope, reason: DropReason) -> Self {
        Self::one(scope, Fate::Drop(reason))
    }
}

/// Judges a frame that a program received on an interface.
pub fn judge(world: &World, entry: Entry, ifindex: u32, frame: &[u8]) -> Judgement {
    match entry {
        Entry::Line => line::line(world, ifindex, frame),
        Entry::Fabric => fabric::fabric(world, ifindex, frame),
        Entry::Host => host::host(world, ifindex, frame),
    }
}
