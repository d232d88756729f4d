//! IPv4 options: source routes and what nobody can read are refused wherever they stand, all others go along.

use border_gw_common::verdict::DropReason as Drop;

use crate::support::case::{Case, Want, check};
use crate::support::datagram::{Datagram, udp};
use crate::support::send::{in_vpc, inner, on_vif};
use crate::support::world::{Underlay, VIF_A, VPC, vpc_veth};

const CUSTOMER: &str = "172.16.0.5";
const HOST: &str = "10.1.0.10";

/// Loose and strict.
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// A source route by one address, and what makes it fill words.
fn route(kind: u8) -> [u8; 8] {
    [kind, 7, 4, 10, 1, 7, 9, 0]
}

/// A packet with these options from both sides, which is sent on or dropped.
fn rows(underlay: Underlay, name: &str, options: &[u8], why: Option<Drop>) -> [Case; 2] {
    assert!(options.len().is_multiple_of(4) && options.len() <= 40, "{name}");
    rows_of(
        underlay,
        name,
        [(CUSTOMER, HOST), (HOST, CUSTOMER)].map(|(a, b)| udp(a, b).options(options)),
        why,
    )
}

fn rows_of(underlay: Underlay, name: &str, [out, back]: [Datagram; 2], why: Option<Drop>) -> [Case; 2] {
    let (line, fabric) = (on_vif(VIF_A, &out), in_vpc(underlay, VPC, 1, &back));
    let want = |sent| why.map_or(sent, Want::Drop);
    [
        Case::line(format!("{name}, to a VPC"), VIF_A, line, want(Want::ToVpc(VPC, &[1], out))),
        Case::fabric(format!("{name}, to a customer"), VPC, fabric, want(Want::ToLine(VIF_A, back))),
    ]
}

#[test]
fn a_source_route_is_refused_wherever_it_stands() {
    check(|underlay| {
        let mut cases = Vec::new();
        for kind in SOURCE_ROUTES {
            let route = route(kind);
            let mut refused = |name: &str, options: &[&[u8]]| {
                let name = format!("{kind}: {name}");
                cases.extend(rows(underlay, &name, &options.concat(), Some(Drop::SourceRoute)));
            };
            refused("first", &[&route]);
            refused("first of many", &[&route, &[7, 7, 4, 0, 0, 0, 0, 1], &[148, 4, 0, 0]]);
            refused("the largest", &[&[kind, 39, 4], &[10; 36], &[0]]);
            refused("last", &[&[1; 32], &route]);
            refused("last, and nothing behind it", &[&[1], &route[..7]]);
            refused("behind one that does nothing", &[&[1], &route[..7]]);
            refused("behind two of them", &[&[1, 1], &route[..7], &[0, 0, 0]]);
            refused("behind three of them", &[&[1, 1, 1], &route[..7], &[0, 0]]);
            refused("behind a record of the route", &[&[7, 7, 4, 0, 0, 0, 0], &route[..7], &[0, 0]]);
            refused("behind a time stamp", &[&[68, 8, 5, 0, 0, 0, 0, 0], &route]);
            refused("behind a router alert", &[&[148, 4, 0, 0], &route]);
            refused("behind an option that nobody knows", &[&[222, 5, 1, 2, 3], &route[..7]]);
            refused("behind the shortest option", &[&[222, 2], &route[..7], &[0, 0, 0]]);
            refused("behind the longest that leaves room for it", &[&[222, 33], &[7; 31], &route[..7]]);
            refused("without an address", &[&[kind, 3, 4, 0]]);
            refused("all of it used up", &[&[kind, 7, 8, 10, 1, 7, 9, 0]]);
            refused("of no length", &[&[kind, 0, 0, 0]]);
            refused("of a length beyond the header", &[&[kind, 200, 4, 0]]);
            refused("in the last byte", &[&[1, 1, 1, kind]]);
        }
        cases
    });
}

#[test]
fn what_is_no_option_is_not_read_as_one() {
    check(|underlay| {
        let mut cases = Vec::new();
        for kind in SOURCE_ROUTES {
            let route = route(kind);
            let mut sent = |name: &str, options: &[&[u8]]| {
                cases.extend(rows(underlay, &format!("{kind}: {name}"), &options.concat(), None));
            };
            sent("behind the end of the list", &[&[0], &route[..7]]);
            sent("behind an option and the end of the list", &[&[148, 4, 0, 0], &[0, 0, 0, 0], &route]);
            sent("in another option's data", &[&[222, 8, kind, 7, 4, 10, 1, 7]]);
            sent("as another option's length", &[&[222, 4, kind, kind], &[0, 0, 0, kind]]);
        }
        for kind in SOURCE_ROUTES {
            let [out, back] = [(CUSTOMER, HOST), (HOST, CUSTOMER)]
                .map(|(from, to)| Datagram::new(from, to, 17, [&route(kind)[..], &[0; 8]].concat()));
            cases.extend(rows_of(underlay, "first in the payload", [out.clone(), back.clone()], None));
            let options = [1; 4];
            let pair = [out.options(&options), back.options(&options)];
            cases.extend(rows_of(underlay, "in the payload behind an option", pair, None));
        }
        cases
    });
}

#[test]
fn other_options_go_along() {
    check(|underlay| {
        let mut sent = Vec::new();
        let mut row = |name: &str, options: &[&[u8]]| {
            sent.extend(rows(underlay, name, &options.concat(), None));
        };
        row("forty that do nothing", &[&[1; 40]]);
        row("the end of the list alone", &[&[0; 4]]);
        row("a record of the route", &[&[7, 39, 4], &[0; 36], &[0]]);
        row("a time stamp", &[&[68, 40, 5, 0], &[0; 36]]);
        row("a router alert", &[&[148, 4, 0, 0]]);
        row("the longest that fits", &[&[222, 40], &[9; 38]]);
        row("as many as fit", &[&[222, 2].repeat(20)]);
        for kind in (2..=255).filter(|kind| !SOURCE_ROUTES.contains(kind)) {
            row(&format!("type {kind}"), &[&[kind, 4, 0, 0]]);
        }
        // A packet of a header alone: nothing stands behind the last option.
        let alone =
            [(CUSTOMER, HOST), (HOST, CUSTOMER)].map(|(from, to)| Datagram::new(from, to, 253, vec![]));
        for (name, options) in [("one that does nothing", [1, 1, 1, 1]), ("an end", [1, 1, 1, 0])] {
            let pair = alone.clone().map(|datagram| datagram.options(&options));
            sent.extend(rows_of(underlay, &format!("{name}, at the end of the frame"), pair, None));
        }
        sent
    });
}

#[test]
fn an_option_ends_within_the_header() {
    check(|underlay| {
        let mut cases = Vec::new();
        let mut refused = |name: &str, options: &[&[u8]]| {
            cases.extend(rows(underlay, name, &options.concat(), Some(Drop::IpOptions)));
        };
        refused("no length", &[&[7, 0, 0, 0]]);
        refused("a length of 1", &[&[7, 1, 0, 0]]);
        refused("one byte beyond the header", &[&[7, 5, 4, 0]]);
        refused("far beyond the header", &[&[7, 255, 4, 0]]);
        refused("a length of 1 behind others", &[&[1, 148, 4, 0, 0], &[7, 1, 0]]);
        refused("one byte beyond a header that is full", &[&[1; 36], &[7, 5, 4, 0]]);
        refused("a header that ends in front of its length", &[&[1, 1, 1, 7]]);
        refused("a full header that ends in front of its length", &[&[1; 39], &[7]]);
        refused("a source route behind one of no length", &[&[7, 0, 0, 0], &route(131)]);
        let alone = [(CUSTOMER, HOST), (HOST, CUSTOMER)]
            .map(|(from, to)| Datagram::new(from, to, 253, vec![]).options(&[1, 1, 1, 7]));
        cases.extend(rows_of(underlay, "a frame that ends so", alone, Some(Drop::IpOptions)));
        cases
    });
}

#[test]
fn options_are_read_whoever_is_asked() {
    check(|underlay| {
        let with = |from, to| udp(from, to).options(&route(131));
        let to_gateway = on_vif(VIF_A, &with("169.254.10.1", "169.254.10.2"));
        let to_router = in_vpc(underlay, VPC, 1, &with(HOST, "10.1.0.1"));
        let from_kernel = inner(VPC, &with("10.1.0.1", HOST));
        let refused = || Want::Drop(Drop::SourceRoute);
        vec![
            Case::line("to the gateway itself", VIF_A, to_gateway, refused()),
            Case::fabric("to the router itself", VPC, to_router, refused()),
            Case::host("from the kernel", vpc_veth(VPC), from_kernel, refused()),
        ]
    });
}
