//! A namespace in which Linux forwards between a line and a VPC's network, with the routes of the packet path's world.

use border_gw_tests::frames::{Raw, Tap, mac_of};
use border_gw_tests::netns::{Netns, remove_run, run_name, sweep};
use border_gw_tests::privileges::require_root;

use super::Fate;
use super::packets::{Packet, Side};
use crate::support::datagram::udp;
use crate::support::wire::{ether_type, ethernet};
use border_gw_common::net::MacAddr;

/// Who sits at the far end of either link, or seems to.
const FAR: MacAddr = MacAddr([2, 0, 0, 0xc, 0, 1]);

/// Linux as a router.
pub(crate) struct Router {
    run: String,
    _namespaces: [Netns; 2],
    line: Port,
    vpc: Port,
}

/// One of its links, seen from the far end.
struct Port {
    raw: Raw,
    tap: Tap,
    mac: MacAddr,
}

impl Port {
    fn open(router: &Netns, far: &Netns, name: &str) -> Self {
        let raw = Raw::open(far, name).unwrap();
        Self { raw, tap: Tap::open(far, name).unwrap(), mac: MacAddr(mac_of(router, name).unwrap()) }
    }

    fn send(&self, packet: &[u8]) {
        let frame = ethernet(self.mac, FAR, &[], ether_type(packet), packet);
        assert_eq!(self.raw.send(&[frame]), 1);
    }

    /// IP packets that the router sent since the last time.
    fn received(&self) -> Vec<Vec<u8>> {
        let frames = self.tap.waiting().into_iter();
        let from_router = frames.filter(|frame| frame.len() > 34 && frame[6..12] == self.mac.0);
        let ip = from_router.filter(|frame| matches!(frame[12..14], [8, 0] | [0x86, 0xdd]));
        ip.map(|frame| trimmed(&frame[14..])).filter(|packet| !is_discovery(packet)).collect()
    }
}

/// A packet without the padding behind it.
fn trimmed(packet: &[u8]) -> Vec<u8> {
    let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let len = if packet[0] >> 4 == 4 { word(2) } else { word(4) + 40 };
    packet[..len.min(packet.len())].to_vec()
}

impl Router {
    pub(crate) fn new() -> Self {
        require_root();
        sweep();
        let run = run_name();
        let (router, far) = (Netns::new(&run, "r").unwrap(), Netns::new(&run, "f").unwrap());
        let mut lines = Vec::new();
        for port in ["line", "vpc"] {
            lines.push(format!("link add {port} type veth peer name {port} netns {}", far.name));
            lines.push(format!("link set {port} up"));
            far.sysctl(&[("ipv6/conf/default/disable_ipv6", "1")]).unwrap();
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        router.ip(&lines).unwrap();
        far.ip(&["link set line up mtu 9000", "link set vpc up mtu 9000"]).unwrap();
        let settings = [
            "ipv4/ip_forward=1",
            "ipv4/icmp_ratelimit=0",
            "ipv6/conf/all/forwarding=1",
            "ipv6/icmp/ratelimit=0",
            "ipv4/conf/all/rp_filter=0",
            "ipv4/conf/line/rp_filter=0",
            "ipv4/conf/vpc/rp_filter=0",
            "ipv4/conf/all/send_redirects=0",
            "ipv4/conf/line/send_redirects=0",
            "ipv4/conf/vpc/send_redirects=0",
        ];
        let settings: Vec<_> = settings.iter().map(|setting| setting.split_once('=').unwrap()).collect();
        router.sysctl(&settings).unwrap();
        configure(&router);
        let (line, vpc) = (Port::open(&router, &far, "line"), Port::open(&router, &far, "vpc"));
        Self { run, _namespaces: [router, far], line, vpc }
    }

    /// What Linux makes of a packet: whatever comes out before a packet that comes out for sure.
    pub(crate) fn judge(&self, packet: &Packet) -> Fate {
        let (near, other) = match packet.from {
            Side::Customer => (&self.line, &self.vpc),
            Side::Vpc => (&self.vpc, &self.line),
        };
        let marker = match packet.from {
            Side::Customer => udp("172.16.99.99", "10.1.99.99"),
            Side::Vpc => udp("10.1.99.99", "172.16.99.99"),
        };
        near.received();
        near.send(&packet.bytes);
        near.send(&marker.bytes());
        let marker = marker.ttl(63).bytes();
        let mut out = Vec::new();
        while out.last() != Some(&marker) {
            let frame = other.tap.next(|frame| frame[6..12] == other.mac.0).unwrap();
            let packet = trimmed(&frame[14..]);
            if frame[12..14] != [8, 6] && !is_discovery(&packet) {
                out.push(packet);
            }
        }
        out.pop();
        let back = near.received();
        match (out.as_slice(), back.as_slice()) {
            ([], []) => Fate::Nothing,
            ([_, _, ..], []) => Fate::Fragmented,
            ([forwarded], []) => Fate::Forwarded(forwarded.clone()),
            ([], [told]) if is_error(told) => Fate::told(told),
            ([], [_]) => Fate::Local,
            _ => panic!("{}: one packet became {out:02x?} and {back:02x?}", packet.name),
        }
    }
}

/// Neighbour discovery is no answer to a packet, and comes when it comes.
fn is_discovery(packet: &[u8]) -> bool {
    packet[0] >> 4 == 6 && packet[6] == 58 && packet[7] == 255 && matches!(packet[40], 133..=137)
        || is_listener_report(packet)
}

/// Multicast listener reports stand behind a hop-by-hop header (RFC 3810, section 5).
fn is_listener_report(packet: &[u8]) -> bool {
    packet[0] >> 4 == 6 && packet[6] == 0 && packet[40] == 58 && packet[24] == 0xff
}

fn is_error(packet: &[u8]) -> bool {
    match packet[0] >> 4 {
        // Linux repeats options in its errors.
        4 => packet[9] == 1 && matches!(packet[usize::from(packet[0] & 15) * 4], 3 | 11 | 12),
        _ => packet[6] == 58 && packet[40] < 128,
    }
}

fn configure(router: &Netns) {
    router
        .ip(&[
            "link set line mtu 1500",
            "link set vpc mtu 1450",
            "address add 169.254.10.2/29 dev line",
            "address add fd00:10::2/124 dev line nodad",
            "address add 10.1.0.1/32 dev vpc",
            "address add fd00:1::1/128 dev vpc nodad",
            &format!("neigh add 169.254.10.1 lladdr {} dev line nud permanent", text(FAR)),
            &format!("neigh add fd00:10::1 lladdr {} dev line nud permanent", text(FAR)),
            &format!("neigh add 10.1.255.254 lladdr {} dev vpc nud permanent", text(FAR)),
            &format!("neigh add fd00:1::fffe lladdr {} dev vpc nud permanent", text(FAR)),
            "route add 172.16.0.0/16 via 169.254.10.1 dev line",
            "route add fd00:172:16::/48 via fd00:10::1 dev line",
            "route add 10.1.0.0/16 via 10.1.255.254 dev vpc onlink",
            "route add fd00:1::/48 via fd00:1::fffe dev vpc onlink",
        ])
        .unwrap();
}

fn text(mac: MacAddr) -> String {
    mac.0.map(|byte| format!("{byte:02x}")).join(":")
}

impl Drop for Router {
    fn drop(&mut self) {
        remove_run(&self.run);
    }
}
