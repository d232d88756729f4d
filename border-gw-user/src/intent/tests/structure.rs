//! Rows about keys, names, ports and tags.

use super::{GOOD, Row, run, wrong};

#[test]
fn names_and_sections_are_there_once() {
    run(&[
        Row(
            "a gateway is missing",
            "gateway: {name: server-1, router_id: 10.255.0.1}\n",
            "",
            "0:0 `gateway` is missing; add a section `gateway`",
        ),
        Row(
            "a fabric is missing",
            "fabric: {interfaces: [ens2f0, ens2f1], vtep: 192.0.2.10}\n",
            "",
            "0:0 `fabric` is missing; add a section `fabric`",
        ),
        Row(
            "two virtual interfaces of one name",
            "name: vif-c",
            "name: vif-b",
            "25:15 the name `vif-b` is defined twice: first as a virtual interface at bgw.yaml:20:15; give a virtual interface a name that nothing else on this server has",
        ),
        Row(
            "a virtual interface has the name of a connection",
            "name: vif-c",
            "name: line-a",
            "25:15 the name `line-a` is defined twice: first as a connection at bgw.yaml:4:12; give a virtual interface a name that nothing else on this server has",
        ),
        Row(
            "an attachment has the name of its border gateway",
            "name: vpc-2",
            "name: bgw-1",
            "39:15 the name `bgw-1` is defined twice: first as a border gateway at bgw.yaml:8:11; give a VPC attachment a name that nothing else on this server has",
        ),
        Row(
            "a virtual interface with the name of a kernel interface",
            "name: vif-c",
            "name: vif12",
            "25:15 the gateway's kernel interfaces have names like `vif12`; choose another, such as `vif-12`",
        ),
        Row(
            "an attachment with the name of a virtual interface's kernel interface",
            "name: vpc-2",
            "name: vif1",
            "39:15 the gateway's kernel interfaces have names like `vif1`; choose another, such as `vif-1`",
        ),
        Row(
            "an attachment with the name of a kernel interface",
            "name: vpc-2",
            "name: vpc1",
            "39:15 the gateway's kernel interfaces have names like `vpc1`; choose another, such as `vpc-1`",
        ),
        Row(
            "a virtual interface with the name of the loopback interface",
            "name: vif-c",
            "name: lo",
            "25:15 the gateway's kernel interfaces have names like `lo`; choose another, such as `lo-1`",
        ),
        Row(
            "a name in capitals",
            "name: server-1",
            "name: Server-1",
            "1:17 `Server-1` is not a name; a name is 1 to 64 of the characters a-z, 0-9 and -",
        ),
    ]);
}

#[test]
fn references_exist() {
    run(&[
        Row(
            "a connection that is not there",
            "connection: line-b",
            "connection: line-d",
            "21:21 there is no connection `line-d`; there is line-a, line-b, line-c",
        ),
        Row(
            "a route by a stranger",
            "via: [vif-a, vif-b]",
            "via: [vif-a, vif-d]",
            "45:46 there is no virtual interface `vif-d` in this border gateway; there is vif-a, vif-b, vif-c",
        ),
        Row(
            "a route by the same twice",
            "via: [vif-a, vif-b]",
            "via: [vif-a, vif-a]",
            "45:46 `vif-a` is there twice; remove one",
        ),
        Row(
            "a route by nobody",
            "via: [vif-a, vif-b]",
            "via: []",
            "45:38 `via` is empty; it needs at least one entry",
        ),
        Row(
            "an IPv6 route by a line without IPv6",
            "via: [vif-a]",
            "via: [vif-b]",
            "46:41 `vif-b` has no IPv6 peer to send 2001:db8::/32 to; add an IPv6 entry to its `addresses`",
        ),
        Row(
            "a VNI twice",
            "vni: 5002",
            "vni: 5001",
            "40:14 VNI 5001 is used twice: first at bgw.yaml:31:14; a VNI belongs to one attachment",
        ),
        Row(
            "a VNI of 25 bits",
            "vni: 5002",
            "vni: 16777216",
            "40:14 `16777216` is not a VNI; write a number from 0 to 16777215",
        ),
    ]);
}

#[test]
fn keys_are_known_and_each_is_there_once() {
    run(&[
        Row(
            "a slip of the pen",
            "vlan: 100",
            "vlan: 100\n        vlann: 100",
            "14:9 unknown key `vlann` in a virtual interface; did you mean `vlan`?",
        ),
        Row(
            "a key of another place",
            "kind: hosted",
            "kind: hosted, mtu: 9000",
            "5:53 unknown key `mtu` in a connection; known here: name, interface, kind or bandwidth",
        ),
        Row(
            "a key twice",
            "asn: 65000",
            "asn: 65000\n    asn: 65001",
            "10:5 `asn` is there twice: first at bgw.yaml:9:5; remove one",
        ),
        Row(
            "a key that is missing",
            "        vlan: 100\n",
            "",
            "11:9 `vlan` is missing in a virtual interface; add `vlan`; docs/reference.md says what it may be",
        ),
        Row(
            "a key without a value",
            "vni: 5002",
            "vni:",
            "40:9 `vni` has no value; give it a value, or remove the key",
        ),
        Row(
            "a routing daemon that nobody knows",
            "asn: 65000",
            "asn: 65000\n    routing: frr",
            "10:14 `frr` is not known here; write bird or external",
        ),
        Row(
            "a clamp that is neither on nor off",
            "asn: 65000",
            "asn: 65000\n    mss_clamp: 1400",
            "10:16 `1400` is not known here; write true or false",
        ),
        Row(
            "a DSCP of seven bits",
            "vlan: 100",
            "vlan: 100\n        dscp: {to_vpc: {46: 34, 64: 0}}",
            "14:33 `64` is not a DSCP; write a number from 0 to 63",
        ),
        Row(
            "a DSCP that becomes one of seven bits",
            "vlan: 100",
            "vlan: 100\n        dscp: {to_customer: {46: 64}}",
            "14:34 `64` is not a DSCP; write a number from 0 to 63",
        ),
        Row(
            "a DSCP that becomes two",
            "vlan: 100",
            "vlan: 100\n        dscp: {to_vpc: {46: 34, 46: 0}}",
            "14:33 DSCP 46 is there twice: first at bgw.yaml:14:25; remove one",
        ),
        Row(
            "a DSCP for both directions",
            "vlan: 100",
            "vlan: 100\n        dscp: {46: 34}",
            "14:16 unknown key `46` in `dscp`; known here: to_vpc or to_customer",
        ),
        Row(
            "a DSCP that becomes nothing",
            "vlan: 100",
            "vlan: 100\n        dscp: {to_vpc: 46}",
            "14:24 `to_vpc` is a mapping, not a scalar; write what arrives and what goes on, such as {46: 34}",
        ),
        Row(
            "a section that is a list",
            "gateway: {name: server-1, router_id: 10.255.0.1}",
            "gateway: [server-1]",
            "1:10 the gateway is a mapping, not a list; ",
        ),
        Row(
            "an attach mode that is not there",
            "router_id: 10.255.0.1",
            "router_id: 10.255.0.1, xdp_mode: offload",
            "1:60 `offload` is not known here; write native or skb",
        ),
    ]);
}

#[test]
fn ports_have_one_owner() {
    run(&[
        Row(
            "a dedicated interface is shared",
            "interface: ens1f1, kind: hosted",
            "interface: ens1f0, kind: hosted",
            "5:31 ens1f0 belongs to the dedicated connection `line-a` at bgw.yaml:4:31; use another interface, or make both connections `hosted` or `partner`",
        ),
        Row(
            "a dedicated connection on a shared interface",
            "kind: partner",
            "kind: dedicated",
            "5:31 ens1f1 belongs to the dedicated connection `line-c` at bgw.yaml:6:31; use another interface, or make both connections `hosted` or `partner`",
        ),
        Row(
            "a line is a fabric port",
            "interface: ens1f0",
            "interface: ens2f1",
            "4:31 ens2f1 is a fabric port, too: at bgw.yaml:2:31; an interface is a line or a fabric port, never both",
        ),
        Row(
            "a fabric port twice",
            "[ens2f0, ens2f1]",
            "[ens2f0, ens2f0]",
            "2:31 ens2f0 is there twice: first at bgw.yaml:2:23; remove one",
        ),
        Row(
            "no fabric port",
            "[ens2f0, ens2f1]",
            "[]",
            "2:22 `interfaces` is empty; it needs at least one entry",
        ),
    ]);
}

#[test]
fn tags_have_one_owner() {
    run(&[
        Row(
            "a pair of tags twice on a port",
            "vlan: {outer: 200, tpid: 0x88a8}",
            "vlan: {outer: 200, inner: 100}",
            "27:15 tags 200.100 are taken on ens1f1: at bgw.yaml:22:15; each virtual interface of a port has a tag of its own",
        ),
        Row(
            "VLAN 0",
            "vlan: 100",
            "vlan: 0",
            "13:15 `0` is not a VLAN identifier; write a number from 1 to 4094",
        ),
        Row(
            "VLAN 4095",
            "vlan: {outer: 200, inner: 100}",
            "vlan: {outer: 200, inner: 4095}",
            "22:35 `4095` is not a VLAN identifier; write a number from 1 to 4094",
        ),
        Row(
            "an old TPID",
            "tpid: 0x88a8",
            "tpid: 0x9100",
            "27:34 `0x9100` is not a TPID that is spoken here; write 0x8100 or 0x88a8",
        ),
    ]);
    for (sentence, from, to) in [
        ("one outer tag on two ports", "vlan: 100", "vlan: {outer: 200, inner: 100}"),
        (
            "the same tag with another TPID",
            "vlan: {outer: 200, tpid: 0x88a8}",
            "vlan: {outer: 200, inner: 100, tpid: 0x8100}",
        ),
        (
            "a pair whose outer tag is also a single one",
            "vlan: {outer: 200, tpid: 0x88a8}",
            "vlan: {outer: 100}",
        ),
    ] {
        assert_eq!(wrong(&GOOD.replace(from, to)), Vec::<String>::new(), "{sentence}");
    }
}
