//! What must be shown: each proof is a sentence and a function over a running testbed. Proofs leave it as it was.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::caps;
use crate::daemon::Daemon;
use crate::frames::{Raw, arp_request, ethernet, hex, mac_of, router_advertisement, udp, vxlan};
use crate::metrics::Scrape;
use crate::netns::Netns;
use crate::testbed::Testbed;

/// A proof over a running testbed.
pub type Proof = fn(&Testbed, &mut Daemon) -> anyhow::Result<()>;

/// All proofs, in the order in which they are run in one testbed.
pub const PROOFS: [(&str, Proof); 11] = [
    ("customers and VPC hosts reach each other, IPv4 and IPv6, ping and TCP", reach),
    ("identical addresses of two customers stay apart", isolation),
    ("64 flows use both lines, and a flow stays on its line", flows),
    ("a packet that leaves by one line is answered on the other", asymmetry),
    ("what may not pass is dropped under its own name", abuse),
    ("virtual interfaces do not reach each other without transit", transit),
    ("every packet is accounted for, after a million", conservation),
    ("Prometheus and promtool read the metrics", metrics),
    ("kill -9 leaves forwarding as it was, and a new daemon adopts it", crash),
    ("a fabric port or a VTEP's neighbour goes, and traffic goes on", fabric_failures),
    ("a line goes, and traffic goes on over the other", line_failure),
];

/// Longest wait for something that happens by itself.
const PATIENCE: Duration = Duration::from_secs(40);

/// Tries until it is true.
pub fn eventually(what: &str, mut is_true: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if is_true()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("not within {} s: {what}", PATIENCE.as_secs())
}

/// Waits until every neighbour is known.
pub fn wait_until_up(daemon: &Daemon) -> anyhow::Result<()> {
    eventually("all neighbours known", || {
        let neighbors = daemon.show("neighbors")?;
        let rows = neighbors.as_array().context("no rows")?;
        Ok(!rows.is_empty() && rows.iter().all(|row| !row["mac"].is_null()))
    })
}

fn ping(from: &Netns, to: &str) -> anyhow::Result<()> {
    let line = format!("ping -q -c 5 -i 0.05 -W 1 {to}");
    let said = from.run(&line)?;
    ensure!(said.contains(" 5 received"), "ping {to} from {}: {said}", from.name);
    Ok(())
}

/// Customer, its address, VPC host, its address; both families.
type Pair<'a> = (&'a Netns, [&'static str; 2], &'a Netns, [&'static str; 2]);

fn reach(testbed: &Testbed, _daemon: &mut Daemon) -> anyhow::Result<()> {
    let [v1, v2, v3, v4] =
        [(&testbed.host1, 5001), (&testbed.host1, 5002), (&testbed.host2, 5003), (&testbed.host2, 5004)]
            .map(|(host, vni)| testbed.vpc(host, vni));
    let far = testbed.vpc(&testbed.host3, 5001);
    let a = ["172.16.0.1", "fd00:a::1"];
    let pairs: [Pair<'_>; 6] = [
        (&testbed.cust_a, a, &v1, ["10.1.0.10", "fd00:1::10"]),
        (&testbed.cust_a, a, &far, ["10.1.0.11", "fd00:1::11"]),
        (&testbed.cust_a, a, &v2, ["10.2.0.10", "fd00:2::10"]),
        (&testbed.cust_b, a, &v3, ["10.1.0.10", "fd00:1::10"]),
        (&testbed.cust_d, ["172.18.0.1", "fd00:d::1"], &v4, ["10.4.0.10", "fd00:4::10"]),
        (&testbed.cust_e, ["172.19.0.1", "fd00:e::1"], &v4, ["10.4.0.10", "fd00:4::10"]),
    ];
    for (customer, customer_addresses, host, host_addresses) in pairs {
        for (customer_address, host_address) in customer_addresses.into_iter().zip(host_addresses) {
            ping(customer, host_address)?;
            ping(host, customer_address)?;
            caps::megabyte(customer, host, host_address).with_context(|| format!("TCP to {host_address}"))?;
            caps::megabyte(host, customer, customer_address)
                .with_context(|| format!("TCP to {customer_address}"))?;
        }
    }
    // VPC to VPC, and the gateway itself from both sides.
    ping(&v1, "10.2.0.10")?;
    ping(&v2, "fd00:1::10")?;
    ping(&testbed.cust_a, "169.254.10.2")?;
    ping(&testbed.cust_a, "fd00:10::2")?;
    ping(&v1, "10.1.0.1")
}

fn isolation(testbed: &Testbed, _daemon: &mut Daemon) -> anyhow::Result<()> {
    let count = |attachment| -> anyhow::Result<u64> {
        let scrape = Scrape::of(&testbed.server)?;
        Ok(scrape.sum("border_gw_attachment_packets_total", &[("attachment", attachment)]))
    };
    let (one, three) = (count("vpc-1")?, count("vpc-3")?);
    ping(&testbed.cust_a, "10.1.0.10")?;
    ensure!(count("vpc-3")? == three, "customer a's packets reached customer b's VPC");
    ensure!(count("vpc-1")? >= one + 10, "customer a's packets did not reach its VPC");
    let one = count("vpc-1")?;
    ping(&testbed.cust_b, "10.1.0.10")?;
    ensure!(count("vpc-1")? == one, "customer b's packets reached customer a's VPC");
    Ok(())
}

fn vif_packets(testbed: &Testbed, vif: &str, direction: &str) -> anyhow::Result<u64> {
    let scrape = Scrape::of(&testbed.server)?;
    Ok(scrape.sum("border_gw_vif_packets_total", &[("vif", vif), ("direction", direction)]))
}

/// Sends datagrams of `flows` flows from a host to a customer.
fn datagrams(host: &Netns, to: &'static str, flows: u16, each: usize) -> anyhow::Result<()> {
    host.inside(move || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
        for port in 0..flows {
            for _ in 0..each {
                // Nobody listens: the answer, port unreachable, may come back as an error.
                socket.send_to(&[0; 64], (to, 20_000 + port)).ok();
            }
        }
        Ok(())
    })
}

fn flows(testbed: &Testbed, _daemon: &mut Daemon) -> anyhow::Result<()> {
    let host = testbed.vpc(&testbed.host1, 5001);
    ping(&host, "172.16.0.1")?;
    let both = || -> anyhow::Result<[u64; 2]> {
        Ok([vif_packets(testbed, "vif-a", "to_customer")?, vif_packets(testbed, "vif-b", "to_customer")?])
    };
    let before = both()?;
    datagrams(&host, "172.16.0.1", 64, 1)?;
    thread::sleep(Duration::from_millis(200));
    let after = both()?;
    let used = [after[0] - before[0], after[1] - before[1]];
    ensure!(used.iter().all(|used| *used >= 12), "64 flows over two lines: {used:?}");
    for flow in 0..8 {
        let before = both()?;
        let host = testbed.vpc(&testbed.host1, 5001);
        host.inside(move || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..50 {
                socket.send_to(&[0; 64], ("172.16.0.1", 21_000 + flow)).ok();
            }
            Ok(())
        })?;
        thread::sleep(Duration::from_millis(100));
        let after = both()?;
        let used = [after[0] - before[0], after[1] - before[1]];
        ensure!(
            used.iter().any(|used| *used < 5) && used.iter().any(|used| *used >= 45),
            "one flow over two lines: {used:?}"
        );
    }
    Ok(())
}

fn asymmetry(testbed: &Testbed, _daemon: &mut Daemon) -> anyhow::Result<()> {
    let customer = &testbed.cust_a;
    let more: Vec<String> = (2..10).map(|last| format!("172.16.0.{last}")).collect();
    customer.ip(&["route add 10.1.0.10/32 via 169.254.10.2 src 172.16.0.1"])?;
    for address in &more {
        customer.ip(&[&format!("address add {address}/32 dev lo")])?;
    }
    let before = [vif_packets(testbed, "vif-b", "to_vpc")?, vif_packets(testbed, "vif-b", "to_customer")?];
    let pings = more.iter().try_for_each(|address| ping(customer, &format!("-I {address} 10.1.0.10")));
    let after = [vif_packets(testbed, "vif-b", "to_vpc")?, vif_packets(testbed, "vif-b", "to_customer")?];
    for address in &more {
        customer.ip(&[&format!("address del {address}/32 dev lo")])?;
    }
    customer.ip(&["route del 10.1.0.10/32 via 169.254.10.2"])?;
    pings?;
    ensure!(after[0] == before[0], "nothing was to leave by line-b");
    ensure!(after[1] > before[1], "nothing was answered on line-b");
    Ok(())
}

/// A frame that may not pass, and the reason under which it is counted.
pub struct Bad {
    /// Label of the reason.
    pub reason: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The whole frame.
    pub frame: Vec<u8>,
}

/// Frames on `eth0` of customer a that may not pass.
pub fn bad_on_line(testbed: &Testbed) -> anyhow::Result<Vec<Bad>> {
    let from = mac_of(&testbed.cust_a, "eth0")?;
    let to = mac_of(&testbed.server, "eth0")?;
    let broadcast = [0xff; 6];
    let v4 = |packet: &[u8]| ethernet(to, from, Some(100), 0x0800, packet);
    let good = udp("172.16.0.1", "10.1.0.10", (1, 9), 64, 32)?;
    let changed = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        packet
    };
    let spoofed = udp("203.0.113.9", "10.1.0.10", (1, 9), 64, 32)?;
    let multicast = udp("224.0.0.5", "10.1.0.10", (1, 9), 64, 32)?;
    let arp = arp_request(from, "198.51.100.7".parse()?, "169.254.10.2".parse()?);
    let all_nodes = [0x33, 0x33, 0, 0, 0, 1];
    let row = |reason, what, frame| Bad { reason, what, frame };
    Ok(vec![
        row("source_invalid", "a spoofed source", v4(&spoofed)),
        row("unknown_vlan", "an unknown VLAN", ethernet(to, from, Some(999), 0x0800, &good)),
        row("untagged", "no tag", ethernet(to, from, None, 0x0800, &good)),
        row("truncated", "a truncated header", v4(&good[..10])),
        row("ip_total_length", "a truncated packet", v4(&good[..40])),
        row("ip_version", "a wrong version", v4(&changed(0, 0x55))),
        row("ip_checksum", "a wrong checksum", v4(&changed(10, good[10] ^ 0xff))),
        row("martian_source", "a multicast source", v4(&multicast)),
        row("arp_stranger", "ARP from a stranger", ethernet(broadcast, from, Some(100), 0x0806, &arp)),
        row(
            "router_advertisement",
            "a router advertisement",
            ethernet(all_nodes, from, Some(100), 0x86dd, &router_advertisement()?),
        ),
        row("ttl_expired", "a TTL of 1", v4(&udp("172.16.0.1", "10.1.0.10", (1, 9), 1, 32)?)),
        row("no_route", "no route", v4(&udp("172.16.0.1", "192.88.99.1", (1, 9), 64, 32)?)),
    ])
}

fn bad_on_fabric(testbed: &Testbed) -> anyhow::Result<Vec<Bad>> {
    let from = mac_of(&testbed.fabric, "f1")?;
    let to = mac_of(&testbed.server, "fab1")?;
    let router = [0x02, 0, 0x5e, 0, 0x50, 0x01];
    let inner = |source: &str| -> anyhow::Result<Vec<u8>> {
        let packet = udp(source, "172.16.0.1", (1, 9), 64, 32)?;
        Ok(ethernet(router, [2, 0, 0x5e, 0, 0, 1], None, 0x0800, &packet))
    };
    let row = |reason, what, vtep: &str, vni, source: &str| -> anyhow::Result<Bad> {
        let packet = vxlan(vtep, "192.0.2.10", vni, &inner(source)?)?;
        Ok(Bad { reason, what, frame: ethernet(to, from, None, 0x0800, &packet) })
    };
    Ok(vec![
        row("unknown_vni", "an unknown VNI", "192.0.2.21", 9999, "10.1.0.10")?,
        row("unknown_vtep", "an outer source that is no VTEP", "192.0.2.99", 5001, "10.1.0.10")?,
        row("unknown_vtep", "a VTEP of another VPC", "192.0.2.22", 5001, "10.1.0.10")?,
        row("source_invalid", "an inner source of another attachment", "192.0.2.21", 5001, "10.2.0.10")?,
        row("source_invalid", "an inner source outside the CIDRs", "192.0.2.21", 5001, "203.0.113.1")?,
    ])
}

/// Neighbours in the tables of the server and of its border gateways, without the kernel's own entries for groups.
fn neighbors(testbed: &Testbed) -> anyhow::Result<BTreeSet<String>> {
    let namespaces = ["bgw-1", "bgw-2", "bgw-3"].map(|gateway| format!("{}.{gateway}", testbed.run));
    let mut all = BTreeSet::new();
    for name in namespaces.into_iter().chain([testbed.server.name.clone()]) {
        let netns = std::mem::ManuallyDrop::new(Netns { name });
        let listed = netns.run("ip neigh show nud all")?;
        let addresses = listed.lines().filter(|line| !line.contains("NOARP"));
        all.extend(
            addresses
                .filter_map(|line| line.split(' ').next())
                .map(|address| format!("{address} in {}", netns.name)),
        );
    }
    Ok(all)
}

fn abuse(testbed: &Testbed, _daemon: &mut Daemon) -> anyhow::Result<()> {
    const TIMES: usize = 3;
    let line = Raw::open(&testbed.cust_a, "eth0")?;
    let fabric = Raw::open(&testbed.fabric, "f1")?;
    let on_line = bad_on_line(testbed)?.into_iter().map(|bad| (&line, bad));
    let on_fabric = bad_on_fabric(testbed)?.into_iter().map(|bad| (&fabric, bad));
    let known = neighbors(testbed)?;
    for (port, bad) in on_line.chain(on_fabric) {
        let before = Scrape::of(&testbed.server)?;
        port.send(&vec![bad.frame.clone(); TIMES]);
        thread::sleep(Duration::from_millis(30));
        let after = Scrape::of(&testbed.server)?;
        // Some senders are told by ICMP; nothing more than that comes of it.
        let dropped = after.refused(bad.reason) - before.refused(bad.reason);
        ensure!(
            dropped >= TIMES as u64,
            "{}: {dropped} of {TIMES} under `{}`; all drops: {:?}; frame {}",
            bad.what,
            bad.reason,
            after.all_drops(),
            hex(&bad.frame)
        );
        for family in ["border_gw_attachment_packets_total", "border_gw_vif_packets_total"] {
            ensure!(
                after.sum(family, &[]) == before.sum(family, &[]),
                "{}: something was delivered",
                bad.what
            );
        }
    }
    let made: Vec<_> = neighbors(testbed)?.difference(&known).cloned().collect();
    ensure!(made.is_empty(), "neighbour entries were made: {made:?}");
    Ok(())
}

fn transit(testbed: &Testbed, _daemon: &mut Daemon) -> anyhow::Result<()> {
    let from = mac_of(&testbed.cust_d, "eth0")?;
    let to = mac_of(&testbed.server, "eth3")?;
    let packet = udp("172.18.0.1", "172.19.0.1", (1, 9), 64, 32)?;
    let before = Scrape::of(&testbed.server)?;
    Raw::open(&testbed.cust_d, "eth0")?.send(&[ethernet(to, from, Some(300), 0x0800, &packet)]);
    thread::sleep(Duration::from_millis(30));
    let after = Scrape::of(&testbed.server)?;
    ensure!(
        after.refused("transit") == before.refused("transit") + 1,
        "not refused: {:?}",
        after.all_drops()
    );
    Ok(())
}

fn conservation(testbed: &Testbed, _daemon: &mut Daemon) -> anyhow::Result<()> {
    const PACKETS: u64 = 1_000_000;
    let from = mac_of(&testbed.cust_a, "eth0")?;
    let to = mac_of(&testbed.server, "eth0")?;
    let mut frames: Vec<Vec<u8>> = bad_on_line(testbed)?.into_iter().map(|bad| bad.frame).collect();
    for port in 0..100 {
        let packet = udp("172.16.0.1", "10.1.0.10", (port, 9), 64, 18)?;
        frames.push(ethernet(to, from, Some(100), 0x0800, &packet));
        let own = udp("169.254.10.1", "169.254.10.2", (port, 9), 64, 18)?;
        frames.push(ethernet(to, from, Some(100), 0x0800, &own));
    }
    let line = Raw::open(&testbed.cust_a, "eth0")?;
    let received = || -> anyhow::Result<u64> {
        Ok(Scrape::of(&testbed.server)?.sum("border_gw_received_packets_total", &[("program", "line")]))
    };
    let before = received()?;
    // A full ring of the veth drops in front of the program: those were never received.
    for _ in 0..100 {
        for _ in 0..200 {
            line.send(&frames);
        }
        if received()? - before >= PACKETS {
            break;
        }
    }
    ensure!(received()? - before >= PACKETS, "only {} packets arrived", received()? - before);
    // In flight is not lost: what is received is counted once more when it ends.
    eventually("received = forwarded + punted + passed + answered + dropped", || {
        Ok(Scrape::of(&testbed.server)?.unaccounted().values().all(|left| *left == 0))
    })
}

fn metrics(testbed: &Testbed, _daemon: &mut Daemon) -> anyhow::Result<()> {
    let page = testbed.server.inside(|| crate::metrics::get("127.0.0.1:9900", "/metrics"))?;
    let directory = testbed.config.with_file_name("prometheus");
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("page.txt");
    std::fs::write(&file, page)?;
    let mut promtool = std::process::Command::new("promtool");
    let checked = promtool.args(["check", "metrics"]).stdin(std::fs::File::open(&file)?).output()?;
    let said = [checked.stdout, checked.stderr].concat();
    ensure!(checked.status.success() && said.is_empty(), "promtool: {}", String::from_utf8_lossy(&said));

    let config = directory.join("prometheus.yml");
    let job = "scrape_configs: [{job_name: border-gw, scrape_interval: 1s, static_configs: [{targets: ['127.0.0.1:9900']}]}]";
    std::fs::write(&config, job)?;
    let line = format!(
        "prometheus --config.file={} --storage.tsdb.path={} --web.listen-address=127.0.0.1:9091 --log.level=warn",
        config.display(),
        directory.join("data").display()
    );
    let server = testbed.server.start(&line)?;
    let query = "/api/v1/query?query=border_gw_received_packets_total";
    let found = eventually("Prometheus has the series", || {
        let answer = testbed.server.inside(move || Ok(crate::metrics::get("127.0.0.1:9091", query)));
        Ok(answer?.is_ok_and(|answer| answer.contains("\"program\":\"line\"")))
    });
    let output = server.interrupt(nix::sys::signal::Signal::SIGTERM)?;
    found?;
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_us: Vec<_> =
        warnings.lines().filter(|line| line.contains("scrape") || line.contains("border")).collect();
    ensure!(about_us.is_empty(), "Prometheus warns: {about_us:?}");
    Ok(())
}

fn crash(testbed: &Testbed, daemon: &mut Daemon) -> anyhow::Result<()> {
    let before = Scrape::of(&testbed.server)?.sum("border_gw_received_packets_total", &[]);
    daemon.kill();
    ping(&testbed.cust_a, "10.1.0.10")?;
    ping(&testbed.cust_b, "fd00:1::10")?;
    daemon.restart()?;
    let after = Scrape::of(&testbed.server)?.sum("border_gw_received_packets_total", &[]);
    ensure!(after > before, "counters went back from {before} to {after}: nothing was adopted");
    wait_until_up(daemon)?;
    ping(&testbed.cust_a, "10.1.0.10")
}

fn fabric_failures(testbed: &Testbed, daemon: &mut Daemon) -> anyhow::Result<()> {
    testbed.fabric.ip(&["link set f1 down"])?;
    eventually("fab1 is down", || {
        Ok(Scrape::of(&testbed.server)?.sum("border_gw_port_up", &[("interface", "fab1")]) == 0)
    })?;
    let pings =
        ["10.1.0.10", "10.2.0.10", "fd00:1::10"].into_iter().try_for_each(|to| ping(&testbed.cust_a, to));
    testbed.fabric.ip(&[
        "link set f1 up",
        "route replace 192.0.2.10/32 nexthop via 10.90.0.2 dev br0 nexthop via 10.91.0.2 dev f1",
    ])?;
    pings.context("with fab1 down")?;
    wait_until_up(daemon)?;

    // 10.1.9.9 lives on both VTEPs of vpc-1.
    testbed.host3.ip(&["link set eth0 down"])?;
    let gone = eventually("the neighbour of VTEP 10.90.0.23 is gone", || {
        let neighbors = daemon.show("neighbors")?;
        let rows = neighbors.as_array().context("no rows")?;
        Ok(rows.iter().any(|row| row["address"] == "10.90.0.23" && row["mac"].is_null()))
    });
    let pings = gone.and_then(|()| {
        for flow in 0..8 {
            let source = format!("-I 172.16.0.{} 10.1.9.9", flow + 20);
            testbed.cust_a.ip(&[&format!("address add 172.16.0.{}/32 dev lo", flow + 20)])?;
            let answer = ping(&testbed.cust_a, &source);
            testbed.cust_a.ip(&[&format!("address del 172.16.0.{}/32 dev lo", flow + 20)])?;
            answer?;
        }
        Ok(())
    });
    testbed.host3.ip(&["link set eth0 up", "route replace 192.0.2.10/32 via 10.90.0.2"])?;
    pings.context("with a VTEP gone")?;
    wait_until_up(daemon)
}

fn line_failure(testbed: &Testbed, daemon: &mut Daemon) -> anyhow::Result<()> {
    let state = |daemon: &Daemon| -> anyhow::Result<String> {
        let vifs = daemon.show("vifs")?;
        let rows = vifs.as_array().context("no rows")?;
        let row = rows.iter().find(|row| row["name"] == "vif-a").context("no vif-a")?;
        Ok(row["state"].as_str().unwrap_or_default().to_owned())
    };
    testbed.cust_a.ip(&["link set eth0 down"])?;
    eventually("vif-a is down", || Ok(state(daemon)? == "port_down"))?;
    let host = testbed.vpc(&testbed.host1, 5001);
    let down = ping(&host, "172.16.0.1").and_then(|()| ping(&testbed.cust_a, "10.1.0.10"));
    // The namespace's kernel sees it, too.
    let inside = std::mem::ManuallyDrop::new(Netns { name: format!("{}.bgw-1", testbed.run) });
    let carrier = inside.run("ip -br link show vif-a")?;
    testbed.cust_a.ip(&["link set eth0 up"])?;
    down.context("with line-a cut")?;
    ensure!(carrier.contains("NO-CARRIER") || carrier.contains("DOWN"), "vif-a has carrier: {carrier}");
    // IPv6 addresses went with the interface.
    testbed.cust_a.ip(&["address replace fd00:10::1/126 dev eth0 nodad"])?;
    eventually("vif-a is up again", || Ok(state(daemon)? == "up"))?;
    ping(&host, "172.16.0.1")
}
