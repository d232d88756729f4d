//! The daemon: wiring, signals, shutdown. Decisions are elsewhere.

mod files;
mod sessions;
mod upkeep;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use log::{error, info, warn};
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use border_gw::compile::too_narrow;
use border_gw::control::{self, Order};
use border_gw::dataplane::bpf::Bpf;
use border_gw::dataplane::counters::Counters;
use border_gw::dataplane::pins;
use border_gw::failover::Failovers;
use border_gw::intent::{self, Intent, Sources};
use border_gw::kernel::{self, Kernel, Lost, Missing, Observed};
use border_gw::maintenance::{self, Maintenance};
use border_gw::reconcile::Reconciler;
use border_gw::routing::Routing;
use border_gw::state::State;
use border_gw::tables::Slots;

use files::Files;
use sessions::{Known, Wanted};
use upkeep::Complaints;

/// How long after a failed turn the next one starts, when nothing else happens.
const RETRY: Duration = Duration::from_secs(1);
/// How many times as long as a turn took the loop does not look at everything again, whatever the kernel tells: one customer who
/// changes something all the time must not keep it from noticing dead lines, which it looks for in between.
const REST: u32 = 3;
/// Longest that a turn may take: a kernel that does not answer is asked again on new sockets.
const LONGEST_TURN: Duration = Duration::from_mins(1);

/// Runs until SIGTERM or SIGINT. Forwarding goes on afterwards; `border-gw purge` ends it.
pub(crate) async fn run(config: &Path) -> anyhow::Result<()> {
    let mut files = Files::new();
    // Watched before anything takes its time: what changes meanwhile is read afterwards.
    let intent = Arc::new(files.load(config, &Sources::default()).await?);
    require_privileges()?;
    pins::require_visible()?;
    let _lock = lock(&intent)?;
    let listeners = control::listen(&intent).await?;
    preflight(&intent).await?;
    let kernel = Kernel::open(&intent)?;
    let adopted = pins::exist(&intent.gateway.name);
    let (mut daemon, state) = match Daemon::start(config, &intent, kernel).await {
        Ok(started) => started,
        Err(error) if adopted => return Err(error),
        Err(error) => {
            // Nothing ran before, and nothing is left.
            if let Err(left) = remove_all(&intent).await {
                warn!("what was made so far cannot be removed: {left:#}; run `border-gw purge`");
            }
            return Err(error);
        }
    };
    info!("gateway {} forwards: {}", intent.gateway.name, summary(&intent));
    let (publish, states) = watch::channel(state);
    let (order, orders) = control::orders();
    let (question, questions) = control::questions();
    let name = intent.gateway.name.clone();
    let servers = tokio::spawn(control::serve(listeners, name.clone(), states, (order, question)));
    let (known, sessions) = watch::channel(Known::default());
    let wanted = daemon.wanted.subscribe();
    tokio::spawn(sessions::look_after(name, wanted, known, questions));
    // A notification socket exists under systemd only.
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!("cannot tell systemd that the gateway is ready: {error}");
    }
    let result = daemon.follow(&publish, files, orders, sessions).await;
    servers.abort();
    info!("gateway {} stops; forwarding goes on with the tables as they are", intent.gateway.name);
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

/// BPF, interfaces and namespaces are root's.
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

/// Whether this machine can carry the intent, before anything is changed.
async fn preflight(intent: &Intent) -> anyhow::Result<()> {
    for note in kernel::preflight(intent, Missing::Refused).await? {
        warn!("{note}");
    }
    Ok(())
}

fn lock_path(gateway: &str) -> PathBuf {
    Path::new("/run/border-gw").join(format!("{gateway}.lock"))
}

/// Two daemons of one gateway would undo each other's work.
fn lock(intent: &Intent) -> anyhow::Result<Flock<File>> {
    let path = lock_path(&intent.gateway.name);
    std::fs::create_dir_all("/run/border-gw").context("cannot make /run/border-gw")?;
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
    /// What the files say.
    declared: Arc<Intent>,
    maintenance: Maintenance,
    /// What is in force: the declared, less what is out of service.
    intent: Arc<Intent>,
    counters: Counters,
    kernel: Kernel,
    /// The kernel side is not, or may not be, what the intent says.
    unsettled: bool,
    reconciler: Reconciler<Bpf>,
    config_error: Option<String>,
    /// Ports that leave IPv6 too little, and what was said about each.
    narrow: BTreeMap<String, String>,
    /// What the last turn saw, and for which intent.
    observed: Arc<Observed>,
    observed_for: Arc<Intent>,
    slots: Arc<Slots>,
    failovers: Failovers,
    /// What died since the last turn saw everything, and has left the buckets.
    given_up: Lost,
    started: Instant,
    /// What routing daemons are to be made of.
    wanted: watch::Sender<Wanted>,
    /// What is known of them.
    known: Known,
    /// When the traffic of what is being drained has to be looked at.
    drain_look: Instant,
    /// Lines of the log about lines that die.
    complaints: Complaints,
}

/// Signals that end the daemon, and the one that makes it read its files.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the daemon is to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Waits until then; without a time for ever.
async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// Why the loop turns.
enum Cause {
    /// Something is to be looked at again.
    Kernel,
    /// What waited may be looked at now.
    Rested,
    /// The files are to be read again.
    Files,
    /// Somebody asks for something.
    Order(Order),
    /// A time has come.
    Time,
}

impl Daemon {
    /// Makes the kernel side and fills the tables; the daemon does not start when this fails.
    async fn start(config: &Path, intent: &Arc<Intent>, kernel: Kernel) -> anyhow::Result<(Self, State)> {
        let dataplane = Bpf::open(&intent.gateway.name, intent.gateway.xdp_mode)?;
        let counters = Counters::open(&intent.gateway.name)?;
        let maintenance = Maintenance::load(&intent.gateway.name, SystemTime::now(), Instant::now())?;
        let mut daemon = Self {
            config: config.to_owned(),
            declared: Arc::clone(intent),
            intent: Arc::new(maintenance.applied(intent)),
            maintenance,
            counters,
            kernel,
            unsettled: true,
            reconciler: Reconciler::new(dataplane),
            config_error: None,
            narrow: BTreeMap::new(),
            observed: Arc::default(),
            observed_for: Arc::clone(intent),
            slots: Arc::default(),
            failovers: Failovers::default(),
            given_up: Lost::default(),
            started: Instant::now(),
            wanted: watch::Sender::new(Wanted::default()),
            known: Known::default(),
            drain_look: Instant::now(),
            complaints: Complaints::default(),
        };
        let (state, result) = daemon.turn().await?;
        result?;
        Ok((daemon, state))
    }

    /// Sees, compiles, applies, and lets the kernel side follow the ports.
    async fn turn(&mut self) -> anyhow::Result<(State, anyhow::Result<()>)> {
        let mut observed = self.kernel.observe(&self.intent).await?;
        if self.unsettled || !self.kernel.is_whole(&self.intent, &observed) {
            self.unsettled = true;
            self.kernel.ensure(&self.intent).await?;
            self.unsettled = false;
            observed = self.kernel.observe(&self.intent).await?;
        }
        // What died while it was looked at; what another document does not have did not die.
        if Arc::ptr_eq(&self.observed_for, &self.intent) {
            self.give_up(&Lost::between(&self.intent, &self.observed, &observed).without(&self.given_up));
        }
        self.given_up = Lost::default();
        self.observed_for = Arc::clone(&self.intent);
        let (mut state, result) = self.reconciler.turn(&self.intent, observed);
        state.config_error.clone_from(&self.config_error);
        self.say_what_is_narrow(&state.observed);
        self.observed = Arc::clone(&state.observed);
        self.slots = Arc::clone(&state.slots);
        self.failovers.converged(&self.observed, Instant::now());
        state.failovers = Arc::new(self.failovers.clone());
        state.maintenance = Arc::new(self.maintenance.states());
        state.started = Some(self.started);
        self.known.fill(&mut state);
        self.want_sessions();
        // After the tables: buckets first, then the veths.
        self.kernel.follow(&self.intent, &state.observed).await?;
        Ok((state, result.map(|_| ()).map_err(Into::into)))
    }

    /// One line in the log for each change.
    fn say_what_is_narrow(&mut self, observed: &Observed) {
        let found = too_narrow(&self.intent, observed);
        for (_, sentence) in found.iter().filter(|(port, now)| self.narrow.get(*port) != Some(now)) {
            warn!("{sentence}");
        }
        for port in self.narrow.keys().filter(|port| !found.contains_key(*port)) {
            info!("interface `{port}` leaves IPv6 enough again, or is gone");
        }
        self.narrow = found;
    }

    async fn follow(
        &mut self,
        publish: &watch::Sender<State>,
        mut files: Files,
        mut orders: mpsc::Receiver<Order>,
        mut sessions: watch::Receiver<Known>,
    ) -> anyhow::Result<()> {
        let mut signals = Signals::new()?;
        let mut failed = false;
        // What the kernel told and no turn has looked at yet, and when that may be.
        let mut waits = false;
        let mut rested = Instant::now();
        loop {
            let cause = tokio::select! {
                _ = signals.terminate.recv() => return Ok(()),
                _ = signals.interrupt.recv() => return Ok(()),
                _ = signals.hangup.recv() => Cause::Files,
                () = files.changed() => Cause::Files,
                () = self.kernel.changed() => Cause::Kernel,
                Some(order) = orders.recv() => Cause::Order(order),
                () = sleep_until(self.next_look()) => Cause::Time,
                Ok(()) = sessions.changed() => {
                    let known = sessions.borrow_and_update().clone();
                    self.learn_of_sessions(known);
                    publish.send_modify(|state| {
                        self.known.fill(state);
                        state.failovers = Arc::new(self.failovers.clone());
                    });
                    continue;
                }
                () = tokio::time::sleep_until(rested.into()), if waits => Cause::Rested,
                () = tokio::time::sleep(RETRY), if failed => Cause::Rested,
            };
            let started = Instant::now();
            let told = matches!(cause, Cause::Kernel);
            let work = async {
                let mut answer = None;
                let lost = self.give_up_lines().await;
                match cause {
                    Cause::Files => self.reload(&mut files).await,
                    Cause::Kernel if !lost && started < rested => return None,
                    Cause::Order(order) => answer = Some(self.order(order)),
                    Cause::Time if !self.advance_maintenance() && !lost => return None,
                    Cause::Kernel | Cause::Rested | Cause::Time => {}
                }
                let failed = self.publish_turn(publish).await;
                if let Some(answer) = answer {
                    answer();
                }
                Some(failed)
            };
            // A kernel or a file that does not answer must not keep the daemon from ending.
            let turned = tokio::select! {
                turned = work => turned,
                () = signals.end() => return Ok(()),
            };
            // What waits goes on to wait until a turn has looked at it.
            waits = turned.is_none() && (waits || told);
            if let Some(now_failed) = turned {
                failed = now_failed;
                rested = Instant::now() + started.elapsed() * REST;
            }
        }
    }

    /// One turn of the loop; true when it failed and is to be tried again.
    async fn publish_turn(&mut self, publish: &watch::Sender<State>) -> bool {
        let error = match tokio::time::timeout(LONGEST_TURN, self.turn()).await {
            Ok(Ok((state, result))) => {
                publish.send_replace(state);
                match result {
                    Ok(()) => return false,
                    Err(error) => error.context("tables are not what they should be"),
                }
            }
            Ok(Err(error)) => failed(publish, error.context("the kernel cannot be read or followed")),
            Err(_elapsed) => {
                let error = match Kernel::open(&self.intent) {
                    Ok(kernel) => {
                        self.kernel = kernel;
                        self.unsettled = true;
                        anyhow::anyhow!("the kernel does not answer")
                    }
                    Err(error) => error.into(),
                };
                failed(publish, error)
            }
        };
        error!("{error:#}; this is tried again in a second");
        true
    }

    /// Takes the files as they are now; what is wrong changes nothing.
    async fn reload(&mut self, files: &mut Files) {
        match self.try_reload(files).await {
            Ok(()) => self.config_error = None,
            Err(error) => {
                error!("the configuration stays as it was: {error:#}");
                self.config_error = Some(format!("{error:#}"));
            }
        }
    }

    async fn try_reload(&mut self, files: &mut Files) -> anyhow::Result<()> {
        let intent = files.load(&self.config, &self.declared.sources).await?;
        let (old, new) = (&self.declared.gateway, &intent.gateway);
        if (&old.name, &old.metrics, &old.control, old.xdp_mode)
            != (&new.name, &new.metrics, &new.control, new.xdp_mode)
        {
            bail!("`gateway.name`, `metrics`, `control` and `xdp_mode` change with a restart only");
        }
        if intent == *self.declared {
            return Ok(());
        }
        preflight(&intent).await?;
        // Whatever fails from here on, the next turn makes the kernel side again what the intent says that is in force.
        self.unsettled = true;
        self.kernel.ensure(&intent).await?;
        self.unsettled = false;
        info!("configuration loaded: {}", summary(&intent));
        self.intent = Arc::new(self.maintenance.applied(&intent));
        self.declared = Arc::new(intent);
        Ok(())
    }
}

/// Publishes that a turn failed before its tables were known.
fn failed(publish: &watch::Sender<State>, error: anyhow::Error) -> anyhow::Error {
    publish.send_modify(|state| {
        state.failures += 1;
        state.last_failure = Some(format!("{error:#}"));
    });
    error
}

/// Detaches the programs, forgets the maps and removes the namespaces of a gateway that does not run.
pub(crate) async fn purge(config: &Path) -> anyhow::Result<()> {
    let intent = intent::load(config)?;
    require_privileges()?;
    pins::require_visible()?;
    let _lock = lock(&intent)?;
    remove_all(&intent).await?;
    remove_directory(&maintenance::directory(&intent.gateway.name))
}

fn remove_directory(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

async fn remove_all(intent: &Intent) -> anyhow::Result<()> {
    pins::purge(&intent.gateway.name)?;
    Routing::purge(&intent.gateway.name).await?;
    Kernel::purge(intent).await?;
    // Still locked: who opens the file now finds no gateway, and makes its own.
    std::fs::remove_file(lock_path(&intent.gateway.name)).context("cannot remove the lock")
}
