//! Kernel calls that fail, each of them in turn: a packet meets what was or what is to be, and the next turn ends in the latter.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use border_gw::dataplane::memory::Memory;
use border_gw::dataplane::{Dataplane, Error};
use border_gw::intent::{Drain, HostRoute, Intent, StaticRoute, XdpMode};
use border_gw::kernel::Observed;
use border_gw::reconcile::Reconciler;
use border_gw::tables::{Installed, Op};
use border_gw_common::abi::Entry;
use border_gw_common::verdict::{DropReason, Verdict};
use border_gw_ebpf::{error, fabric, host, line};

#[path = "plan/server.rs"]
mod server;
use server::{gateway, intent, line as connection, mac, observed, vif, vpc};

#[path = "../../border-gw-ebpf/tests/support/datagram.rs"]
#[expect(dead_code, reason = "the tests of the path use more")]
mod datagram;
#[path = "../../border-gw-ebpf/tests/support/frame.rs"]
mod frame;
#[path = "../../border-gw-ebpf/tests/support/memory.rs"]
#[expect(dead_code, reason = "the tests of the path use more")]
mod memory;
#[path = "../../border-gw-ebpf/tests/support/wire.rs"]
#[expect(dead_code, reason = "the tests of the path use more")]
mod wire;
use datagram::{Datagram, icmp, transport, udp};
use frame::Frame;
use memory::Memory as Path;

/// A dataplane of which one call fails, and nothing of it is done.
struct Faulty {
    memory: Memory,
    /// Calls until then; none where none fails.
    left: Cell<Option<usize>>,
    calls: Cell<usize>,
}

impl Faulty {
    fn call(&self) -> Result<(), Error> {
        self.calls.set(self.calls.get() + 1);
        match self.left.get() {
            Some(0) => {
                self.left.set(None);
                Err(Error::HiddenFileSystem)
            }
            left => {
                self.left.set(left.map(|left| left - 1));
                Ok(())
            }
        }
    }
}

impl Dataplane for Faulty {
    fn read(&self) -> Result<Installed, Error> {
        self.call()?;
        self.memory.read()
    }

    fn apply(&mut self, op: &Op) -> Result<(), Error> {
        self.call()?;
        self.memory.apply(op)
    }

    fn attach(&mut self, wanted: &[(u32, Entry)]) -> Result<(), Error> {
        self.call()?;
        self.memory.attach(wanted)
    }

    fn modes(&self) -> BTreeMap<u32, XdpMode> {
        self.memory.modes()
    }
}

/// A turn of which the call with this number fails; how many calls there were, and whether it failed.
fn turn(memory: &Memory, (intent, seen): &(Intent, Observed), fails: Option<usize>) -> (Memory, usize, bool) {
    let dataplane = Faulty { memory: memory.clone(), left: Cell::new(fails), calls: Cell::new(0) };
    let mut reconciler = Reconciler::new(dataplane);
    let (state, result) = reconciler.turn(&Arc::new(intent.clone()), seen.clone());
    assert_eq!(state.last_failure.is_some(), result.is_err(), "a turn that fails says so");
    let dataplane = reconciler.into_dataplane();
    (dataplane.memory, dataplane.calls.get(), result.is_err())
}

/// The tables as the packet path finds them.
fn path(installed: &Installed) -> Path {
    let mut path = Path::default();
    path.settings = installed.settings;
    path.ports = installed.ports.clone();
    path.host_ports = installed.host_ports.clone();
    path.vif_by_tag = installed.vif_by_tag.clone();
    path.vifs = installed.vifs.clone();
    path.attachment_by_vni = installed.attachment_by_vni.clone();
    path.attachments = installed.attachments.clone();
    path.vteps.clone_from(&installed.vteps);
    path.groups = installed.groups.iter().map(|(index, group)| (*index, group.buckets)).collect();
    path.next_hops = installed.next_hops.clone();
    path.dscp = installed.dscp.clone();
    for (domain, routes) in &installed.routes {
        let table = path.routes.entry(*domain).or_default();
        for (prefix, route) in routes {
            table.add(&prefix.to_string(), *route);
        }
    }
    for (vif, sources) in &installed.sources {
        let table = path.sources.entry(*vif).or_default();
        for (prefix, class) in sources {
            table.add(&prefix.to_string(), *class);
        }
    }
    path
}

/// A frame by a program on an interface.
struct Probe(Entry, u32, Vec<u8>);

/// What becomes of it: the verdict, and the bytes that leave.
type Fate = (Verdict, Vec<u8>);

impl Probe {
    fn fate(&self, memory: &Memory, path: &Path) -> Option<Fate> {
        let Self(entry, ifindex, bytes) = self;
        memory.attached.contains(&(*ifindex, *entry)).then(|| {
            let mut frame = Frame::new(bytes);
            let outcome = match entry {
                Entry::Line => line::line(&mut frame, path, *ifindex),
                Entry::Fabric => fabric::fabric(&mut frame, path, *ifindex),
                Entry::Host => host::host(&mut frame, path, *ifindex),
            };
            let complains = outcome.verdict == Verdict::Complain;
            let outcome = if complains { error::error(&mut frame, path, *ifindex) } else { outcome };
            match outcome.verdict {
                Verdict::Forward(to) | Verdict::Punt(to) if !memory.installed.devices.contains(&to) => {
                    (Verdict::Drop(DropReason::NoEgress), Vec::new())
                }
                Verdict::Drop(_) => (outcome.verdict, Vec::new()),
                verdict => (verdict, frame.bytes().to_vec()),
            }
        })
    }
}

fn on_line(port: u32, vlan: u8, datagram: &Datagram) -> Probe {
    let packet = datagram.bytes();
    let bytes = wire::ethernet(mac(port as u8), mac(0x77), &[0x81, 0, 0, vlan], 0x0800, &packet);
    Probe(Entry::Line, port, bytes)
}

fn from_host(vni: u32, datagram: &Datagram) -> Probe {
    let settings = border_gw_common::abi::Settings {
        vtep: wire::address("192.0.2.10").1,
        vtep_version: 4,
        vxlan_port: border_gw_common::net::Be16::new(4789),
        reserved: 0,
    };
    let inner = wire::ethernet(mac(0xee), mac(0x55), &[], 0x0800, &datagram.bytes());
    Probe(Entry::Fabric, 5, wire::tunnel((mac(5), mac(21)), &settings, "192.0.2.21", vni, &inner))
}

/// Packets of every kind, by every way in, in several flows.
fn probes() -> Vec<Probe> {
    let mut probes = Vec::new();
    for port in [2, 3, 4] {
        for vlan in [100, 101] {
            for (source, to) in [
                ("172.16.0.5", "10.1.0.9"),
                ("172.16.0.5", "10.1.0.10"),
                ("172.20.0.5", "10.1.0.9"),
                ("172.16.0.5", "10.7.0.9"),
                ("10.1.0.9", "10.1.0.10"),
            ] {
                probes
                    .extend([1, 2, 3].map(|flow| on_line(port, vlan, &transport(source, to, 6, flow, 443))));
            }
            for net in [10, 11] {
                let (peer, own) = (format!("169.254.{net}.1"), format!("169.254.{net}.2"));
                probes.push(on_line(port, vlan, &icmp(&peer, &own, 8, &[0; 8])));
            }
        }
    }
    for vni in [5001, 5003, 5009] {
        for to in ["172.16.0.5", "172.20.0.5", "169.254.10.1", "10.1.0.1", "10.1.0.10", "10.7.0.9"] {
            probes.extend([1, 2, 3].map(|flow| from_host(vni, &transport("10.1.0.9", to, 6, flow, 443))));
        }
        probes.push(from_host(vni, &udp("10.7.0.9", "172.16.0.5")));
    }
    for veth in 100..108 {
        let packet = udp("10.1.0.1", "10.1.0.9").bytes();
        probes.push(Probe(Entry::Host, veth, wire::ethernet(mac(0x77), mac(1), &[], 0x0800, &packet)));
    }
    probes
}

fn fates(memory: &Memory, probes: &[Probe]) -> Vec<Option<Fate>> {
    let path = path(&memory.installed);
    probes.iter().map(|probe| probe.fate(memory, &path)).collect()
}

/// Closed while a record is written anew: the packet is dropped by this name, and by no other.
const CLOSED: [DropReason; 3] =
    [DropReason::UnknownVlan, DropReason::UnknownVni, DropReason::UnknownHostPort];

/// Lets every call of the turn from one to the other fail.
fn check(name: &str, first: Option<(Intent, Observed)>, second: &(Intent, Observed)) {
    let before = first.map_or_else(Memory::default, |first| turn(&Memory::default(), &first, None).0);
    let (after, calls, _) = turn(&before, second, None);
    let probes = probes();
    let (old, new) = (fates(&before, &probes), fates(&after, &probes));
    for number in 0..calls {
        let (stopped, _, failed) = turn(&before, second, Some(number));
        assert!(failed, "{name}: call {number} fails the turn");
        for (probe, fate) in fates(&stopped, &probes).into_iter().enumerate() {
            let is_closed = matches!(&fate, Some((Verdict::Drop(reason), _)) if CLOSED.contains(reason));
            assert!(
                fate == old[probe] || fate == new[probe] || is_closed,
                "{name}: after call {number} of {calls}, probe {probe}: {fate:02x?}, neither {:02x?} nor {:02x?}",
                old[probe],
                new[probe]
            );
        }
        let (mended, _, _) = turn(&stopped, second, None);
        assert_eq!(fates(&mended, &probes), new, "{name}: the turn after call {number} failed");
        assert_eq!(mended.attached, after.attached, "{name}");
        let (_, rest, _) = turn(&mended, second, None);
        assert_eq!(rest, 2, "{name}: the third turn reads, attaches, and changes nothing");
    }
    println!("{name}: each of {calls} calls failed once");
}

/// From the same to what this changes, and back.
fn changed(name: &str, change: impl Fn(&mut Intent, &mut Observed)) {
    let first = (intent(), observed(&intent()));
    let mut second = first.clone();
    change(&mut second.0, &mut second.1);
    // What is new has interfaces, what is gone has none.
    let seen = observed(&second.0);
    second.1.vif_veths = seen.vif_veths;
    second.1.attachment_veths = seen.attachment_veths;
    for (peer, mac) in seen.neighbors {
        second.1.neighbors.entry(peer).or_insert(mac);
    }
    check(name, Some(first.clone()), &second);
    check(&format!("{name}, and back"), Some(second), &first);
}

#[test]
fn the_first_start() {
    check("from nothing", None, &(intent(), observed(&intent())));
}

#[test]
fn a_change_of_a_virtual_interface() {
    changed("another tag", |intent, _| {
        intent.border_gateways[0].virtual_interfaces[0].tag.outer = 101.try_into().unwrap();
    });
    changed("another MTU", |intent, _| intent.border_gateways[0].virtual_interfaces[0].mtu = 1400);
    changed("disabled", |intent, _| intent.border_gateways[0].virtual_interfaces[0].enabled = false);
    changed("drained", |intent, _| {
        intent.drained.insert("vif-a".into(), Drain::Announced);
    });
    changed("two customers swap their lines", |intent, _| {
        intent.border_gateways[0].virtual_interfaces[0].connection = "line-c".into();
        intent.border_gateways[1].virtual_interfaces[0].connection = "line-a".into();
    });
    changed("one more, one less", |intent, _| {
        intent.border_gateways[0].virtual_interfaces.pop();
        intent.border_gateways[0].routes[0].via.pop();
        intent.border_gateways[1].virtual_interfaces.push(vif("vif-d", "line-b", 101, 11));
    });
}

#[test]
fn a_change_of_routes() {
    changed("a route more", |intent, _| {
        let prefix = "172.20.0.0/16".parse().unwrap();
        intent.border_gateways[0].routes.push(StaticRoute { prefix, via: vec!["vif-b".into()] });
    });
    changed("a host elsewhere", |intent, _| {
        let vpc = &mut intent.border_gateways[0].vpc_attachments[0];
        let other = vpc.vteps[1];
        vpc.hosts = vec![HostRoute { prefix: "10.1.0.9/32".parse().unwrap(), vteps: vec![other] }];
    });
    changed("another VNI", |intent, _| {
        intent.border_gateways[0].vpc_attachments[0].vni = 5009.try_into().unwrap();
    });
    changed("a VPC more", |intent, _| {
        let more = vpc("vpc-7", 5009, "10.7.0.0/16", "10.7.0.1");
        intent.border_gateways[1].vpc_attachments.push(more);
    });
    changed("a border gateway less", |intent, _| {
        intent.border_gateways.remove(1);
        intent.connections.retain(|connection| connection.name != "line-c");
    });
    changed("a border gateway more", |intent, _| {
        intent.connections.push(connection("line-d", "eth3"));
        let more = vpc("vpc-7", 5009, "10.7.0.0/16", "10.7.0.1");
        intent.border_gateways.push(gateway(
            "bgw-3",
            vec![vif("vif-d", "line-b", 101, 11)],
            vec![more],
            Vec::new(),
        ));
    });
}

#[test]
fn what_the_kernel_tells() {
    changed("a line goes down", |_, seen| seen.ports.get_mut("eth0").unwrap().up = false);
    changed("a port is gone", |_, seen| {
        seen.ports.remove("eth0");
    });
    changed("a VTEP is lost", |_, seen| {
        seen.underlay.remove(&"192.0.2.21".parse().unwrap());
    });
    changed("a neighbour is another", |_, seen| {
        let key = ("vif-a".to_owned(), "169.254.10.1".parse().unwrap());
        seen.neighbors.insert(key, mac(0x99));
    });
    changed("another tunnel address", |intent, _| intent.fabric.vtep = "192.0.2.11".parse().unwrap());
}
