//! The configuration's files, watched: those that are read, and those that may come.

use std::path::Path;
use std::time::Duration;

use border_gw::intent::{self, Errors, Intent, Places, Sources};
use log::warn;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long files must be quiet before they are read: what is being written is not whole yet.
const QUIET: Duration = Duration::from_millis(200);
/// Longest wait for that.
const PATIENCE: Duration = Duration::from_secs(5);
/// Readings of files that change while they are read; what is left for later is told by the watch.
const READINGS: usize = 3;

/// Watches directories: an editor or a configuration tool replaces a file, and its inode with it.
pub(super) struct Files {
    nudge: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    /// Something changed, and is not read yet: since when, and when it changed last.
    pending: Option<(Instant, Instant)>,
    places: Places,
    watcher: Option<RecommendedWatcher>,
}

impl Files {
    /// Watches nothing yet.
    pub(super) fn new() -> Self {
        let (nudge, changes) = mpsc::channel(1);
        Self { nudge, changes, pending: None, places: Places::default(), watcher: None }
    }

    /// Loads a configuration, and watches where it and what is in force came from; also where the loading failed, because what
    /// mends it happens there.
    pub(super) async fn load(&mut self, config: &Path, in_force: &Sources) -> anyhow::Result<Intent> {
        let mut readings = 1;
        loop {
            let (config, in_force) = (config.to_owned(), in_force.clone());
            let (result, places) = tokio::task::spawn_blocking(move || read(&config, &in_force)).await?;
            // What changed between the reading and the watching was not told.
            if !self.watch(places) || readings == READINGS {
                return Ok(result?);
            }
            readings += 1;
        }
    }

    /// Watches these places instead; false where they are watched already. What cannot be watched is a warning: SIGHUP reads it
    /// all the same.
    fn watch(&mut self, places: Places) -> bool {
        if self.watcher.is_some() && self.places == places {
            return false;
        }
        match watcher(&places, self.nudge.clone()) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.places = places;
                true
            }
            Err(error) => {
                warn!("cannot watch the configuration's files; after a change, send SIGHUP: {error}");
                false
            }
        }
    }

    /// Waits until files changed and are quiet again. May be given up at any time, and goes on from there: a change is kept until it
    /// was told, and so is the time since then.
    pub(super) async fn changed(&mut self) {
        loop {
            let Some((first, last)) = self.pending else {
                match self.changes.recv().await {
                    Some(()) => self.pending = Some((Instant::now(), Instant::now())),
                    None => std::future::pending().await,
                }
                continue;
            };
            // Files that are written all the time are read as they are.
            let due = (last + QUIET).min(first + PATIENCE);
            match tokio::time::timeout_at(due, self.changes.recv()).await {
                Ok(_) => self.pending = Some((first, Instant::now())),
                Err(_elapsed) => {
                    self.pending = None;
                    return;
                }
            }
        }
    }
}

fn read(config: &Path, in_force: &Sources) -> (Result<Intent, Errors>, Places) {
    let result = intent::load(config);
    let sources = match &result {
        Ok(intent) => &intent.sources,
        Err(errors) => &errors.sources,
    };
    let places = sources.and(in_force).places();
    (result, places)
}

fn watcher(places: &Places, nudge: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let watched = places.clone();
    let concerns = move |event: &notify::Event| {
        !event.kind.is_access() && event.paths.iter().any(|path| watched.concern(path))
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.as_ref().map_or(true, &concerns) {
            // A nudge that is waiting already stands for this one, too.
            nudge.try_send(()).ok();
        }
    })?;
    for directory in places.directories() {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}
