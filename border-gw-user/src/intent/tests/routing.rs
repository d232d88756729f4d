//! Rows about BGP, BFD and what is announced.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;

const HERE: &str = "vlan: 100\n        ";

#[test]
fn each_wrong_value_of_a_session_is_named() {
    let rows = [
        (
            "bgp: {asn: 0}",
            "14:20 `0` is not an autonomous system number; write a number from 1 to 4294967294",
        ),
        (
            "bgp: {asn: 65000}",
            "14:20 the peer's autonomous system 65000 is our own, at bgw.yaml:9:10; a customer is another autonomous system (RFC 4271); private ones are 64512 to 65534",
        ),
        ("bgp: {}", "14:14 `asn` is missing in `bgp`; add `asn`; docs/reference.md says what it may be"),
        ("bgp: {asn: 65010, hold_time: 2s}", "14:38 the hold time 2s is too short; it is 3s to 65535s"),
        (
            "bgp: {asn: 65010, hold_time: 3500ms}",
            "14:38 the hold time 3500ms is not in whole seconds; BGP counts it in seconds (RFC 4271, section 4.2)",
        ),
        (
            "bgp: {asn: 65010, hold_time: 90}",
            "14:38 `90` is not a time; write a whole number and ms, s, m or h, such as 90s",
        ),
        (
            "bgp: {asn: 65010, max_prefixes: 0}",
            "14:41 `0` is not a number of prefixes; write a number from 1 to 1000000",
        ),
        (
            "bgp: {asn: 65010, prepend: 11}",
            "14:36 `11` is not a number of times to prepend; write a number from 0 to 10",
        ),
        (
            "bgp: {asn: 65010, accept: [all]}",
            "14:36 `all` is not known here; write default_route, bogons or own_asn",
        ),
        ("bfd: {interval: 9ms}", "14:25 BFD's interval 9ms is too short; it is 10ms to 10s"),
        ("bfd: {multiplier: 1}", "14:27 `1` is not BFD's multiplier; write a number from 2 to 50"),
    ];
    for (text, want) in rows {
        let got = wrong(&GOOD.replacen("vlan: 100\n        ", &format!("{HERE}{text}\n        "), 1));
        assert_eq!(got, [want], "{text}");
    }
}

#[test]
fn announcements_are_prefixes_of_their_own() {
    run(&[
        Row(
            "a CIDR is announced anyway",
            "asn: 65000",
            "asn: 65000\n    advertise: [10.2.0.0/16]",
            "10:17 10.2.0.0/16 is announced anyway: bgw.yaml:42:32; remove it from `advertise`",
        ),
        Row(
            "a prefix that holds loopback",
            "asn: 65000",
            "asn: 65000\n    advertise: [126.0.0.0/7]",
            "10:17 126.0.0.0/7 holds 127.0.0.0/8, which is loopback; announce what customers may send here",
        ),
        Row(
            "a community of three short parts and one more",
            "asn: 65000",
            "asn: 65000\n    communities: ['65000:1:2:3']",
            "10:19 `65000:1:2:3` is not a BGP community; write it in quotes, as \"65000:100\" (RFC 1997) or \"65000:1:2\" (RFC 8092)",
        ),
    ]);
}

#[test]
fn an_external_daemon_has_its_own_sessions() {
    let text = GOOD.replace("asn: 65000", "asn: 65000\n    routing: external");
    assert_eq!(wrong(&text), Vec::<String>::new());
    let text = text.replacen("vlan: 100\n", "vlan: 100\n        bgp: {asn: 65010}\n        bfd: {}\n", 1);
    let help = "configure it in the daemon that runs in the namespace, or use `routing: bird`";
    assert_eq!(
        wrong(&text),
        [
            format!("15:14 `bgp` has no effect with `routing: external`; {help}"),
            format!("16:14 `bfd` has no effect with `routing: external`; {help}"),
        ]
    );
}

#[test]
fn what_is_not_said_has_its_default() {
    let text =
        GOOD.replacen("vlan: 100\n", "vlan: 100\n        bgp: {asn: 4200000000}\n        bfd: {}\n", 1);
    let intent = check(&text).unwrap();
    let vif = &intent.border_gateways[0].virtual_interfaces[0];
    let bgp = Bgp {
        asn: 4_200_000_000,
        password: None,
        max_prefixes: 100,
        hold_time: Duration::from_secs(90),
        local_preference: 100,
        prepend: 0,
        ttl_security: false,
        graceful_restart: true,
        accept: Accept::default(),
    };
    assert_eq!(vif.bgp, Some(bgp));
    assert_eq!(vif.bfd, Some(Bfd { interval: Duration::from_millis(300), multiplier: 3 }));
    assert_eq!(intent.border_gateways[0].routing, Routing::Bird);
}

#[test]
fn what_may_be_learned_fits_into_the_tables() {
    let text =
        GOOD.replacen("vlan: 100\n", "vlan: 100\n        bgp: {asn: 65010, max_prefixes: 600000}\n", 1);
    assert_eq!(
        wrong(&text),
        ["8:5 1200002 routes by one virtual interface; one server holds at most 1000000"],
        "600,000 of each family"
    );
    let text =
        GOOD.replacen("vlan: 100\n", "vlan: 100\n        bgp: {asn: 65010, max_prefixes: 400000}\n", 1);
    assert_eq!(wrong(&text), Vec::<String>::new());
}

/// A document whose first session has the key of a file.
fn with_key(key: &str, mode: u32) -> Files {
    let text =
        GOOD.replacen("vlan: 100\n", "vlan: 100\n        bgp: {asn: 65010, password_file: keys/a}\n", 1);
    let files = Files::new(&[("bgw.yaml", &text), ("keys/a", key)]);
    fs::set_permissions(files.0.join("keys/a"), fs::Permissions::from_mode(mode)).unwrap();
    files
}

#[test]
fn a_key_is_read_watched_and_never_shown() {
    let files = with_key("a secret\n", 0o640);
    let intent = files.load().unwrap_or_else(|errors| panic!("{errors}"));
    let bgp = intent.border_gateways[0].virtual_interfaces[0].bgp.as_ref().unwrap();
    assert_eq!(bgp.password.as_ref().unwrap().key.reveal(), "a secret");
    assert!(intent.sources.files.contains(&files.0.join("keys/a")));
    assert!(!format!("{intent:?}").contains("a secret"));
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    let rows = [
        ("a secret\n", 0o644, "cannot use keys/a as the key of this session: its mode is 0644"),
        ("a secret\n", 0o602, "cannot use keys/a as the key of this session: its mode is 0602"),
        ("\n", 0o600, "keys/a holds no key for BGP"),
        ("two\nlines\n", 0o600, "keys/a holds no key for BGP"),
        ("a \"quote\"\n", 0o600, "keys/a holds no key for BGP"),
        (&"k".repeat(81), 0o600, "keys/a holds no key for BGP"),
    ];
    for (key, mode, want) in rows {
        let said = with_key(key, mode).wrong();
        assert!(said.starts_with(&format!("bgw.yaml:14:42: {want}")), "{said}");
        assert!(!said.contains("secret\n") && !said.contains("quote"), "{said}");
    }
    let files = with_key("k", 0o600);
    fs::remove_file(files.0.join("keys/a")).unwrap();
    assert!(files.wrong().contains("cannot use keys/a as the key of this session: No such file"));
}
