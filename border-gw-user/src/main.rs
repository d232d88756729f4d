//! The `border-gw` command: arguments to actions, errors to exit codes.

mod daemon;

use std::process::ExitCode;

use anyhow::Context as _;
use border_gw::cli::{self, Cli, Command};
use border_gw::intent;
use border_gw::kernel::{self, Missing};
use clap::Parser as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_target(false)
        .init();
    if matches!(cli.command, Command::Run { .. }) {
        raise_priority();
    }
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run { config } => {
            raise_descriptor_limit()?;
            Box::pin(daemon::run(&config)).await
        }
        Command::Purge { config } => daemon::purge(&config).await,
        Command::Check { config } => {
            let intent = intent::load(&config)?;
            let notes = kernel::preflight(&intent, Missing::Noted).await?;
            let compiled = cli::check::Compiled::new(&intent)?;
            Ok(cli::print(|out| cli::check::write(out, &compiled, &notes))?)
        }
        Command::Show(show) => Ok(cli::show::show(show).await?),
        Command::Drain(target) => Ok(cli::maintain::drain(target).await?),
        Command::Undrain(target) => Ok(cli::maintain::undrain(target).await?),
        Command::Drill(drill) => Ok(cli::maintain::drill(drill).await?),
    }
}

/// Raises the soft limit of open files to the hard one: 1024, the usual one, is for programs that use `select`.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .with_context(|| format!("cannot raise the limit of open files to its hard limit {hard}"))
}

/// Runs before others: a machine that is busy with something else must not be late to notice a dead line. Without the privilege, which
/// `run` asks for later, it stays as it is. Threads inherit it, so this comes before there are any.
fn raise_priority() {
    const NICE: libc::c_int = -10;
    // SAFETY: a number of this process is set.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_may_open_as_many_files_as_it_can() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard / 2, hard).unwrap();
        raise_descriptor_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}
