//! Arguments of the command, and what it prints.

pub mod show;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::intent::{BorderGateway, Cap, Intent};

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

/// Writes what a valid configuration makes, and what is worth knowing about it on this machine.
pub fn write_check(out: &mut dyn Write, intent: &Intent, notes: &[String]) -> io::Result<()> {
    writeln!(
        out,
        "gateway {}: VTEP {} on {}",
        intent.gateway.name,
        intent.fabric.vtep,
        intent.fabric.interfaces.join(", ")
    )?;
    for gateway in &intent.border_gateways {
        write_border_gateway(out, gateway)?;
    }
    notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))
}

fn write_border_gateway(out: &mut dyn Write, gateway: &BorderGateway) -> io::Result<()> {
    writeln!(out, "border gateway {} (AS {})", gateway.name, gateway.asn)?;
    for vif in &gateway.virtual_interfaces {
        let inner = vif.tag.inner.map_or_else(String::new, |inner| format!(".{}", inner.get()));
        writeln!(
            out,
            "  virtual interface {}: {} VLAN {}{inner}, MTU {}, to_vpc {}, to_customer {}",
            vif.name,
            vif.connection,
            vif.tag.outer.get(),
            vif.mtu,
            limit(vif.caps.to_vpc),
            limit(vif.caps.to_customer),
        )?;
    }
    for vpc in &gateway.vpc_attachments {
        writeln!(out, "  VPC attachment {}: VNI {}, MTU {}", vpc.name, vpc.vni.get(), vpc.mtu)?;
        let places = vpc.cidrs.iter().map(|cidr| (cidr, &vpc.vteps));
        for (prefix, vteps) in places.chain(vpc.hosts.iter().map(|host| (&host.prefix, &host.vteps))) {
            let vteps: Vec<_> = vteps.iter().map(|vtep| vtep.address.to_string()).collect();
            writeln!(out, "    {prefix} at {}", vteps.join(", "))?;
        }
    }
    for route in &gateway.routes {
        writeln!(out, "  route {} via {}", route.prefix, route.via.join(", "))?;
    }
    Ok(())
}

fn limit(cap: Option<Cap>) -> String {
    cap.map_or_else(|| "no limit".to_owned(), |cap| format!("{} (burst {} B)", bits(cap.rate), cap.burst))
}

/// A rate in bits a second, for people.
pub fn bits(rate: u64) -> String {
    match rate {
        0..1_000 => format!("{rate} bps"),
        1_000..1_000_000 => format!("{} kbps", rate as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{} Mbps", rate as f64 / 1e6),
        _ => format!("{} Gbps", rate as f64 / 1e9),
    }
}
