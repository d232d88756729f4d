//! `cargo xtask setup`: finds or installs a BPF tool-chain and the testbed's programs. Does nothing the second time.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::shell::{command, has, quietly};

/// Programs of the testbed and their Debian packages.
const PROGRAMS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("iperf3", "iperf3"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
    ("prometheus", "prometheus"),
    ("nsenter", "util-linux"),
];
/// Debian's Rust with the sources of `core`, which BPF programs are built from.
const DEBIAN_RUST: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The LLVM that this Rust was built with, for bpf-linker.
const DEBIAN_LLVM: [&str; 4] = ["llvm-22-dev", "libpolly-22-dev", "libzstd-dev", "zlib1g-dev"];
/// Where it lands.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// The linker's version, which goes with LLVM 22.
const BPF_LINKER: &str = "0.13.0";
/// Longest that a download of a nightly may take before the distribution's way is tried.
const NIGHTLY_PATIENCE: Duration = Duration::from_secs(180);

/// Installs what is missing.
pub(crate) fn setup() -> anyhow::Result<()> {
    let started = Instant::now();
    programs()?;
    let chosen = toolchain()?;
    linker(&chosen)?;
    nextest()?;
    println!(
        "setup: ready in {:.1} s; BPF programs are built with `{chosen}`",
        started.elapsed().as_secs_f32()
    );
    Ok(())
}

/// Does one step and says how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    println!("setup: {what} ...");
    let started = Instant::now();
    let result = work()?;
    println!("setup: {what}: {:.1} s", started.elapsed().as_secs_f32());
    Ok(result)
}

fn programs() -> anyhow::Result<()> {
    let missing: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
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
    if packages.contains(&"prometheus") && Path::new("/run/systemd/system").exists() {
        quietly(&mut command("systemctl disable --now prometheus"))?;
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

/// A tool-chain with the sources of `core`: a nightly, or the distribution's Rust linked as `bpf`.
fn toolchain() -> anyhow::Result<String> {
    if !has("rustup") {
        bail!(
            "rustup is missing, by which the BPF tool-chain is told from the stable one: install it as the Rust project says"
        );
    }
    for name in ["nightly", "bpf"] {
        if has_sources(name) {
            return Ok(name.to_owned());
        }
    }
    let tried =
        step(
            "asking rustup for a nightly with rust-src",
            || Ok(nightly().is_ok() && has_sources("nightly")),
        )?;
    if tried {
        return Ok("nightly".to_owned());
    }
    println!("setup: rustup cannot have one here; taking the distribution's Rust");
    step(&format!("installing {}", DEBIAN_RUST.join(" ")), || apt(&DEBIAN_RUST))?;
    quietly(&mut command("rustup toolchain link bpf /usr"))?;
    if !has_sources("bpf") {
        bail!(
            "the distribution's Rust has no sources of `core`: install a nightly by `rustup toolchain install nightly --component rust-src`"
        );
    }
    Ok("bpf".to_owned())
}

fn nightly() -> anyhow::Result<()> {
    let line = format!(
        "timeout {} rustup toolchain install nightly --profile minimal --component rust-src --no-self-update",
        NIGHTLY_PATIENCE.as_secs()
    );
    quietly(&mut command(&line)).map(drop)
}

fn has_sources(toolchain: &str) -> bool {
    let sysroot = quietly(&mut command(&format!("rustup run {toolchain} rustc --print sysroot")));
    sysroot.is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").exists())
}

fn linker(toolchain: &str) -> anyhow::Result<()> {
    if has("bpf-linker") {
        return Ok(());
    }
    if toolchain == "nightly" {
        return step("building bpf-linker", || {
            quietly(&mut command("cargo install --locked bpf-linker")).map(drop)
        });
    }
    step(&format!("installing {}", DEBIAN_LLVM.join(" ")), || apt(&DEBIAN_LLVM))?;
    let line =
        format!("cargo install bpf-linker --version {BPF_LINKER} --no-default-features --features llvm-22");
    step("building bpf-linker", || quietly(command(&line).env("LLVM_PREFIX", LLVM_PREFIX)).map(drop))
}

fn nextest() -> anyhow::Result<()> {
    if has("cargo-nextest") {
        return Ok(());
    }
    step("building cargo-nextest", || quietly(&mut command("cargo install --locked cargo-nextest")).map(drop))
}
