//! Bandwidth: what caps let through, measured at the receiver, beside a virtual interface without a cap.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::figures::{self, Figure};
use crate::frames;
use crate::netns::Netns;
use crate::proof::wait_until_up;
use crate::testbed::Testbed;

/// iperf3's server; it ends after one test.
fn listen(at: &Netns) -> anyhow::Result<crate::netns::Running> {
    let server = at.start("iperf3 -s -1 -p 5201")?;
    for _ in 0..100 {
        if at.run("ss -Hltn sport = :5201")?.contains("5201") {
            return Ok(server);
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("iperf3 does not listen in {}", at.name)
}

/// TCP from `from` to `to` for some seconds, in bits of payload a second.
pub fn tcp(from: &Netns, to: &Netns, address: &str, seconds: u32) -> anyhow::Result<f64> {
    transfer(from, to, address, &format!("-t {seconds}"))
}

/// A megabyte by TCP from `from` to `to`.
pub fn megabyte(from: &Netns, to: &Netns, address: &str) -> anyhow::Result<()> {
    transfer(from, to, address, "-n 1M").map(drop)
}

/// TCP for a second: bits of payload a second, and the bytes of payload of a full segment.
pub fn segments(from: &Netns, to: &Netns, address: &str) -> anyhow::Result<(f64, u64)> {
    let result = iperf3(from, to, address, "-t 1")?;
    let segment = result["start"]["tcp_mss_default"].as_u64().context("iperf3 reports no segment size")?;
    Ok((received_rate(&result)?, segment))
}

fn transfer(from: &Netns, to: &Netns, address: &str, much: &str) -> anyhow::Result<f64> {
    received_rate(&iperf3(from, to, address, much)?)
}

fn iperf3(from: &Netns, to: &Netns, address: &str, much: &str) -> anyhow::Result<Value> {
    let _server = listen(to)?;
    let said = from.run(&format!("iperf3 -J -c {address} -p 5201 {much} --connect-timeout 3000"))?;
    Ok(serde_json::from_str(&said)?)
}

fn received_rate(result: &Value) -> anyhow::Result<f64> {
    result["end"]["sum_received"]["bits_per_second"].as_f64().context("iperf3 reports no rate")
}

/// Bytes of IP packets that an interface received, and how many packets.
fn received(at: &Netns, interface: &str) -> anyhow::Result<(f64, Instant)> {
    let text = at.run(&format!("ip -s -j link show dev {interface}"))?;
    let now = Instant::now();
    let links: Value = serde_json::from_str(&text)?;
    let rx = &links[0]["stats64"]["rx"];
    let number = |name: &str| rx[name].as_f64().context("no statistics");
    // Ethernet is no part of a cap.
    Ok((number("bytes")? - 14.0 * number("packets")?, now))
}

/// UDP offered at a rate in `flows` flows; bits of IP packets a second that arrive, over the middle of the run.
pub fn udp(
    from: &Netns,
    to: (&Netns, &[&str]),
    address: &str,
    offered: u64,
    flows: u64,
) -> anyhow::Result<f64> {
    let _server = listen(to.0)?;
    let each = offered / flows;
    let client = from.start(&format!("iperf3 -u -c {address} -p 5201 -b {each} -P {flows} -l 1400 -t 5"))?;
    thread::sleep(Duration::from_millis(1500));
    let sum = || -> anyhow::Result<(f64, Instant)> {
        let mut total = (0.0, Instant::now());
        for interface in to.1 {
            let (bytes, now) = received(to.0, interface)?;
            total = (total.0 + bytes, now);
        }
        Ok(total)
    };
    let start = sum()?;
    thread::sleep(Duration::from_millis(2500));
    let end = sum()?;
    drop(client);
    Ok((end.0 - start.0) * 8.0 / (end.1 - start.1).as_secs_f64())
}

/// Interleaved runs of each case.
const RUNS: usize = 3;
/// No upper bound.
const ANY: f64 = f64::INFINITY;

/// A case: name, bounds in Mbps, measurement in bits a second.
type Case<'a> = (&'static str, f64, f64, Box<dyn Fn() -> anyhow::Result<f64> + 'a>);

const M: u64 = 1_000_000;

fn cases(testbed: &Testbed) -> Vec<Case<'_>> {
    let v1 = testbed.vpc(&testbed.host1, 5001);
    let v3 = testbed.vpc(&testbed.host2, 5003);
    let v4 = testbed.vpc(&testbed.host2, 5004);
    let [v1, v3, v4] = [v1, v3, v4].map(|netns| &*Box::leak(Box::new(netns)) as &Netns);
    let (a, b, d, e) = (&testbed.cust_a, &testbed.cust_b, &testbed.cust_d, &testbed.cust_e);
    let vpc: &[&str] = &["vpc0"];
    let both: &[&str] = &["eth0", "eth1"];
    let one: &[&str] = &["eth0"];
    vec![
        (
            "control: no cap, 300 Mbps offered",
            297.0,
            ANY,
            Box::new(move || udp(b, (v3, vpc), "10.1.0.10", 310 * M, 1)),
        ),
        (
            "100 Mbps to_vpc, UDP 300 offered",
            95.0,
            101.0,
            Box::new(move || udp(a, (v1, vpc), "10.1.0.10", 300 * M, 1)),
        ),
        (
            "100 Mbps to_customer, UDP 300 offered",
            95.0,
            101.0,
            Box::new(move || udp(v1, (a, both), "172.16.0.1", 300 * M, 1)),
        ),
        ("100 Mbps to_vpc, TCP", 85.0, 101.0, Box::new(move || tcp(a, v1, "10.1.0.10", 5))),
        ("100 Mbps to_customer, TCP", 85.0, 101.0, Box::new(move || tcp(v1, a, "172.16.0.1", 5))),
        (
            "two lines of 100 Mbps, 64 flows of 8",
            190.0,
            202.0,
            Box::new(move || udp(v1, (a, both), "172.16.0.1", 512 * M, 64)),
        ),
        (
            "a connection's 200 Mbps, VIF of 1 Gbps",
            190.0,
            202.0,
            Box::new(move || udp(d, (v4, vpc), "10.4.0.10", 500 * M, 1)),
        ),
        ("1 Gbps to_vpc, UDP as fast as it goes", 950.0, 1010.0, Box::new(move || flood(testbed))),
        ("1 Gbps to_customer, TCP", 850.0, 1010.0, Box::new(move || tcp(v4, e, "172.19.0.1", 5))),
        (
            "the other VIF on a flooded line, 50 offered",
            49.0,
            53.0,
            Box::new(move || beside_a_flood(d, e, v4)),
        ),
        (
            "one of two lines cut, 64 flows of 8",
            95.0,
            101.0,
            Box::new(move || with_a_line_cut(testbed, v1, one, both)),
        ),
    ]
}

/// Large packets by a raw socket on the line with two tags: iperf3 cannot offer enough on two cores. They are counted on the
/// fabric, where the router throws them away: a hypervisor's kernel would take the processors that the sender needs.
fn flood(testbed: &Testbed) -> anyhow::Result<f64> {
    let packet = frames::udp("172.19.0.1", "10.4.0.10", (1, 9), 64, 1400)?;
    let tags = [0x00, 200, 0x81, 0x00, 0x00, 100, 0x08, 0x00];
    let (to, from) = (frames::mac_of(&testbed.server, "eth3")?, frames::mac_of(&testbed.cust_e, "eth0")?);
    let frame = frames::ethernet(to, from, None, 0x88a8, &[&tags, packet.as_slice()].concat());
    let lines = [frames::Raw::open(&testbed.cust_e, "eth0")?, frames::Raw::open(&testbed.cust_e, "eth0")?];
    testbed.fabric.ip(&["route replace blackhole 192.0.2.22/32"])?;
    let measured = offer(testbed, lines, &frame);
    testbed.fabric.ip(&["route replace 192.0.2.22/32 via 10.92.2.2"])?;
    let (offered, passed) = measured?;
    if offered < 1.1e9 {
        bail!("void: only {:.0} Mbps were offered to the cap of 1 Gbps", offered / 1e6);
    }
    Ok(passed)
}

/// Offers 1,428-byte packets for some seconds; bits of IP packets a second that were offered, and that left the gateway.
fn offer(testbed: &Testbed, lines: [frames::Raw; 2], frame: &[u8]) -> anyhow::Result<(f64, f64)> {
    let send = |line: frames::Raw| {
        let batch = vec![frame.to_vec(); 64];
        thread::spawn(move || {
            let (mut sent, started) = (0, Instant::now());
            while started.elapsed() < Duration::from_secs(4) {
                sent += line.send(&batch);
            }
            sent as f64 * 1428.0 * 8.0 / started.elapsed().as_secs_f64()
        })
    };
    // What a packet socket sends is forwarded on the sender's processor.
    let senders = lines.map(send);
    let left = || -> anyhow::Result<(f64, Instant)> {
        let (f0, f1) = (received(&testbed.fabric, "f0")?, received(&testbed.fabric, "f1")?);
        Ok((f0.0 + f1.0, f1.1))
    };
    thread::sleep(Duration::from_millis(1200));
    let start = left()?;
    thread::sleep(Duration::from_secs(2));
    let end = left()?;
    let mut offered = 0.0;
    for sender in senders {
        offered += sender.join().map_err(|_panic| anyhow::anyhow!("a sender panicked"))?;
    }
    // Of the 1,478 bytes of each packet on the fabric, 50 are the tunnel's.
    let passed = (end.0 - start.0) * 8.0 / (end.1 - start.1).as_secs_f64() * 1428.0 / 1478.0;
    Ok((offered, passed))
}

/// What one VIF gets while the other on its port is flooded far over its cap.
fn beside_a_flood(flooder: &Netns, other: &Netns, host: &Netns) -> anyhow::Result<f64> {
    let _sink = host.start("iperf3 -s -1 -p 5202")?;
    thread::sleep(Duration::from_millis(200));
    let _flood = flooder.start("iperf3 -u -c 10.4.0.10 -p 5202 -b 500M -l 1400 -t 8")?;
    let _server = listen(host)?;
    let said = other.run("iperf3 -J -u -c 10.4.0.10 -p 5201 -b 50M -l 1400 -t 4")?;
    let result: Value = serde_json::from_str(&said)?;
    let sum = &result["end"]["sum"];
    let lost = sum["lost_percent"].as_f64().context("iperf3 reports no loss")?;
    // Offered in payload; 28 bytes of headers each.
    Ok(50e6 * (1.0 - lost / 100.0) * 1428.0 / 1400.0)
}

fn with_a_line_cut(testbed: &Testbed, host: &Netns, cut: &[&str], both: &[&str]) -> anyhow::Result<f64> {
    for port in cut {
        testbed.cust_a.ip(&[&format!("link set {port} down")])?;
    }
    thread::sleep(Duration::from_millis(500));
    let rate = udp(host, (&testbed.cust_a, both), "172.16.0.1", 512 * M, 64);
    for port in cut {
        testbed.cust_a.ip(&[&format!("link set {port} up")])?;
    }
    testbed.cust_a.ip(&["address replace fd00:10::1/126 dev eth0 nodad"])?;
    thread::sleep(Duration::from_secs(2));
    rate
}

/// Measures every case; with `--check`, an error when one is out of bounds.
pub fn bench(options: &[&str]) -> anyhow::Result<()> {
    let (testbed, daemon) = Testbed::with_gateway()?;
    wait_until_up(&daemon)?;
    let cases = cases(&testbed);
    let mut figures: Vec<Figure> =
        cases.iter().map(|(name, low, high, _)| Figure::new(name, "Mbps", *low, *high)).collect();
    for run in 1..=RUNS {
        for ((name, _, _, measure), figure) in cases.iter().zip(&mut figures) {
            let rate = measure().with_context(|| (*name).to_owned())? / 1e6;
            println!("run {run}: {rate:8.1} Mbps  {name}");
            figure.runs.push(rate);
        }
    }
    figures::show(&figures);
    figures::write(options, &figures)?;
    if options.contains(&"--check") {
        ensure!(
            figures[0].is_within(),
            "void: the control lost packets, so that this machine was too busy to measure"
        );
        figures::check(&figures)?;
    }
    Ok(())
}
