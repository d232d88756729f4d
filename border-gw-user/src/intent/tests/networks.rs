//! Rows about addresses, tunnel ends, rates and MTUs.

use super::{GOOD, Row, run, wrong};

#[test]
fn link_addresses_are_two_hosts_of_one_subnet() {
    run(&[
        Row(
            "no prefix length",
            "local: 169.254.10.2/30",
            "local: 169.254.10.2",
            "18:21 `169.254.10.2` has no prefix length; add the length of the link subnet, such as 169.254.10.2/30",
        ),
        Row(
            "no room for a peer",
            "local: 169.254.10.2/30",
            "local: 169.254.10.2/32",
            "18:21 169.254.10.2/32 leaves no room for a peer; the longest prefix of a link is /31",
        ),
        Row(
            "the peer elsewhere",
            "peer: 169.254.10.1",
            "peer: 169.254.10.5",
            "18:44 the peer 169.254.10.5 is outside the link subnet 169.254.10.0/30; the hosts of 169.254.10.0/30 are 169.254.10.1 to 169.254.10.2",
        ),
        Row(
            "the peer is us",
            "peer: 169.254.10.1",
            "peer: 169.254.10.2",
            "18:44 the peer 169.254.10.2 is our own address; `peer` is the customer's router, `local` the gateway",
        ),
        Row(
            "the peer is the network",
            "peer: 169.254.10.1",
            "peer: 169.254.10.0",
            "18:44 169.254.10.0 is the network address of its subnet; the hosts of 169.254.10.0/30 are 169.254.10.1 to 169.254.10.2",
        ),
        Row(
            "the peer is the broadcast address",
            "peer: 169.254.10.1",
            "peer: 169.254.10.3",
            "18:44 169.254.10.3 is the broadcast address of its subnet; the hosts of 169.254.10.0/30 are 169.254.10.1 to 169.254.10.2",
        ),
        Row(
            "we are the broadcast address",
            "local: 169.254.10.2/30",
            "local: 169.254.10.3/30",
            "18:21 169.254.10.3 is the broadcast address of its subnet; the hosts of 169.254.10.0/30 are 169.254.10.1 to 169.254.10.2",
        ),
        Row(
            "the peer is an anycast address",
            "peer: 'fd00:10::1'",
            "peer: 'fd00:10::0'",
            "19:45 fd00:10:: is the subnet-router anycast address (RFC 4291) of its subnet; the hosts of fd00:10::/126 are fd00:10::1 to fd00:10::3",
        ),
    ]);
}

#[test]
fn links_do_not_overlap_and_peers_are_hosts() {
    run(&[
        Row(
            "the peer of another family",
            "peer: 169.254.10.1",
            "peer: 'fd00:10::1'",
            "18:44 the peer fd00:10::1 is outside the link subnet 169.254.10.0/30; the hosts of 169.254.10.0/30 are 169.254.10.1 to 169.254.10.2",
        ),
        Row(
            "a multicast peer",
            "peer: 169.254.10.1",
            "peer: 224.0.0.5",
            "18:44 224.0.0.5 is multicast; write the address of one host",
        ),
        Row(
            "a link-local peer",
            "peer: 'fd00:10::1'",
            "peer: 'fe80::1'",
            "19:45 fe80::1 is link-local; write the address of one host",
        ),
        Row(
            "two links overlap",
            "169.254.20.2/31, peer: 169.254.20.3",
            "169.254.10.2/29, peer: 169.254.10.1",
            "24:29 the link subnet 169.254.10.0/29 overlaps 169.254.10.0/30 at bgw.yaml:18:21; each link of a border gateway has a subnet of its own",
        ),
        Row(
            "a link in a VPC",
            "169.254.20.2/31, peer: 169.254.20.3",
            "10.2.0.2/31, peer: 10.2.0.3",
            "24:29 the link subnet 10.2.0.2/31 overlaps the CIDR 10.2.0.0/16 at bgw.yaml:41:32; use a link subnet that no attached VPC has",
        ),
        Row(
            "no address",
            "[{local: 169.254.20.2/31, peer: 169.254.20.3}]",
            "[]",
            "24:20 `addresses` is empty; it needs at least one entry",
        ),
        Row(
            "two addresses of a family",
            "[{local: 169.254.20.2/31, peer: 169.254.20.3}]",
            "[{local: 169.254.20.2/31, peer: 169.254.20.3}, {local: 169.254.40.2/31, peer: 169.254.40.3}]",
            "24:75 a second IPv4 address on this virtual interface: first at bgw.yaml:24:29; declare one address of each family",
        ),
    ]);
}

#[test]
fn cidrs_stay_out_of_each_other() {
    run(&[
        Row(
            "host bits",
            "[10.1.128.0/24, 10.2.0.0/16]",
            "[10.1.128.0/24, 10.2.0.1/16]",
            "41:32 10.2.0.1/16 has host bits set; write 10.2.0.0/16",
        ),
        Row(
            "a CIDR of two attachments",
            "10.1.128.0/24",
            "10.1.0.0/16",
            "41:17 the CIDR 10.1.0.0/16 is there twice: first at bgw.yaml:32:17; a CIDR belongs to one attachment of a border gateway",
        ),
        Row(
            "a default route into a VPC",
            "'fd00:1::/48']",
            "'fd00:1::/48', '::/0']",
            "32:45 ::/0 is a default route into a VPC; a VPC is no exit for customers: name the address ranges that the VPC has",
        ),
        Row(
            "half a default route into a VPC",
            "10.1.128.0/24",
            "128.0.0.0/1",
            "41:17 128.0.0.0/1 is a default route into a VPC; a VPC is no exit for customers: name the address ranges that the VPC has",
        ),
        Row(
            "a quarter of a default route into a VPC",
            "10.1.128.0/24",
            "64.0.0.0/2",
            "41:17 64.0.0.0/2 is a part of a default route into a VPC: shorter than /4; a VPC is no exit for customers: name the address ranges that the VPC has",
        ),
        Row(
            "all of IPv6 that is in use",
            "'fd00:1::/48']",
            "'fd00:1::/48', '2000::/3']",
            "32:45 2000::/3 is a part of a default route into a VPC: shorter than /8; a VPC is no exit for customers: name the address ranges that the VPC has",
        ),
        Row(
            "eighths that are most of IPv4 together, of two VPCs",
            "cidrs: [10.1.0.0/16, 'fd00:1::/48']",
            "cidrs: [16.0.0.0/4, 10.1.0.0/16, 32.0.0.0/4, 48.0.0.0/4, 64.0.0.0/4, 128.0.0.0/4, 144.0.0.0/4, 176.0.0.0/4, 192.0.0.0/4, 'fd00:1::/48']",
            "8:5 the IPv4 CIDRs of all VPCs of this border gateway are a default route together: as many addresses as a /1 has, or more; a VPC is no exit for customers: name the address ranges that the VPC has",
        ),
        Row(
            "a CIDR that holds the loopback addresses",
            "10.1.128.0/24",
            "124.0.0.0/6",
            "41:17 124.0.0.0/6 holds 127.0.0.0/8, which is loopback; name the address ranges that the VPC has",
        ),
        Row(
            "a CIDR of class E",
            "10.1.128.0/24",
            "240.0.0.0/4",
            "41:17 240.0.0.0/4 is reserved (240.0.0.0/4); write a prefix of hosts",
        ),
        Row(
            "a default route by a host",
            "prefix: 10.1.0.10/32",
            "prefix: 0.0.0.0/0",
            "38:22 0.0.0.0/0 is a default route into a VPC; a VPC is no exit for customers: name the address ranges that the VPC has",
        ),
        Row(
            "a multicast CIDR",
            "10.1.128.0/24",
            "239.0.0.0/8",
            "41:17 239.0.0.0/8 is multicast; write a prefix of hosts",
        ),
        Row(
            "no CIDR",
            "cidrs: [10.1.128.0/24, 10.2.0.0/16]",
            "cidrs: []",
            "41:16 `cidrs` is empty; it needs at least one entry",
        ),
    ]);
}

#[test]
fn routes_stay_out_of_vpcs_and_links() {
    run(&[
        Row(
            "a route that is a CIDR",
            "prefix: 172.16.0.0/16",
            "prefix: 10.2.0.0/16",
            "45:18 the route 10.2.0.0/16 lies in the CIDR 10.2.0.0/16 at bgw.yaml:41:32; a route toward a customer must not take hosts from a VPC",
        ),
        Row(
            "a route in a CIDR",
            "prefix: 172.16.0.0/16",
            "prefix: 10.1.0.10/32",
            "45:18 the route 10.1.0.10/32 lies in the CIDR 10.1.0.0/16 at bgw.yaml:32:17; a route toward a customer must not take hosts from a VPC",
        ),
        Row(
            "a route in a link subnet",
            "prefix: 172.16.0.0/16",
            "prefix: 169.254.20.3/32",
            "45:18 the route 169.254.20.3/32 lies in the link subnet 169.254.20.2/31 at bgw.yaml:24:29; a link subnet is reached without a route",
        ),
        Row(
            "a route twice",
            "{prefix: '2001:db8::/32', via: [vif-a]}",
            "{prefix: 172.16.0.0/16, via: [vif-a]}",
            "46:18 172.16.0.0/16 is routed twice: first at bgw.yaml:45:18; name all virtual interfaces in one `via`",
        ),
        Row(
            "a route to a group",
            "prefix: 172.16.0.0/16",
            "prefix: 224.0.0.0/4",
            "45:18 224.0.0.0/4 is multicast; write a prefix of hosts",
        ),
        Row(
            "a route to nobody",
            "prefix: 172.16.0.0/16",
            "prefix: 127.0.0.0/8",
            "45:18 127.0.0.0/8 is loopback; write a prefix of hosts",
        ),
    ]);
    for (sentence, to) in
        [("a default route toward a customer", "0.0.0.0/0"), ("a route that covers a CIDR", "10.0.0.0/8")]
    {
        assert_eq!(wrong(&GOOD.replace("172.16.0.0/16", to)), Vec::<String>::new(), "{sentence}");
    }
}

#[test]
fn a_router_is_inside_its_vpc() {
    run(&[
        Row(
            "a router outside its VPC",
            "addresses: [10.2.0.1]",
            "addresses: [10.3.0.1]",
            "42:56 the router's address 10.3.0.1 is in none of the attachment's CIDRs; add the CIDR to `cidrs`, or correct the address",
        ),
        Row(
            "a router in the VPC of another",
            "addresses: [10.1.0.1, 'fd00:1::1']",
            "addresses: [10.1.128.1, 'fd00:1::1']",
            "33:56 the router's address 10.1.128.1 lies in 10.1.128.0/24, which is another attachment's: at bgw.yaml:41:17; it has to be in a CIDR of its own attachment",
        ),
        Row(
            "a router's address twice",
            "addresses: [10.2.0.1]",
            "addresses: [10.2.0.1, 10.2.0.1]",
            "42:66 10.2.0.1 is there twice; remove one",
        ),
        Row(
            "a router that is the network",
            "addresses: [10.2.0.1]",
            "addresses: [10.2.0.0]",
            "42:56 the router's address 10.2.0.0 is the network address of 10.2.0.0/16; write the address of one host, such as the first",
        ),
        Row(
            "a router that is the broadcast address",
            "addresses: [10.2.0.1]",
            "addresses: [10.2.255.255]",
            "42:56 the router's address 10.2.255.255 is the broadcast address of 10.2.0.0/16; write the address of one host, such as the first",
        ),
        Row(
            "a router that is its hosts",
            "host_mac: '02:00:5e:00:00:01'",
            "host_mac: '02:00:5e:00:50:01'",
            "34:19 02:00:5e:00:50:01 is the MAC address of the VPC's router: at bgw.yaml:33:23; write the address that the hosts' side of the tunnel has",
        ),
        Row(
            "a router that is its VTEP",
            "mac: '0a:00:00:00:00:21'",
            "mac: '02:00:5e:00:50:02'",
            "43:44 02:00:5e:00:50:02 is the MAC address of the VPC's router: at bgw.yaml:42:23; write the address that the hosts' side of the tunnel has",
        ),
        Row(
            "no router's address",
            "addresses: [10.2.0.1]",
            "addresses: []",
            "42:55 `addresses` is empty; it needs at least one entry",
        ),
        Row(
            "a group's MAC address",
            "host_mac: '02:00:5e:00:00:01'",
            "host_mac: '03:00:5e:00:00:01'",
            "34:19 03:00:5e:00:00:01 is a group's MAC address; the lowest bit of the first byte is 0 in the address of one station",
        ),
        Row(
            "a MAC address of zeros",
            "'02:00:5e:00:50:02'",
            "'00:00:00:00:00:00'",
            "42:23 a MAC address of zeros belongs to nobody; write six bytes in hex, such as \"02:00:5e:00:50:01\"",
        ),
    ]);
}

#[test]
fn tunnel_ends_are_reachable_and_have_a_mac_address() {
    run(&[
        Row(
            "a VTEP of another family",
            "address: 192.0.2.22,",
            "address: 'fd00::22',",
            "35:39 VTEP fd00::22 and our tunnel address 192.0.2.10 are of two families; all tunnel ends are IPv4, or all are IPv6",
        ),
        Row(
            "our own VTEP",
            "address: 192.0.2.22,",
            "address: 192.0.2.10,",
            "35:39 192.0.2.10 is our own tunnel address: at bgw.yaml:2:46; write the address of a hypervisor",
        ),
        Row(
            "a VTEP twice",
            "address: 192.0.2.22,",
            "address: 192.0.2.21,",
            "35:39 VTEP 192.0.2.21 is there twice; remove one",
        ),
        Row(
            "a VTEP that nobody can have",
            "address: 192.0.2.22,",
            "address: 255.255.255.255,",
            "35:39 255.255.255.255 is broadcast; write the address of one host",
        ),
        Row(
            "no VTEP",
            "vteps: [{address: 192.0.2.21, mac: '0a:00:00:00:00:21'}]",
            "vteps: []",
            "43:16 `vteps` is empty; it needs at least one entry",
        ),
        Row(
            "a VTEP without a MAC address",
            "{address: 192.0.2.21, mac: '0a:00:00:00:00:21'}",
            "192.0.2.21",
            "43:17 the inner MAC address of VTEP 192.0.2.21 is not known; write {address: 192.0.2.21, mac: \"..\"}, or add `host_mac`",
        ),
        Row(
            "no MAC address at all",
            "        host_mac: '02:00:5e:00:00:01'\n",
            "",
            "34:17 the inner MAC address of VTEP 192.0.2.21 is not known; write {address: 192.0.2.21, mac: \"..\"}, or add `host_mac`",
        ),
    ]);
}

#[test]
fn hosts_are_more_specific_than_cidrs() {
    run(&[
        Row(
            "a host outside its VPC",
            "prefix: 10.1.0.10/32",
            "prefix: 10.2.0.10/32",
            "38:22 the host 10.2.0.10/32 lies in 10.2.0.0/16, which is another attachment's: at bgw.yaml:41:32; it has to be in a CIDR of its own attachment",
        ),
        Row(
            "a host in the VPC of another",
            "prefix: 10.1.0.10/32",
            "prefix: 10.1.128.10/32",
            "38:22 the host 10.1.128.10/32 lies in 10.1.128.0/24, which is another attachment's: at bgw.yaml:41:17; it has to be in a CIDR of its own attachment",
        ),
        Row(
            "a host that is a CIDR",
            "prefix: 10.1.0.10/32",
            "prefix: 10.1.0.0/16",
            "38:22 the host 10.1.0.0/16 is a whole CIDR: at bgw.yaml:32:17; a CIDR lives at the `vteps` of the attachment",
        ),
        Row(
            "a host that is the router",
            "prefix: 10.1.0.10/32",
            "prefix: 10.1.0.1/32",
            "38:22 10.1.0.1 is the address of the VPC's router; the gateway answers for the router; leave it out",
        ),
        Row(
            "a host nowhere",
            "vteps: [192.0.2.21]}",
            "vteps: []}",
            "38:43 `vteps` is empty; it needs at least one entry",
        ),
        Row(
            "a host at our own VTEP",
            "vteps: [192.0.2.21]}",
            "vteps: [192.0.2.10]}",
            "38:44 192.0.2.10 is our own tunnel address: at bgw.yaml:2:46; write the address of a hypervisor",
        ),
    ]);
}

#[test]
fn rates_make_sense() {
    run(&[
        Row(
            "a bare number",
            "bandwidth: 500Mbps",
            "bandwidth: 500",
            "15:20 `500` has no unit; write a number and bps, kbps, Mbps or Gbps, such as 500Mbps",
        ),
        Row(
            "a rate of nothing",
            "bandwidth: 500Mbps",
            "bandwidth: {to_vpc: 0Mbps}",
            "15:29 the rate 0Mbps is too low; the lowest is 1kbps; to stop traffic, set `enabled: false` on the virtual interface",
        ),
        Row(
            "a rate that no port has",
            "bandwidth: 10Gbps",
            "bandwidth: 10000Gbps",
            "4:67 the rate 10000Gbps is too high; the highest is 400Gbps; leave `bandwidth` out for no limit",
        ),
        Row(
            "a rate in bytes",
            "bandwidth: 500Mbps",
            "bandwidth: 500MBps",
            "15:20 `MBps` is not a unit of a rate; write 500Mbps",
        ),
        Row(
            "a direction that is not there",
            "bandwidth: 500Mbps",
            "bandwidth: {to_vps: 500Mbps}",
            "15:21 unknown key `to_vps` in `bandwidth`; did you mean `to_vpc`?",
        ),
    ]);
}

#[test]
fn bursts_hold_a_packet() {
    run(&[
        Row(
            "a burst without a packet",
            "burst: 2MB",
            "burst: 1kB",
            "16:16 a burst of 1000 bytes holds no packet of 1500 bytes; write at least 3000B, two packets, or leave it out",
        ),
        Row(
            "a burst beyond a gigabyte",
            "burst: 2MB",
            "burst: 2000MB",
            "16:16 the burst 2000MB is too large; the largest is 1000MB, 20 ms of 400Gbps",
        ),
        Row("a burst in bits", "burst: 2MB", "burst: 2Mb", "16:16 `Mb` is not a unit of a burst; write 2MB"),
        Row(
            "a burst without a bandwidth",
            "        bandwidth: 500Mbps\n",
            "",
            "15:16 a burst without a bandwidth limits nothing; add `bandwidth`, or remove `burst`",
        ),
        Row(
            "a burst for the direction without a bandwidth",
            "bandwidth: 500Mbps\n        burst: 2MB",
            "bandwidth: {to_vpc: 1Mbps}\n        burst: {to_customer: 2MB}",
            "16:30 a burst without a bandwidth limits nothing; add `bandwidth`, or remove `burst`",
        ),
    ]);
}

#[test]
fn mtus_fit_what_they_carry() {
    run(&[
        Row(
            "an MTU too small for IPv6",
            "mtu: 1500\n        bandwidth",
            "mtu: 1279\n        bandwidth",
            "14:14 the MTU 1279 is too small for IPv6; write at least 1280",
        ),
        Row(
            "an MTU larger than jumbo frames",
            "mtu: 1400",
            "mtu: 9001",
            "23:14 `9001` is not an MTU; write a number from 576 to 9000",
        ),
        Row(
            "an MTU too small for IPv4",
            "mtu: 1400",
            "mtu: 500",
            "23:14 `500` is not an MTU; write a number from 576 to 9000",
        ),
    ]);
    let one_direction = GOOD.replace("bandwidth: 500Mbps", "bandwidth: {to_vpc: 500Mbps}");
    assert_eq!(
        wrong(&one_direction),
        Vec::<String>::new(),
        "one burst is good for the one direction that has a rate"
    );
}
