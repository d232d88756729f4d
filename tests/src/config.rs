//! The configuration of the testbed's gateway, and the changes that tests make to it.

/// The standard configuration. `RUN` is the run's name.
pub const STANDARD: &str = r#"
gateway:
  name: RUN
  router_id: 10.255.0.1
  metrics: 127.0.0.1:9900
  control: /run/border-gw/RUN/control.sock
fabric:
  interfaces: [fab0, fab1]
  vtep: 192.0.2.10
connections:
  - {name: line-a, interface: eth0, kind: dedicated}
  - {name: line-b, interface: eth1, kind: dedicated}
  - {name: line-c, interface: eth2, kind: dedicated}
  - {name: hosted-d, interface: eth3, kind: hosted, bandwidth: 200Mbps}
  - {name: hosted-e, interface: eth3, kind: partner}
border_gateways:
  - name: bgw-1
    asn: 65000
    virtual_interfaces:
      - name: vif-a
        connection: line-a
        vlan: 100
        bandwidth: 100Mbps
        addresses:
          - {local: 169.254.10.2/30, peer: 169.254.10.1}
          - {local: "fd00:10::2/126", peer: "fd00:10::1"}
      - name: vif-b
        connection: line-b
        vlan: 100
        bandwidth: 100Mbps
        addresses:
          - {local: 169.254.11.2/30, peer: 169.254.11.1}
          - {local: "fd00:11::2/126", peer: "fd00:11::1"}
    vpc_attachments:
      - name: vpc-1
        vni: 5001
        cidrs: [10.1.0.0/16, "fd00:1::/48"]
        router: {mac: "02:00:5e:00:50:01", addresses: [10.1.0.1, "fd00:1::1"]}
        host_mac: "02:00:5e:00:00:01"
        vteps: [192.0.2.21, 10.90.0.23]
        hosts:
          - {prefix: 10.1.0.10/32, vteps: [192.0.2.21]}
          - {prefix: "fd00:1::10/128", vteps: [192.0.2.21]}
          - {prefix: 10.1.0.11/32, vteps: [10.90.0.23]}
          - {prefix: "fd00:1::11/128", vteps: [10.90.0.23]}
      - name: vpc-2
        vni: 5002
        cidrs: [10.2.0.0/16, "fd00:2::/48"]
        router: {mac: "02:00:5e:00:50:02", addresses: [10.2.0.1, "fd00:2::1"]}
        host_mac: "02:00:5e:00:00:02"
        vteps: [192.0.2.21]
    routes:
      - {prefix: 172.16.0.0/16, via: [vif-a, vif-b]}
      - {prefix: "fd00:a::/48", via: [vif-a, vif-b]}
  - name: bgw-2
    asn: 65000
    virtual_interfaces:
      - name: vif-c
        connection: line-c
        vlan: 100
        addresses:
          - {local: 169.254.10.2/30, peer: 169.254.10.1}
          - {local: "fd00:10::2/126", peer: "fd00:10::1"}
    vpc_attachments:
      - name: vpc-3
        vni: 5003
        cidrs: [10.1.0.0/16, "fd00:1::/48"]
        router: {mac: "02:00:5e:00:50:01", addresses: [10.1.0.1, "fd00:1::1"]}
        host_mac: "02:00:5e:00:00:03"
        vteps: [192.0.2.22]
    routes:
      - {prefix: 172.16.0.0/16, via: [vif-c]}
      - {prefix: "fd00:a::/48", via: [vif-c]}
  - name: bgw-3
    asn: 65000
    virtual_interfaces:
      - name: vif-d
        connection: hosted-d
        vlan: 300
        bandwidth: 1Gbps
        addresses:
          - {local: 169.254.13.2/30, peer: 169.254.13.1}
          - {local: "fd00:13::2/126", peer: "fd00:13::1"}
      - name: vif-e
        connection: hosted-e
        vlan: {outer: 200, inner: 100, tpid: 0x88a8}
        bandwidth: 1Gbps
        addresses:
          - {local: 169.254.14.2/30, peer: 169.254.14.1}
          - {local: "fd00:14::2/126", peer: "fd00:14::1"}
    vpc_attachments:
      - name: vpc-4
        vni: 5004
        cidrs: [10.4.0.0/16, "fd00:4::/48"]
        router: {mac: "02:00:5e:00:50:04", addresses: [10.4.0.1, "fd00:4::1"]}
        host_mac: "02:00:5e:00:00:04"
        vteps: [192.0.2.22]
    routes:
      - {prefix: 172.18.0.0/16, via: [vif-d]}
      - {prefix: "fd00:d::/48", via: [vif-d]}
      - {prefix: 172.19.0.0/16, via: [vif-e]}
      - {prefix: "fd00:e::/48", via: [vif-e]}
"#;

/// The standard configuration of a run without `vif-b`; its connection stays.
pub fn without_vif_b(run: &str) -> String {
    let text = standard(run).replace("via: [vif-a, vif-b]", "via: [vif-a]");
    let (before, rest) = text.split_once("      - name: vif-b\n").unwrap_or((&text, ""));
    let after = rest.split_once("    vpc_attachments:\n").map_or("", |(_, after)| after);
    format!("{before}    vpc_attachments:\n{after}")
}

/// The same without its connection, so that nothing of the gateway is on `eth1`.
pub fn without_line_b(run: &str) -> String {
    without_vif_b(run).replace("  - {name: line-b, interface: eth1, kind: dedicated}\n", "")
}

/// The standard configuration of a run.
pub fn standard(run: &str) -> String {
    STANDARD.replace("RUN", run)
}

/// A configuration whose VIFs and attachments carry packets of a size.
pub fn with_mtu(text: &str, mtu: u32) -> String {
    if mtu == 1500 {
        return text.to_owned();
    }
    text.replace("        vlan: ", &format!("        mtu: {mtu}\n        vlan: "))
        .replace("        vni: ", &format!("        mtu: {mtu}\n        vni: "))
}

/// A configuration without static routes toward customers.
pub fn without_routes(text: &str) -> String {
    let mut is_route = false;
    let kept = text.lines().filter(|line| {
        is_route = *line == "    routes:" || is_route && line.starts_with("      - {prefix:");
        !is_route
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// A configuration whose VIF has more keys, such as `bgp: {asn: 65010}`.
pub fn with_keys_of_vif(text: &str, vif: &str, keys: &[&str]) -> String {
    let name = format!("      - name: {vif}\n");
    let more: String = keys.iter().flat_map(|key| ["        ", key, "\n"]).collect();
    text.replacen(&name, &(name.clone() + &more), 1)
}

/// A configuration without caps.
pub fn without_caps(text: &str) -> String {
    let kept = text.lines().filter(|line| !line.starts_with("        bandwidth: "));
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// A configuration with `vif-f` on a third line of customer a, `eth4`.
pub fn with_third_line(text: &str) -> String {
    let line = "  - {name: line-f, interface: eth4, kind: dedicated}\nborder_gateways:\n";
    let vif = "      - name: vif-f\n        connection: line-f\n        vlan: 100\n        addresses:\n          \
               - {local: 169.254.12.2/30, peer: 169.254.12.1}\n          - {local: \"fd00:12::2/126\", peer: \"fd00:12::1\"}\n";
    text.replacen("border_gateways:\n", line, 1).replacen(
        "    virtual_interfaces:\n",
        &format!("    virtual_interfaces:\n{vif}"),
        1,
    )
}
