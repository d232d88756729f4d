//! A border gateway's namespace and customers' routers around it, each a real BIRD in a namespace of its own.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use border_gw::intent::Drain;
use border_gw::intent::{Intent, load};
use border_gw::routing::{Routing, RoutingError, SessionStatus};

/// Everything of a test, removed at its end.
pub(crate) struct Net {
    /// Name of the gateway; its only border gateway is `bgw-1`.
    pub(crate) gateway: String,
    directory: PathBuf,
    peers: Vec<String>,
}

/// Runs a command to its end; what it printed.
pub(crate) fn output(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{line}: {said}");
    said
}

impl Net {
    /// The namespace of the border gateway, without interfaces.
    pub(crate) fn new(test: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests make network namespaces: they take root");
        let gateway = format!("bgwtest-{}-{test}", std::process::id());
        let directory = std::env::temp_dir().join(&gateway);
        fs::create_dir_all(&directory).unwrap();
        let net = Self { gateway, directory, peers: Vec::new() };
        net.write("a.key", "k3y of vif-a");
        make(&net.namespace());
        net
    }

    pub(crate) fn namespace(&self) -> String {
        format!("{}.bgw-1", self.gateway)
    }

    /// Directory of the border gateway's BIRD.
    pub(crate) fn state(&self) -> PathBuf {
        border_gw::routing::conf::directory(&self.gateway, "bgw-1")
    }

    /// A file of the test's, for nobody else.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A customer's router on `vifN`, with our addresses and its own; its BIRD is not started.
    pub(crate) fn customer(&mut self, number: u32, ours: &[&str], theirs: &[&str]) {
        let (inside, peer) = (self.namespace(), format!("{}-c{number}", self.gateway));
        make(&peer);
        output(&format!("ip -n {inside} link add vif{number} type veth peer name line netns {peer}"));
        for (namespace, interface, addresses) in
            [(&inside, format!("vif{number}"), ours), (&peer, "line".into(), theirs)]
        {
            for address in addresses {
                output(&format!("ip -n {namespace} addr add {address} dev {interface}"));
            }
            output(&format!("ip -n {namespace} link set {interface} up"));
        }
        self.peers.push(peer);
    }

    /// Has the BIRD of a customer's router run with this configuration.
    pub(crate) fn speak(&self, number: u32, text: &str) {
        let peer = format!("{}-c{number}", self.gateway);
        let file = |ending: &str| self.directory.join(format!("c{number}.{ending}")).display().to_string();
        let text = format!("log \"{}\" all;\nprotocol device {{}}\n{text}", file("log"));
        self.write(&format!("c{number}.conf"), &text);
        if fs::exists(file("ctl")).unwrap() {
            output(&format!("birdc -s {} configure", file("ctl")));
        } else {
            let (config, control, pid) = (file("conf"), file("ctl"), file("pid"));
            output(&format!("ip netns exec {peer} bird -c {config} -s {control} -P {pid}"));
        }
    }

    /// What a customer's BIRD says.
    pub(crate) fn ask(&self, number: u32, command: &str) -> String {
        output(&format!("birdc -s {}/c{number}.ctl {command}", self.directory.display()))
    }

    /// The intent with these virtual interfaces, in YAML.
    pub(crate) fn intent(&self, vifs: &str) -> Intent {
        let text = format!(
            "gateway: {{name: {}, router_id: 10.255.0.1}}
fabric: {{interfaces: [f0], vtep: 192.0.2.10}}
connections: [{{name: line-a, interface: p0, kind: dedicated}}]
border_gateways:
  - name: bgw-1
    asn: 65000
    communities: [\"65000:100\", \"65000:1:2\"]
    advertise: [10.9.0.0/16]
    virtual_interfaces: {vifs}
    vpc_attachments:
      - name: vpc-1
        vni: 5001
        cidrs: [10.1.0.0/16, \"fd00:1::/48\"]
        router: {{mac: \"02:00:5e:00:50:01\", addresses: [10.1.0.1]}}
        host_mac: \"02:00:5e:00:00:01\"
        vteps: [192.0.2.21]
",
            self.gateway
        );
        load(&self.write("bgw.yaml", &text)).unwrap()
    }

    /// Lines of routes of a kernel table in the border gateway's namespace that BIRD wrote, without what does not matter.
    pub(crate) fn routes(&self, table: u32) -> Vec<String> {
        let namespace = self.namespace();
        let of = |family: &str| {
            output(&format!("ip -n {namespace} {family} -oneline route show table {table} proto bird"))
        };
        let lines = of("-4") + &of("-6");
        let tidy = |line: &str| {
            let words = line.replace('\\', " ").replace("metric 32", "").replace("pref medium", "");
            words.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<String> = lines.lines().map(tidy).collect();
        lines.sort();
        lines
    }

    /// Number of the border gateway's BIRD.
    pub(crate) fn pid(&self) -> i32 {
        fs::read_to_string(self.state().join("bird.pid")).unwrap().trim().parse().unwrap()
    }
}

fn make(namespace: &str) {
    output(&format!("ip netns add {namespace}"));
    output(&format!("ip -n {namespace} link set lo up"));
    for scope in ["all", "default"] {
        output(&format!("ip netns exec {namespace} sysctl -qw net.ipv6.conf.{scope}.accept_dad=0"));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Every process in a namespace of this test is this test's.
        for namespace in self.peers.iter().chain([&self.namespace()]) {
            let pids = Command::new("ip").args(["netns", "pids", namespace]).output().unwrap();
            for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
                let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
            }
            Command::new("ip").args(["netns", "del", namespace]).status().ok();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.state().join("bird.log")).unwrap_or_default();
            eprintln!("BIRD's log:\n{log}");
        }
        fs::remove_dir_all(&self.directory).ok();
        fs::remove_dir_all(self.state().parent().unwrap()).ok();
    }
}

/// `vif-a` is `vif1`, `vif-b` is `vif2`.
pub(crate) fn numbers() -> BTreeMap<String, BTreeMap<String, u32>> {
    let vifs = [("vif-a".to_owned(), 1), ("vif-b".to_owned(), 2)].into();
    [("bgw-1".to_owned(), vifs)].into()
}

pub(crate) async fn ensure(
    routing: &mut Routing,
    intent: &Intent,
    drained: &[(&str, Drain)],
) -> Result<(), RoutingError> {
    let mut intent = intent.clone();
    intent.drained = drained.iter().map(|(vif, drain)| ((*vif).to_owned(), *drain)).collect();
    routing.ensure(&intent, &numbers()).await
}

/// Asks until the sessions are as they should be; what they are then.
pub(crate) async fn until(
    what: &str,
    routing: &mut Routing,
    intent: &Intent,
    is_so: impl Fn(&BTreeMap<String, SessionStatus>) -> bool,
) -> BTreeMap<String, SessionStatus> {
    let started = Instant::now();
    loop {
        let status = routing.status(intent).await;
        if is_so(&status) {
            return status;
        }
        assert!(started.elapsed() < Duration::from_secs(40), "{what}: {status:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for something else.
pub(crate) async fn eventually<T: PartialEq + std::fmt::Debug>(what: &str, want: T, look: impl Fn() -> T) {
    let started = Instant::now();
    while look() != want {
        assert!(started.elapsed() < Duration::from_secs(40), "{what}: {:#?}, want {want:#?}", look());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
