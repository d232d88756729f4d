//! The command's output where it cannot go: a closed pipe, a full disk; and its ends.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_border-gw"));
    command.args(line.split(' '));
    command
}

/// The example of the documentation, which is right.
fn check() -> Command {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml");
    command(&format!("check --config {}", example.display()))
}

/// A pipe that nobody reads any more.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// Something that answers one request as the daemon does, on a socket of its own.
struct Daemon(PathBuf);

impl Daemon {
    fn new(name: &str, answer: &'static str) -> Self {
        let path = std::env::temp_dir().join(format!("border-gw-{name}-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _peer) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
            stream.write_all((head + answer).as_bytes()).unwrap();
        });
        Self(path)
    }

    fn show(&self, options: &str) -> Command {
        command(&format!("show vifs{options} --socket {}", self.0.display()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

fn ends(output: &Output, code: i32, stderr: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said, stderr);
}

const ROWS: &str = r#"[{"name":"vif-a","state":"up"}]"#;

#[test]
fn a_reader_that_went_away_is_no_error() {
    ends(&check().stdout(closed()).output().unwrap(), 0, "");
    for options in ["", " --json"] {
        let daemon = Daemon::new("closed", ROWS);
        ends(&daemon.show(options).stdout(closed()).output().unwrap(), 0, "");
    }
}

#[test]
fn a_full_disk_is_an_error_in_a_sentence() {
    let want = "border-gw: cannot write to standard output: No space left on device (os error 28)\n";
    ends(&check().stdout(full()).output().unwrap(), 1, want);
    for options in ["", " --json"] {
        let daemon = Daemon::new("full", ROWS);
        ends(&daemon.show(options).stdout(full()).output().unwrap(), 1, want);
    }
}

#[test]
fn a_file_that_is_wrong_is_explained_once_and_still_names_its_socket() {
    let daemon = Daemon::new("wrong", ROWS);
    let config = daemon.0.with_extension("yaml");
    let show = || command(&format!("show vifs --json --config {}", config.display())).output().unwrap();
    fs::write(&config, format!("gateway: {{control: {}}}\nfabrik: 1\n", daemon.0.display())).unwrap();
    let want = format!(
        "border-gw: {} is wrong, and only its `gateway.control` is used: `border-gw check` says what is wrong\n",
        config.display()
    );
    ends(&show(), 0, &want);
    fs::write(&config, "a: [").unwrap();
    let want = format!(
        "border-gw: {}:1:4: this is not YAML: unclosed bracket '['\n  | a: [\n  |    ^\n  \
         help: `--socket PATH` shows a daemon whose configuration cannot be read\n",
        config.display()
    );
    ends(&show(), 1, &want);
    fs::remove_file(&config).unwrap();
}

#[test]
fn an_error_that_nobody_can_read_still_ends_with_1() {
    let output = command("check --config /nowhere/bgw.yaml").stderr(closed()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_the_daemon_says_is_a_table_or_json() {
    let output = Daemon::new("table", ROWS).show("").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let columns = ["NAME", "BORDER_GATEWAY", "PORT", "VLAN", "STATE", "XDP", "TO_VPC", "CAP", "POLICED"];
    assert_eq!(words[0][..columns.len()], columns);
    assert_eq!(words[1][..5], ["vif-a", "-", "-", "-", "up"]);
    let output = Daemon::new("json", ROWS).show(" --json").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{ROWS}\n"));
}
