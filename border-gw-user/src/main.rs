//! The `border-gw` command: arguments to actions, errors to exit codes.

mod daemon;

use std::process::ExitCode;

use border_gw::cli::{self, Cli, Command};
use border_gw::intent;
use border_gw::kernel::{self, Missing};
use clap::Parser as _;

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_target(false)
        .init();
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("border-gw: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn dispatch(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run { config } => daemon::run(&config).await,
        Command::Purge { config } => daemon::purge(&config).await,
        Command::Check { config } => {
            let intent = intent::load(&config)?;
            for note in kernel::preflight(&intent, Missing::Noted).await? {
                eprintln!("border-gw: note: {note}");
            }
            cli::print_check(&intent);
            Ok(())
        }
        Command::Show(show) => Ok(cli::show::show(show).await?),
    }
}
