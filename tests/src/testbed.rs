//! The standard topology:
//!
//! ```text
//! cust-a ==2 lines==+                          +-- fab0 --+
//! cust-b ---line----+-- server (border-gw) ----+          +-- fabric (router) -- host1, host2
//! cust-d --+        |                          +-- fab1 --+
//! cust-e --+-switch-+                               \-- host3, on the link of fab0
//! ```
//!
//! Customer b has the addresses and the tag of customer a. Each host is a hypervisor with its VPCs' hosts on kernel VXLAN
//! devices.

use std::fs;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use crate::config;
use crate::daemon::Daemon;
use crate::netns::{Netns, remove_run, run_name, sweep};
use crate::proof::wait_until_up;
use crate::shim::{Line, Tagging, Tags, tag};
use crate::stop;

/// Largest packets of the testbed, in bytes of IP.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Of line ports: room for two tags.
    pub line: u32,
    /// Of the fabric.
    pub fabric: u32,
    /// Of customers' and VPCs' hosts, and of the configuration.
    pub host: u32,
}

/// A fabric with room for the tunnel.
pub const STANDARD: Sizes = Sizes { line: 1508, fabric: 1600, host: 1500 };
/// A fabric without: it leaves 1,450 bytes.
pub const TIGHT: Sizes = Sizes { line: 1508, fabric: 1500, host: 1500 };
/// Jumbo frames from end to end.
pub const JUMBO: Sizes = Sizes { line: 9008, fabric: 9100, host: 9000 };

/// The tag of customers a and b.
const SINGLE: Tags = Tags { tpid: 0x8100, outer: 100, inner: 0 };

/// Family of the underlay, in which the VTEPs have their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underlay {
    /// As written.
    V4,
    /// Each underlay address of IPv4 stands for one of IPv6.
    V6,
}

impl Underlay {
    /// A command or configuration written with the IPv4 addresses, in this family.
    fn speak(self, text: &str) -> String {
        const PREFIXES: [(&str, &str); 5] = [
            ("192.0.2.", "fd02::"),
            ("10.90.0.", "fd90::"),
            ("10.91.0.", "fd91::"),
            ("10.92.1.", "fd92:1::"),
            ("10.92.2.", "fd92:2::"),
        ];
        if self == Self::V4 {
            return text.to_owned();
        }
        let word = |word: &str| {
            let Some((from, to)) = PREFIXES.iter().find(|(from, _)| word.contains(from)) else {
                return word.to_owned();
            };
            word.replace(from, to).replace("/32", "/128").replace("/24", "/64")
        };
        let spoken = text.split(' ').map(word).collect::<Vec<_>>().join(" ");
        // No wait for duplicate address detection.
        if text.starts_with("address add") { spoken + " nodad" } else { spoken }
    }
}

/// A host in a VPC: a VXLAN device on a hypervisor.
struct Host {
    vni: u32,
    mac: &'static str,
    v4: &'static str,
    v6: &'static str,
    router_v4: &'static str,
    router_v6: &'static str,
}

const fn host(
    vni: u32,
    mac: &'static str,
    v4: &'static str,
    v6: &'static str,
    router_v4: &'static str,
    router_v6: &'static str,
) -> Host {
    Host { vni, mac, v4, v6, router_v4, router_v6 }
}

/// Everything that runs, removed when dropped.
pub struct Testbed {
    /// Name of the run, and of its gateway.
    pub run: String,
    /// Family of the underlay.
    pub underlay: Underlay,
    /// Largest packets.
    pub sizes: Sizes,
    /// How customers tag.
    pub tagging: Tagging,
    /// The server: ports `eth0` to `eth3`, `fab0` and `fab1`.
    pub server: Netns,
    /// Two lines: `eth0` (line-a) and `eth1` (line-b).
    pub cust_a: Netns,
    /// One line: `eth0` (line-c).
    pub cust_b: Netns,
    /// VLAN 300 behind the switch.
    pub cust_d: Netns,
    /// Q-in-Q 200.100 behind the switch.
    pub cust_e: Netns,
    /// The partner's switch.
    pub switch: Netns,
    /// The router of the fabric.
    pub fabric: Netns,
    /// Hypervisor 192.0.2.21, behind the router: 10.1.0.10 of vpc-1, and 10.2.0.10 of vpc-2.
    pub host1: Netns,
    /// Hypervisor 192.0.2.22, behind the router: 10.1.0.10 of vpc-3, and 10.4.0.10 of vpc-4.
    pub host2: Netns,
    /// Hypervisor 10.90.0.23, on the link of fab0: 10.1.0.11 of vpc-1.
    pub host3: Netns,
    /// The file of the gateway.
    pub config: PathBuf,
    lines: Vec<Line>,
}

impl Testbed {
    /// Makes the topology; no gateway runs yet.
    pub fn new() -> anyhow::Result<Self> {
        Self::over(Underlay::V4, STANDARD)
    }

    /// The same with an underlay of a family, and with other sizes.
    pub fn over(underlay: Underlay, sizes: Sizes) -> anyhow::Result<Self> {
        sweep();
        let run = run_name();
        let netns = |role: &str| Netns::new(&run, role);
        let directory = PathBuf::from("/run/border-gw").join(&run);
        stop::make(|| fs::create_dir_all(&directory))?;
        let config = directory.join("bgw.yaml");
        fs::write(&config, config::with_mtu(&underlay.speak(&config::standard(&run)), sizes.host))?;
        let switch = netns("sw")?;
        let mut testbed = Self {
            underlay,
            sizes,
            tagging: Tagging::of_this_kernel(&switch),
            server: netns("srv")?,
            cust_a: netns("ca")?,
            cust_b: netns("cb")?,
            cust_d: netns("cd")?,
            cust_e: netns("ce")?,
            switch,
            fabric: netns("fab")?,
            host1: netns("h1")?,
            host2: netns("h2")?,
            host3: netns("h3")?,
            config,
            lines: Vec::new(),
            run,
        };
        testbed.wire()?;
        testbed.customers()?;
        testbed.underlay()?;
        testbed.vpcs()?;
        Ok(testbed)
    }

    /// Makes the topology and starts the gateway in it.
    pub fn with_gateway() -> anyhow::Result<(Self, Daemon)> {
        let testbed = Self::new()?;
        let daemon = Daemon::start(&testbed.server, &testbed.config)?;
        Ok((testbed, daemon))
    }

    /// Makes the topology with other sizes, and starts the gateway with a configuration that is changed; all neighbours are known.
    pub fn started(sizes: Sizes, change: impl FnOnce(&str) -> String) -> anyhow::Result<(Self, Daemon)> {
        let testbed = Self::over(Underlay::V4, sizes)?;
        fs::write(&testbed.config, change(&fs::read_to_string(&testbed.config)?))?;
        let daemon = Daemon::start(&testbed.server, &testbed.config)?;
        wait_until_up(&daemon)?;
        Ok((testbed, daemon))
    }

    fn wire(&self) -> anyhow::Result<()> {
        cable(&self.server, "eth0", &self.cust_a, "eth0", self.sizes.line)?;
        cable(&self.server, "eth1", &self.cust_a, "eth1", self.sizes.line)?;
        cable(&self.server, "eth2", &self.cust_b, "eth0", self.sizes.line)?;
        cable(&self.server, "eth3", &self.switch, "uplink", self.sizes.line)?;
        cable(&self.switch, "p1", &self.cust_d, "eth0", self.sizes.line)?;
        cable(&self.switch, "p2", &self.cust_e, "eth0", self.sizes.line)?;
        cable(&self.server, "fab0", &self.fabric, "f0", self.sizes.fabric)?;
        cable(&self.server, "fab1", &self.fabric, "f1", self.sizes.fabric)?;
        cable(&self.fabric, "h1", &self.host1, "eth0", self.sizes.fabric)?;
        cable(&self.fabric, "h2", &self.host2, "eth0", self.sizes.fabric)?;
        cable(&self.fabric, "h3", &self.host3, "eth0", self.sizes.fabric)?;
        self.switch.ip(&[
            "link add br0 type bridge stp_state 0 mcast_snooping 0",
            &format!("link set br0 mtu {} up", self.sizes.line),
            "link set uplink master br0",
            "link set p1 master br0",
            "link set p2 master br0",
        ])
    }

    /// Connects line-c again, whose port was removed, with new devices at both ends.
    pub fn connect_line_c(&self) -> anyhow::Result<Line> {
        cable(&self.server, "eth2", &self.cust_b, "eth0", self.sizes.line)?;
        let line = tag(&self.cust_b, self.tagging, "eth0", SINGLE)?;
        let lan = ["172.16.0.1/16", "fd00:a::1/48"];
        self.cust_b
            .ip(&[&format!("address del {} dev lo", lan[0]), &format!("address del {} dev lo", lan[1])])?;
        customer(&self.cust_b, lan[0], lan[1], self.sizes.host, &[(&line, "10")])?;
        Ok(line)
    }

    /// One more line of customer a: `eth4` of the server, to his `eth2`, with link subnets 169.254.12.0/30 and `fd00:12::/126`.
    pub fn connect_third_line(&mut self) -> anyhow::Result<()> {
        cable(&self.server, "eth4", &self.cust_a, "eth2", self.sizes.line)?;
        let line = tag(&self.cust_a, self.tagging, "eth2", SINGLE)?;
        let port = &line.interface;
        self.cust_a.ip(&[
            &format!("address add 169.254.12.1/30 dev {port}"),
            &format!("address add fd00:12::1/126 dev {port} nodad"),
        ])?;
        self.lines.push(line);
        Ok(())
    }

    fn customers(&mut self) -> anyhow::Result<()> {
        let single = |outer| Tags { outer, ..SINGLE };
        let q_in_q = Tags { tpid: 0x88a8, outer: 200, inner: 100 };
        let tagging = self.tagging;
        for netns in [&self.cust_a, &self.cust_b, &self.cust_d, &self.cust_e] {
            netns.sysctl(&[
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                // As on a real router with equal-cost routes: ports count.
                ("ipv4/fib_multipath_hash_policy", "1"),
                ("ipv6/fib_multipath_hash_policy", "1"),
            ])?;
        }
        let a0 = tag(&self.cust_a, tagging, "eth0", single(100))?;
        let a1 = tag(&self.cust_a, tagging, "eth1", single(100))?;
        let b0 = tag(&self.cust_b, tagging, "eth0", single(100))?;
        let d0 = tag(&self.cust_d, tagging, "eth0", single(300))?;
        let e0 = tag(&self.cust_e, tagging, "eth0", q_in_q)?;
        let mtu = self.sizes.host;
        customer(&self.cust_a, "172.16.0.1/16", "fd00:a::1/48", mtu, &[(&a0, "10"), (&a1, "11")])?;
        customer(&self.cust_b, "172.16.0.1/16", "fd00:a::1/48", mtu, &[(&b0, "10")])?;
        customer(&self.cust_d, "172.18.0.1/16", "fd00:d::1/48", mtu, &[(&d0, "13")])?;
        customer(&self.cust_e, "172.19.0.1/16", "fd00:e::1/48", mtu, &[(&e0, "14")])?;
        self.lines.extend([a0, a1, b0, d0, e0]);
        Ok(())
    }

    /// The link of fab0 is a bridge with host3 on it; all else is behind the router.
    fn underlay(&self) -> anyhow::Result<()> {
        // A dead neighbour is noticed in seconds, not in a minute.
        for family in ["ipv4", "ipv6"] {
            self.server.sysctl(&[
                (format!("{family}/neigh/fab0/base_reachable_time_ms"), "1000"),
                (format!("{family}/neigh/fab0/delay_first_probe_time"), "1"),
                (format!("{family}/neigh/fab0/interval_probe_time_ms"), "1000"),
            ])?;
        }
        self.fabric.sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv6/conf/all/forwarding", "1"),
        ])?;
        let on = |netns: &Netns, commands: &[&str]| {
            let commands: Vec<_> = commands.iter().map(|command| self.underlay.speak(command)).collect();
            netns.ip(&commands.iter().map(String::as_str).collect::<Vec<_>>())
        };
        on(
            &self.server,
            &[
                "address add 192.0.2.10/32 dev lo",
                "address add 10.90.0.2/24 dev fab0",
                "address add 10.91.0.2/24 dev fab1",
                "route add 192.0.2.0/24 nexthop via 10.90.0.1 dev fab0 nexthop via 10.91.0.1 dev fab1",
            ],
        )?;
        on(
            &self.fabric,
            &[
                "link add br0 type bridge stp_state 0 mcast_snooping 0",
                &format!("link set br0 mtu {} up", self.sizes.fabric),
                "link set f0 master br0",
                "link set h3 master br0",
                "address add 10.90.0.1/24 dev br0",
                "address add 10.91.0.1/24 dev f1",
                "address add 10.92.1.1/24 dev h1",
                "address add 10.92.2.1/24 dev h2",
                "route add 192.0.2.21/32 via 10.92.1.2",
                "route add 192.0.2.22/32 via 10.92.2.2",
                "route add 192.0.2.10/32 nexthop via 10.90.0.2 dev br0 nexthop via 10.91.0.2 dev f1",
            ],
        )?;
        on(
            &self.host1,
            &[
                "address add 10.92.1.2/24 dev eth0",
                "address add 192.0.2.21/32 dev lo",
                "route add 192.0.2.10/32 via 10.92.1.1 src 192.0.2.21",
            ],
        )?;
        on(
            &self.host2,
            &[
                "address add 10.92.2.2/24 dev eth0",
                "address add 192.0.2.22/32 dev lo",
                "route add 192.0.2.10/32 via 10.92.2.1 src 192.0.2.22",
            ],
        )?;
        on(&self.host3, &["address add 10.90.0.23/24 dev eth0", "route add 192.0.2.10/32 via 10.90.0.2"])
    }

    fn vpcs(&self) -> anyhow::Result<()> {
        // Hosts of two VPCs on one hypervisor must not see each other but through the tunnel: each VPC is a VRF in life,
        // and a namespace here.
        let one = host(5001, "02:00:5e:00:00:01", "10.1.0.10/16", "fd00:1::10/48", "10.1.0.1", "fd00:1::1");
        let two = host(5002, "02:00:5e:00:00:02", "10.2.0.10/16", "fd00:2::10/48", "10.2.0.1", "fd00:2::1");
        let three = host(5003, "02:00:5e:00:00:03", "10.1.0.10/16", "fd00:1::10/48", "10.1.0.1", "fd00:1::1");
        let four = host(5004, "02:00:5e:00:00:04", "10.4.0.10/16", "fd00:4::10/48", "10.4.0.1", "fd00:4::1");
        let far = host(5001, "02:00:5e:00:00:01", "10.1.0.11/16", "fd00:1::11/48", "10.1.0.1", "fd00:1::1");
        self.host1.vpc_host(self, "192.0.2.21", &one)?;
        self.host1.vpc_host(self, "192.0.2.21", &two)?;
        self.host2.vpc_host(self, "192.0.2.22", &three)?;
        self.host2.vpc_host(self, "192.0.2.22", &four)?;
        self.host3.vpc_host(self, "10.90.0.23", &far)
    }

    /// The namespace of a VPC's host on a hypervisor.
    pub fn vpc(&self, hypervisor: &Netns, vni: u32) -> ManuallyDrop<Netns> {
        // It belongs to the run, with which it is removed.
        ManuallyDrop::new(Netns { name: format!("{}-v{vni}", hypervisor.name) })
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        remove_run(&self.run);
    }
}

impl Netns {
    /// A VPC's host: a namespace with a VXLAN device whose underlay is here.
    fn vpc_host(&self, testbed: &Testbed, vtep: &str, host: &Host) -> anyhow::Result<()> {
        let name = format!("{}-v{}", self.name, host.vni);
        let (run, role) = name.split_once('-').unwrap_or((&name, ""));
        let vpc = ManuallyDrop::new(Netns::new(run, role)?);
        vpc.sysctl(&[("ipv6/conf/default/accept_ra", "0"), ("ipv4/fib_multipath_hash_policy", "1")])?;
        let checksums = if testbed.underlay == Underlay::V4 { "udpcsum" } else { "udp6zerocsumrx" };
        self.ip(&[
            &testbed.underlay.speak(&format!(
                "link add vx{0} address {1} type vxlan id {0} local {vtep} remote 192.0.2.10 dstport 4789 nolearning \
                 {checksums}",
                host.vni, host.mac
            )),
            &format!("link set vx{} netns {name} name vpc0 mtu {}", host.vni, testbed.sizes.host),
        ])?;
        vpc.ip(&[
            "link set vpc0 up",
            &format!("address add {} dev vpc0", host.v4),
            &format!("address add {} dev vpc0 nodad", host.v6),
            "address add 10.1.9.9/32 dev vpc0",
            &format!("route add default via {}", host.router_v4),
            &format!("route add default via {}", host.router_v6),
        ])?;
        Ok(())
    }
}

/// A cable: a veth whose ends are ports of two namespaces. Tags and checksums stand in the frames, as on a wire; a frame
/// that XDP redirects to an end needs GRO, or XDP, at the other.
fn cable(left: &Netns, left_port: &str, right: &Netns, right_port: &str, mtu: u32) -> anyhow::Result<()> {
    left.ip(&[
        &format!(
            "link add {left_port} mtu {mtu} type veth peer name {right_port} mtu {mtu} netns {}",
            right.name
        ),
        &format!("link set {left_port} up"),
    ])?;
    right.ip(&[&format!("link set {right_port} up")])?;
    for (netns, port) in [(left, left_port), (right, right_port)] {
        netns.run(&format!("ethtool -K {port} tx off txvlan off rxvlan off tx-vlan-stag-hw-insert off rx-vlan-stag-hw-parse off gro on"))?;
    }
    Ok(())
}

/// A customer's router: its LAN on `lo`, and its lines, whose ports have room for the tags beyond the 1,500 bytes of IP.
/// `net` numbers the link subnets.
fn customer(netns: &Netns, v4: &str, v6: &str, mtu: u32, lines: &[(&Line, &str)]) -> anyhow::Result<()> {
    let (lan_v4, lan_v6) = (v4.split('/').next().unwrap_or(v4), v6.split('/').next().unwrap_or(v6));
    let mut commands = vec![format!("address add {v4} dev lo"), format!("address add {v6} dev lo nodad")];
    let (mut hops_v4, mut hops_v6) = (String::new(), String::new());
    for (line, net) in lines {
        let port = &line.interface;
        commands.push(format!("address add 169.254.{net}.1/30 dev {port}"));
        commands.push(format!("address add fd00:{net}::1/126 dev {port} nodad"));
        hops_v4.push_str(&["nexthop via 169.254.", net, ".2 dev ", port, " "].concat());
        hops_v6.push_str(&["nexthop via fd00:", net, "::2 dev ", port, " "].concat());
    }
    for vpc in ["10.1.0.0/16", "10.2.0.0/16", "10.4.0.0/16"] {
        commands.push(format!("route add {vpc} src {lan_v4} mtu {mtu} {hops_v4}"));
    }
    for vpc in ["fd00:1::/48", "fd00:2::/48", "fd00:4::/48"] {
        commands.push(format!("route add {vpc} src {lan_v6} mtu {mtu} {hops_v6}"));
    }
    netns.ip(&commands.iter().map(String::as_str).collect::<Vec<_>>())
}
