//! Network namespaces of the testbed: made, entered, and removed again, also after a crash.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stop;

/// Names of our namespaces and gateways start with this and the process's number.
const PREFIX: &str = "bgt";

/// What a run is called: its namespaces are `NAME-..`, its gateway is `NAME`.
pub fn run_name() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static RUNS: AtomicU32 = AtomicU32::new(0);
    format!("{PREFIX}{}x{}", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed))
}

/// A namespace, removed when dropped.
#[derive(Debug)]
pub struct Netns {
    /// Its name, as `ip netns` lists it.
    pub name: String,
}

impl Netns {
    /// Makes a namespace with `lo` up, in which IPv6 addresses can be used at once.
    pub fn new(run: &str, role: &str) -> anyhow::Result<Self> {
        let name = format!("{run}-{role}");
        let netns = stop::make(|| {
            output(Command::new("ip").args(["netns", "add", &name]))?;
            anyhow::Ok(Self { name })
        })?;
        netns.sysctl(&[("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0")])?;
        netns.ip(&["link set lo up"])?;
        Ok(netns)
    }

    /// Carries out `ip` commands, one a line.
    pub fn ip(&self, lines: &[&str]) -> anyhow::Result<()> {
        stop::go_on();
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot start `ip`")?;
        let mut input = child.stdin.take().context("no pipe to `ip`")?;
        input.write_all((lines.join("\n") + "\n").as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "ip -n {}: {}\n{}",
                self.name,
                String::from_utf8_lossy(&output.stderr).trim(),
                lines.join("\n")
            );
        }
        Ok(())
    }

    /// A command that is to run in here. It shares the file systems, bpffs among them, which `ip netns exec` hides. It has a
    /// process group of its own: Ctrl-C is the testbed's, which may need it to clean up.
    pub fn command(&self, line: &str) -> Command {
        stop::go_on();
        let mut words = line.split_whitespace();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).args(words.by_ref()).stdin(Stdio::null());
        command.process_group(0);
        command
    }

    /// Runs a command to its end; what it printed, or an error with it.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        output(&mut self.command(line)).with_context(|| format!("in {}", self.name))
    }

    /// What a command prints, whether it succeeds or not.
    pub fn said(&self, line: &str) -> String {
        let said = |output: Output| [output.stdout, output.stderr].concat();
        let said = self.command(line).output().map(said).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Whether a command succeeds.
    pub fn succeeds(&self, line: &str) -> bool {
        self.command(line)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Starts a command that goes on; it is killed when dropped.
    pub fn start(&self, line: &str) -> anyhow::Result<Running> {
        let child = self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Ok(Running(child.with_context(|| format!("cannot start `{line}` in {}", self.name))?))
    }

    /// Processes of a program in here.
    pub fn processes(&self, program: &str) -> Vec<Pid> {
        let is_program = |pid: &Pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == program)
        };
        processes_in(std::slice::from_ref(&self.name)).into_iter().filter(is_program).collect()
    }

    /// Does something in here, on a thread of its own.
    pub fn inside<T: Send + 'static>(
        &self,
        what: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let file = File::open(format!("/run/netns/{}", self.name))?;
        let thread = thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET)?;
            what()
        });
        thread.join().map_err(|_panic| anyhow::anyhow!("a thread in {} panicked", self.name))?
    }

    /// Writes sysctls below /proc/sys/net.
    pub fn sysctl(&self, settings: &[(impl AsRef<str>, &'static str)]) -> anyhow::Result<()> {
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| (name.as_ref().to_owned(), *value)).collect();
        self.inside(move || {
            for (name, value) in settings {
                fs::write(Path::new("/proc/sys/net").join(&name), value).with_context(|| name.clone())?;
            }
            Ok(())
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if Path::new("/run/netns").join(&self.name).exists() {
            remove(std::slice::from_ref(&self.name));
        }
    }
}

/// A process in a namespace, killed when dropped.
pub struct Running(Child);

impl From<Child> for Running {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Running {
    /// Whether it ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end, and waits for what it printed.
    pub fn interrupt(mut self, signal: Signal) -> anyhow::Result<Output> {
        use std::io::Read as _;
        kill(Pid::from_raw(self.0.id().cast_signed()), signal)?;
        let status = self.0.wait()?;
        let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new() };
        self.0.stdout.take().map(|mut pipe| pipe.read_to_end(&mut output.stdout)).transpose()?;
        self.0.stderr.take().map(|mut pipe| pipe.read_to_end(&mut output.stderr)).transpose()?;
        Ok(output)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a command to its end, out of reach of Ctrl-C; what it printed, or an error with it.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.process_group(0).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Removes namespaces with the processes in them: these first, since a daemon that lives makes namespaces.
fn remove(names: &[String]) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let started = Instant::now();
    while kill_all(&processes_in(names)) && started.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    for name in names {
        // As `ip netns del` does it, but not by a process: that could be interrupted before it has a group of its own.
        let path = Path::new("/run/netns").join(name);
        umount2(&path, MntFlags::MNT_DETACH).ok();
        drop(fs::remove_file(&path));
    }
}

/// Kills processes; whether there were any.
fn kill_all(pids: &[Pid]) -> bool {
    for pid in pids {
        // It may be gone by now.
        kill(*pid, Signal::SIGKILL).ok();
    }
    !pids.is_empty()
}

/// Every process of the machine.
fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok().map(Pid::from_raw))
}

fn processes_in(names: &[String]) -> Vec<Pid> {
    let identity = |path: String| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let namespaces: Vec<_> = names.iter().filter_map(|name| identity(format!("/run/netns/{name}"))).collect();
    processes()
        .filter(|pid| identity(format!("/proc/{pid}/ns/net")).is_some_and(|net| namespaces.contains(&net)))
        .collect()
}

/// Kills the processes that this one started.
pub(crate) fn kill_children() {
    let own = std::process::id().to_string();
    let is_child = |pid: &Pid| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        // Number, (name), state, parent; a name may hold anything.
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(own.as_str())
    };
    kill_all(&processes().filter(is_child).collect::<Vec<_>>());
}

/// Removes everything of a run: namespaces of its own and of its gateway, pins, files.
pub fn remove_run(run: &str) {
    let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names: Vec<String> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| run_of(name).as_deref() == Some(run))
        .collect();
    remove(&names);
    drop(fs::remove_dir_all(Path::new("/sys/fs/bpf/border-gw").join(run)));
    drop(fs::remove_dir_all(Path::new("/run/border-gw").join(run)));
    drop(fs::remove_dir_all(Path::new("/run/border-gw").join(format!("{run}-peers"))));
    drop(fs::remove_file(Path::new("/run/border-gw").join(format!("{run}.lock"))));
}

/// Runs of which something is there.
fn runs() -> std::collections::BTreeSet<String> {
    let places = ["/run/netns", "/sys/fs/bpf/border-gw", "/run/border-gw"];
    let names = places.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    names.filter_map(|entry| run_of(&entry.file_name().to_string_lossy())).collect()
}

/// The process that a run is of.
fn owner(run: &str) -> Option<u32> {
    run.trim_start_matches(PREFIX).split('x').next()?.parse().ok()
}

/// Removes all runs of a process.
pub(crate) fn remove_runs_of(pid: u32) {
    for run in runs().iter().filter(|run| owner(run) == Some(pid)) {
        remove_run(run);
    }
}

/// Removes what runs left behind whose process is gone.
pub fn sweep() {
    for run in runs() {
        if owner(&run).is_some_and(|pid| pid != std::process::id() && !is_ours(pid)) {
            remove_run(&run);
        }
    }
}

/// Whether a process is one of the testbed: numbers are used again.
fn is_ours(pid: u32) -> bool {
    let Ok(exe) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    let name = exe.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let tests = ["xtask", "testbed", "end_to_end", "operation"];
    tests.iter().any(|test| name.starts_with(test)) || exe.to_string_lossy().contains("/target/")
}

/// The run that a namespace, directory or file belongs to.
fn run_of(name: &str) -> Option<String> {
    let run: &str = name.split(['-', '.']).next()?;
    let numbers = run.strip_prefix(PREFIX)?.split_once('x')?;
    (numbers.0.parse::<u32>().is_ok() && numbers.1.parse::<u32>().is_ok()).then(|| run.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_c_does_not_reach_what_cleans_up() {
        let mut shell = Command::new("sh");
        let said = output(shell.args(["-c", "cut -d ' ' -f 5 /proc/$$/stat; echo $$"])).unwrap();
        let [group, pid] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert_eq!(group, pid, "it leads a process group of its own");
    }

    #[test]
    fn a_run_is_known_by_its_names() {
        for (name, want) in [
            ("bgt12x0-ca", Some("bgt12x0")),
            ("bgt12x0.bgw-1", Some("bgt12x0")),
            ("bgt12x0", Some("bgt12x0")),
            ("bgt12x01-ca", Some("bgt12x01")),
            ("bgw-server-1.bgw-1", None),
            ("bgtx0", None),
        ] {
            assert_eq!(run_of(name).as_deref(), want, "{name}");
        }
        assert_eq!(owner("bgt12x0"), Some(12));
    }
}
