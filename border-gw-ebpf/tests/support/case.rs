//! A case: a sentence, a packet in, a verdict, a packet out.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use border_gw_common::abi::{
    AttachmentPolicer, Entry, Flow, INTO, OUT_OF, OWNER_ATTACHMENT, OWNER_VIF, Owner, TO_CUSTOMER, TO_VPC,
    VifPolicer, attachment_policer, attachment_scope, connection_policer, entry_scope, port_policer,
    vif_policer, vif_scope,
};
use border_gw_common::verdict::{DropReason, Verdict};
use border_gw_ebpf::{Outcome, error, fabric, host, line, policer};

use super::datagram::Datagram;
use super::frame::Frame;
use super::memory::Memory;
use super::seen;
use super::world::{
    CONNECTION, CUSTOMER, FABRIC, HOST, NESTED, SPINE, Underlay, VNI, VPC, port_index, port_mac, router_mac,
    tags, vif_port, vtep_mac, world,
};
use crate::witness::witnessed;

/// What should become of a packet.
pub(crate) enum Want {
    /// Dropped, and no cap charged.
    Drop(DropReason),
    /// Left to the kernel, untouched.
    Pass,
    /// Handed to the kernel through this veth, as this frame.
    Punt(u32, Vec<u8>),
    /// Sent back by the port that it came on, as this frame.
    Answer(Vec<u8>),
    /// Sent on a VIF's line.
    ToLine(u32, Datagram),
    /// Sent to one of the VTEPs of an attachment.
    ToVpc(u32, &'static [usize], Datagram),
    /// Not sent on, and its sender is told why.
    Refused(Told),
}

/// What a sender should be told.
pub(crate) struct Told {
    /// Under which name it is counted.
    pub(crate) reason: DropReason,
    /// ICMP type and code.
    pub(crate) message: (u8, u8),
    /// What is said to fit, in bytes; 0 in messages that say nothing of it.
    pub(crate) mtu: u16,
    /// Who says so.
    pub(crate) from: &'static str,
    /// The packet, without all that stands in front of it and behind.
    pub(crate) about: Datagram,
}

/// Runs a program, in front of a witness.
pub(crate) fn run(entry: Entry, frame: &mut Frame, tables: &Memory, ifindex: u32) -> Outcome {
    witnessed((entry, ifindex), frame, tables, |frame| {
        let outcome = match entry {
            Entry::Line => line::line(frame, tables, ifindex),
            Entry::Fabric => fabric::fabric(frame, tables, ifindex),
            Entry::Host => host::host(frame, tables, ifindex),
        };
        // As the kernel goes on in another program.
        if outcome.verdict == Verdict::Complain { error::error(frame, tables, ifindex) } else { outcome }
    })
}

/// The VTEP from which hosts of an attachment ask for what they are refused: not the one that they would be sent to first.
pub(crate) const fn asking_vtep(attachment: u32) -> usize {
    match attachment {
        VPC => 2,
        NESTED => 3,
        _ => 1,
    }
}

/// A row of a table.
pub(crate) struct Case {
    name: String,
    entry: Entry,
    ifindex: u32,
    scope: u32,
    /// What the packet is charged and counted for; a program that is not charged has none.
    origin: Option<Owner>,
    packet: Vec<u8>,
    room: (usize, usize),
    change: Box<dyn Fn(&mut Memory)>,
    want: Want,
}

impl Case {
    /// A frame on the line of a VIF.
    pub(crate) fn line(name: impl Into<String>, vif: u32, packet: Vec<u8>, want: Want) -> Self {
        let owner = Owner::new(OWNER_VIF, vif);
        Self::new(name, Entry::Line, vif_port(vif), vif_scope(vif), Some(owner), packet, want)
    }

    /// A frame on the fabric port, with the VNI of an attachment.
    pub(crate) fn fabric(name: impl Into<String>, attachment: u32, packet: Vec<u8>, want: Want) -> Self {
        let owner = Owner::new(OWNER_ATTACHMENT, attachment);
        Self::new(name, Entry::Fabric, FABRIC, attachment_scope(attachment), Some(owner), packet, want)
    }

    /// A frame from the kernel, on the outer end of a veth.
    pub(crate) fn host(name: impl Into<String>, ifindex: u32, packet: Vec<u8>, want: Want) -> Self {
        Self::new(name, Entry::Host, ifindex, entry_scope(Entry::Host), None, packet, want)
    }

    fn new(
        name: impl Into<String>,
        entry: Entry,
        ifindex: u32,
        scope: u32,
        origin: Option<Owner>,
        packet: Vec<u8>,
        want: Want,
    ) -> Self {
        let name = name.into();
        Self { name, entry, ifindex, scope, origin, packet, room: (256, 128), change: Box::new(|_| {}), want }
    }

    /// Counted for the program, because nobody else is known.
    pub(crate) fn of_nobody(mut self) -> Self {
        self.scope = entry_scope(self.entry);
        self
    }

    /// In a world that differs.
    pub(crate) fn when<R>(mut self, change: impl Fn(&mut Memory) -> R + 'static) -> Self {
        self.change = Box::new(move |world| {
            change(world);
        });
        self
    }

    /// In a buffer with so much room in front and behind.
    pub(crate) fn with_room(mut self, headroom: usize, tailroom: usize) -> Self {
        self.room = (headroom, tailroom);
        self
    }

    /// On another port.
    pub(crate) fn on_port(mut self, ifindex: u32) -> Self {
        self.ifindex = ifindex;
        self
    }

    fn check(&self, underlay: Underlay) {
        let mut world = world(underlay);
        (self.change)(&mut world);
        let mut frame = Frame::with_room(&self.packet, self.room.0, self.room.1);
        let outcome = run(self.entry, &mut frame, &world, self.ifindex);
        let name = &self.name;
        let expect = |verdict| assert_eq!(outcome, Outcome { scope: self.scope, verdict }, "{name}");
        match &self.want {
            Want::Drop(reason) => {
                expect(Verdict::Drop(*reason));
                assert_eq!(world.charged(), [].into(), "a drop is not charged");
                let flows: Vec<Flow> = world.traffic().into_values().collect();
                assert!(flows.iter().all(|flow| flow.packets == 0), "a drop is not counted as sent");
            }
            Want::Pass => {
                expect(Verdict::Pass);
                assert_eq!(frame.bytes(), self.packet);
                assert_eq!(world.charged(), [].into());
            }
            Want::Punt(veth, want) => {
                expect(Verdict::Punt(*veth));
                assert_eq!(frame.bytes(), want);
            }
            Want::Answer(want) => {
                expect(Verdict::Answer);
                assert_eq!(frame.bytes(), want);
            }
            Want::ToLine(vif, sent) => {
                expect(Verdict::Forward(vif_port(*vif)));
                self.check_line(*vif, sent, frame.bytes());
                let bytes = sent.bytes().len() as u64;
                self.check_counts(&world, Owner::new(OWNER_VIF, *vif), vif_port(*vif), bytes);
            }
            Want::ToVpc(attachment, vteps, sent) => {
                expect(Verdict::Forward(FABRIC));
                self.check_tunnel(underlay, *attachment, vteps, sent, frame.bytes());
                let bytes = sent.bytes().len() as u64;
                self.check_counts(&world, Owner::new(OWNER_ATTACHMENT, *attachment), FABRIC, bytes);
            }
            Want::Refused(told) => {
                expect(Verdict::Refuse(told.reason));
                let bytes = self.check_error(underlay, told, frame.bytes());
                self.check_limits(&world, told.reason, bytes);
            }
        }
    }

    /// The error goes back to where the packet came from, in the tags or the tunnel in which it came; its bytes.
    fn check_error(&self, underlay: Underlay, told: &Told, got: &[u8]) -> u32 {
        let origin = self.origin.expect("the kernel is told nothing");
        if origin.kind() == OWNER_VIF {
            let seen = seen::frame(got);
            assert_eq!((seen.to, seen.from), (CUSTOMER, port_mac(self.ifindex)));
            assert_eq!(seen.tags, seen::tag_list(tags(origin.index())));
            seen::assert_error(&seen, told);
            return seen.payload.len() as u32;
        }
        let outer = seen::tunnel(underlay, got);
        assert_eq!((outer.to, outer.from), (SPINE, port_mac(FABRIC)));
        seen::assert_address(outer.source, underlay.gateway());
        seen::assert_address(outer.destination, &underlay.vtep(asking_vtep(origin.index())));
        assert_eq!(outer.vni, VNI[origin.index() as usize]);
        let inner = seen::frame(outer.inner);
        assert_eq!((inner.to, inner.from), (HOST, router_mac(origin.index())));
        assert_eq!(inner.tags, []);
        // A mark of congestion that the question got on its way would make the asker's VTEP drop the error.
        let class = seen::assert_error(&inner, told);
        assert_eq!(outer.traffic_class, class, "DSCP and ECN are copied");
        inner.payload.len() as u32
    }

    /// One packet of the limiter of errors, the bytes of the port's, and nothing else is charged; no traffic is counted.
    fn check_limits(&self, world: &Memory, reason: DropReason, bytes: u32) {
        let origin = self.origin.expect("the kernel is told nothing");
        let limiter = match (origin.kind() == OWNER_VIF, reason == DropReason::TooBig) {
            (true, false) => vif_policer(origin.index(), VifPolicer::Error),
            (true, true) => vif_policer(origin.index(), VifPolicer::TooBig),
            (false, false) => attachment_policer(origin.index(), AttachmentPolicer::Error),
            (false, true) => attachment_policer(origin.index(), AttachmentPolicer::TooBig),
        };
        let port = port_policer(port_index(self.ifindex));
        let cost = |policer, amount| (policer, policer::cost(&world.policers[&policer], amount));
        assert_eq!(world.charged(), [cost(limiter, 1), cost(port, bytes)].into(), "{}", self.name);
        assert_eq!(world.traffic(), [].into(), "{}", self.name);
    }

    /// The hop limit with which a packet leaves: the kernel's own packets keep theirs.
    fn ttl(&self, sent: &Datagram) -> u8 {
        if self.entry == Entry::Host { sent.ttl } else { sent.ttl - 1 }
    }

    fn check_line(&self, vif: u32, sent: &Datagram, got: &[u8]) {
        let seen = seen::frame(got);
        assert_eq!((seen.to, seen.from), (CUSTOMER, port_mac(vif_port(vif))));
        assert_eq!(seen.tags, seen::tag_list(tags(vif)));
        assert_eq!(seen.ether_type, if sent.source.is_ipv4() { 0x0800 } else { 0x86dd });
        seen::assert_same(seen.payload, sent, self.ttl(sent));
    }

    fn check_tunnel(
        &self,
        underlay: Underlay,
        attachment: u32,
        vteps: &[usize],
        sent: &Datagram,
        got: &[u8],
    ) {
        let outer = seen::tunnel(underlay, got);
        assert_eq!((outer.to, outer.from), (SPINE, port_mac(FABRIC)));
        seen::assert_address(outer.source, underlay.gateway());
        assert_eq!(outer.vni, VNI[attachment as usize]);
        assert_eq!(outer.traffic_class, sent.traffic_class, "DSCP and ECN are copied");
        assert!(outer.udp_source >= 0xc000, "a dynamic port: {}", outer.udp_source);
        let vtep = vteps.iter().find(|vtep| underlay.vtep(**vtep) == outer.destination.to_string());
        let vtep = *vtep.unwrap_or_else(|| panic!("{}: to a VTEP: {}", self.name, outer.destination));
        let inner = seen::frame(outer.inner);
        assert_eq!((inner.to, inner.from), (vtep_mac(vtep), router_mac(attachment)));
        assert_eq!(inner.ether_type, if sent.source.is_ipv4() { 0x0800 } else { 0x86dd });
        seen::assert_same(inner.payload, sent, self.ttl(sent));
    }

    /// Every cap on the way and no other is charged, and both ends count the packet, in the right direction.
    fn check_counts(&self, world: &Memory, to: Owner, port: u32, bytes: u64) {
        let Some(from) = self.origin else {
            assert_eq!((world.charged(), world.traffic()), ([].into(), [].into()), "{}", self.name);
            return;
        };
        let mut caps = BTreeSet::from([port_policer(port_index(port))]);
        if from.kind() == OWNER_VIF {
            caps.insert(vif_policer(from.index(), VifPolicer::ToVpc));
            caps.insert(connection_policer(CONNECTION[from.index() as usize], TO_VPC));
        }
        if to.kind() == OWNER_VIF {
            caps.insert(vif_policer(to.index(), VifPolicer::ToCustomer));
            caps.insert(connection_policer(CONNECTION[to.index() as usize], TO_CUSTOMER));
        }
        assert_eq!(world.charged().into_keys().collect::<BTreeSet<_>>(), caps, "{}", self.name);
        let sent = Flow { packets: 1, bytes, ..Flow::default() };
        let out = if from.kind() == OWNER_VIF { TO_VPC } else { OUT_OF };
        let into = if to.kind() == OWNER_VIF { TO_CUSTOMER } else { INTO };
        assert_eq!(world.traffic(), [((from, out), sent), ((to, into), sent)].into(), "{}", self.name);
    }
}

/// Checks a table in the worlds of both underlays; says all that fail.
pub(crate) fn check(cases: impl Fn(Underlay) -> Vec<Case>) {
    let mut failed = Vec::new();
    for underlay in Underlay::ALL {
        for case in cases(underlay) {
            // The assertion has printed what differs.
            if catch_unwind(AssertUnwindSafe(|| case.check(underlay))).is_err() {
                failed.push(format!("{} ({underlay:?})", case.name));
            }
        }
    }
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}
