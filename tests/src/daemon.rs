//! The gateway's daemon in the testbed.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::netns::{Netns, Running};
use crate::stop;

/// The program under test: of the same build as this one.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BORDER_GW_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.ancestors().skip(1).map(|directory| directory.join("border-gw"));
    beside.into_iter().find(|program| program.is_file()).unwrap_or_else(|| "border-gw".into())
}

/// A running daemon; purged when dropped.
pub struct Daemon {
    process: Option<Running>,
    server: String,
    config: PathBuf,
}

/// How long a daemon may take until it answers: it loads programs, which takes a minute where the processor is emulated, and makes
/// namespaces.
const START: Duration = Duration::from_mins(5);

impl Daemon {
    /// Starts one in the server's namespace, and waits until it answers.
    pub fn start(server: &Netns, config: &Path) -> anyhow::Result<Self> {
        let mut daemon = Self { process: None, server: server.name.clone(), config: config.to_owned() };
        daemon.restart()?;
        Ok(daemon)
    }

    fn command(&self, arguments: &str) -> Command {
        let server = std::mem::ManuallyDrop::new(Netns { name: self.server.clone() });
        server.command(&format!("{} {arguments} --config {}", binary().display(), self.config.display()))
    }

    /// Starts it again after [`Daemon::kill`] or [`Daemon::stop`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let log = self.config.with_extension("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = spawn(self.command("run").stdout(file.try_clone()?).stderr(file))?;
        let mut running = Running::from(child);
        let started = Instant::now();
        while self.show("vifs").is_err() {
            if running.has_ended() || started.elapsed() > START {
                bail!("border-gw does not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(running);
        Ok(())
    }

    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Running::id)
    }

    /// kill -9: nothing is cleaned up.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM; forwarding goes on.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        let output = process.interrupt(Signal::SIGTERM)?;
        if !output.status.success() {
            bail!("border-gw ended with {}", output.status);
        }
        Ok(())
    }

    /// `border-gw show WHAT --json`.
    pub fn show(&self, what: &str) -> anyhow::Result<Value> {
        let text = crate::netns::output(&mut self.command(&format!("show {what} --json")))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.config.with_extension("log")).unwrap_or_default()
    }

    /// Detaches programs, forgets maps, removes namespaces.
    pub fn purge(&self) -> anyhow::Result<()> {
        // It makes the file of its lock.
        let mut command = self.command("purge");
        stop::make(|| crate::netns::output(&mut command)).map(drop)
    }
}

/// Starts a daemon that does not outlive the thread which starts it, also where that is killed.
fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec two system calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // It may have died before that.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(nix::Error::ESRCH.into()) }
        });
    }
    stop::make(|| command.spawn()).context("cannot start border-gw")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop());
        // The run's remains are removed by name in any case.
        drop(self.purge());
    }
}
