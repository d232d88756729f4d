//! Builds BPF objects from build scripts, with the tool-chain that `cargo xtask setup` prepared.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The nightly that BPF programs are built with, where rustup can have it. It is pinned by its LLVM: bpf-linker reads what
/// the compiler wrote only when its own LLVM ([`LLVM`]) is not older.
pub const NIGHTLY: &str = "nightly-2026-05-20";
/// The distribution's Rust with its sources, linked into rustup under this name.
pub const LINKED: &str = "bpf";
/// Major version of the LLVM of both.
pub const LLVM: u32 = 22;

/// A program, as its package calls it.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its package.
    pub package: &'a str,
    /// Directory of the package.
    pub dir: &'a str,
    /// Its binary, and the name of the object in `OUT_DIR`.
    pub binary: &'a str,
    /// Features of the package.
    pub features: &'a [&'a str],
}

/// Builds a program into `OUT_DIR`. For build scripts.
///
/// # Errors
///
/// No tool-chain is there, or the build fails; both say what to do.
pub fn build(program: Program<'_>) -> anyhow::Result<()> {
    println!("cargo:rerun-if-env-changed=BORDER_GW_BPF_TOOLCHAIN");
    // A build dependency on the package would see its library alone, and not its binary.
    println!("cargo:rerun-if-changed={}", program.dir);
    let Some(chosen) = env::var("BORDER_GW_BPF_TOOLCHAIN").ok().or_else(toolchain) else {
        bail!(
            "no Rust tool-chain here has the sources of `core`, which BPF programs are built from: run `cargo xtask setup`"
        );
    };
    let out = PathBuf::from(variable("OUT_DIR")?);
    // Apart from the objects: a package may have the name of its binary.
    let directory = out.join("bpf-build").join(program.package);
    let triple = match variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "big" => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    quietly(cargo(program, &chosen, triple, &variable("CARGO_CFG_TARGET_ARCH")?).arg("--target-dir").arg(&directory))
        .with_context(|| {
            format!(
                "cannot build `{}` with tool-chain `{chosen}`; if bpf-linker is missing, or older than LLVM {LLVM}, run \
                 `cargo xtask setup`",
                program.package
            )
        })?;
    let made = directory.join(triple).join("release").join(program.binary);
    let object = out.join(program.binary);
    fs::copy(&made, &object)
        .with_context(|| format!("cannot copy {} to {}", made.display(), object.display()))?;
    Ok(())
}

/// What cargo tells build scripts.
fn variable(name: &str) -> anyhow::Result<String> {
    env::var(name)
        .with_context(|| format!("`{name}` is not set: this is for build scripts, which cargo runs"))
}

/// The inner build: for BPF, with `core` from its sources.
fn cargo(program: Program<'_>, toolchain: &str, triple: &str, arch: &str) -> Command {
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", toolchain, "cargo", "build", "--release", "-Z", "build-std=core"])
        .args(["--package", program.package, "--bin", program.binary, "--target", triple])
        .args(["--features", &program.features.join(",")])
        // `-Z` is for nightlies, and the distribution's tool-chain is none.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(arch))
        // They name the outer build's compiler.
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    cargo
}

/// What aya's crates expect: the processor whose registers a program sees (aya-ebpf asks for it by `cfg`), and BTF.
fn rustflags(arch: &str) -> String {
    let arch = if arch.starts_with("riscv64") { "riscv64" } else { arch };
    [&format!("--cfg=bpf_target_arch=\"{arch}\""), "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\u{1f}")
}

/// Runs a command whose output matters only when it fails.
fn quietly(command: &mut Command) -> anyhow::Result<()> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?} ended with {}:\n{}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

/// The tool-chain that is used, if there is one: the first that can build `core`.
pub fn toolchain() -> Option<String> {
    [NIGHTLY, LINKED].into_iter().find(|name| has_sources(name)).map(str::to_owned)
}

/// Whether a tool-chain exists and has the standard library's sources, without which `-Z build-std` cannot work.
fn has_sources(toolchain: &str) -> bool {
    let Ok(output) = Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]).output()
    else {
        return false;
    };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success() && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_build_is_heard_only_when_it_fails() {
        let say = |code: u32| {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("echo Compiling core; echo an error >&2; exit {code}")]);
            quietly(&mut shell).map_err(|error| error.to_string())
        };
        assert_eq!(say(0), Ok(()));
        let failed = say(3).expect_err("the exit code says so");
        assert!(failed.contains("exit status: 3:\nCompiling core\nan error"), "{failed}");
    }

    #[test]
    fn flags_name_the_processor() {
        for (arch, want) in [("x86_64", "x86_64"), ("riscv64gc", "riscv64")] {
            let want = format!("--cfg=bpf_target_arch=\"{want}\"\u{1f}-Cdebuginfo=2\u{1f}-Clink-arg=--btf");
            assert_eq!(rustflags(arch), want);
        }
    }
}
