//! Ctrl-C, SIGTERM and a terminal that goes: what this process made is removed, whatever it was doing just then.

use std::io::Write as _;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::netns;

/// A signal came: nothing is made any more, and the process ends with the clean-up.
static STOPPING: AtomicBool = AtomicBool::new(false);
/// Held by who makes something; the clean-up waits for that.
static MAKING: RwLock<()> = RwLock::new(());
/// Exit code after a signal: what a shell says of a program that Ctrl-C ended.
static CODE: AtomicI32 = AtomicI32::new(130);

/// To be kept until all is done: where the clean-up has begun, the process ends with it and not before.
pub struct Watch(());

impl Drop for Watch {
    fn drop(&mut self) {
        make(|| ());
    }
}

/// From now on the first signal removes the runs of this process, and ends it.
pub fn watch() -> anyhow::Result<Watch> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Where the terminal is gone, nobody reads it.
            let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
            writeln!(std::io::stderr(), "\ntestbed: {name}: removing everything").ok();
            STOPPING.store(true, Ordering::SeqCst);
            clean_up();
            exit(CODE.load(Ordering::Relaxed));
        }
    });
    Ok(Watch(()))
}

/// From now on a signal is the end that was wanted, and no failure.
pub fn is_the_end_wanted() {
    CODE.store(0, Ordering::Relaxed);
}

/// Makes something that is to be removed again; waits for the end of the process where that has begun.
pub(crate) fn make<T>(make: impl FnOnce() -> T) -> T {
    let making = MAKING.read().unwrap_or_else(PoisonError::into_inner);
    if STOPPING.load(Ordering::SeqCst) {
        drop(making);
        go_on();
    }
    make()
}

/// Returns unless the end of the process has begun. Not for use within [`make`], whose end the clean-up waits for.
pub(crate) fn go_on() {
    while STOPPING.load(Ordering::SeqCst) {
        thread::park();
    }
}

fn clean_up() {
    // What a thread waits for while it makes something ends with the process that it waits for.
    netns::kill_children();
    while MAKING.try_write().is_err() {
        thread::sleep(Duration::from_millis(10));
        netns::kill_children();
    }
    netns::kill_children();
    netns::remove_runs_of(std::process::id());
}
