//! The testbed's own ends, and the daemon's: whatever ends them, nothing is left; and no test passes untried.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use border_gw_tests::privileges::require_root;
use border_gw_tests::proof::eventually;
use border_gw_tests::shim::Tagging;
use border_gw_tests::testbed::Testbed;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Longest that the testbed may take to start, and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// A testbed program that runs, in a process group of its own, as under a shell.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(mode: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
        let mut child = command.arg(mode).process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let (say, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { child, lines }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits until its first namespace is there: it goes on with the others.
    fn wait_until_it_begins(&self) {
        let name = format!("bgt{}x", self.child.id());
        eventually("the first namespace", || {
            Ok(names("/run/netns").iter().any(|other| other.starts_with(&name)))
        })
        .unwrap();
    }

    fn wait_until_it_says(&self, words: &str) {
        let started = Instant::now();
        loop {
            let line = self.lines.recv_timeout(PATIENCE.saturating_sub(started.elapsed())).expect(words);
            if line.contains(words) {
                return;
            }
        }
    }

    fn wait(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What is there of its runs: namespaces, pins, files.
    fn left(&self) -> Vec<String> {
        let run = format!("bgt{}x", self.child.id());
        let mut left = Vec::new();
        for place in ["/run/netns", "/sys/fs/bpf/border-gw", "/run/border-gw"] {
            left.extend(names(place).into_iter().filter(|name| name.starts_with(&run)));
        }
        left
    }

    /// Processes whose command line names its runs.
    fn processes(&self) -> Vec<String> {
        let run = format!("bgt{}x", self.child.id());
        let mut found = Vec::new();
        for pid in names("/proc") {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.extend(line.contains(&run).then_some(line));
        }
        found
    }

    /// Nothing is there, and who was just being started has noticed.
    fn assert_nothing_is_left(&self, sentence: &str) {
        assert_eq!(self.left(), Vec::<String>::new(), "{sentence}");
        eventually(sentence, || Ok(self.processes().is_empty())).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that fails leaves it running.
        if self.child.try_wait().unwrap().is_none() {
            kill(self.pid(), Signal::SIGTERM).unwrap();
            self.wait();
        }
    }
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A moment in the life of a testbed.
#[derive(Clone, Copy)]
enum Moment {
    Begins,
    Says(&'static str),
}

#[test]
fn a_signal_at_any_moment_leaves_nothing() {
    require_root();
    for (sentence, mode, moment, signal, code) in [
        ("the terminal goes at start-up", "run", Moment::Begins, Signal::SIGHUP, 130),
        ("Ctrl-C at start-up", "check", Moment::Begins, Signal::SIGINT, 130),
        ("the terminal goes in the middle", "check", Moment::Says("up in"), Signal::SIGHUP, 130),
        ("Ctrl-C in the middle", "check", Moment::Says("up in"), Signal::SIGINT, 130),
        ("Ctrl-C, as it says", "run", Moment::Says("until Ctrl-C"), Signal::SIGINT, 0),
    ] {
        let mut program = Program::start(mode);
        match moment {
            Moment::Begins => program.wait_until_it_begins(),
            Moment::Says(words) => program.wait_until_it_says(words),
        }
        // As a terminal does it: to everything in the foreground.
        killpg(program.pid(), signal).unwrap();
        // People press it twice; it may have ended by then.
        std::thread::sleep(Duration::from_millis(40));
        killpg(program.pid(), signal).ok();
        assert_eq!(program.wait(), Some(code), "{sentence}");
        program.assert_nothing_is_left(sentence);
    }
}

#[test]
fn what_kill_9_leaves_is_removed_by_the_next_start() {
    require_root();
    let mut killed = Program::start("run");
    killed.wait_until_it_says("until Ctrl-C");
    kill(killed.pid(), Signal::SIGKILL).unwrap();
    killed.wait();
    let daemon_runs = || killed.processes().iter().any(|line| line.contains("border-gw run"));
    eventually("the daemon goes with the testbed", || Ok(!daemon_runs())).unwrap();
    assert!(!killed.left().is_empty(), "its namespaces are there");
    let mut next = Program::start("run");
    next.wait_until_it_begins();
    killed.assert_nothing_is_left("what was killed");
    kill(next.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(next.wait(), Some(130));
    next.assert_nothing_is_left("what came next");
}

#[test]
fn a_daemon_that_ends_takes_its_socket_along_and_has_room_for_files() {
    require_root();
    let (testbed, mut daemon) = Testbed::with_gateway().unwrap();
    let socket = testbed.config.with_file_name("control.sock");
    assert!(socket.exists());
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id().unwrap())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = files.split_whitespace().skip(3).take(2).collect::<Vec<_>>()[..] else {
        panic!("{files}")
    };
    assert_eq!(soft, hard, "{files}");
    daemon.stop().unwrap();
    assert!(!socket.exists());
}

#[test]
fn without_root_a_privileged_test_fails_and_says_why() {
    require_root();
    // The build directory may be closed to others.
    let directory = std::env::temp_dir().join(format!("border-gw-unprivileged-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let copy = directory.join("tests");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(&copy)
        .args(["--exact", "a_daemon_that_ends_takes_its_socket_along_and_has_room_for_files"])
        .uid(65534)
        .gid(65534)
        .current_dir(Path::new("/"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("which takes root"), "{said}");
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn customers_tag_with_the_kernels_8021q_where_it_has_it() {
    require_root();
    let testbed = Testbed::new().unwrap();
    // There as soon as the kernel has it, built in or loaded (net/8021q/vlanproc.c).
    let has_it = Path::new("/proc/net/vlan/config").exists();
    println!("{}", testbed.tagging.describe());
    assert_eq!(testbed.tagging == Tagging::Kernel, has_it);
    for (customer, device) in [(&testbed.cust_a, "802.1Q id 100"), (&testbed.cust_e, "802.1ad id 200")] {
        let links = customer.run("ip -d link show").unwrap();
        assert_eq!(links.contains(&format!("vlan protocol {device}")), has_it, "{links}");
    }
}
