//! Documents, good and bad: each bad one says where, what is wrong and what would be right.

mod networks;
mod routing;
mod structure;

use std::fmt::Write as _;
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
        Ok(build::build(document, report.sources()).unwrap())
    }
}

/// What is wrong, a line each: `LINE:COLUMN MESSAGE; HELP`.
fn wrong(text: &str) -> Vec<String> {
    let Err(errors) = check(text) else { return Vec::new() };
    let show = |d: &Diagnostic| {
        format!("{}:{} {}; {}", d.line, d.column, d.message, d.help.as_deref().unwrap_or_default())
    };
    errors.diagnostics.iter().map(show).collect()
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
    let ten_gbps = Cap { rate: 10_000_000_000, burst: 250_000_000 };
    assert_eq!(intent.connections[0].caps, Caps { to_vpc: Some(ten_gbps), to_customer: Some(ten_gbps) });
    let gateway = &intent.border_gateways[0];
    assert_eq!((gateway.transit, gateway.hash, gateway.mss_clamp), (false, HashMode::FiveTuple, true));
    let [a, b] = &gateway.virtual_interfaces[..] else { panic!("{gateway:?}") };
    assert_eq!((a.enabled, a.mtu, a.source_validation, a.tag.tpid), (true, 1500, true, 0x8100));
    assert_eq!(a.caps.to_vpc, Some(Cap { rate: 500_000_000, burst: 2_000_000 }));
    assert_eq!(a.caps.to_customer, Some(Cap { rate: 1_000_000_000, burst: 2_000_000 }));
    assert_eq!(b.caps.to_vpc, Some(Cap { rate: 500_000_000, burst: 12_500_000 }));
    assert_eq!((b.tag.outer.get(), b.tag.inner.map(VlanId::get), b.tag.tpid), (200, Some(100), 0x88a8));
    let vpc = &gateway.vpc_attachments[0];
    let host_mac = MacAddr([2, 0, 0x5e, 0, 0, 1]);
    let hosts: Vec<Vec<MacAddr>> =
        vpc.hosts.iter().map(|host| host.vteps.iter().map(|vtep| vtep.mac).collect()).collect();
    assert_eq!(hosts, [vec![host_mac], vec![mac(0x22)], vec![host_mac, mac(0x22)], vec![host_mac]]);
    assert_eq!(intent.sources.files.len(), 3);
    assert!(intent.sources.files.iter().all(|path| path.exists()));
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

#[test]
fn includes_are_merged_in_the_order_of_their_names() {
    let (head, tail) = GOOD.split_once("border_gateways:").unwrap();
    let files = Files::new(&[
        ("bgw.yaml", "include: ['conf.d/*.yaml', conf.d/a.yaml]\n"),
        ("conf.d/a.yaml", &format!("include: [../more/b?.yaml]\nborder_gateways:{tail}")),
        ("conf.d/.a.yaml.swp", "not: ours"),
        ("conf.d/b.yaml", "# nothing\n"),
        ("conf.d/sub.yaml/c", "not: ours"),
        ("more/b1.yaml", head),
    ]);
    let intent = files.load().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(intent.border_gateways, check(GOOD).unwrap().border_gateways);
    let read: Vec<_> = intent.sources.files.iter().map(|path| path.strip_prefix(&files.0).unwrap()).collect();
    let want = ["bgw.yaml", "conf.d/a.yaml", "conf.d/b.yaml", "conf.d/../more/b1.yaml"];
    assert_eq!(read, want.map(Path::new));
}

#[test]
fn what_was_looked_at_is_known_also_where_it_is_wrong() {
    let tail = "include: ['conf.d/*.yaml', away/a.yaml]\n";
    let hosts =
        GOOD.replace("        mtu: 1500\n        hosts:", "        hosts_file: b.hosts\n        hosts:");
    let files = Files::new(&[
        ("bgw.yaml", &format!("{hosts}{tail}")),
        ("conf.d/wrong.yaml", "a: ["),
        ("conf.d/more.yaml", "include: [sites/s?/*.yaml]\n"),
    ]);
    let sources = files.load().unwrap_err().sources;
    let shown = |paths: &[PathBuf]| {
        let names = paths.iter().map(|path| path.strip_prefix(&files.0).unwrap().display().to_string());
        names.collect::<Vec<_>>()
    };
    let tried = ["bgw.yaml", "conf.d/more.yaml", "conf.d/wrong.yaml", "away/a.yaml", "b.hosts"];
    assert_eq!(shown(&sources.files), tried);
    assert_eq!(shown(&sources.patterns), ["conf.d/*.yaml", "conf.d/sites/s?/*.yaml"]);
    // The main file alone, when nobody can read it.
    fs::remove_file(files.0.join("bgw.yaml")).unwrap();
    assert_eq!(shown(&files.load().unwrap_err().sources.files), ["bgw.yaml"]);
}

/// A sentence, the main file (none if empty), other files, and the beginnings of the errors.
struct FilesRow<'a>(&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);

fn run_files(rows: &[FilesRow<'_>]) {
    for FilesRow(sentence, main, others, want) in rows {
        let mut files = others.to_vec();
        if !main.is_empty() {
            files.push(("bgw.yaml", main));
        }
        let shown = Files::new(&files).wrong();
        let heads: Vec<_> = shown.lines().filter(|line| !line.starts_with("  ")).collect();
        assert_eq!(heads.len(), want.len(), "{sentence}: {shown}");
        for (head, want) in heads.iter().zip(*want) {
            assert!(head.starts_with(want), "{sentence}: wanted `{want}`, got {shown}");
        }
    }
}

#[test]
fn what_is_wrong_with_files_is_shown_where_they_are_named() {
    let include = |what: &str| format!("include: [{what}]\n{GOOD}");
    let second = "connections:\n- {name: line-a, interface: eth9, kind: hosted}\n\
                  fabric: {interfaces: [eth8], vtep: 192.0.2.9}\n";
    run_files(&[
        FilesRow("no file", "", &[], &["bgw.yaml: cannot read this file: No such file or directory"]),
        FilesRow(
            "nothing in it",
            " ",
            &[],
            &["bgw.yaml: `gateway` is missing", "bgw.yaml: `fabric` is missing"],
        ),
        FilesRow(
            "no included file",
            &include("a.yaml"),
            &[],
            &["bgw.yaml:1:11: cannot read a.yaml: No such file or directory"],
        ),
        FilesRow(
            "an included directory",
            &include("sub"),
            &[("sub/a.yaml", "")],
            &["bgw.yaml:1:11: cannot read sub: it is a directory, not a regular file"],
        ),
        FilesRow(
            "a pattern of another tool",
            &include("'**/a.yaml'"),
            &[],
            &["bgw.yaml:1:11: `**/a.yaml` is not a pattern"],
        ),
        FilesRow(
            "a name and a section in two files",
            &include("'*.yaml'"),
            &[("second.yaml", second)],
            &[
                "second.yaml:2:10: the name `line-a` is defined twice: first as a connection at bgw.yaml:5:12",
                "second.yaml:3:9: `fabric` is defined twice: first at bgw.yaml:3:9",
            ],
        ),
        FilesRow(
            "an included file that is not YAML hides what is missing",
            "include: [a.yaml]\nfabric: {interfaces: [eth0], vtep: 192.0.2.9}\n",
            &[("a.yaml", "gateway: {")],
            &["a.yaml:1:10: this is not YAML: "],
        ),
    ]);
}

#[test]
fn a_file_that_is_not_to_be_read_says_why_and_what_to_do() {
    let files = Files::new(&[("bgw.yaml", &format!("include: ['conf.d/*']\n{GOOD}")), ("conf.d/.keep", "")]);
    let odd = files.0.join("conf.d/a.yaml");
    nix::unistd::mkfifo(&odd, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(
        files.wrong().ends_with(
            "cannot read conf.d/a.yaml: it is a pipe, a socket or a device, not a regular file\n  \
         | include: ['conf.d/*']\n  |           ^\n  \
         help: name a file: pipes and devices give no second reading, and may never end"
        ),
        "{}",
        files.wrong()
    );
    fs::remove_file(&odd).unwrap();
    fs::write(&odd, b"# fine\nconnections: [\xff]\n").unwrap();
    assert_eq!(
        files.wrong(),
        "conf.d/a.yaml:2:15: this line is not UTF-8 text\n  | connections: [\u{fffd}]\n  |               ^\n  \
         help: save the file as UTF-8"
    );
    fs::File::create(&odd).unwrap().set_len(17 << 20).unwrap();
    assert!(files.wrong().contains("cannot read conf.d/a.yaml: it has more than 16 MiB\n"));
    fs::remove_file(&odd).unwrap();
    std::os::unix::fs::symlink("nowhere", &odd).unwrap();
    assert!(files.wrong().ends_with("help: correct the path, or make the file"), "{}", files.wrong());
}

#[test]
fn what_is_wrong_without_end_costs_little() {
    let mut text = GOOD.to_owned();
    for number in 0..30_000 {
        writeln!(text, "unknown-{number}: 1").unwrap();
    }
    let errors = check(&text).unwrap_err().diagnostics;
    assert_eq!(errors.len(), 101);
    assert_eq!(errors[100].message, "29900 more errors are not shown");
    // Beside the parser, which has to read it all: to word every error took longer than that.
    let started = std::time::Instant::now();
    let node = tree::parse(0, &text).unwrap();
    let parsed = started.elapsed();
    let started = std::time::Instant::now();
    document::Document::default().add(&mut diagnostic::Report::default(), &node);
    let judged = started.elapsed();
    assert!(judged < parsed / 2, "parsed in {parsed:?}, judged in {judged:?}");
}

#[test]
fn hosts_files_are_checked_line_by_line() {
    let with_hosts = GOOD.replace("        hosts:\n", "        hosts_file: vpc-1.hosts\n        hosts:\n");
    let vteps = "        vteps: [{address: 192.0.2.21, mac: '0a:00:00:00:00:21'}]";
    let without_host_mac = GOOD.replace(vteps, &format!("        hosts_file: h\n{vteps}"));
    run_files(&[
        FilesRow(
            "no hosts file",
            &with_hosts,
            &[],
            &["bgw.yaml:37:21: cannot read vpc-1.hosts: No such file"],
        ),
        FilesRow(
            "hosts that are wrong",
            &with_hosts,
            &[("vpc-1.hosts", "10.1.0.10/32 192.0.2.21\n\n10.9.0.1/32 192.0.2.21\n10.1.0.11 192.0.2.21\n")],
            &[
                "vpc-1.hosts:1:1: the host 10.1.0.10/32 is there twice: first at bgw.yaml:39:22",
                "vpc-1.hosts:3:1: the host 10.9.0.1/32 is in none of the attachment's CIDRs",
                "vpc-1.hosts:4:1: `10.1.0.11` has no prefix length",
            ],
        ),
        FilesRow(
            "a VTEP of a host without a MAC address",
            &without_host_mac,
            &[("h", "10.2.0.9/32 192.0.2.21,192.0.2.22\n")],
            &["h:1:24: the inner MAC address of VTEP 192.0.2.22 is not known"],
        ),
    ]);
}

#[test]
fn a_hundred_thousand_hosts_are_read() {
    let mut hosts = String::new();
    for host in 0..100_000_u32 {
        let [_, a, b, c] = host.to_be_bytes();
        writeln!(hosts, "10.1{a}.{b}.{c}/32 192.0.2.{}", 21 + host % 2).unwrap();
    }
    let main = GOOD
        .replace("10.1.0.0/16, ", "10.1.0.0/16, 10.10.0.0/15, ")
        .replace("        hosts:\n", "        hosts_file: vpc-1.hosts\n        hosts:\n");
    let files = Files::new(&[("bgw.yaml", &main), ("vpc-1.hosts", &hosts)]);
    let intent = files.load().unwrap_or_else(|errors| panic!("{errors}"));
    let attachment = &intent.border_gateways[0].vpc_attachments[0];
    assert_eq!(attachment.hosts.len(), 100_001);
    assert_eq!(attachment.hosts[2].vteps[0].mac, mac(0x22));
}

#[test]
fn more_than_the_tables_hold_is_refused() {
    let mut text = GOOD.to_owned();
    for index in 0..300 {
        let line = format!("  - {{name: x-{index}, interface: x{index}, kind: hosted}}\nborder_gateways:");
        text = text.replace("border_gateways:", &line);
    }
    let vteps = |count: u16| {
        (1..=count).map(|n| format!("198.51.{}.{}", n >> 8, n & 255)).collect::<Vec<_>>().join(", ")
    };
    text = text.replace("[192.0.2.21, {", &format!("[{}, {{", vteps(64)));
    let got = wrong(&text);
    let want = [
        "0:0 303 connections; one server holds at most 256",
        "0:0 304 line and fabric ports; one server holds at most 64",
        "335:850 65 VTEPs for one prefix; at most 64 are equal",
    ];
    assert_eq!(got, want);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is done to a document, the answer is an intent or errors; never a panic, never neither.
    #[test]
    fn any_document_has_an_answer(edits in prop::collection::vec((any::<u16>(), 0..12_u8, any::<u16>()), 1..6)) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, kind, with) in edits {
            let at = usize::from(at) % text.len();
            let end = (at + usize::from(with) % 40).min(text.len());
            let other = text[usize::from(with) % text.len()];
            match kind {
                0..3 => text[at] = other,
                3..5 => text.insert(at, other),
                5..7 => drop(text.remove(at)),
                7 => drop(text.drain(at..end.min(text.len() - 1))),
                8 => text.insert(at, char::from_u32(u32::from(with)).unwrap_or('\u{0}')),
                9 => {
                    let copy = text[at..end].to_vec();
                    text.splice(at..at, copy);
                }
                _ => text[at] = ['\n', '{', '"', '/', '#', '&', '*', '9'][usize::from(with) % 8],
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(errors) = check(&text) {
            prop_assert!(!errors.diagnostics.is_empty() && !errors.to_string().is_empty());
        }
        let mut report = diagnostic::Report::default();
        let file = report.add_file("h".into(), text.as_str().into());
        hosts::parse(&mut report, file, &text);
    }
}

#[test]
fn dscp_is_read_by_direction() {
    let text =
        GOOD.replace("vlan: 100", "vlan: 100\n        dscp: {to_vpc: {46: 34, 0: 8}, to_customer: {34: 0}}");
    let intent = check(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let vifs = &intent.border_gateways[0].virtual_interfaces;
    let want = Dscp { to_vpc: [(46, 34), (0, 8)].into(), to_customer: [(34, 0)].into() };
    assert_eq!((&vifs[0].dscp, &vifs[1].dscp), (&want, &Dscp::default()));
}
