//! One BIRD: as it is to be, and made so.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use log::{info, warn};
use tokio::time::{sleep, timeout};

use super::conf::{self, Family, carried, session_name};
use super::control::{self, Client, ControlError, INVALID, SETTLED};
use super::life::Life;
use super::process::{Place, Process, program};
use super::status::{self, BfdState, SessionStatus};
use super::{Refused, RoutingError};
use crate::intent::{BorderGateway, VirtualInterface};

/// What BIRD is asked for, in errors.
const CHANGE: &str = "change its configuration";
const STATUS: &str = "say how its sessions are";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for a change of the configuration.
const LONGEST_CHANGE: Duration = Duration::from_secs(20);
/// How long after a restart BFD has to find its peers again, before those that it has not found count as gone.
const BFD_RECOVERY: Duration = Duration::from_secs(5);
/// Shortest time between two starts.
const BETWEEN_STARTS: Duration = Duration::from_secs(2);

/// The BIRD of a border gateway, as it is to be.
#[derive(Debug)]
pub(super) struct Bird {
    border_gateway: String,
    place: Place,
    text: String,
    /// Keys, which nobody may see.
    secrets: Vec<String>,
    /// Of `vifN`, by name of the virtual interface.
    numbers: BTreeMap<String, u32>,
    pub(super) life: Life,
}

/// A family of a virtual interface, with the names of its session and table.
type Carried = (String, String, Family);

fn sessions(vif: &VirtualInterface, number: u32) -> Vec<Carried> {
    let mut all = Vec::new();
    for link in &vif.addresses {
        let session = Family::of(link.peer);
        for family in carried(vif, session) {
            all.push((session_name(number, session), conf::table_name(number, *family), *family));
        }
    }
    all
}

fn texts(lines: &[control::Line]) -> impl Iterator<Item = &str> {
    lines.iter().map(|line| line.text.as_str())
}

/// Ends the BIRD of a border gateway, with the kernel routes that it wrote, and removes its files.
pub(super) async fn end(gateway: &str, border_gateway: String) -> Result<(), RoutingError> {
    let place = Place::new(gateway, &border_gateway);
    let fail = |what| {
        let border_gateway = border_gateway.clone();
        move |cause| RoutingError::System { what, border_gateway, cause }
    };
    if let Some(process) = place.find() {
        if process.in_namespace
            && let Ok(text) = fs::read_to_string(place.config())
            && let Err(error) = timeout(LONGEST_CHANGE, prepare_to_leave(&place, &text))
                .await
                .unwrap_or_else(|late| Err(io::Error::from(late).into()))
        {
            warn!("routes of BIRD of border gateway `{border_gateway}` may stay in the kernel: {error}");
        }
        place.end(process).await.map_err(fail("end"))?;
        info!("BIRD of border gateway `{border_gateway}` was ended");
    }
    fs::remove_dir_all(&place.directory).map_err(fail("remove the files of"))
}

fn redact(said: &str, secrets: &[String]) -> String {
    secrets.iter().fold(said.to_owned(), |said, secret| said.replace(secret, "(secret)"))
}

/// Has a running BIRD read a configuration, which is in force, and in its file, afterwards.
async fn configure(place: &Place, text: &str) -> Result<(), ControlError> {
    place.write_draft(text)?;
    let mut client = Client::connect(&place.directory).await?;
    client.command(&format!("configure \"{}\"", place.draft().display())).await?;
    fs::rename(place.draft(), place.config())?;
    Ok(())
}

/// Has a running BIRD forget what it wrote to the kernel when a protocol, or itself, ends from now on.
async fn prepare_to_leave(place: &Place, text: &str) -> Result<(), ControlError> {
    configure(place, &conf::leaving(text)).await?;
    let mut client = Client::connect(&place.directory).await?;
    // A change that waits for another would be replaced by the next one.
    while !client.command("configure status").await?.iter().any(|line| line.code == SETTLED) {
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

impl Bird {
    /// What is to be for a border gateway; `before` is the same of before.
    pub(super) fn new(
        gateway_name: &str,
        gateway: &BorderGateway,
        text: String,
        numbers: BTreeMap<String, u32>,
        before: Option<Self>,
    ) -> Self {
        let keys = gateway.virtual_interfaces.iter().filter_map(|vif| vif.bgp.as_ref()?.password.as_ref());
        Self {
            border_gateway: gateway.name.clone(),
            place: Place::new(gateway_name, &gateway.name),
            text,
            secrets: keys.map(|password| password.key.reveal().to_owned()).collect(),
            numbers,
            life: before.map(|before| before.life).unwrap_or_default(),
        }
    }

    /// Starts it where it does not run, and ends a recovery; a configuration that is the same is not even compared.
    pub(super) async fn keep(&mut self) -> Result<(), RoutingError> {
        match self.place.find() {
            Some(process) if process.in_namespace && !self.life.recovering => {
                self.watch(process);
                Ok(())
            }
            _ => self.settle().await,
        }
    }

    /// Has its end told.
    fn watch(&mut self, process: Process) {
        self.life.lives();
        self.place.mark_started();
        if self.life.end.is_none() {
            // Where the kernel does not tell, it is looked for.
            self.life.end = process.end().ok();
        }
    }

    /// Starts it, or has it read its configuration, where that is not so already.
    pub(super) async fn settle(&mut self) -> Result<(), RoutingError> {
        match self.place.find() {
            Some(process) if process.in_namespace => {
                self.watch(process);
                self.change().await
            }
            Some(stale) => {
                // Its namespace was made anew: there is nothing to keep.
                self.place.end(stale).await.map_err(self.fail("end"))?;
                self.place.forget_start();
                self.start(false).await
            }
            None => {
                let recover = self.place.was_started();
                if recover {
                    self.life.died(SystemTime::now(), Instant::now());
                }
                self.start(recover).await
            }
        }
    }

    async fn change(&mut self) -> Result<(), RoutingError> {
        if !self.life.recovering {
            self.is_asked(CHANGE)?;
        }
        let current = fs::read_to_string(self.place.config()).unwrap_or_default();
        // A change in the middle of a recovery does not end it: sentinels would leave the kernel, and lines their groups.
        if conf::is_recovering(&current) {
            // One that another daemon started has as much time.
            self.life.started.get_or_insert_with(Instant::now);
        }
        self.life.recovering = conf::is_recovering(&current) && self.bfd_is_recovering().await;
        let wanted = if self.life.recovering { conf::recovering(&self.text) } else { self.text.clone() };
        if current == wanted {
            return Ok(());
        }
        let program = self.program()?;
        self.check(&program, &wanted).await?;
        // One that hangs keeps nobody else waiting for as long as a change may take.
        let greets = async { Client::connect(&self.place.directory).await.map(drop) };
        if let Err(error) = self.in_time(CHANGE, greets).await {
            self.note_silence(&error);
            return Err(error);
        }
        let work = async {
            if conf::leaves_kernel(&current, &wanted) {
                prepare_to_leave(&self.place, &current).await?;
            }
            configure(&self.place, &wanted).await
        };
        match timeout(LONGEST_CHANGE, work).await.unwrap_or_else(|late| Err(io::Error::from(late).into())) {
            Err(ControlError::Refused { code: INVALID, text }) => Err(self.invalid(&text)),
            other => other.map_err(self.control(CHANGE)),
        }
    }

    async fn start(&mut self, recover: bool) -> Result<(), RoutingError> {
        self.life.end = None;
        let program = self.program()?;
        if self.life.tried.is_some_and(|tried| tried.elapsed() < BETWEEN_STARTS) {
            let said = format!(
                "it ended soon after its start; see {}",
                self.place.directory.join("bird.log").display()
            );
            return Err(RoutingError::Dead { border_gateway: self.border_gateway.clone(), said });
        }
        self.life.tried = Some(Instant::now());
        let text = if recover { conf::recovering(&self.text) } else { self.text.clone() };
        self.check(&program, &text).await?;
        fs::rename(self.place.draft(), self.place.config())
            .map_err(self.fail("write the configuration of"))?;
        self.life.begins(Instant::now());
        if let Some(said) = self.place.start(&program, recover).await.map_err(self.fail("start"))? {
            let said = self.redact(&said);
            return Err(RoutingError::Dead { border_gateway: self.border_gateway.clone(), said });
        }
        if recover {
            self.life.restarts += 1;
            self.life.recovering = true;
            warn!("BIRD of border gateway `{}` was gone, and is started again", self.border_gateway);
        } else {
            info!("BIRD of border gateway `{}` is started", self.border_gateway);
            // The first that dies is started again at once, and only the next ones wait.
            self.life.tried = None;
        }
        let process = self.answers().await?;
        self.watch(process);
        Ok(())
    }

    /// Waits until it answers: it has left its parent by then, but may not have written its number yet.
    async fn answers(&self) -> Result<Process, RoutingError> {
        let wait = async {
            let process = loop {
                match self.place.find() {
                    Some(process) => break process,
                    None => sleep(Duration::from_millis(5)).await,
                }
            };
            Client::connect(&self.place.directory).await.map(|_| process)
        };
        self.in_time("answer after its start", wait).await
    }

    /// Writes a configuration beside the one in force, and has BIRD read it.
    async fn check(&self, program: &Path, text: &str) -> Result<(), RoutingError> {
        self.place.write_draft(text).map_err(self.fail("write the configuration of"))?;
        let checked = self.place.check(program, &self.place.draft()).await;
        match checked.map_err(self.fail("check the configuration of"))? {
            Some(said) => Err(self.invalid(&said)),
            None => Ok(()),
        }
    }

    /// One that did not answer lately is not asked again so soon.
    fn is_asked(&self, what: &'static str) -> Result<(), RoutingError> {
        if !self.life.is_silent(Instant::now()) {
            return Ok(());
        }
        Err(self.control(what)(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    /// Notes that it did not answer in time, where that is what went wrong.
    pub(super) fn note_silence(&mut self, error: &RoutingError) {
        let is_late = |cause: &ControlError| matches!(cause, ControlError::Silent(error) if error.kind() == io::ErrorKind::TimedOut);
        let now = Instant::now();
        if let RoutingError::Control { cause, .. } = error
            && is_late(cause)
            && !self.life.is_silent(now)
        {
            self.life.was_silent(now);
        }
    }

    /// Whether BFD has not found all of its peers again since a restart, and still has time for that.
    async fn bfd_is_recovering(&self) -> bool {
        let has_time = self.life.started.is_some_and(|started| started.elapsed() < BFD_RECOVERY);
        let ask = async {
            let mut client = Client::connect(&self.place.directory).await?;
            client.command("show bfd sessions").await
        };
        let Ok(Ok(lines)) = timeout(PATIENCE, ask).await else { return has_time };
        has_time && status::bfd(texts(&lines)).values().any(|session| session.state != BfdState::Up)
    }

    /// How its sessions are.
    pub(super) async fn status(
        &self,
        vifs: Vec<&VirtualInterface>,
    ) -> Result<Vec<(String, SessionStatus)>, RoutingError> {
        self.is_asked(STATUS)?;
        let ask = async {
            let mut client = Client::connect(&self.place.directory).await?;
            let protocols = client.command("show protocols all").await?;
            let protocols = status::protocols(texts(&protocols));
            let bfd = if self.text.contains("protocol bfd ") {
                status::bfd(texts(&client.command("show bfd sessions").await?))
            } else {
                BTreeMap::new()
            };
            let mut known = Vec::new();
            for vif in vifs {
                let Some(number) = self.numbers.get(&vif.name).copied() else { continue };
                let mut limited = BTreeMap::new();
                for (session, table, family) in sessions(vif, number) {
                    let channel = protocols.get(&session).and_then(|it| it.channels.get(family.channel()));
                    if vif.bgp.is_none() || channel.is_none_or(|channel| channel.filtered == 0) {
                        continue;
                    }
                    let count = format!(
                        "show route filtered table {table} protocol {session} where !defined(refused_because) count"
                    );
                    let count = status::count(texts(&client.command(&count).await?)).unwrap_or(0);
                    limited.insert((session, family), count);
                }
                known.push((vif.name.clone(), status::vif(vif, number, &protocols, &bfd, &limited)));
            }
            Ok(known)
        };
        self.in_time(STATUS, ask).await
    }

    /// What was refused from a virtual interface, at most so many of it.
    pub(super) async fn refused(&self, vif: &VirtualInterface, most: usize) -> Result<Refused, RoutingError> {
        let mut refused = Refused::default();
        let ask = async {
            for (session, table, _) in self.sessions(vif) {
                let of = format!("filtered table {table} protocol {session}");
                let mut client = Client::connect(&self.place.directory).await?;
                let counted = client.command(&format!("show route {of} count")).await?;
                refused.count += status::count(texts(&counted)).unwrap_or(0);
                let room = most.saturating_sub(refused.routes.len());
                let mut seen = 0;
                let list = format!("show route all {of}");
                let lines = client.part(&list, |line| {
                    // One more tells that the one before is whole.
                    seen += usize::from(status::is_route(&line.text));
                    seen <= room
                });
                let routes = status::refused(texts(&lines.await?));
                refused.routes.extend(routes.into_iter().take(room));
            }
            Ok(())
        };
        self.in_time("list what it refused", ask).await?;
        Ok(refused)
    }

    /// Has the peers of a virtual interface announce everything again.
    pub(super) async fn reload_in(&self, vif: &VirtualInterface) -> Result<(), RoutingError> {
        let names: BTreeSet<String> = self.sessions(vif).into_iter().map(|(session, ..)| session).collect();
        let ask = async {
            let mut client = Client::connect(&self.place.directory).await?;
            for session in names {
                client.command(&format!("reload in {session}")).await?;
            }
            Ok(())
        };
        self.in_time("take in refused routes (a peer has to know route refresh for that, RFC 2918)", ask)
            .await
    }

    fn sessions(&self, vif: &VirtualInterface) -> Vec<Carried> {
        self.numbers.get(&vif.name).map_or_else(Vec::new, |number| sessions(vif, *number))
    }

    async fn in_time<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, ControlError>>,
    ) -> Result<T, RoutingError> {
        let result = timeout(PATIENCE, work).await.unwrap_or_else(|late| Err(io::Error::from(late).into()));
        result.map_err(self.control(what))
    }

    fn program(&self) -> Result<PathBuf, RoutingError> {
        program().ok_or_else(|| RoutingError::Missing(self.border_gateway.clone()))
    }

    /// BIRD may quote what it cannot read.
    fn redact(&self, said: &str) -> String {
        redact(said, &self.secrets)
    }

    fn invalid(&self, said: &str) -> RoutingError {
        RoutingError::Invalid { border_gateway: self.border_gateway.clone(), said: self.redact(said) }
    }

    fn fail(&self, what: &'static str) -> impl FnOnce(io::Error) -> RoutingError + use<> {
        let border_gateway = self.border_gateway.clone();
        move |cause| RoutingError::System { what, border_gateway, cause }
    }

    fn control(&self, what: &'static str) -> impl FnOnce(ControlError) -> RoutingError + use<> {
        let border_gateway = self.border_gateway.clone();
        move |cause| RoutingError::Control { what, border_gateway, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_repeated() {
        let said = "bird.conf.new:31:14 syntax error at \"k3y of a\"";
        assert_eq!(redact(said, &["k3y of a".into()]), "bird.conf.new:31:14 syntax error at \"(secret)\"");
    }
}
