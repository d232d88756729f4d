//! The configuration's files, watched.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::warn;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How long files must be quiet before they are read: what is being written is not whole yet.
const QUIET: Duration = Duration::from_millis(200);
/// Longest wait for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches the directories of the files: an editor or a configuration tool replaces a file, and its inode with it.
pub(super) struct Files {
    nudge: mpsc::Sender<()>,
    changes: mpsc::Receiver<()>,
    /// Something changed, and is not read yet.
    pending: bool,
    watched: Vec<PathBuf>,
    watcher: Option<RecommendedWatcher>,
}

impl Files {
    /// Watches these files.
    pub(super) fn new(files: &[PathBuf]) -> Self {
        let (nudge, changes) = mpsc::channel(1);
        let mut all = Self { nudge, changes, pending: false, watched: Vec::new(), watcher: None };
        all.watch(files);
        all
    }

    /// Watches these files instead. What cannot be watched is a warning: SIGHUP reads it all the same.
    pub(super) fn watch(&mut self, files: &[PathBuf]) {
        if self.watcher.is_some() && self.watched == files {
            return;
        }
        match watcher(files.to_vec(), self.nudge.clone()) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.watched = files.to_vec();
            }
            Err(error) => {
                warn!("cannot watch the configuration's files; after a change, send SIGHUP: {error}");
            }
        }
    }

    /// Waits until files changed and are quiet again. May be given up at any time: a change is kept until it was told.
    pub(super) async fn changed(&mut self) {
        while !self.pending {
            match self.changes.recv().await {
                Some(()) => self.pending = true,
                None => std::future::pending().await,
            }
        }
        let settle = async { while tokio::time::timeout(QUIET, self.changes.recv()).await.is_ok() {} };
        // Files that are written all the time are read as they are.
        tokio::time::timeout(PATIENCE, settle).await.ok();
        self.pending = false;
    }
}

fn watcher(files: Vec<PathBuf>, nudge: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let dirs: BTreeSet<PathBuf> = files.iter().map(|file| parent(file)).collect();
    let concerns = move |event: &notify::Event| {
        !event.kind.is_access()
            && event.paths.iter().any(|path| files.iter().any(|file| file.file_name() == path.file_name()))
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.as_ref().map_or(true, &concerns) {
            // A nudge that is waiting already stands for this one, too.
            nudge.try_send(()).ok();
        }
    })?;
    for dir in dirs {
        watcher.watch(&dir, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(dir) if dir.as_os_str().is_empty() => PathBuf::from("."),
        Some(dir) => dir.to_owned(),
        None => PathBuf::from("/"),
    }
}
