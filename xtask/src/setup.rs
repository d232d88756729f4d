//! `cargo xtask setup`: finds or installs a BPF tool-chain and the testbed's programs. Does nothing the second time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail};
use bpf_build::{LINKED, LLVM, NIGHTLY};

use crate::shell::{command, has, quietly};

/// Programs of the testbed and their Debian packages.
const PROGRAMS: [(&str, &str); 16] = [
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("traceroute", "traceroute"),
    ("tracepath", "iputils-tracepath"),
    ("iperf3", "iperf3"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
    ("prometheus", "prometheus"),
    ("nsenter", "util-linux"),
    ("curl", "curl"),
    ("bird", "bird2"),
    // No program for people, so that it is on nobody's path.
    ("/usr/lib/frr/bgpd", "frr"),
    ("gobgpd", "gobgpd"),
    ("exabgp", "exabgp"),
];
/// What `cargo xtask vm` needs beside.
const VIRTUAL_MACHINE: [(&str, &str); 4] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("setpriv", "util-linux"),
    ("xz", "xz-utils"),
];
/// Packages that come with a daemon of the machine's own, and its unit.
const DAEMONS: [(&str, &str); 5] = [
    ("prometheus", "prometheus"),
    ("bird2", "bird"),
    ("frr", "frr"),
    ("gobgpd", "gobgpd"),
    ("exabgp", "exabgp"),
];
/// Debian's Rust with the sources of `core`, which BPF programs are built from.
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The LLVM that bpf-linker is built with, and what it needs beside it.
const DEBIAN_LLVM: [&str; 4] = ["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "zlib1g-dev"];
/// Where Debian puts it.
const DEBIAN_LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// The linker that goes with it; older ones know no such LLVM.
const BPF_LINKER: &str = "0.13.0";
/// Longest that a download of a tool-chain may take before the distribution's way is tried, in seconds.
const NIGHTLY_PATIENCE_S: u32 = 180;

/// Installs what is missing.
pub(crate) fn setup() -> anyhow::Result<()> {
    let started = Instant::now();
    programs(&PROGRAMS)?;
    let chosen = toolchain()?;
    linker()?;
    nextest()?;
    println!(
        "setup: ready in {:.1} s; BPF programs are built with `{chosen}`",
        started.elapsed().as_secs_f32()
    );
    Ok(())
}

/// Does one step and says how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    println!("setup: {what} ...");
    let started = Instant::now();
    let result = work()?;
    println!("setup: {what}: {:.1} s", started.elapsed().as_secs_f32());
    Ok(result)
}

/// Installs what virtual machines need, and is not there.
pub(crate) fn virtual_machine() -> anyhow::Result<()> {
    programs(&VIRTUAL_MACHINE)
}

fn programs(wanted: &[(&str, &'static str)]) -> anyhow::Result<()> {
    let mut missing: Vec<_> =
        wanted.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    step(&format!("installing {}", missing.join(" ")), || apt(&missing))
}

/// Installs Debian packages; daemons among them stay stopped and disabled.
fn apt(packages: &[&str]) -> anyhow::Result<()> {
    let list = packages.join(" ");
    if !has("apt-get") {
        bail!(
            "these Debian packages are missing, and there is no apt-get here: {list}. Install what your system calls them, and run this again"
        );
    }
    if quietly(&mut command("id -u"))?.trim() != "0" {
        bail!(
            "these packages are missing, and only root can install them: {list}. Run `sudo apt-get install {list}`, and run this again"
        );
    }
    let _stopped = NoDaemons::new()?;
    quietly(&mut command("apt-get update"))?;
    let mut install = command("apt-get install -y --no-install-recommends");
    quietly(install.args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| format!("cannot install {list}"))?;
    if Path::new("/run/systemd/system").exists() {
        for (_, unit) in DAEMONS.iter().filter(|(package, _)| packages.contains(package)) {
            quietly(&mut command(&format!("systemctl disable --now {unit}")))?;
        }
    }
    Ok(())
}

/// While this lives, packages do not start their daemons (invoke-rc.d, policy-rc.d).
struct NoDaemons(Option<&'static Path>);

impl NoDaemons {
    fn new() -> anyhow::Result<Self> {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Ok(Self(None));
        }
        fs::write(policy, "#!/bin/sh\nexit 101\n").context("cannot write /usr/sbin/policy-rc.d")?;
        let guard = Self(Some(policy));
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(guard)
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if let Some(policy) = self.0
            && let Err(error) = fs::remove_file(policy)
        {
            eprintln!("setup: remove {} by hand: {error}", policy.display());
        }
    }
}

/// A tool-chain with the sources of `core`: a nightly, or the distribution's Rust linked into rustup.
fn toolchain() -> anyhow::Result<String> {
    if !has("rustup") {
        bail!(
            "rustup is missing, by which the BPF tool-chain is told from the stable one: install it as the Rust project says"
        );
    }
    if let Some(found) = bpf_build::toolchain() {
        return Ok(found);
    }
    step(&format!("asking rustup for {NIGHTLY} with rust-src"), || {
        let line = format!(
            "timeout {NIGHTLY_PATIENCE_S} rustup toolchain install {NIGHTLY} --profile minimal --component rust-src \
             --no-self-update"
        );
        // A no is an answer: the distribution's Rust is next.
        Ok(quietly(&mut command(&line)).is_ok())
    })?;
    if let Some(found) = bpf_build::toolchain() {
        return Ok(found);
    }
    println!("setup: rustup cannot have it here; taking the distribution's Rust");
    step(&format!("installing {}", DEBIAN_RUST.join(" ")), || apt(&DEBIAN_RUST))?;
    quietly(&mut command(&format!("rustup toolchain link {LINKED} /usr")))?;
    bpf_build::toolchain().with_context(|| {
        format!(
            "the distribution's Rust has no sources of `core`: install a nightly by `rustup toolchain install {NIGHTLY} \
             --component rust-src`, and run this again"
        )
    })
}

/// bpf-linker: what is there, where it is new enough; else built with Debian's LLVM; else what binstall finds.
fn linker() -> anyhow::Result<()> {
    if has("bpf-linker") && is_new_enough(&quietly(&mut command("bpf-linker --version"))?) {
        return Ok(());
    }
    if has("apt-get") {
        let line = format!(
            "cargo install --force --locked bpf-linker --version {BPF_LINKER} --no-default-features --features llvm-{LLVM}"
        );
        step(&format!("installing {}", DEBIAN_LLVM.join(" ")), || apt(&DEBIAN_LLVM))?;
        return step("building bpf-linker", || {
            quietly(command(&line).env("LLVM_PREFIX", DEBIAN_LLVM_PREFIX)).map(drop)
        });
    }
    if has("cargo-binstall") {
        return step("fetching bpf-linker", || {
            quietly(&mut command("cargo binstall --no-confirm --force bpf-linker")).map(drop)
        });
    }
    bail!(
        "bpf-linker {BPF_LINKER} or newer is missing, and this system has neither apt-get nor cargo-binstall: install \
         cargo-binstall, or LLVM {LLVM} and then bpf-linker with its feature llvm-{LLVM}, and run this again"
    )
}

/// Whether what `bpf-linker --version` says is [`BPF_LINKER`] or newer.
fn is_new_enough(said: &str) -> bool {
    let numbers =
        |text: &str| -> Vec<u32> { text.split('.').filter_map(|part| part.trim().parse().ok()).collect() };
    said.split_whitespace().last().is_some_and(|version| numbers(version) >= numbers(BPF_LINKER))
}

fn nextest() -> anyhow::Result<()> {
    if has("cargo-nextest") {
        return Ok(());
    }
    step("building cargo-nextest", || quietly(&mut command("cargo install --locked cargo-nextest")).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_testbed_tells_people_to_run_is_installed() {
        let said = fs::read_to_string(crate::shell::top().join("tests/src/bin/testbed.rs")).unwrap();
        for program in ["curl", "tcpdump", "bpftool", "nsenter", "iperf3", "ping"] {
            assert!(said.contains(program), "the testbed no longer says `{program}`");
            assert!(PROGRAMS.iter().any(|(name, _)| *name == program), "`{program}` is not set up");
        }
    }

    #[test]
    fn an_old_linker_is_replaced() {
        for (said, want) in [
            ("bpf-linker 0.13.0\n", true),
            ("bpf-linker 0.9.15\n", false),
            ("bpf-linker 1.0.0\n", true),
            ("", false),
        ] {
            assert_eq!(is_new_enough(said), want, "{said}");
        }
    }
}
