//! Arguments of the command, and what it prints.

pub mod show;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::intent::{Cap, Intent};

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

/// Prints what a valid configuration makes.
pub fn print_check(intent: &Intent) {
    println!(
        "gateway {}: VTEP {} on {}",
        intent.gateway.name,
        intent.fabric.vtep,
        intent.fabric.interfaces.join(", ")
    );
    for gateway in &intent.border_gateways {
        println!("border gateway {} (AS {})", gateway.name, gateway.asn);
        for vif in &gateway.virtual_interfaces {
            let inner = vif.tag.inner.map_or_else(String::new, |inner| format!(".{}", inner.get()));
            println!(
                "  virtual interface {}: {} VLAN {}{inner}, MTU {}, to_vpc {}, to_customer {}",
                vif.name,
                vif.connection,
                vif.tag.outer.get(),
                vif.mtu,
                limit(vif.caps.to_vpc),
                limit(vif.caps.to_customer),
            );
        }
        for vpc in &gateway.vpc_attachments {
            println!("  VPC attachment {}: VNI {}, MTU {}", vpc.name, vpc.vni.get(), vpc.mtu);
            let places = vpc.cidrs.iter().map(|cidr| (cidr, &vpc.vteps));
            for (prefix, vteps) in places.chain(vpc.hosts.iter().map(|host| (&host.prefix, &host.vteps))) {
                let vteps: Vec<_> = vteps.iter().map(|vtep| vtep.address.to_string()).collect();
                println!("    {prefix} at {}", vteps.join(", "));
            }
        }
        for route in &gateway.routes {
            println!("  route {} via {}", route.prefix, route.via.join(", "));
        }
    }
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
