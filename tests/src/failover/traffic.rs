//! Numbered datagrams from a VPC to a customer, at a steady rate and in many flows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::frames::{Raw, ethernet, mac_of, set_class, udp, vxlan};
use crate::shim::NUMBERED;
use crate::testbed::Testbed;

/// Packets a second.
pub(super) const RATE: u32 = 100_000;
/// Flows, each of which sends in its turn.
pub(super) const FLOWS: u32 = 256;
/// Packets that are sent at once at most: a veth's ring holds 256.
const BATCH: u32 = 64;
/// Between two looks at the clock.
const TURN: Duration = Duration::from_micros(200);

/// Offsets in the tunnelled frame: the source port, by which flows differ, and the numbers of datagram and run.
const SOURCE_PORT: usize = 14 + 20 + 8 + 8 + 14 + 20;
const NUMBER: usize = SOURCE_PORT + 8;
const RUN: usize = NUMBER + 4;
/// And those of the two UDP checksums, which are optional over IPv4.
const CHECKSUMS: [usize; 2] = [14 + 20 + 6, SOURCE_PORT + 6];

/// Sends until it is ended.
pub(super) struct Traffic {
    sent: Arc<AtomicU32>,
    ends: Arc<AtomicBool>,
    sender: JoinHandle<()>,
}

impl Traffic {
    /// From a host of vpc-1 to customer a's LAN.
    pub(super) fn start(testbed: &Testbed, run: u32) -> anyhow::Result<Self> {
        let frame = frame(testbed)?;
        let line = Raw::open(&testbed.fabric, "f1")?;
        let (sent, ends) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (sent.clone(), ends.clone());
        let sender = thread::spawn(move || send(&line, &frame, run, &counter, &end));
        Ok(Self { sent, ends, sender })
    }

    /// How many have been sent.
    pub(super) fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst) as usize
    }

    /// Ends it; how many were sent.
    pub(super) fn end(self) -> anyhow::Result<u32> {
        self.ends.store(true, Ordering::SeqCst);
        self.sender.join().map_err(|_panic| anyhow::anyhow!("the sender panicked"))?;
        // The last ones arrive.
        thread::sleep(Duration::from_millis(50));
        Ok(self.sent.load(Ordering::SeqCst))
    }
}

fn frame(testbed: &Testbed) -> anyhow::Result<Vec<u8>> {
    let (from, to) = (mac_of(&testbed.fabric, "f1")?, mac_of(&testbed.server, "fab1")?);
    let mut inner = udp("10.1.0.10", "172.16.0.1", (0, 9), 64, 18)?;
    set_class(&mut inner, NUMBERED);
    let inner = ethernet([0x02, 0, 0x5e, 0, 0x50, 0x01], [0x02, 0, 0x5e, 0, 0, 0x01], None, 0x0800, &inner);
    let outer = vxlan("192.0.2.21", "192.0.2.10", 5001, &inner)?;
    let mut frame = ethernet(to, from, None, 0x0800, &outer);
    for at in CHECKSUMS {
        frame[at..at + 2].fill(0);
    }
    Ok(frame)
}

fn send(line: &Raw, frame: &[u8], run: u32, sent: &AtomicU32, ends: &AtomicBool) {
    let mut batch = vec![frame.to_vec(); BATCH as usize];
    let started = Instant::now();
    let mut number = 0;
    while !ends.load(Ordering::SeqCst) {
        let due = (started.elapsed().as_secs_f64() * f64::from(RATE)) as u32;
        let much = (due - number).min(BATCH);
        for frame in &mut batch[..much as usize] {
            frame[SOURCE_PORT..SOURCE_PORT + 2]
                .copy_from_slice(&(20_000 + (number % FLOWS) as u16).to_be_bytes());
            frame[NUMBER..NUMBER + 4].copy_from_slice(&number.to_be_bytes());
            frame[RUN..RUN + 4].copy_from_slice(&run.to_be_bytes());
            number += 1;
        }
        line.send(&batch[..much as usize]);
        sent.store(number, Ordering::SeqCst);
        if much < BATCH {
            thread::sleep(TURN);
        }
    }
}
