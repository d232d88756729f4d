//! From intent to tables, without a dataplane: what a document that is right makes of sources, next hops and limiters.
#![expect(clippy::unwrap_used, reason = "a test that fails here fails")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use border_gw::compile::{compile, too_narrow};
use border_gw::intent::{HostRoute, Intent, StaticRoute, VirtualInterface, Vtep, load};
use border_gw::kernel::{Observed, PortState, UnderlayPath};
use border_gw::tables::{Installed, Slots, Tables};
use border_gw_common::abi::{
    ATTACHMENT_CLAMP_MSS, AttachmentPolicer, OWNER_NOBODY, OWNER_VIF, Owner, SOURCE_FORBIDDEN, SOURCE_LINK,
    SOURCE_MARTIAN, SOURCE_OWN, SOURCE_PEER, SOURCE_ROUTED, SourceClass, VIF_CLAMP_MSS, VifPolicer,
    attachment_policer, vif_policer,
};
use border_gw_common::net::MacAddr;
use border_gw_common::policer::policer;

/// The documented example: `vif-a` and `vif-b` on lines of their own, `vpc-1` and `vpc-2`.
fn intent() -> Intent {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/example/bgw.yaml")).unwrap()
}

fn vif<'a>(intent: &'a mut Intent, name: &str) -> &'a mut VirtualInterface {
    let mut vifs = intent.border_gateways.iter_mut().flat_map(|gateway| &mut gateway.virtual_interfaces);
    vifs.find(|vif| vif.name == name).unwrap()
}

fn route(intent: &mut Intent, prefix: &str, via: &str) {
    let route = StaticRoute { prefix: prefix.parse().unwrap(), via: vec![via.into()] };
    intent.border_gateways[0].routes.push(route);
}

/// Everything is up, and every neighbour known.
fn observed(intent: &Intent) -> Observed {
    let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
    let mut observed = Observed::default();
    for (interface, ifindex) in [("ens1f0", 2), ("ens1f1", 3), ("ens2f0", 4), ("ens2f1", 5)] {
        let port = PortState { ifindex, mac: mac(ifindex as u8), up: true, mtu: 1600, speed: None };
        observed.ports.insert(interface.into(), port);
    }
    for vif in intent.border_gateways.iter().flat_map(|gateway| &gateway.virtual_interfaces) {
        let peers = vif.addresses.iter().map(|link| ((vif.name.clone(), link.peer), mac(0x77)));
        observed.neighbors.extend(peers);
    }
    for last in 21..=24 {
        let vtep = IpAddr::from([192, 0, 2, last]);
        let path = UnderlayPath { interface: "ens2f0".into(), next_hop: vtep, mac: Some(mac(last)) };
        observed.underlay.insert(vtep, vec![path]);
    }
    observed
}

#[test]
fn a_port_that_leaves_ipv6_less_than_it_needs_is_named_once() {
    let intent = intent();
    let narrow = |port: &str, mtu| {
        let mut observed = observed(&intent);
        observed.ports.get_mut(port).unwrap().mtu = mtu;
        too_narrow(&intent, &observed)
    };
    assert!(narrow("ens2f0", 1330).is_empty(), "room for 1,280 bytes and the tunnel");
    let said = narrow("ens2f0", 1300);
    assert_eq!(said.keys().collect::<Vec<_>>(), ["ens2f0"]);
    let said = &said["ens2f0"];
    assert!(said.contains("leaves 1250 bytes to VPC attachment") && said.contains("mtu 1330`"), "{said}");
    let said = narrow("ens1f0", 1283);
    assert!(said["ens1f0"].contains("leaves 1279 bytes to virtual interface"), "{said:?}");
}

fn slots(intent: &Intent) -> Slots {
    Slots::assign(&Installed::default(), intent).unwrap()
}

fn tables(intent: &Intent, observed: &Observed) -> Tables {
    compile(intent, observed, &slots(intent))
}

/// The sources of a VIF, without what every VIF has: its own link subnets, addresses and peers.
fn sources(intent: &Intent, name: &str) -> Vec<(String, SourceClass)> {
    let tables = tables(intent, &observed(intent));
    let sources = &tables.sources[&slots(intent).vifs[name]];
    let own = [SOURCE_LINK, SOURCE_PEER, SOURCE_OWN, SOURCE_MARTIAN];
    let others = sources.iter().filter(|(_, class)| !own.contains(class));
    others.map(|(prefix, class)| (prefix.to_string(), *class)).collect()
}

#[test]
fn what_a_vpc_or_another_line_has_is_no_source_by_a_covering_route() {
    use SOURCE_FORBIDDEN as FORBIDDEN;
    use SOURCE_ROUTED as ROUTED;
    // A sentence, routes via `vif-a`, whether it is validated, and its sources.
    type Row = (&'static str, &'static [&'static str], bool, &'static [(&'static str, SourceClass)]);
    let always = [("172.16.0.0/16", ROUTED), ("2001:db8:16::/48", ROUTED)];
    let rows: [Row; 6] = [
        ("no route covers anything", &[], true, &[]),
        ("a route beside all", &["10.128.0.0/9"], true, &[("10.128.0.0/9", ROUTED)]),
        (
            "a route that covers one of two VPCs",
            &["10.0.0.0/15"],
            true,
            &[("10.0.0.0/15", ROUTED), ("10.1.0.0/16", FORBIDDEN)],
        ),
        (
            "a default route covers all of its family but its own link",
            &["0.0.0.0/0"],
            true,
            &[
                ("0.0.0.0/0", ROUTED),
                ("10.1.0.0/16", FORBIDDEN),
                ("10.2.0.0/16", FORBIDDEN),
                ("169.254.10.4/30", FORBIDDEN),
            ],
        ),
        (
            "of two routes, one inside the other, and of IPv6",
            &["10.0.0.0/8", "10.0.0.0/14", "fd00::/8"],
            true,
            &[
                ("10.0.0.0/8", ROUTED),
                ("10.0.0.0/14", ROUTED),
                ("10.1.0.0/16", FORBIDDEN),
                ("10.2.0.0/16", FORBIDDEN),
                ("fd00::/8", ROUTED),
                ("fd00:1::/48", FORBIDDEN),
            ],
        ),
        (
            "without validation every source is covered",
            &[],
            false,
            &[
                ("10.1.0.0/16", FORBIDDEN),
                ("10.2.0.0/16", FORBIDDEN),
                ("169.254.10.4/30", FORBIDDEN),
                ("fd00:1::/48", FORBIDDEN),
            ],
        ),
    ];
    for (name, routes, validated, want) in rows {
        let mut intent = intent();
        for prefix in routes {
            route(&mut intent, prefix, "vif-a");
        }
        vif(&mut intent, "vif-a").source_validation = validated;
        let got: BTreeSet<_> = sources(&intent, "vif-a").into_iter().collect();
        let want: BTreeSet<_> =
            want.iter().chain(&always).map(|(prefix, class)| ((*prefix).to_owned(), *class)).collect();
        assert_eq!(got, want, "{name}");
        // The other line has none of these routes.
        assert_eq!(sources(&intent, "vif-b"), [("172.16.0.0/16".to_owned(), ROUTED)], "{name}");
    }
}

#[test]
fn the_own_link_keeps_its_classes_without_validation() {
    let mut intent = intent();
    vif(&mut intent, "vif-a").source_validation = false;
    let tables = tables(&intent, &observed(&intent));
    let class = |prefix: &str| tables.sources[&slots(&intent).vifs["vif-a"]][&prefix.parse().unwrap()];
    assert_eq!(class("169.254.10.0/30"), SOURCE_LINK);
    assert_eq!(class("169.254.10.1/32"), SOURCE_PEER);
    assert_eq!(class("169.254.10.2/32"), SOURCE_OWN);
    assert_eq!(class("fd00:10::/126"), SOURCE_LINK);
}

#[test]
fn another_border_gateway_forbids_nothing() {
    let mut intent = intent();
    let mut other = intent.border_gateways[0].clone();
    other.name = "bgw-2".into();
    other.virtual_interfaces.truncate(1);
    other.virtual_interfaces[0].name = "vif-c".into();
    other.virtual_interfaces[0].source_validation = false;
    other.vpc_attachments.clear();
    other.routes.clear();
    intent.border_gateways.push(other);
    assert_eq!(sources(&intent, "vif-c"), []);
}

/// Destination MAC addresses inside the tunnel, of the members of a route's group.
fn inner_macs(tables: &Tables, prefix: &str) -> Vec<MacAddr> {
    // Outer Ethernet, IPv4, UDP and VXLAN stand in front.
    const INNER: usize = 14 + 20 + 8 + 8;
    let target = tables.routes[&0][&prefix.parse().unwrap()];
    let members = &tables.groups[&target.group.unwrap()].live;
    let header = |member| tables.next_hops[member].header;
    let mac = |member| MacAddr(header(member)[INNER..INNER + 6].try_into().unwrap());
    members.iter().map(mac).collect()
}

#[test]
fn two_hosts_at_one_vtep_have_their_own_mac_addresses() {
    let mut intent = intent();
    let hosts =
        [("10.1.0.31/32", MacAddr([2, 0, 0, 0, 1, 31])), ("10.1.0.32/32", MacAddr([2, 0, 0, 0, 1, 32]))];
    for (prefix, mac) in hosts {
        let vteps = vec![Vtep { address: "192.0.2.21".parse().unwrap(), mac }];
        let host = HostRoute { prefix: prefix.parse().unwrap(), vteps };
        intent.border_gateways[0].vpc_attachments[0].hosts.push(host);
    }
    let mut seen = observed(&intent);
    let tables = tables(&intent, &seen);
    for (prefix, mac) in hosts {
        assert_eq!(inner_macs(&tables, prefix), [mac], "{prefix}");
    }
    assert_eq!(inner_macs(&tables, "10.1.0.10/32"), [MacAddr([2, 0, 0x5e, 0, 0, 1])], "the VTEP's own host");
    // Their groups are told apart also while the underlay has no path: one that is given up is not the other's.
    seen.underlay.clear();
    let dead = self::tables(&intent, &seen);
    let group = |prefix: &str| dead.routes[&0][&prefix.parse().unwrap()].group;
    assert_ne!(group(hosts[0].0), group(hosts[1].0));
}

#[test]
fn a_next_hop_toward_a_customer_carries_what_vif_and_port_do() {
    // A sentence, the MTUs of the VIF and of its port, and that of the next hop. `vif-a` has one tag, `vif-b` two.
    for (sentence, name, of_vif, of_port, want) in [
        ("the VIF is smaller", "vif-a", 1500, 1600, 1500),
        ("one tag fits exactly", "vif-a", 1500, 1504, 1500),
        ("one tag does not fit", "vif-a", 1500, 1500, 1496),
        ("two tags fit exactly", "vif-b", 1500, 1508, 1500),
        ("two tags do not fit", "vif-b", 1500, 1507, 1499),
        ("a port that is smaller than its tags carries nothing", "vif-b", 1500, 4, 0),
    ] {
        let mut intent = intent();
        vif(&mut intent, name).mtu = of_vif;
        let mut seen = observed(&intent);
        seen.ports.values_mut().for_each(|port| port.mtu = of_port);
        let owner = Owner::new(OWNER_VIF, slots(&intent).vifs[name]);
        let tables = tables(&intent, &seen);
        let of_owner = tables.next_hops.values().filter(|next_hop| next_hop.owner == owner);
        let mtus: BTreeSet<u16> = of_owner.map(|next_hop| next_hop.mtu).collect();
        assert_eq!(mtus, [want].into(), "{sentence}");
    }
}

#[test]
fn the_ends_of_a_link_subnet_are_no_hosts() {
    // A link subnet, its peer, and the addresses in it that nobody has.
    let rows: [(&str, &str, &[&str]); 6] = [
        ("192.0.2.2/29", "192.0.2.1", &["192.0.2.0/32", "192.0.2.7/32"]),
        ("192.0.2.2/30", "192.0.2.1", &["192.0.2.0/32", "192.0.2.3/32"]),
        ("192.0.2.0/31", "192.0.2.1", &[]),
        ("2001:db8:1::2/64", "2001:db8:1::1", &["2001:db8:1::/128"]),
        ("2001:db8:1::2/126", "2001:db8:1::1", &["2001:db8:1::/128"]),
        ("2001:db8:1::/127", "2001:db8:1::1", &[]),
    ];
    for (local, peer, want) in rows {
        let mut intent = intent();
        let vif_b = vif(&mut intent, "vif-b");
        vif_b.addresses[0].local = local.parse().unwrap();
        vif_b.addresses[0].peer = peer.parse().unwrap();
        let tables = tables(&intent, &observed(&intent));
        let sources = &tables.sources[&slots(&intent).vifs["vif-b"]];
        let martian = sources.iter().filter(|(_, class)| **class == SOURCE_MARTIAN);
        let martian: Vec<_> = martian.map(|(prefix, _)| prefix.to_string()).collect();
        assert_eq!(martian, want, "{local}");
        let index = slots(&intent).vifs["vif-b"];
        let nobody =
            tables.routes[&0].iter().filter(|(_, target)| target.owner == Owner::new(OWNER_NOBODY, index));
        let nobody: Vec<_> = nobody.map(|(prefix, _)| prefix.to_string()).collect();
        assert_eq!(nobody, want, "{local}");
        let own = local.split_once('/').unwrap().0.parse::<IpAddr>().unwrap();
        assert_eq!(sources[&own.into()], SOURCE_OWN, "{local}");
    }
}

#[test]
fn every_limiter_of_a_vif_or_attachment_has_its_rate() {
    let intent = intent();
    let tables = tables(&intent, &observed(&intent));
    // Packets a second, and packets at once.
    for (class, rate, burst) in [
        (VifPolicer::PuntControl, 5_000, 2_000),
        (VifPolicer::PuntNeighbor, 100, 100),
        (VifPolicer::PuntRest, 1_000, 500),
        (VifPolicer::Answer, 200, 100),
        (VifPolicer::Error, 200, 200),
        (VifPolicer::TooBig, 200, 200),
    ] {
        for index in slots(&intent).vifs.values() {
            let got = tables.policers.get(&vif_policer(*index, class));
            assert_eq!(got, Some(&policer(rate * 8, burst)), "{class:?}");
        }
    }
    for (class, rate, burst) in [
        (AttachmentPolicer::Punt, 1_000, 500),
        (AttachmentPolicer::Error, 200, 200),
        (AttachmentPolicer::TooBig, 200, 200),
    ] {
        for index in slots(&intent).attachments.values() {
            let got = tables.policers.get(&attachment_policer(*index, class));
            assert_eq!(got, Some(&policer(rate * 8, burst)), "{class:?}");
        }
    }
}

#[test]
fn errors_come_from_an_address_of_the_object_or_from_what_identifies_the_server() {
    let address_of = |text: &str| border_gw::tables::address(text.parse().unwrap()).1;
    let whole = intent();
    let mut only_v6 = whole.clone();
    vif(&mut only_v6, "vif-a").addresses.retain(|link| link.local.addr().is_ipv6());
    let mut only_v4 = whole.clone();
    vif(&mut only_v4, "vif-a").addresses.retain(|link| link.local.addr().is_ipv4());
    for (name, intent, v4, v6) in [
        ("both families", &whole, address_of("169.254.10.2"), address_of("fd00:10::2")),
        ("IPv6 alone", &only_v6, address_of(&whole.gateway.router_id.to_string()), address_of("fd00:10::2")),
        ("IPv4 alone: nobody is told of IPv6", &only_v4, address_of("169.254.10.2"), [0; 16]),
    ] {
        let tables = tables(intent, &observed(intent));
        let record = &tables.vifs[&slots(intent).vifs["vif-a"]];
        assert_eq!((record.error_v4, record.error_v6), (v4, v6), "{name}");
    }
    let tables = tables(&whole, &observed(&whole));
    let router = &whole.border_gateways[0].vpc_attachments[0];
    let record = &tables.attachments[&slots(&whole).attachments[&router.name]];
    let want = router.router.addresses.iter().find(|address| address.is_ipv4()).unwrap();
    assert_eq!(record.error_v4, address_of(&want.to_string()), "the router's");
}

#[test]
fn a_vif_names_the_limit_of_the_port_by_which_it_is_told() {
    let intent = intent();
    let tables = tables(&intent, &observed(&intent));
    for (index, vif) in &tables.vifs {
        let mut ways = tables.next_hops.values().filter(|hop| hop.owner == Owner::new(OWNER_VIF, *index));
        assert!(ways.clone().count() > 0 && ways.all(|hop| hop.port == u32::from(vif.port)), "{index}");
    }
}

#[test]
fn the_mss_is_held_on_both_sides_unless_the_border_gateway_says_no() {
    for clamp in [true, false] {
        let mut intent = intent();
        intent.border_gateways[0].mss_clamp = clamp;
        let tables = tables(&intent, &observed(&intent));
        let vifs = tables.vifs.values().map(|vif| vif.flags & VIF_CLAMP_MSS != 0);
        let vpcs = tables.attachments.values().map(|vpc| vpc.flags & ATTACHMENT_CLAMP_MSS != 0);
        assert_eq!(vifs.chain(vpcs).collect::<Vec<_>>(), [clamp; 4]);
    }
}

#[test]
fn an_mtu_is_what_the_port_has_room_for() {
    let rows: [(&str, u32, u16, (u16, u16)); 4] = [
        ("room for everything", 9216, 1500, (1500, 1500)),
        ("jumbo frames", 9216, 9000, (9000, 9000)),
        ("jumbo frames by ports that are a little small", 9000, 9000, (8996, 8950)),
        ("jumbo frames by ports that are not", 1600, 9000, (1596, 1550)),
    ];
    for (name, port, declared, want) in rows {
        let mut intent = intent();
        vif(&mut intent, "vif-a").mtu = declared;
        intent.border_gateways[0].vpc_attachments[0].mtu = declared;
        let mut observed = observed(&intent);
        observed.ports.values_mut().for_each(|state| state.mtu = port);
        let slots = slots(&intent);
        let tables = tables(&intent, &observed);
        let (vif, vpc) =
            (&tables.vifs[&slots.vifs["vif-a"]], &tables.attachments[&slots.attachments["vpc-1"]]);
        assert_eq!((vif.mtu, vpc.mtu), want, "{name}");
    }
}
