//! The daemon: wiring, signals, shutdown. Decisions are elsewhere.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use log::{error, info, warn};
use nix::fcntl::{Flock, FlockArg};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use border_gw::control;
use border_gw::dataplane::bpf::Bpf;
use border_gw::intent::{self, Intent, XdpMode};
use border_gw::kernel::Kernel;
use border_gw::reconcile::Reconciler;
use border_gw::state::State;

/// How long after a failed turn the next one starts, when nothing else happens.
const RETRY: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT. Forwarding goes on afterwards; `border-gw purge` ends it.
pub(crate) async fn run(config: &Path) -> anyhow::Result<()> {
    let intent = Arc::new(intent::load(config)?);
    require_privileges()?;
    let _lock = lock(&intent)?;
    let kernel = Kernel::open(&intent)?;
    kernel.preflight(&intent).await?;
    let dataplane = Bpf::open(&intent.gateway.name, intent.gateway.xdp_mode)?;
    let listeners = control::listen(&intent).await?;
    let mut daemon = Daemon {
        config: config.to_owned(),
        intent,
        kernel,
        reconciler: Reconciler::new(dataplane),
        config_error: None,
    };
    let state = daemon.first_turn().await?;
    let mode = match daemon.intent.gateway.xdp_mode {
        XdpMode::Native => "native",
        XdpMode::Skb => "skb",
    };
    info!("gateway {} forwards: XDP in {mode} mode, {}", daemon.intent.gateway.name, summary(&daemon.intent));
    let (publish, states) = watch::channel(state);
    let servers = tokio::spawn(control::serve(listeners, daemon.intent.gateway.name.clone(), states));
    // A notification socket exists under systemd only.
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!("cannot tell systemd that the gateway is ready: {error}");
    }
    let result = daemon.follow(&publish).await;
    servers.abort();
    info!("gateway {} stops; forwarding goes on with the tables as they are", daemon.intent.gateway.name);
    result
}

fn summary(intent: &Intent) -> String {
    let vifs: usize = intent.border_gateways.iter().map(|gateway| gateway.virtual_interfaces.len()).sum();
    let vpcs: usize = intent.border_gateways.iter().map(|gateway| gateway.vpc_attachments.len()).sum();
    format!(
        "{} border gateways, {vifs} virtual interfaces, {vpcs} VPC attachments",
        intent.border_gateways.len()
    )
}

/// BPF, interfaces and namespaces are for root, or for who has its capabilities.
fn require_privileges() -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!(
        "cannot run as user {}: loading BPF programs and making network namespaces takes root; start it with sudo or as a \
         system service",
        nix::unistd::geteuid()
    )
}

/// Two daemons of one gateway would undo each other's work.
fn lock(intent: &Intent) -> anyhow::Result<Flock<File>> {
    let dir = Path::new("/run/border-gw");
    let path = dir.join(format!("{}.lock", intent.gateway.name));
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, _)) => bail!(
            "gateway `{}` has a daemon already (it holds {}): stop that one, or give this one another `gateway.name`",
            intent.gateway.name,
            path.display()
        ),
    }
}

struct Daemon {
    config: PathBuf,
    intent: Arc<Intent>,
    kernel: Kernel,
    reconciler: Reconciler<Bpf>,
    config_error: Option<String>,
}

impl Daemon {
    /// Makes the kernel side and fills the tables; the daemon does not start when this fails.
    async fn first_turn(&mut self) -> anyhow::Result<State> {
        self.kernel.ensure(&self.intent).await?;
        let (state, result) = self.turn().await?;
        result?;
        Ok(state)
    }

    /// Sees, compiles, applies, and lets the kernel side follow the ports.
    async fn turn(&mut self) -> anyhow::Result<(State, anyhow::Result<()>)> {
        let observed = self.kernel.observe(&self.intent).await?;
        let (mut state, result) = self.reconciler.turn(&self.intent, observed);
        state.config_error.clone_from(&self.config_error);
        // After the tables: buckets first, then the veths.
        self.kernel.follow(&self.intent, &state.observed).await?;
        Ok((state, result.map(|_| ()).map_err(Into::into)))
    }

    async fn follow(&mut self, publish: &watch::Sender<State>) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (nudge, mut files) = mpsc::channel(1);
        let mut watcher = watch_files(&self.intent, nudge.clone())?;
        let mut failed = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => {
                    self.reload().await;
                    watcher = watch_files(&self.intent, nudge.clone())?;
                }
                _ = files.recv() => {
                    self.reload().await;
                    watcher = watch_files(&self.intent, nudge.clone())?;
                }
                () = self.kernel.changed() => {}
                () = tokio::time::sleep(RETRY), if failed => {}
            }
            let _keep = &watcher;
            failed = self.publish_turn(publish).await;
        }
    }

    /// One turn of the loop; true when it failed and is to be tried again.
    async fn publish_turn(&mut self, publish: &watch::Sender<State>) -> bool {
        match self.turn().await {
            Ok((state, result)) => {
                publish.send_replace(state);
                if let Err(error) = &result {
                    error!("tables are not what they should be, and are tried again in a second: {error:#}");
                }
                result.is_err()
            }
            Err(error) => {
                error!("the kernel cannot be read or followed, which is tried again in a second: {error:#}");
                true
            }
        }
    }

    /// Takes the files as they are now; what is wrong changes nothing.
    async fn reload(&mut self) {
        match self.try_reload().await {
            Ok(()) => self.config_error = None,
            Err(error) => {
                error!("the configuration stays as it was: {error:#}");
                self.config_error = Some(format!("{error:#}"));
            }
        }
    }

    async fn try_reload(&mut self) -> anyhow::Result<()> {
        let intent = Arc::new(intent::load(&self.config)?);
        let (old, new) = (&self.intent.gateway, &intent.gateway);
        if (&old.name, &old.metrics, &old.control, old.xdp_mode)
            != (&new.name, &new.metrics, &new.control, new.xdp_mode)
        {
            bail!("`gateway.name`, `metrics`, `control` and `xdp_mode` change with a restart only");
        }
        if *intent == *self.intent {
            return Ok(());
        }
        self.kernel.preflight(&intent).await?;
        self.kernel.ensure(&intent).await?;
        info!("configuration loaded: {}", summary(&intent));
        self.intent = intent;
        Ok(())
    }
}

/// Watches the directories of the files: an editor or a configuration tool replaces a file, and its inode with it.
fn watch_files(intent: &Intent, nudge: mpsc::Sender<()>) -> anyhow::Result<RecommendedWatcher> {
    let files = intent.files.clone();
    let concerns = move |event: &notify::Event| {
        !event.kind.is_access()
            && event.paths.iter().any(|path| files.iter().any(|file| file.file_name() == path.file_name()))
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.as_ref().map_or(true, &concerns) {
            // A nudge that is waiting already stands for this one, too.
            nudge.try_send(()).ok();
        }
    })
    .context("cannot watch files")?;
    let parent = |file: &PathBuf| match file.parent() {
        Some(dir) if dir.as_os_str().is_empty() => PathBuf::from("."),
        Some(dir) => dir.to_owned(),
        None => PathBuf::from("/"),
    };
    let dirs: std::collections::BTreeSet<PathBuf> = intent.files.iter().map(parent).collect();
    for dir in dirs {
        watcher
            .watch(&dir, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch {}", dir.display()))?;
    }
    Ok(watcher)
}

/// Detaches the programs, forgets the maps and removes the namespaces of a gateway that does not run.
pub(crate) fn purge(config: &Path) -> anyhow::Result<()> {
    let intent = intent::load(config)?;
    require_privileges()?;
    let _lock = lock(&intent)?;
    border_gw::dataplane::pins::purge(&intent.gateway.name)?;
    Kernel::purge(&intent.gateway.name)?;
    Ok(())
}
