//! A client of BIRD's control socket. Nothing here waits without end; the callers set the time.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Name of the socket in BIRD's directory.
pub(super) const SOCKET: &str = "bird.ctl";
/// Most bytes of an answer: 2 kB a session, and every virtual interface of a server has two.
const MOST: u64 = 64 << 20;
/// Codes from this one on are errors.
const ERROR: u16 = 8000;
/// Code of a configuration that cannot be read.
pub(super) const INVALID: u16 = 8002;

/// Code of `configure status` when no change is under way.
pub(super) const SETTLED: u16 = 3;

/// Why BIRD did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No answer, or no whole one.
    #[error("its control socket does not answer: {0}")]
    Silent(#[from] io::Error),
    /// It says no.
    #[error("it says: {text}")]
    Refused {
        /// BIRD's number of the error.
        code: u16,
        /// What it says.
        text: String,
    },
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) code: u16,
    pub(super) text: String,
}

/// An open control socket.
pub(super) struct Client {
    lines: BufReader<tokio::io::Take<OwnedReadHalf>>,
    requests: OwnedWriteHalf,
}

impl Client {
    /// Connects to the BIRD of a directory.
    pub(super) async fn connect(directory: &Path) -> Result<Self, ControlError> {
        // A socket's path has at most 107 bytes, which two names of 64 would exceed.
        let directory = File::open(directory)?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        let (answers, requests) = UnixStream::connect(path).await?.into_split();
        let mut client = Self { lines: BufReader::new(answers.take(MOST)), requests };
        // It greets.
        client.answer(|_| true).await?;
        Ok(client)
    }

    /// Has a command carried out; what it answers.
    pub(super) async fn command(&mut self, command: &str) -> Result<Vec<Line>, ControlError> {
        self.send(command).await?;
        self.answer(|_| true).await
    }

    /// Has a command carried out, and takes its answer as long as `goes_on`. The client is good for nothing afterwards.
    pub(super) async fn part(
        mut self,
        command: &str,
        goes_on: impl FnMut(&Line) -> bool,
    ) -> Result<Vec<Line>, ControlError> {
        self.send(command).await?;
        self.answer(goes_on).await
    }

    async fn send(&mut self, command: &str) -> Result<(), ControlError> {
        self.lines.get_mut().set_limit(MOST);
        self.requests.write_all(format!("{command}\n").as_bytes()).await?;
        Ok(())
    }

    async fn answer(&mut self, mut goes_on: impl FnMut(&Line) -> bool) -> Result<Vec<Line>, ControlError> {
        let mut lines: Vec<Line> = Vec::new();
        let mut raw = Vec::new();
        loop {
            raw.clear();
            self.lines.read_until(b'\n', &mut raw).await?;
            let text = String::from_utf8_lossy(&raw);
            let text =
                text.strip_suffix('\n').ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            let Some((line, is_last)) = parse(text, lines.last().map_or(0, |line| line.code)) else {
                continue;
            };
            let ends = is_last || !goes_on(&line);
            lines.push(line);
            if ends {
                break;
            }
        }
        match lines.iter().find(|line| line.code >= ERROR) {
            Some(error) => Err(ControlError::Refused { code: error.code, text: error.text.clone() }),
            None => Ok(lines),
        }
    }
}

/// A line: `1006-text` of many, `0000 text` as the last, or a blank and more of the code before. None is what the log echoes.
fn parse(line: &str, code: u16) -> Option<(Line, bool)> {
    if let Some(more) = line.strip_prefix(' ') {
        return Some((Line { code, text: more.to_owned() }, false));
    }
    let (number, rest) = line.split_at_checked(4)?;
    let code = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    let is_last = !rest.starts_with('-');
    let text = rest.get(1..).unwrap_or_default().to_owned();
    Some((Line { code, text }, is_last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_codes_and_an_end() {
        let line = |code, text: &str| Line { code, text: text.into() };
        for (raw, want) in [
            ("1002-bgp1_v4    BGP", Some((line(1002, "bgp1_v4    BGP"), false))),
            ("       BGP state:", Some((line(1006, "      BGP state:"), false))),
            ("0003 Reconfigured", Some((line(3, "Reconfigured"), true))),
            ("0000 ", Some((line(0, ""), true))),
            ("8002 /x:1:1 syntax error", Some((line(8002, "/x:1:1 syntax error"), true))),
            ("+2026-11-25 <INFO> x", None),
            ("", None),
        ] {
            assert_eq!(parse(raw, 1006), want, "{raw}");
        }
    }
}
