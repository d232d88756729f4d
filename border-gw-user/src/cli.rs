//! Arguments of the command, and what it prints.

pub mod check;
pub mod maintain;
pub mod show;
mod table;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Border Gateway: forwards between customers' dedicated lines and VPCs.
#[derive(Debug, Parser)]
#[command(name = "border-gw", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground; forwarding goes on when it ends
    Run {
        /// Configuration file
        #[arg(long, short)]
        config: PathBuf,
    },
    /// Validate the configuration and print what it makes; exit 1 with a diagnosis when it is wrong
    Check {
        /// Configuration file
        #[arg(long, short)]
        config: PathBuf,
    },
    /// Show the state of a running daemon
    Show(show::Show),
    /// Take a virtual interface out of service: both sides are asked to prefer other lines, and its sessions go down when
    /// traffic has gone
    Drain(maintain::Target),
    /// Take a virtual interface into service again, after a drain or in a drill
    Undrain(maintain::Target),
    /// Take a virtual interface down for a time, as if its line were cut
    Drill(maintain::Drill),
    /// Detach the programs of a gateway that does not run, and remove its tables and namespaces
    Purge {
        /// Configuration file
        #[arg(long, short)]
        config: PathBuf,
    },
}

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Virtual interfaces, their state, caps and traffic
    Vifs,
    /// Routes as they are installed
    Routes,
    /// Members of next-hop groups and their shares
    Groups,
    /// Customers' routers and the underlay's next hops
    Neighbors,
    /// Dropped packets by reason
    Drops,
    /// What became of all packets, a program
    Summary,
    /// Packets sent on by a program and lost by the kernel after that, by interface and reason
    Losses,
    /// Lines that were given up since the daemon's start, and how long that took
    Failovers,
    /// BGP sessions: state, prefixes accepted, refused and announced
    Bgp,
    /// Refused routes: what `show bgp VIF --refused` shows
    #[value(skip)]
    Refused,
    /// Each peer from its port up to a ping
    Health,
}

impl What {
    /// Its name, in the API's path as well.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vifs => "vifs",
            Self::Routes => "routes",
            Self::Groups => "groups",
            Self::Neighbors => "neighbors",
            Self::Drops => "drops",
            Self::Summary => "summary",
            Self::Losses => "losses",
            Self::Failovers => "failovers",
            Self::Bgp => "bgp",
            Self::Refused => "refused",
            Self::Health => "health",
        }
    }
}

/// Standard output does not take what is printed: a full disk, for one.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {cause}")]
pub struct PrintError {
    cause: io::Error,
}

/// Writes to standard output. A reader that went away (`| head`) has read enough: that is no error.
pub fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), PrintError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() != io::ErrorKind::BrokenPipe => Err(PrintError { cause }),
        _ => Ok(()),
    }
}

/// Writes a sentence to standard error, where there is nobody left to tell when that fails.
pub fn complain(sentence: &str) {
    writeln!(io::stderr(), "border-gw: {sentence}").ok();
}
