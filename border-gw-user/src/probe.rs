//! Forwarding probes: an ICMP echo to each peer from its border gateway's namespace, along the way that BGP itself takes.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt as _;
use serde::Serialize;
use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence};

use crate::intent::Intent;
use crate::kernel::{namespace_name, netns};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Answers in a row that are missing when a peer counts as lost: one may fall to a limit on either side.
const MISSED: u32 = 3;
/// Peers that are asked at a time.
const AT_A_TIME: usize = 1024;

/// What is known of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeState {
    /// It has never answered: it may be that it answers nobody.
    #[default]
    Silent,
    /// It answers.
    Answers,
    /// It answered, and does not any more.
    Lost,
}

impl ProbeState {
    /// As in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Answers => "answers",
            Self::Lost => "lost",
        }
    }
}

/// The probes of one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What they say.
    pub state: ProbeState,
    /// Of the last answer.
    pub round_trip: Option<Duration>,
    missed: u32,
}

impl Probe {
    /// Follows an answer, or that there was none.
    #[must_use]
    pub fn after(self, answer: Option<Duration>) -> Self {
        if answer.is_some() {
            return Self { state: ProbeState::Answers, round_trip: answer, missed: 0 };
        }
        let missed = self.missed.saturating_add(1);
        let is_lost = self.state == ProbeState::Answers && missed >= MISSED;
        Self { state: if is_lost { ProbeState::Lost } else { self.state }, missed, ..self }
    }
}

/// Probes by VIF and peer.
pub type Known = BTreeMap<(String, IpAddr), Probe>;

/// Sockets in namespaces, and what was heard on them.
#[derive(Default)]
pub struct Probes {
    clients: BTreeMap<(String, bool), Client>,
    known: Known,
    sequence: u16,
}

impl Probes {
    /// Asks each peer of an enabled VIF once, and waits for the answers.
    pub async fn round(&mut self, intent: &Intent) -> Known {
        self.sequence = self.sequence.wrapping_add(1);
        let mut questions = Vec::new();
        let mut namespaces = Vec::new();
        for gateway in &intent.border_gateways {
            let namespace = namespace_name(intent, gateway);
            for vif in gateway.virtual_interfaces.iter().filter(|vif| vif.enabled) {
                for link in &vif.addresses {
                    let key = (vif.name.clone(), link.peer);
                    let client = self.client(&namespace, link.peer.is_ipv4());
                    questions.push(ask(client, key, self.sequence));
                }
            }
            namespaces.push(namespace);
        }
        let answers: Vec<_> = futures::stream::iter(questions).buffer_unordered(AT_A_TIME).collect().await;
        self.clients.retain(|(namespace, _), _| namespaces.contains(namespace));
        let before = std::mem::take(&mut self.known);
        let known = answers.into_iter().map(|(key, answer)| {
            let probe = before.get(&key).copied().unwrap_or_default().after(answer);
            (key, probe)
        });
        self.known = known.collect();
        self.known.clone()
    }

    /// Forgets the sockets: namespaces may have been made anew.
    pub fn reopen(&mut self) {
        self.clients.clear();
    }

    /// A socket of a family in a namespace; none while it cannot be opened.
    fn client(&mut self, namespace: &str, is_v4: bool) -> Option<Client> {
        let key = (namespace.to_owned(), is_v4);
        if let Some(client) = self.clients.get(&key) {
            return Some(client.clone());
        }
        let runtime = tokio::runtime::Handle::current();
        let kind = if is_v4 { ICMP::V4 } else { ICMP::V6 };
        let opened = netns::inside(namespace, move || {
            let _context = runtime.enter();
            let config = Config::builder().kind(kind).sock_type_hint(socket2::Type::RAW).build();
            Client::new(&config).map_err(io::Error::other)
        });
        let client = opened.ok()?;
        self.clients.insert(key, client.clone());
        Some(client)
    }
}

async fn ask(
    client: Option<Client>,
    key: (String, IpAddr),
    sequence: u16,
) -> ((String, IpAddr), Option<Duration>) {
    let Some(client) = client else { return (key, None) };
    let mut pinger = client.pinger(key.1, PingIdentifier(std::process::id() as u16)).await;
    pinger.timeout(PATIENCE);
    let answer = pinger.ping(PingSequence(sequence), b"border-gw").await;
    (key, answer.ok().map(|(_, round_trip)| round_trip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_lost_only_when_it_answered_before_and_misses_several() {
        let answer = Some(Duration::from_millis(1));
        let rows: [(&str, &[Option<Duration>], ProbeState); 6] = [
            ("never asked", &[], ProbeState::Silent),
            ("never answered", &[None, None, None, None], ProbeState::Silent),
            ("answers", &[None, answer], ProbeState::Answers),
            ("missed two", &[answer, None, None], ProbeState::Answers),
            ("missed three", &[answer, None, None, None], ProbeState::Lost),
            ("is back", &[answer, None, None, None, answer], ProbeState::Answers),
        ];
        for (sentence, answers, want) in rows {
            let probe = answers.iter().fold(Probe::default(), |probe, answer| probe.after(*answer));
            assert_eq!(probe.state, want, "{sentence}");
        }
    }
}
