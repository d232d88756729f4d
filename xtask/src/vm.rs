//! `cargo xtask vm`: the privileged tests under one of Debian's kernels, in a virtual machine whose root is this machine's,
//! which it reads and never writes.

mod initramfs;
mod kernel;

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use initramfs::Archive;
use kernel::Kernel;

use crate::setup;
use crate::shell::{command, quietly, search_path, top};
use crate::test::PRIVILEGED;

/// The oldest kernel that is supported; border-gw itself refuses older ones (`kernel/preflight.rs`).
pub(crate) const OLDEST: &str = "6.1";
/// Programs loaded and packets forwarded: three tables of the packet path, in the kernel, and pings and TCP through the testbed.
/// Not all tables: each test loads the programs, which takes the emulated processor half a minute.
const LOAD_AND_FORWARD: &str = "binary(=kernel) & (test(=line::routes_lead_into_vpcs) \
     | test(=fabric::routes_lead_to_lines_and_to_other_vpcs) | test(=errors::a_sender_is_told_why_its_packet_goes_nowhere)) \
     | binary(=testbed) & test(=customers_tag_with_the_kernels_8021q_where_it_has_it) \
     | binary(=end_to_end) & test(=reach)";
/// Longest that this may take, and longest that the tests of a name may: emulated, everything takes ten times as long.
const PATIENCE: (Duration, Duration) = (Duration::from_mins(12), Duration::from_hours(1));
/// Memory in MiB; the host gives what is used of it.
const MEMORY_MIB: u32 = 4096;
/// Processors; more than the privileged tests need, which run one at a time.
const PROCESSORS: u32 = 2;
/// What the kernel is told: where it prints, that a panic is the end (with `-no-reboot`), and that the emulated processor needs no
/// mitigations, which cost it much.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off";
/// Where the machine finds what it is given, and leaves what it makes.
const RESULTS: &str = "/run/results";
/// What is in there: nextest's list of binaries, cargo's of packages, and the exit code.
const FILES: (&str, &str, &str) = ("binaries.json", "packages.json", "code");
/// Exit code of nextest where no test has the name that was asked for.
const NO_TESTS: i32 = 4;

/// Runs the load-and-forward tests, or those whose name or file contains `test`, under a kernel of a series.
pub(crate) fn vm(series: &str, test: Option<&str>) -> anyhow::Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        bail!(
            "the virtual machine has this machine's programs, and its kernels are for x86_64, not {}",
            std::env::consts::ARCH
        );
    }
    setup::setup()?;
    setup::virtual_machine()?;
    let kernel = kernel::unpacked(series)?;
    println!("vm: building ...");
    crate::build::binaries(&[])?;
    let results = prepare(series)?;
    let (filter, patience) = match test {
        None => (LOAD_AND_FORWARD.to_owned(), PATIENCE.0),
        Some(name) => (named(name), PATIENCE.1),
    };
    fs::write(results.join("initramfs"), initramfs(&kernel, &session(&filter))?)?;
    println!("vm: booting Linux {}, for at most {} minutes ...", kernel.release, patience.as_secs() / 60);
    let started = Instant::now();
    let (status, summary) = run(&mut qemu(&kernel, &results), patience)?;
    let code = fs::read_to_string(results.join(FILES.2)).ok().and_then(|code| code.trim().parse().ok());
    let seconds = started.elapsed().as_secs();
    conclude(code, test)
        .with_context(|| format!("Linux {} (qemu: {status}), after {seconds} s", kernel.release))?;
    println!("vm: Linux {}: {summary}; {seconds} s with boot and power-off", kernel.release);
    Ok(())
}

/// The privileged tests that a name means.
fn named(name: &str) -> String {
    format!("({PRIVILEGED}) & (test(~{name}) | binary(~{name}))")
}

/// Builds the tests, and says to nextest in there what there is: it builds nothing.
fn prepare(series: &str) -> anyhow::Result<PathBuf> {
    let results = top().join("target/vm").join(format!("run-{series}"));
    drop(fs::remove_dir_all(&results));
    fs::create_dir_all(&results).with_context(|| format!("cannot make {}", results.display()))?;
    let binaries =
        "cargo nextest list --workspace --list-type binaries-only --message-format json --cargo-quiet";
    fs::write(results.join(FILES.0), quietly(&mut command(binaries))?)?;
    fs::write(results.join(FILES.1), quietly(&mut command("cargo metadata --format-version 1"))?)?;
    Ok(results)
}

/// What is done on the machine's root, by a shell that is its first process. Through `cat`, because nextest shows a console what is
/// for people alone.
fn session(filter: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let path = quoted(&search_path().to_string_lossy());
    let home = quoted(&std::env::var("HOME").unwrap_or_else(|_unset| "/".into()));
    let (top, filter) = (quoted(&top().to_string_lossy()), quoted(filter));
    let (binaries, packages, code) = FILES;
    format!(
        "export PATH={path} HOME={home} TERM=dumb CARGO_TERM_COLOR=never\n\
         cd {top}\n\
         ip link set lo up\n\
         {{ cargo-nextest nextest run --profile vm --binaries-metadata {RESULTS}/{binaries} --cargo-metadata {RESULTS}/{packages} -E {filter}\n\
         echo $? > {RESULTS}/{code}; }} < /dev/null 2>&1 | cat\n\
         /run/vm/busybox sync\n\
         /run/vm/busybox poweroff -f\n"
    )
}

/// The first file system: a shell, the modules, and what to do.
fn initramfs(kernel: &Kernel, session: &str) -> anyhow::Result<Vec<u8>> {
    let busybox = fs::read("/bin/busybox").context("cannot read /bin/busybox, of package busybox-static")?;
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "lower", "modules", "proc", "sys", "sysroot", "upper"] {
        archive.directory(directory);
    }
    archive.file("bin/busybox", &busybox);
    archive.file("init", include_bytes!("vm/init.sh"));
    archive.file("session", session.as_bytes());
    let modules = kernel.modules()?;
    for (name, contents) in &modules {
        archive.file(&format!("modules/{name}.ko"), contents);
    }
    let order: Vec<&str> = modules.iter().map(|(name, _)| name.as_str()).collect();
    archive.file("modules/order", (order.join("\n") + "\n").as_bytes());
    Ok(archive.end())
}

/// The machine: emulated, without a disk and without a network. It dies with this process, also where that is killed.
fn qemu(kernel: &Kernel, results: &Path) -> Command {
    let mut qemu =
        command("setpriv --pdeathsig KILL qemu-system-x86_64 -nodefaults -no-reboot -display none");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-serial", "stdio"])
        .args(["-m", &MEMORY_MIB.to_string(), "-smp", &PROCESSORS.to_string()])
        .args(["-append", COMMAND_LINE, "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(results.join("initramfs"))
        .args([
            "-virtfs",
            "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
            "-virtfs",
        ])
        .arg(format!(
            "local,path={},mount_tag=results,security_model=none,multidevs=remap",
            results.display()
        ));
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    qemu
}

/// Runs the machine, and shows what it prints; how it ended, and nextest's summary.
fn run(qemu: &mut Command, patience: Duration) -> anyhow::Result<(ExitStatus, String)> {
    let mut machine = qemu.spawn().with_context(|| format!("cannot start {qemu:?}"))?;
    let console = machine.stdout.take().context("no pipe from qemu")?;
    let reader = thread::spawn(move || show(console));
    let status = wait(&mut machine, patience)?;
    let summary = reader.join().ok().flatten();
    Ok((status, summary.unwrap_or_else(|| "no summary".into())))
}

/// Shows each line as it comes; the last that is a summary of nextest.
fn show(console: impl Read) -> Option<String> {
    let mut summary = None;
    for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        println!("{line}");
        summary = summarized(line).map(str::to_owned).or(summary);
    }
    summary
}

/// `3 tests run: 3 passed, 400 skipped`, of nextest's line.
fn summarized(line: &str) -> Option<&str> {
    let (_, after) = line.trim_start().strip_prefix("Summary [")?.split_once(']')?;
    Some(after.trim())
}

fn wait(machine: &mut Child, patience: Duration) -> anyhow::Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = machine.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() > patience {
            machine.kill()?;
            machine.wait()?;
            bail!(
                "the virtual machine is stopped after {} minutes: its last line says in which test it was",
                patience.as_secs() / 60
            );
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the tests passed.
fn conclude(code: Option<i32>, test: Option<&str>) -> anyhow::Result<()> {
    match (code, test) {
        (Some(0), _) => Ok(()),
        (Some(NO_TESTS), Some(name)) => {
            bail!("no privileged test has `{name}` in its name or in that of its file")
        }
        (Some(code), _) => bail!("tests failed (nextest: exit code {code})"),
        (None, _) => bail!("the virtual machine ended before its tests did: what it printed last says why"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_privileged_tests_only() {
        assert_eq!(named("reach"), format!("({PRIVILEGED}) & (test(~reach) | binary(~reach))"));
    }

    #[test]
    fn the_shell_gets_the_filter_as_one_word_and_leaves_the_code_behind() {
        let session = session("test(=it's)");
        assert!(session.contains(r"-E 'test(=it'\''s)'"), "{session}");
        assert!(session.contains("echo $? > /run/results/code"), "{session}");
    }

    #[test]
    fn the_summary_is_found_between_other_lines() {
        let console =
            "   PASS [ 0.1s] x\r\n     Summary [  12.3s] 3 tests run: 3 passed, 400 skipped\r\nbye\r\n";
        assert_eq!(show(console.as_bytes()).as_deref(), Some("3 tests run: 3 passed, 400 skipped"));
        assert_eq!(show(&b"Kernel panic\n"[..]), None);
    }

    #[test]
    fn only_tests_that_passed_are_a_success() {
        for (code, test, want) in [
            (Some(0), None, None),
            (Some(100), None, Some("tests failed (nextest: exit code 100)")),
            (Some(4), Some("nix"), Some("no privileged test has `nix`")),
            (None, None, Some("ended before its tests did")),
        ] {
            let said = conclude(code, test).err().map(|error| error.to_string());
            let found = said.as_deref().unwrap_or_default();
            assert_eq!(said.is_some(), want.is_some(), "{code:?}: {found}");
            assert!(found.contains(want.unwrap_or_default()), "{found}");
        }
    }

    #[test]
    fn a_machine_that_does_not_end_is_stopped() {
        let mut slow = Command::new("sleep");
        slow.arg("60").stdout(Stdio::piped());
        let error = run(&mut slow, Duration::from_millis(200)).unwrap_err().to_string();
        assert!(error.contains("is stopped after 0 minutes"), "{error}");
    }

    #[test]
    fn the_readme_names_the_oldest_kernel() {
        let readme = fs::read_to_string(top().join("README.md")).unwrap();
        assert!(
            readme.contains(&format!("Linux machine ({OLDEST} or newer")),
            "README.md does not say Linux {OLDEST}"
        );
    }
}
