//! `border-gw drain`, `undrain` and `drill`: asks the daemon, prints what is so now.

use std::time::Duration;

use clap::Args;
use hyper::Method;

use super::print;
use super::show::{Daemon, Error, PATIENCE, ask, name_in_path};
use crate::intent;

/// A virtual interface of a running daemon.
#[derive(Debug, Args)]
pub struct Target {
    /// Name of the virtual interface
    pub vif: String,
    /// Of which daemon
    #[command(flatten)]
    pub daemon: Daemon,
}

/// A drill.
#[derive(Debug, Args)]
pub struct Drill {
    /// Which virtual interface
    #[command(flatten)]
    pub target: Target,
    /// How long, such as 30s, 10m or 1h
    #[arg(long = "for", value_parser = time)]
    pub time: Duration,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = intent::duration(text)?;
    if time.subsec_millis() > 0 { Err("write whole seconds".into()) } else { Ok(time) }
}

/// Takes it out of service, gently.
pub async fn drain(target: Target) -> Result<(), Error> {
    order(&target, "drain").await
}

/// Takes it into service again.
pub async fn undrain(target: Target) -> Result<(), Error> {
    order(&target, "undrain").await
}

/// Takes it down for a time.
pub async fn drill(drill: Drill) -> Result<(), Error> {
    order(&drill.target, &format!("drill?seconds={}", drill.time.as_secs())).await
}

async fn order(target: &Target, what: &str) -> Result<(), Error> {
    let vif = name_in_path(&target.vif)?;
    let path = target.daemon.socket()?;
    let done = ask(&path, Method::POST, &format!("/v1/vifs/{vif}/{what}"), 2 * PATIENCE).await?;
    Ok(print(|out| writeln!(out, "{done}"))?)
}
