//! `border-gw show`: asks the daemon, prints a table or the JSON as it came.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::table::table;
use super::{PrintError, What, complain, print};
use crate::intent;

/// Longest that the daemon's answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Width of tables where there is no terminal, in columns of characters.
const DEFAULT_WIDTH: u16 = 120;

/// What to show, and of which daemon.
#[derive(Debug, Args)]
pub struct Show {
    /// What to show
    #[arg(value_enum)]
    pub what: What,
    /// Of this virtual interface alone
    pub vif: Option<String>,
    /// With `bgp` and a virtual interface: the routes that are refused, and why
    #[arg(long, requires = "vif")]
    pub refused: bool,
    /// Of which daemon
    #[command(flatten)]
    pub daemon: Daemon,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which daemon is meant.
#[derive(Debug, Args)]
pub struct Daemon {
    /// Configuration file, which names the control socket
    #[arg(long, short)]
    pub config: Option<PathBuf>,
    /// Control socket, by default that of --config, or else /run/border-gw/control.sock
    #[arg(long)]
    pub socket: Option<PathBuf>,
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error("{0}\n  help: `--socket PATH` shows a daemon whose configuration cannot be read")]
    Config(intent::Errors),
    /// Nobody answers.
    #[error("the daemon does not answer on {path}: {cause}; is it running? (`border-gw run --config FILE`)")]
    Connect {
        /// Control socket.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Not for this user.
    #[error(
        "may not talk to the daemon on {0}: the socket is for its owner and its group; use sudo, or give the socket to a \
         group of yours"
    )]
    Forbidden(PathBuf),
    /// It listens, and says nothing.
    #[error("the daemon on {path} does not answer within {} s: it is busy or stuck; try again, and look into its log", patience.as_secs())]
    Silent {
        /// Control socket.
        path: PathBuf,
        /// How long that was.
        patience: Duration,
    },
    /// The conversation broke.
    #[error("the daemon's answer on {path} is broken: {cause}")]
    Answer {
        /// Control socket.
        path: PathBuf,
        /// Why.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Arguments that do not go together.
    #[error(
        "`show {0}` knows no such argument: a virtual interface goes with vifs, bgp and health, `--refused` with `bgp VIF`"
    )]
    Combination(&'static str),
    /// Not the name of anything.
    #[error("`{0}` is not a name: a name is 1 to 64 of the characters a-z, 0-9 and -")]
    Name(String),
    /// The daemon says no.
    #[error("the daemon says no: {0}")]
    Refused(String),
    /// The answer is there, and cannot be printed.
    #[error(transparent)]
    Print(#[from] PrintError),
}

/// Shows it.
pub async fn show(arguments: Show) -> Result<(), Error> {
    let path = arguments.daemon.socket()?;
    let (what, page) = arguments.page()?;
    let text = ask(&path, Method::GET, &page, 2 * PATIENCE).await?;
    let mut rows: Value =
        serde_json::from_str(&text).map_err(|cause| Error::Answer { path, cause: cause.into() })?;
    if let Some(vif) = arguments.vif.as_deref().filter(|_| what != What::Refused) {
        rows = of_vif(rows, vif);
    }
    if arguments.json {
        return Ok(print(|out| writeln!(out, "{rows}"))?);
    }
    Ok(print(|out| writeln!(out, "{}", table(what, &rows, width())))?)
}

impl Show {
    /// What is shown, and the page of the API that has it.
    fn page(&self) -> Result<(What, String), Error> {
        match &self.vif {
            Some(vif) if self.refused && self.what == What::Bgp => {
                Ok((What::Refused, format!("/v1/refused/{}", name_in_path(vif)?)))
            }
            None if !self.refused => Ok((self.what, format!("/v1/{}", self.what.name()))),
            Some(_) if !self.refused && matches!(self.what, What::Vifs | What::Bgp | What::Health) => {
                Ok((self.what, format!("/v1/{}", self.what.name())))
            }
            _ => Err(Error::Combination(self.what.name())),
        }
    }
}

/// The rows of one virtual interface.
fn of_vif(rows: Value, vif: &str) -> Value {
    let is_meant =
        |row: &Value| ["/vif", "/name"].iter().any(|field| row.pointer(field) == Some(&vif.into()));
    match rows {
        Value::Array(rows) => rows.into_iter().filter(is_meant).collect(),
        other => other,
    }
}

/// A name as a part of a path; what is no name is nobody's.
pub(super) fn name_in_path(name: &str) -> Result<&str, Error> {
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_name { Ok(name) } else { Err(Error::Name(name.to_owned())) }
}

impl Daemon {
    /// Its control socket. A file that is wrong elsewhere still names it: the daemon that runs with what was there before is to
    /// be looked at just then.
    pub(super) fn socket(&self) -> Result<PathBuf, Error> {
        let Some(config) = self.config.as_ref().filter(|_| self.socket.is_none()) else {
            return Ok(self.socket.clone().unwrap_or_else(|| intent::DEFAULT_CONTROL.into()));
        };
        match intent::load(config) {
            Ok(intent) => Ok(intent.gateway.control),
            Err(errors) => {
                let path = intent::control(config).ok_or(Error::Config(errors))?;
                complain(&format!(
                    "{} is wrong, and only its `gateway.control` is used: `border-gw check` says what is wrong",
                    config.display()
                ));
                Ok(path)
            }
        }
    }
}

/// Asks for a page, for so long.
pub(super) async fn ask(
    path: &Path,
    method: Method,
    page: &str,
    patience: Duration,
) -> Result<String, Error> {
    let silent = |_elapsed| Error::Silent { path: path.to_owned(), patience };
    tokio::time::timeout(patience, converse(path, method, page)).await.map_err(silent)?
}

/// Why there is no connection.
fn unreachable(path: &Path, cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => Error::Forbidden(path.to_owned()),
        _ => Error::Connect { path: path.to_owned(), cause },
    }
}

async fn converse(path: &Path, method: Method, page: &str) -> Result<String, Error> {
    let broken = |cause: hyper::Error| Error::Answer { path: path.to_owned(), cause: cause.into() };
    let stream = UnixStream::connect(path).await.map_err(|cause| unreachable(path, cause))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(page).header("host", "border-gw");
    let request = request.body(Empty::<Bytes>::new());
    let request = request.map_err(|cause| Error::Answer { path: path.to_owned(), cause: cause.into() })?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let ok = answer.status().is_success();
    let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if ok { Ok(text) } else { Err(Error::Refused(text)) }
}

/// Width of the terminal in columns of characters. Where the output goes elsewhere, what `COLUMNS` says (`watch` sets it), or
/// enough for every table.
fn width() -> u16 {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal_width(&io::stdout()).or_else(said).filter(|width| *width > 0).unwrap_or(DEFAULT_WIDTH)
}

fn terminal_width(terminal: &impl AsRawFd) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes a `winsize` there, and nothing where this is no terminal.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0).then_some(size.ws_col)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;
    use tokio::net::UnixListener;

    fn arguments(line: &str) -> Show {
        match Cli::parse_from(line.split(' ')).command {
            Command::Show(show) => show,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_socket_is_the_named_one_or_that_of_the_file_or_the_default() {
        let directory = std::env::temp_dir().join(format!("border-gw-show-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let config = directory.join("bgw.yaml");
        let named =
            |line: &str| arguments(&line.replace("FILE", &config.display().to_string())).daemon.socket();
        for (sentence, text, want) in [
            ("a gateway alone", "gateway: {control: /run/x.sock}\n", Some("/run/x.sock")),
            ("no socket in it", "gateway: {name: a}\nconnections: 3\n", Some(intent::DEFAULT_CONTROL)),
            ("a socket that is none", "gateway: {control: x.sock}\n", None),
            ("no gateway", "connections: []\n", None),
            ("no YAML", "gateway: {control: /run/x.sock\n", None),
        ] {
            std::fs::write(&config, text).unwrap();
            let got = named("border-gw show vifs --config FILE").ok();
            assert_eq!(got, want.map(PathBuf::from), "{sentence}");
        }
        let got = named("border-gw show vifs --config FILE --socket /run/y.sock").ok();
        assert_eq!(got, Some(PathBuf::from("/run/y.sock")));
        let got = named("border-gw show vifs").ok();
        assert_eq!(got, Some(PathBuf::from("/run/border-gw/control.sock")));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_virtual_interface_goes_with_what_has_rows_of_it() {
        for (line, want) in [
            ("border-gw show routes", Some((What::Routes, "/v1/routes"))),
            ("border-gw show bgp", Some((What::Bgp, "/v1/bgp"))),
            ("border-gw show bgp vif-a", Some((What::Bgp, "/v1/bgp"))),
            ("border-gw show bgp vif-a --refused", Some((What::Refused, "/v1/refused/vif-a"))),
            ("border-gw show bgp ../x?y --refused", None),
            ("border-gw show drops vif-a", None),
            ("border-gw show health vif-a --refused", None),
        ] {
            let got = arguments(line).page().ok();
            assert_eq!(got, want.map(|(what, page)| (what, page.to_owned())), "{line}");
        }
        assert!(Cli::try_parse_from(["border-gw", "show", "bgp", "--refused"]).is_err());
        let rows = serde_json::json!([{"vif": "vif-a", "n": 1}, {"vif": "vif-b"}, {"name": "vif-a"}]);
        assert_eq!(of_vif(rows, "vif-a"), serde_json::json!([{"vif": "vif-a", "n": 1}, {"name": "vif-a"}]));
    }

    #[tokio::test]
    async fn a_daemon_that_says_nothing_is_not_waited_for() {
        let path = std::env::temp_dir().join(format!("border-gw-silent-{}.sock", std::process::id()));
        let _listener = UnixListener::bind(&path).unwrap();
        let error = ask(&path, Method::GET, "/v1/vifs", Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(error, Error::Silent { .. }), "{error}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn who_may_not_talk_is_told_so() {
        let path = Path::new("/run/x.sock");
        for (kind, want) in [
            (io::ErrorKind::PermissionDenied, "use sudo"),
            (io::ErrorKind::NotFound, "is it running?"),
            (io::ErrorKind::ConnectionRefused, "is it running?"),
        ] {
            let said = unreachable(path, kind.into()).to_string();
            assert!(said.contains(want) && said.contains("/run/x.sock"), "{said}");
            assert_eq!(said.contains("running"), want.contains("running"), "{said}");
        }
    }
}
