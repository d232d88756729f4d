//! `border-gw show`: asks the daemon, prints a table or the JSON as it came.

use std::path::PathBuf;

use clap::Args;
use comfy_table::{Table, presets};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::What;
use crate::intent;

/// What to show, and of which daemon.
#[derive(Debug, Args)]
pub struct Show {
    /// What to show
    #[arg(value_enum)]
    pub what: What,
    /// Configuration file, which names the control socket
    #[arg(long, short, required_unless_present = "socket")]
    pub config: Option<PathBuf>,
    /// Control socket; the configuration file is then not read
    #[arg(long)]
    pub socket: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] intent::Errors),
    /// Nobody answers.
    #[error("the daemon does not answer on {path}: {cause}; is it running? (`border-gw run --config FILE`)")]
    Connect {
        /// Control socket.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The conversation broke.
    #[error("the daemon's answer on {path} is broken: {cause}")]
    Answer {
        /// Control socket.
        path: PathBuf,
        /// Why.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon says no.
    #[error("the daemon cannot show that: {0}")]
    Refused(String),
}

/// Shows it.
pub async fn show(arguments: Show) -> Result<(), Error> {
    let path = match (arguments.socket, arguments.config) {
        (Some(socket), _) => socket,
        (None, Some(config)) => intent::load(&config)?.gateway.control,
        (None, None) => return Ok(()),
    };
    let text = ask(&path, &format!("/v1/{}", arguments.what.name())).await?;
    if arguments.json {
        println!("{text}");
        return Ok(());
    }
    let rows: Value =
        serde_json::from_str(&text).map_err(|cause| Error::Answer { path, cause: cause.into() })?;
    println!("{}", table(&rows));
    Ok(())
}

async fn ask(path: &PathBuf, page: &str) -> Result<String, Error> {
    let broken = |cause: hyper::Error| Error::Answer { path: path.clone(), cause: cause.into() };
    let stream =
        UnixStream::connect(path).await.map_err(|cause| Error::Connect { path: path.clone(), cause })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let request = Request::get(page).header("host", "border-gw").body(Empty::<Bytes>::new());
    let request = request.map_err(|cause| Error::Answer { path: path.clone(), cause: cause.into() })?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let ok = answer.status().is_success();
    let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if ok { Ok(text) } else { Err(Error::Refused(text)) }
}

/// Rows as a table: one column a field, nested fields joined by dots.
fn table(rows: &Value) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let rows: Vec<Vec<(String, String)>> =
        rows.as_array().into_iter().flatten().map(|row| cells("", row)).collect();
    if let Some(first) = rows.first() {
        table.set_header(first.iter().map(|(name, _)| name.to_uppercase()));
    }
    for row in &rows {
        table.add_row(row.iter().map(|(_, value)| value.clone()));
    }
    table
}

fn cells(prefix: &str, row: &Value) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    for (name, value) in row.as_object().into_iter().flatten() {
        let name = format!("{prefix}{name}");
        match value {
            Value::Object(_) => cells.extend(self::cells(&format!("{name}."), value)),
            Value::Null => cells.push((name, "-".to_owned())),
            Value::Number(number) if name.ends_with("_bps") => {
                cells.push((
                    name.trim_end_matches("_bps").to_owned(),
                    super::bits(number.as_u64().unwrap_or(0)),
                ));
            }
            Value::String(text) if text.is_empty() => cells.push((name, "-".to_owned())),
            Value::String(text) => cells.push((name, text.clone())),
            other => cells.push((name, other.to_string())),
        }
    }
    cells
}
