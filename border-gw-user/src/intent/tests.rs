//! Documents, good and bad: each bad one says where, what is wrong and what would be right.

mod networks;
mod structure;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;

/// A document in which nothing is wrong; rows of tables change one text of it.
const GOOD: &str = "\
gateway: {name: server-1, router_id: 10.255.0.1}
fabric: {interfaces: [ens2f0, ens2f1], vtep: 192.0.2.10}
connections:
  - {name: line-a, interface: ens1f0, kind: dedicated, bandwidth: 10Gbps}
  - {name: line-b, interface: ens1f1, kind: hosted}
  - {name: line-c, interface: ens1f1, kind: partner}
border_gateways:
  - name: bgw-1
    asn: 65000
    virtual_interfaces:
      - name: vif-a
        connection: line-a
        vlan: 100
        mtu: 1500
        bandwidth: 500Mbps
        burst: 2MB
        addresses:
          - {local: 169.254.10.2/30, peer: 169.254.10.1}
          - {local: 'fd00:10::2/126', peer: 'fd00:10::1'}
      - name: vif-b
        connection: line-b
        vlan: {outer: 200, inner: 100}
        mtu: 1400
        addresses: [{local: 169.254.20.2/31, peer: 169.254.20.3}]
      - name: vif-c
        connection: line-c
        vlan: {outer: 200, tpid: 0x88a8}
        addresses: [{local: 169.254.30.2/29, peer: 169.254.30.1}]
    vpc_attachments:
      - name: vpc-1
        vni: 5001
        cidrs: [10.1.0.0/16, 'fd00:1::/48']
        router: {mac: '02:00:5e:00:50:01', addresses: [10.1.0.1, 'fd00:1::1']}
        host_mac: '02:00:5e:00:00:01'
        vteps: [192.0.2.21, {address: 192.0.2.22, mac: '0a:00:00:00:00:22'}]
        mtu: 1500
        hosts:
          - {prefix: 10.1.0.10/32, vteps: [192.0.2.21]}
      - name: vpc-2
        vni: 5002
        cidrs: [10.1.128.0/24, 10.2.0.0/16]
        router: {mac: '02:00:5e:00:50:02', addresses: [10.2.0.1]}
        vteps: [{address: 192.0.2.21, mac: '0a:00:00:00:00:21'}]
    routes:
      - {prefix: 172.16.0.0/16, via: [vif-a, vif-b]}
      - {prefix: '2001:db8::/32', via: [vif-a]}
";

/// Checks a document that is in no file.
fn check(text: &str) -> Result<Intent, Errors> {
    let mut report = diagnostic::Report::default();
    let mut document = document::Document::default();
    let file = report.add_file("bgw.yaml".into(), text.into());
    match tree::parse(file, text) {
        Ok(node) => document.add(&mut report, &node),
        Err(tree::Malformed { line, column, message }) => {
            report.error(Place { file, line, column }, message);
        }
    }
    validate::check(&mut report, &document);
    if report.count() > 0 {
        Err(report.finish())
    } else {
        Ok(build::build(document, report.paths()).unwrap())
    }
}

/// What is wrong, a line each: `LINE:COLUMN MESSAGE; HELP`.
fn wrong(text: &str) -> Vec<String> {
    let Err(errors) = check(text) else { return Vec::new() };
    let show = |d: &Diagnostic| {
        format!("{}:{} {}; {}", d.line, d.column, d.message, d.help.as_deref().unwrap_or_default())
    };
    errors.0.iter().map(show).collect()
}

/// A sentence, a text of [`GOOD`], what stands there instead, and the beginning of the one error that it makes.
struct Row(&'static str, &'static str, &'static str, &'static str);

fn run(rows: &[Row]) {
    for Row(sentence, from, to, want) in rows {
        assert_eq!(GOOD.matches(from).count(), 1, "{sentence}: `{from}` has to be there once");
        let got = wrong(&GOOD.replace(from, to));
        assert_eq!(got, [*want], "{sentence}");
    }
}

#[test]
fn nothing_is_wrong_in_the_good_document() {
    assert_eq!(wrong(GOOD), Vec::<String>::new());
}

/// A directory with files, removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("border-gw-intent-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(directory)
    }

    /// Loads `bgw.yaml`.
    fn load(&self) -> Result<Intent, Errors> {
        load(&self.0.join("bgw.yaml"))
    }

    /// What is wrong with `bgw.yaml`, as it is displayed, paths without the directory.
    fn wrong(&self) -> String {
        let errors = self.load().unwrap_err().to_string();
        errors.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml")
}

fn mac(last: u8) -> MacAddr {
    MacAddr([0x0a, 0, 0, 0, 0, last])
}

#[test]
fn the_example_of_the_documentation_loads() {
    let intent = load(&example()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(intent.gateway.control, Path::new("/run/border-gw/control.sock"));
    assert_eq!((intent.fabric.vxlan_port, intent.gateway.xdp_mode), (4789, XdpMode::Native));
    let names: Vec<_> = intent.connections.iter().map(|connection| connection.name.as_str()).collect();
    assert_eq!(names, ["line-a", "line-b"]);
    let ten_gbps = Cap { rate: 10_000_000_000, burst: 25_000_000 };
    assert_eq!(intent.connections[0].caps, Caps { to_vpc: Some(ten_gbps), to_customer: Some(ten_gbps) });
    let gateway = &intent.border_gateways[0];
    assert_eq!((gateway.transit, gateway.hash), (false, HashMode::FiveTuple));
    let [a, b] = &gateway.virtual_interfaces[..] else { panic!("{gateway:?}") };
    assert_eq!((a.enabled, a.mtu, a.source_validation, a.tag.tpid), (true, 1500, true, 0x8100));
    assert_eq!(a.caps.to_vpc, Some(Cap { rate: 500_000_000, burst: 2_000_000 }));
    assert_eq!(a.caps.to_customer, Some(Cap { rate: 1_000_000_000, burst: 2_000_000 }));
    assert_eq!(b.caps.to_vpc, Some(Cap { rate: 500_000_000, burst: 1_250_000 }));
    assert_eq!((b.tag.outer.get(), b.tag.inner.map(VlanId::get), b.tag.tpid), (200, Some(100), 0x88a8));
    let vpc = &gateway.vpc_attachments[0];
    let host_mac = MacAddr([2, 0, 0x5e, 0, 0, 1]);
    let hosts: Vec<Vec<MacAddr>> =
        vpc.hosts.iter().map(|host| host.vteps.iter().map(|vtep| vtep.mac).collect()).collect();
    assert_eq!(hosts, [vec![host_mac], vec![mac(0x22)], vec![host_mac, mac(0x22)], vec![host_mac]]);
    assert_eq!(intent.files.len(), 3);
    assert!(intent.files.iter().all(|path| path.exists()));
}

#[test]
fn an_error_shows_the_line_and_what_would_be_right() {
    let files = Files::new(&[("bgw.yaml", &GOOD.replace("        vlan: 100", "        vlann: 100"))]);
    assert_eq!(
        files.wrong(),
        "\
bgw.yaml:11:9: `vlan` is missing in a virtual interface
  |       - name: vif-a
  |         ^
  help: add `vlan`; docs/reference.md says what it may be
bgw.yaml:13:9: unknown key `vlann` in a virtual interface
  |         vlann: 100
  |         ^
  help: did you mean `vlan`?"
    );
}
