//! The repository's tasks: `cargo xtask setup|build|run|test|bench|fuzz|replay|vm|tidy`. Builds without anything that `setup` installs.

mod bench;
mod build;
mod fuzz;
mod replay;
mod run;
mod setup;
mod shell;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The repository's tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: BPF tool-chain, and the programs of the testbed
    Setup,
    /// Build the daemon and the testbed
    Build {
        /// Say what the verifier makes of each BPF program, with exit code 1 when a figure is over its limit
        #[arg(long)]
        stats: bool,
    },
    /// Make the testbed, show it working, and keep it until Ctrl-C
    Run {
        /// Prove it and exit
        #[arg(long)]
        check: bool,
    },
    /// Run the tests, privileged ones in network namespaces
    Test {
        /// Add the long ones
        #[arg(long)]
        all: bool,
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Measure, each figure beside its control
    Bench {
        /// What to measure, with exit code 1 when figures are out of bounds: `caps`, `failover`, `routes`
        #[arg(long)]
        check: Option<String>,
        /// Write the figures to a file as well
        #[arg(long)]
        json: Option<std::path::PathBuf>,
    },
    /// Fuzz what others write: packets, configurations, netlink, BIRD
    Fuzz {
        /// `path`, `config`, `netlink` or `bird`; all of them without
        target: Option<String>,
        /// Of all together
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Add what is found to the corpora
        #[arg(long)]
        keep: bool,
    },
    /// Run a case of the reference model again, and show both sides
    Replay {
        /// The file that a test named
        file: std::path::PathBuf,
        /// Run it in the kernel as well (root)
        #[arg(long)]
        kernel: bool,
    },
    /// Run privileged tests under one of Debian's kernels, in a virtual machine that writes nothing here
    Vm {
        /// Series of the kernel: `6.1`, `6.12`
        #[arg(long, default_value = vm::OLDEST)]
        kernel: String,
        /// Tests whose name, or that of their file, contains this; else those that load programs and forward packets
        #[arg(long)]
        test: Option<String>,
    },
    /// Check the repository's own rules
    Tidy,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Setup => setup::setup(),
        Task::Build { stats } => build::build(stats),
        Task::Run { check } => run::run(check),
        Task::Test { all, filter } => test::test(all, filter.as_deref()),
        Task::Bench { check, json } => bench::bench(check.as_deref(), json.as_deref()),
        Task::Fuzz { target, seconds, keep } => fuzz::fuzz(target.as_deref(), seconds, keep),
        Task::Replay { file, kernel } => replay::replay(&file, kernel),
        Task::Vm { kernel, test } => vm::vm(&kernel, test.as_deref()),
        Task::Tidy => tidy::tidy(),
    }
}
