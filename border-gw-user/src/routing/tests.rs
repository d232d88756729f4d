//! The whole file of a border gateway with two virtual interfaces, and what each option changes in it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::conf;
use crate::intent::Drain;
use crate::intent::{Intent, load};

/// A directory of a test's own, removed at its end.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("border-gw-conf-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let key = path.join("a.key");
        fs::write(&key, "k3y of a").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        Self(path)
    }

    /// The intent with these sections of `vif-a`, whose addresses are these.
    fn intent(&self, gateway: &str, addresses: &str, sections: &str) -> Intent {
        let file = self.0.join("bgw.yaml");
        let text = format!(
            "gateway: {{name: bgw, router_id: 10.255.0.1}}
fabric: {{interfaces: [f0], vtep: 192.0.2.10}}
connections:
  - {{name: line-a, interface: p0, kind: dedicated}}
  - {{name: line-b, interface: p1, kind: dedicated}}
border_gateways:
  - name: bgw-1
{gateway}
    virtual_interfaces:
      - name: vif-a
        connection: line-a
        vlan: 100
        addresses: {addresses}
{sections}
      - name: vif-b
        connection: line-b
        vlan: 100
        addresses: [{{local: 169.254.10.6/30, peer: 169.254.10.5}}]
    vpc_attachments:
      - name: vpc-1
        vni: 5001
        cidrs: [10.1.0.0/16, \"fd00:1::/48\"]
        router: {{mac: \"02:00:5e:00:50:01\", addresses: [10.1.0.1]}}
        host_mac: \"02:00:5e:00:00:01\"
        vteps: [192.0.2.21]
"
        );
        fs::write(&file, text).unwrap();
        load(&file).unwrap()
    }

    fn text(&self, gateway: &str, addresses: &str, sections: &str, drained: Option<Drain>) -> String {
        let mut intent = self.intent(gateway, addresses, sections);
        let numbers = [("vif-a".to_owned(), 1), ("vif-b".to_owned(), 2)].into();
        intent.drained.extend(drained.map(|drain| ("vif-a".to_owned(), drain)));
        conf::text(&intent, &intent.border_gateways[0], &numbers)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

const GATEWAY: &str = "    asn: 65000";
const V4: &str = "[{local: 169.254.10.2/30, peer: 169.254.10.1}]";
const BOTH: &str =
    "[{local: 169.254.10.2/30, peer: 169.254.10.1}, {local: \"fd00:10::2/126\", peer: \"fd00:10::1\"}]";
const V6: &str = "[{local: \"fd00:10::2/126\", peer: \"fd00:10::1\"}]";
const BGP: &str = "        bgp: {asn: 65010}";

#[test]
fn the_whole_file() {
    let place = Place::new("whole");
    let sections =
        "        bgp: {asn: 65010, password_file: a.key, max_prefixes: 10}\n        bfd: {interval: 20ms}";
    let text = place.text(GATEWAY, BOTH, sections, None);
    let want = include_str!("tests/bird.conf");
    for (number, (line, wanted)) in text.lines().zip(want.lines()).enumerate() {
        assert_eq!(line, wanted, "line {} of\n{text}", number + 1);
    }
    assert_eq!(text.lines().count(), want.lines().count(), "{text}");
}

/// Lines that are there and not with another configuration, in the order of the file.
fn more(text: &str, than: &str) -> Vec<String> {
    let without: Vec<&str> = than.lines().collect();
    text.lines().filter(|line| !without.contains(line)).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn each_option_changes_its_lines() {
    // What is asked for, the lines that come, and those that go.
    type Row = (&'static str, &'static [&'static str], &'static [&'static str]);
    let rows: [Row; 10] = [
        ("ttl_security: true", &["ttl security on;"], &["ttl security off;"]),
        (
            "graceful_restart: false",
            &["graceful restart off; graceful restart time 120;"],
            &["graceful restart on; graceful restart time 120;"],
        ),
        ("password_file: a.key", &["password \"k3y of a\";"], &[]),
        (
            "max_prefixes: 7",
            &["import keep filtered; import limit 7 action block;", "receive limit 1007 action block;"],
            &["import keep filtered; import limit 100 action block;", "receive limit 1100 action block;"],
        ),
        (
            "hold_time: 3s",
            &["hold time 3; keepalive time 1; min hold time 3; startup hold time 20;"],
            &["hold time 90; keepalive time 30; min hold time 3; startup hold time 20;"],
        ),
        (
            "local_preference: 4294967295",
            &["else bgp_local_pref = 4294967295;"],
            &["else bgp_local_pref = 100;"],
        ),
        ("prepend: 2", &["bgp_path.prepend(65000);", "bgp_path.prepend(65000);"], &[]),
        (
            "accept: [default_route]",
            &[],
            &["if net.len < 8 then { refused_because = REFUSED_DEFAULT_ROUTE; reject; }"],
        ),
        ("accept: [bogons]", &[], &["if net ~ bogons_v4 then { refused_because = REFUSED_BOGON; reject; }"]),
        (
            "accept: [own_asn]",
            &[],
            &["if bgp_path ~ [ 65000 ] then { refused_because = REFUSED_OWN_ASN; reject; }"],
        ),
    ];
    let place = Place::new("options");
    let plain = place.text(GATEWAY, V4, BGP, None);
    for (option, comes, goes) in rows {
        let changed = place.text(GATEWAY, V4, &format!("        bgp: {{asn: 65010, {option}}}"), None);
        assert_eq!(more(&changed, &plain), comes, "{option}");
        assert_eq!(more(&plain, &changed), goes, "{option}");
    }
}

#[test]
fn what_is_announced_has_communities() {
    let place = Place::new("communities");
    let plain = place.text(GATEWAY, V4, BGP, None);
    let gateway = format!(
        "{GATEWAY}\n    communities: [\"65000:1\", \"65000:2:3\"]\n    advertise: [10.9.0.0/16, \"fd00:9::/48\"]"
    );
    let changed = place.text(&gateway, V4, BGP, None);
    assert_eq!(
        more(&changed, &plain),
        [
            "route 10.9.0.0/16 blackhole;",
            "bgp_community.add((65000, 1));",
            "bgp_large_community.add((65000, 2, 3));",
        ]
    );
}

#[test]
fn an_asn_of_more_than_16_bits_has_large_communities_only() {
    let text = Place::new("asn").text("    asn: 4200000000", V4, BGP, None);
    assert!(
        text.contains("if (4200000000, 7100, 0) ~ bgp_large_community then bgp_local_pref = 50;"),
        "{text}"
    );
    assert!(!text.contains("(4200000000, 7100) ~"), "{text}");
}

#[test]
fn without_an_ipv4_address_the_ipv6_session_carries_both() {
    let text = Place::new("ipv6").text(GATEWAY, V6, BGP, None);
    assert!(!text.contains("bgp1_v4"), "{text}");
    let session = text.split("protocol bgp bgp1_v6").nth(1).unwrap();
    let (ipv4, ipv6) = session.split_once("\tipv6 {").unwrap();
    assert!(ipv4.contains("ipv4 {\n\t\ttable vif1_v4; secondary; extended next hop;"), "{session}");
    assert!(ipv6.contains("table vif1_v6; secondary; next hop prefer global;"), "{session}");
    let filter = text.split("filter from1_v4 {").nth(1).unwrap().split('}').nth(6).unwrap();
    assert!(filter.contains("if gw != fd00:10::1 then"), "{filter}");
}

#[test]
fn a_drained_interface_says_so_and_then_has_no_sessions() {
    let place = Place::new("drain");
    let plain = place.text(GATEWAY, V4, BGP, None);
    let announced = place.text(GATEWAY, V4, BGP, Some(Drain::Announced));
    assert_eq!(more(&announced, &plain), ["bgp_local_pref = 0;", "bgp_community.add((65535, 0));"]);
    let down = place.text(GATEWAY, V4, BGP, Some(Drain::Down));
    assert_eq!(more(&down, &announced), ["disabled;"]);
    let disabled = place.text(GATEWAY, V4, &format!("{BGP}\n        enabled: false"), None);
    assert_eq!(more(&disabled, &plain), ["disabled;"]);
}

#[test]
fn bfd_watches_peers_with_and_without_bgp() {
    let place = Place::new("bfd");
    let bfd = "        bfd: {interval: 10ms, multiplier: 5}";
    let text = place.text(GATEWAY, V4, bfd, None);
    assert!(text.contains("interface \"vif1\" { interval 10 ms; multiplier 5; };"), "{text}");
    assert!(text.contains("route 169.254.10.1/32 via 169.254.10.1%vif1 bfd;"), "{text}");
    assert!(!text.contains("protocol bgp"), "{text}");
    assert!(
        text.contains("define recovering = 0;") && conf::recovering(&text).contains("define recovering = 1;")
    );
    let disabled = place.text(GATEWAY, V4, &format!("{bfd}\n        enabled: false"), None);
    assert!(!disabled.contains("protocol bfd") && !disabled.contains("alive1_v4"), "{disabled}");
    let without = place.text(GATEWAY, V4, BGP, None);
    assert!(!without.contains("protocol bfd") && without.contains("\tbfd off;"), "{without}");
}

#[test]
fn only_what_has_a_number_and_a_section_is_there() {
    let place = Place::new("numbers");
    let intent = place.intent(GATEWAY, V4, BGP);
    let gateway = &intent.border_gateways[0];
    let text = conf::text(&intent, gateway, &std::collections::BTreeMap::new());
    assert!(!text.contains("# Virtual interface"), "{text}");
    assert!(conf::wants_bird(gateway));
    assert!(!place.text(GATEWAY, V4, BGP, None).contains("vif2"));
    assert!(!conf::wants_bird(&place.intent(GATEWAY, V4, "").border_gateways[0]));
}
