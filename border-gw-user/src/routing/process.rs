//! A BIRD process: started in a border gateway's network namespace, known again, ended.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use log::warn;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout};

use super::conf;
use super::control::SOCKET;
use crate::kernel::netns;

/// Where BIRD is, beside the search path: a service's may lack it.
const PLACES: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];
/// Longest time for a start or a check.
const PATIENCE: Duration = Duration::from_secs(20);
/// Its priority: that of what an operator wants to go on under load, below real-time.
const NICE: libc::c_int = -10;
/// How long a BIRD that is asked to end may take: it says good-bye to its peers.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where the BIRD of a border gateway is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Network namespace, by name.
    pub(super) namespace: String,
    /// Its configuration, control socket, process number and log.
    pub(super) directory: PathBuf,
}

/// A process that is the BIRD of a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pid: Pid,
    /// Whether it is in the namespace that has that name now.
    pub(super) in_namespace: bool,
}

impl Place {
    pub(super) fn new(gateway: &str, border_gateway: &str) -> Self {
        Self {
            namespace: format!("{gateway}.{border_gateway}"),
            directory: conf::directory(gateway, border_gateway),
        }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("bird.conf")
    }

    /// The configuration that is to be.
    pub(super) fn draft(&self) -> PathBuf {
        self.directory.join("bird.conf.new")
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("bird.pid")
    }

    /// Whether a BIRD was started here since the machine was. One that is asked to end removes its process number.
    pub(super) fn was_started(&self) -> bool {
        self.mark().exists()
    }

    fn mark(&self) -> PathBuf {
        self.directory.join("bird.started")
    }

    /// Notes that one runs here. Without the note its successor would begin without its routes, and nothing else.
    pub(super) fn mark_started(&self) {
        if !self.was_started()
            && let Err(error) = fs::write(self.mark(), "")
        {
            warn!("cannot write {}: {error}", self.mark().display());
        }
    }

    /// There is nothing to keep of the one that ran here.
    pub(super) fn forget_start(&self) {
        fs::remove_file(self.mark()).ok();
    }

    /// Writes the configuration that is to be, which holds keys: for us alone.
    pub(super) fn write_draft(&self, text: &str) -> io::Result<()> {
        if let Some(parent) = self.directory.parent() {
            fs::create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::set_permissions(&self.directory, Permissions::from_mode(0o700))?;
            }
            other => other?,
        }
        match fs::remove_file(self.draft()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.draft())?;
        file.write_all(text.as_bytes())
    }

    /// The BIRD that runs here.
    pub(super) fn find(&self) -> Option<Process> {
        if !self.config().exists() {
            return None;
        }
        let told = fs::read_to_string(self.pid_file()).ok().and_then(|text| text.trim().parse().ok());
        if let Some(process) = told.and_then(|pid| self.recognize(pid)) {
            return Some(process);
        }
        let entries = fs::read_dir("/proc").ok()?;
        let mut pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.find_map(|pid| self.recognize(pid))
    }

    /// Whether a process is the BIRD of this place: numbers are used again.
    fn recognize(&self, pid: i32) -> Option<Process> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        if pid <= 0 || fs::metadata(&process).ok()?.uid() != geteuid().as_raw() {
            return None;
        }
        // After an upgrade it ends with ` (deleted)`. A process that has ended and waits for its parent has none.
        let program = fs::read_link(process.join("exe")).ok()?;
        if !program.file_name()?.to_str()?.starts_with("bird") {
            return None;
        }
        let arguments = fs::read(process.join("cmdline")).ok()?;
        let config = self.config();
        let is_ours = arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == config.as_os_str().as_encoded_bytes());
        if !is_ours {
            return None;
        }
        let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let namespace = identity(&netns::path(&self.namespace));
        let in_namespace = namespace.is_some() && identity(&process.join("ns/net")) == namespace;
        Some(Process { pid: Pid::from_raw(pid), in_namespace })
    }

    /// Ends a BIRD; kernel routes stay where its configuration says so.
    pub(super) async fn end(&self, process: Process) -> io::Result<()> {
        let asked = Instant::now();
        let mut signal = Signal::SIGTERM;
        loop {
            // Looked at again before each signal.
            if self.recognize(process.pid.as_raw()).is_none() {
                return Ok(());
            }
            if signal == Signal::SIGTERM || asked.elapsed() > FAREWELL {
                kill(process.pid, signal)?;
                signal = Signal::SIGKILL;
            }
            if asked.elapsed() > 2 * FAREWELL {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end"));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether BIRD can read a configuration: nothing, or what it says.
    pub(super) async fn check(&self, bird: &Path, config: &Path) -> io::Result<Option<String>> {
        let mut command = tokio::process::Command::new(bird);
        command.arg("-p").arg("-c").arg(config).stdin(Stdio::null()).env_clear().kill_on_drop(true);
        Ok(complaint(&timeout(PATIENCE, command.output()).await.map_err(io::Error::from)??))
    }

    /// Starts BIRD with the configuration in force; with `recover` it leaves kernel routes alone until its peers are back.
    /// Nothing, or what it says.
    pub(super) async fn start(&self, bird: &Path, recover: bool) -> io::Result<Option<String>> {
        let mut command = Command::new(bird);
        command.arg("-c").arg(self.config()).args(["-s", SOCKET, "-P", "bird.pid"]);
        if recover {
            command.arg("-R");
        }
        // BIRD leaves its parent, its session and its standard streams; what it says before that is an error.
        command.current_dir(&self.directory).stdin(Stdio::null()).env_clear();
        // SAFETY: between fork and exec these are two system calls; they allocate nothing and take no lock.
        unsafe { command.pre_exec(alone_and_first) };
        let namespace = self.namespace.clone();
        let start = tokio::task::spawn_blocking(move || netns::inside(&namespace, move || command.output()));
        let output = timeout(PATIENCE, start).await.map_err(io::Error::from)?.map_err(io::Error::other)??;
        Ok(complaint(&output))
    }
}

impl Process {
    /// What can be read as soon as the process has ended (`pidfd_open(2)`).
    pub(super) fn end(self) -> io::Result<AsyncFd<OwnedFd>> {
        // SAFETY: the call takes two numbers, and returns an error or a descriptor.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid.as_raw(), libc::PIDFD_NONBLOCK) };
        if opened < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was opened just now, and is nobody else's.
        let end = unsafe { OwnedFd::from_raw_fd(opened as libc::c_int) };
        // SAFETY: an `OwnedFd` is the same open descriptor as long as it lives, which is in there.
        Ok(unsafe { AsyncFd::register_with_interest(end, Interest::READABLE) }?)
    }
}

/// What a command that failed said.
fn complaint(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("bird: ");
    (!output.status.success())
        .then(|| if said.is_empty() { output.status.to_string() } else { said.to_owned() })
}

/// Has every descriptor but the standard streams closed at `exec`, and the process run before others: on a busy machine BFD would
/// lose peers that are there.
fn alone_and_first() -> io::Result<()> {
    // SAFETY: a number of this process is set. Without the privilege it stays as it is, and so does all else.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    // SAFETY: only flags of descriptors are changed, all of which are this process's own.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The program.
pub(super) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(PLACES.iter().map(PathBuf::from));
    directories.map(|directory| directory.join("bird")).find(|file| file.is_file())
}

/// Names of the border gateways of a gateway that have, or had, a BIRD.
pub(super) fn started(gateway: &str) -> Vec<String> {
    let directory = conf::directory(gateway, "");
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let has_bird = |name: &String| Place::new(gateway, name).config().exists();
    names.filter(has_bird).collect()
}
