//! A customer's router that speaks BGP: one of four routing daemons in a namespace, all of them used alike.

mod bird;
mod exabgp;
mod frr;
mod gobgp;

use std::collections::BTreeSet;
use std::fs;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::sys::signal::Signal;

use crate::netns::{Netns, Running};
use crate::stop;

/// A routing daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// BIRD 2.
    Bird,
    /// FRR 8: zebra, bgpd and bfdd.
    Frr,
    /// `GoBGP` 3; it writes no routes into the kernel.
    Gobgp,
    /// `ExaBGP` 4; it writes no routes into the kernel, and announces whatever it is told to.
    Exabgp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bird, Self::Frr, Self::Gobgp, Self::Exabgp];
}

/// A prefix that is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// As `10.0.0.0/8`.
    pub prefix: String,
    /// What stands in the path behind the peer's own autonomous system.
    pub path: Vec<u32>,
    /// As `65000:100`, or `65000:1:2` (large).
    pub communities: Vec<String>,
}

impl From<&str> for Announced {
    fn from(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), path: Vec::new(), communities: Vec::new() }
    }
}

impl Announced {
    /// With other systems in its path.
    #[must_use]
    pub fn path(mut self, path: &[u32]) -> Self {
        self.path = path.to_vec();
        self
    }

    /// With communities.
    #[must_use]
    pub fn communities(mut self, communities: &[&str]) -> Self {
        self.communities = communities.iter().map(|&community| community.to_owned()).collect();
        self
    }

    fn is_v6(&self) -> bool {
        self.prefix.contains(':')
    }

    /// Communities of two numbers, and of three.
    fn split_communities(&self) -> (Vec<&str>, Vec<&str>) {
        self.communities.iter().map(String::as_str).partition(|community| community.matches(':').count() == 1)
    }
}

/// BFD of all sessions.
#[derive(Clone, Copy, Debug)]
pub struct Bfd {
    /// Between packets, in milliseconds.
    pub interval_ms: u32,
    /// How many may be missed.
    pub multiplier: u8,
    /// Whether its silence ends no session while the other side restarts (BIRD).
    pub graceful: bool,
}

/// TTL of what is sent, and what is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The daemon's default for a neighbour on the link.
    Ordinary,
    /// 255, and nothing less is accepted (RFC 5082).
    Security,
    /// What is sent has this one.
    Sent(u8),
}

/// What a router is to do.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Its autonomous system.
    pub asn: u32,
    /// The other side's.
    pub remote_asn: u32,
    /// Its identifier.
    pub router_id: Ipv4Addr,
    /// Own and the other side's address of each session; an address's family is the session's.
    pub sessions: Vec<(IpAddr, IpAddr)>,
    /// Key of TCP's MD5 option.
    pub password: Option<String>,
    /// BFD with each neighbour (FRR and BIRD).
    pub bfd: Option<Bfd>,
    /// Graceful restart.
    pub graceful_restart: bool,
    /// TTL of the sessions.
    pub ttl: Ttl,
    /// IPv4 in the sessions of IPv6, too (RFC 8950; FRR and BIRD).
    pub ipv4_over_ipv6: bool,
    /// Source addresses that learned routes get, of IPv4 and IPv6 (FRR and BIRD).
    pub sources: Vec<IpAddr>,
    /// What is announced from the start.
    pub announced: Vec<Announced>,
}

impl PeerConfig {
    /// Sessions between two systems, over pairs of own and remote address.
    pub fn new(asn: u32, remote_asn: u32, sessions: &[(&str, &str)]) -> anyhow::Result<Self> {
        let sessions = sessions
            .iter()
            .map(|(local, remote)| Ok((local.parse()?, remote.parse()?)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self {
            asn,
            remote_asn,
            router_id: Ipv4Addr::from(0x0aff_0000 | asn & 0xffff),
            sessions,
            password: None,
            bfd: None,
            graceful_restart: true,
            ttl: Ttl::Ordinary,
            ipv4_over_ipv6: false,
            sources: Vec::new(),
            announced: Vec::new(),
        })
    }

    /// With a key.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// With BFD whose silence ends a session also while the other side restarts.
    #[must_use]
    pub fn plain_bfd(mut self, interval_ms: u32, multiplier: u8) -> Self {
        self.bfd = Some(Bfd { interval_ms, multiplier, graceful: false });
        self
    }

    /// With BFD.
    #[must_use]
    pub fn bfd(mut self, interval_ms: u32, multiplier: u8) -> Self {
        self.bfd = Some(Bfd { interval_ms, multiplier, graceful: true });
        self
    }

    /// With prefixes that are announced.
    #[must_use]
    pub fn announce(mut self, prefixes: &[&str]) -> Self {
        self.announced.extend(prefixes.iter().map(|&prefix| prefix.into()));
        self
    }

    /// With the addresses that its own packets come from.
    pub fn sources(mut self, addresses: &[&str]) -> anyhow::Result<Self> {
        self.sources = addresses.iter().map(|address| Ok(address.parse()?)).collect::<anyhow::Result<_>>()?;
        Ok(self)
    }

    /// Families that a session carries.
    fn families(&self, remote: IpAddr) -> &'static [&'static str] {
        match remote {
            IpAddr::V4(_) => &["ipv4"],
            IpAddr::V6(_) if self.ipv4_over_ipv6 => &["ipv4", "ipv6"],
            IpAddr::V6(_) => &["ipv6"],
        }
    }

    fn source(&self, v6: bool) -> Option<IpAddr> {
        self.sources.iter().copied().find(|address| address.is_ipv6() == v6)
    }
}

/// A running router; its processes are killed when it is dropped, and with its namespace in any case.
pub struct Peer {
    /// What runs.
    pub kind: Kind,
    /// What it does.
    pub config: PeerConfig,
    netns: String,
    directory: PathBuf,
    processes: Vec<Running>,
}

impl Peer {
    /// Starts a router in a namespace of a run.
    pub fn start(netns: &Netns, kind: Kind, config: PeerConfig) -> anyhow::Result<Self> {
        let run = netns.name.split(['-', '.']).next().unwrap_or(&netns.name);
        // Not in the directory of the gateway, whose BIRDs are the gateway's.
        let directory = Path::new("/run/border-gw").join(format!("{run}-peers")).join(&netns.name);
        stop::make(|| fs::create_dir_all(&directory))?;
        let mut peer = Self { kind, config, netns: netns.name.clone(), directory, processes: Vec::new() };
        peer.restart()?;
        Ok(peer)
    }

    /// Starts it (again, after [`Peer::stop`] or [`Peer::kill`]).
    pub fn restart(&mut self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Bird => bird::start(self),
            Kind::Frr => frr::start(self),
            Kind::Gobgp => gobgp::start(self),
            Kind::Exabgp => exabgp::start(self),
        }
        .with_context(|| format!("{:?} in {} does not start: {}", self.kind, self.netns, self.log()))
    }

    /// How many of its sessions are established.
    pub fn established(&self) -> anyhow::Result<usize> {
        match self.kind {
            Kind::Bird => bird::established(self),
            Kind::Frr => frr::established(self),
            Kind::Gobgp => gobgp::established(self),
            Kind::Exabgp => exabgp::established(self),
        }
    }

    /// Whether all of its sessions are.
    pub fn is_established(&self) -> anyhow::Result<bool> {
        Ok(self.established()? == self.config.sessions.len())
    }

    /// Prefixes that the other side announces.
    pub fn received(&self) -> anyhow::Result<BTreeSet<String>> {
        match self.kind {
            Kind::Bird => bird::received(self),
            Kind::Frr => frr::received(self),
            Kind::Gobgp => gobgp::received(self),
            Kind::Exabgp => exabgp::received(self),
        }
    }

    /// Announces more; a prefix that is announced already is announced anew.
    pub fn announce(&mut self, routes: &[Announced]) -> anyhow::Result<()> {
        self.config.announced.retain(|old| !routes.iter().any(|new| new.prefix == old.prefix));
        self.config.announced.extend_from_slice(routes);
        match self.kind {
            Kind::Bird => bird::configure(self),
            Kind::Frr => frr::announce(self, routes),
            Kind::Gobgp => gobgp::announce(self, routes),
            Kind::Exabgp => exabgp::say(self, "announce", routes),
        }
    }

    /// Withdraws prefixes.
    pub fn withdraw(&mut self, prefixes: &[&str]) -> anyhow::Result<()> {
        let (gone, left) = std::mem::take(&mut self.config.announced)
            .into_iter()
            .partition(|route| prefixes.contains(&route.prefix.as_str()));
        self.config.announced = left;
        let gone: Vec<Announced> = gone;
        match self.kind {
            Kind::Bird => bird::configure(self),
            Kind::Frr => frr::withdraw(self, &gone),
            Kind::Gobgp => gobgp::withdraw(self, &gone),
            Kind::Exabgp => exabgp::say(self, "withdraw", &gone),
        }
    }

    /// Announces as many /24s and /48s as are asked for instead of those before; only a BIRD can.
    pub fn announce_many(&self, v4: u32, v6: u32) -> anyhow::Result<()> {
        anyhow::ensure!(self.kind == Kind::Bird, "{:?} announces no masses", self.kind);
        bird::announce_many(self, v4, v6)
    }

    /// What `birdc` answers to a command.
    pub fn birdc(&self, command: &str) -> anyhow::Result<String> {
        bird::ask(self, command)
    }

    /// The daemon's own view of its sessions, for messages.
    pub fn view(&self) -> String {
        let view = match self.kind {
            Kind::Bird => bird::ask(self, "show protocols all"),
            Kind::Frr => frr::view(self),
            Kind::Gobgp => gobgp::view(self),
            Kind::Exabgp => Ok(String::new()),
        };
        view.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// SIGTERM: sessions are closed.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        for process in self.processes.drain(..).rev() {
            process.interrupt(Signal::SIGTERM)?;
        }
        Ok(())
    }

    /// kill -9: the other side is told nothing.
    pub fn kill(&mut self) {
        self.processes.clear();
    }

    /// What the daemons wrote to their logs, for messages.
    pub fn log(&self) -> String {
        let files = fs::read_dir(&self.directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let logs = files.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
        let said: Vec<_> = logs
            .map(|path| format!("{}:\n{}", path.display(), fs::read_to_string(&path).unwrap_or_default()))
            .collect();
        said.join("\n")
    }

    fn netns(&self) -> ManuallyDrop<Netns> {
        // The namespace is somebody else's.
        ManuallyDrop::new(Netns { name: self.netns.clone() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Starts a process of it, whose output goes to a log.
    fn spawn(&mut self, name: &str, line: &str, environment: &[(&str, &str)]) -> anyhow::Result<()> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{name}.log")))?;
        let mut command = self.netns().command(line);
        command.envs(environment.iter().copied()).stdout(log.try_clone()?).stderr(log);
        let child = stop::make(|| command.spawn()).with_context(|| format!("cannot start `{line}`"))?;
        self.processes.push(child.into());
        Ok(())
    }
}

/// Words that look like a prefix, at the start of lines.
fn prefixes_of_lines(text: &str) -> BTreeSet<String> {
    let firsts = text.lines().filter_map(|line| line.split_whitespace().next());
    firsts.filter(|word| word.contains('/') && word.contains(['.', ':'])).map(str::to_owned).collect()
}
