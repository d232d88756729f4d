//! The MSS that TCP connections open with, in both directions.

use border_gw_common::abi::{ATTACHMENT_CLAMP_MSS, VIF_CLAMP_MSS, VIF_TRANSIT};

use crate::support::case::{Case, Want, check};
use crate::support::datagram::Datagram;
use crate::support::memory::Memory;
use crate::support::send::{in_vpc, on_vif};
use crate::support::wire::{padded, transport_checksum};
use crate::support::world::{NESTED, Underlay, VIF_A, VIF_B, VPC};

const CUSTOMER: &str = "172.16.0.5";
const CUSTOMER_V6: &str = "fd00:172:16::5";
const HOST: &str = "10.1.0.10";
const HOST_V6: &str = "fd00:1::10";

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

/// A TCP segment with these flags and options, which fill whole words.
fn tcp(from: &str, to: &str, flags: u8, options: &[u8]) -> Datagram {
    let words = (20 + options.len()) / 4;
    tcp_of(from, to, flags, words as u8, options)
}

/// The same with a header that says to be of so many words.
fn tcp_of(from: &str, to: &str, flags: u8, words: u8, options: &[u8]) -> Datagram {
    let mut body = vec![0x9c, 0x40, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8, words << 4, flags, 0xfa, 0xf0, 0, 0, 0, 0];
    body.extend(options);
    let mut datagram = Datagram::new(from, to, 6, body);
    let sum = transport_checksum(datagram.source, datagram.destination, 6, &datagram.body);
    datagram.body[16..18].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// An authentication header with a check value of 12 bytes, from its second byte on (RFC 4302, section 2).
const AUTHENTICATION: [u8; 23] = [4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];

/// The MSS option.
fn mss(mss: u16) -> Vec<u8> {
    [&[2, 4], &mss.to_be_bytes()[..]].concat()
}

fn clamping(world: &mut Memory) {
    world.vifs.values_mut().for_each(|vif| vif.flags |= VIF_CLAMP_MSS);
    world.attachments.values_mut().for_each(|vpc| vpc.flags |= ATTACHMENT_CLAMP_MSS);
}

/// From the customer into the VPC: what is sent, and what comes out.
fn to_vpc(name: &'static str, sent: &Datagram, out: Datagram) -> Case {
    Case::line(name, VIF_A, on_vif(VIF_A, sent), Want::ToVpc(VPC, &[1], out)).when(clamping)
}

fn unchanged(name: &'static str, sent: Datagram) -> Case {
    to_vpc(name, &sent.clone(), sent)
}

#[test]
fn the_mss_is_held_to_what_fits() {
    check(|underlay| {
        let most = underlay.mtu() - 40;
        let most_v6 = underlay.mtu() - 60;
        let v4 = |flags, options: &[u8]| tcp(CUSTOMER, HOST, flags, options);
        let v6 = |flags, options: &[u8]| tcp(CUSTOMER_V6, HOST_V6, flags, options);
        let answer = |value| tcp(HOST, CUSTOMER, SYN_ACK, &mss(value));
        let answer_v6 = |value| tcp(HOST_V6, CUSTOMER_V6, SYN_ACK, &mss(value));
        let to_line = |name, sent: &Datagram, out| {
            Case::fabric(name, VPC, in_vpc(underlay, VPC, 1, sent), Want::ToLine(VIF_A, out)).when(clamping)
        };
        vec![
            to_vpc("a SYN into a VPC", &v4(SYN, &mss(1460)), v4(SYN, &mss(most))),
            to_vpc("an answer into a VPC", &v4(SYN_ACK, &mss(1460)), v4(SYN_ACK, &mss(most))),
            to_vpc("a SYN into a VPC by IPv6", &v6(SYN, &mss(1440)), v6(SYN, &mss(most_v6))),
            to_vpc("one byte too many", &v4(SYN, &mss(most + 1)), v4(SYN, &mss(most))),
            unchanged("what just fits", v4(SYN, &mss(most))),
            unchanged("what just fits by IPv6", v6(SYN, &mss(most_v6))),
            unchanged("what is smaller is never raised", v4(SYN, &mss(536))),
            unchanged("an MSS of nothing", v4(SYN, &mss(0))),
            to_vpc("the largest of all", &v4(SYN, &mss(65535)), v4(SYN, &mss(most))),
            to_line(
                "a SYN to a customer",
                &tcp(HOST, CUSTOMER, SYN, &mss(1460)),
                tcp(HOST, CUSTOMER, SYN, &mss(1460)),
            )
            .when(|world| {
                clamping(world);
                world.attachments.get_mut(&VPC).unwrap().mtu = 1500;
            }),
            to_line("an answer to a customer, from a VPC with a smaller MTU", &answer(1460), answer(1360))
                .when(|world| {
                    clamping(world);
                    world.attachments.get_mut(&VPC).unwrap().mtu = 1400;
                }),
            to_line("the same by IPv6", &answer_v6(1440), answer_v6(1340)).when(|world| {
                clamping(world);
                world.attachments.get_mut(&VPC).unwrap().mtu = 1400;
            }),
            to_line("a SYN to a line with a smaller MTU", &answer(1460), answer(1240)).when(|world| {
                clamping(world);
                world.next_hops.values_mut().for_each(|next_hop| next_hop.mtu = 1280);
            }),
            to_vpc("a SYN from a line with a smaller MTU", &v4(SYN, &mss(1460)), v4(SYN, &mss(1240))).when(
                |world| {
                    clamping(world);
                    world.vifs.get_mut(&VIF_A).unwrap().mtu = 1280;
                },
            ),
            to_vpc("not where it is switched off", &v4(SYN, &mss(1460)), v4(SYN, &mss(1460))).when(|_| ()),
            to_line("not where it is switched off, to a customer", &answer(9000), answer(9000)).when(|_| ()),
        ]
    });
}

#[test]
fn the_option_is_found_wherever_it_stands() {
    check(|underlay: Underlay| {
        let most = underlay.mtu() - 40;
        let with = |before: &[u8], value, behind: &[u8]| {
            tcp(CUSTOMER, HOST, SYN, &[before, &mss(value), behind].concat())
        };
        let lowered = |name, before: &[u8], behind: &[u8]| {
            to_vpc(name, &with(before, 1460, behind), with(before, most, behind))
        };
        let linux = [4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7];
        let sent = tcp(CUSTOMER, HOST, SYN, &mss(1460));
        let out = tcp(CUSTOMER, HOST, SYN, &mss(most));
        let in_options = |datagram: &Datagram| datagram.clone().options(&[1; 40]);
        vec![
            lowered("first of many", &[], &linux),
            lowered("behind others", &linux, &[]),
            lowered("at an odd offset", &[1], &[1, 1, 1]),
            lowered("at an odd offset behind an option of odd length", &[3, 3, 7], &[0]),
            lowered("at an even offset that is no word's", &[1, 1], &[1, 0]),
            lowered("last of a header that is full", &[1; 36], &[]),
            lowered(
                "last of a header that is full, behind one long option",
                &[[8, 36].as_slice(), &[0; 34]].concat(),
                &[],
            ),
            lowered("only the first of two", &[], &mss(1460)),
            lowered("before an option that is cut by the header's end", &[], &[8, 10, 0, 0]),
            lowered("before an option of no length", &[], &[8, 0, 29, 16]),
            lowered("before the end of the list", &[], &[0, 29, 16, 0]),
            lowered(
                "beside the MD5 option, which signs no options",
                &[],
                &[[19, 18].as_slice(), &[7; 16], &[1, 1]].concat(),
            ),
            to_vpc("behind IPv4 options", &in_options(&sent), in_options(&out)),
            to_vpc(
                "behind IPv6 extension headers",
                &tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(1460)).extension(60, &[0, 1, 4, 0, 0, 0, 0]),
                tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(most - 20)).extension(60, &[0, 1, 4, 0, 0, 0, 0]),
            ),
            to_vpc("in a first fragment", &sent.clone().fragment(0, true), out.clone().fragment(0, true)),
            to_vpc(
                "in a first fragment of IPv6",
                &tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(1460)).fragment(0, true),
                tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(most - 20)).fragment(0, true),
            ),
            Case::line(
                "in a frame with padding",
                VIF_A,
                padded(on_vif(VIF_A, &sent), 20),
                Want::ToVpc(VPC, &[1], out),
            )
            .when(clamping),
            Case::fabric(
                "from VPC to VPC",
                NESTED,
                in_vpc(underlay, NESTED, 3, &tcp("10.1.7.9", HOST, SYN, &mss(1460))),
                Want::ToVpc(VPC, &[1, 2], tcp("10.1.7.9", HOST, SYN, &mss(most))),
            )
            .when(clamping),
            Case::line(
                "from line to line",
                VIF_A,
                on_vif(VIF_A, &tcp(CUSTOMER, "172.17.0.1", SYN, &mss(1460))),
                Want::ToLine(VIF_B, tcp(CUSTOMER, "172.17.0.1", SYN, &mss(1360))),
            )
            .when(|world| {
                clamping(world);
                world.vifs.values_mut().for_each(|vif| {
                    vif.flags |= VIF_TRANSIT;
                    vif.mtu = 1400;
                });
            }),
        ]
    });
}

/// TCP-AO: kind, length, two key identifiers, and a code of 12 bytes.
const AO: [u8; 16] = [29, 16, 1, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7];

#[test]
fn everything_else_is_left_as_it_is() {
    check(|_| {
        let v4 = |flags, options: &[u8]| tcp(CUSTOMER, HOST, flags, options);
        let of = |words, options: &[u8]| tcp_of(CUSTOMER, HOST, SYN, words, options);
        let later = v4(SYN, &mss(1460));
        vec![
            unchanged("no options", v4(SYN, &[])),
            unchanged("no MSS among them", v4(SYN, &[4, 2, 1, 1])),
            unchanged("a segment that opens nothing", v4(ACK, &mss(1460))),
            unchanged("a later fragment", later.clone().fragment(1, false)),
            unchanged(
                "a later fragment of IPv6",
                tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(1460)).fragment(1, false),
            ),
            unchanged("behind an authentication header", {
                tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(1460)).extension(51, &AUTHENTICATION)
            }),
            unchanged("behind an authentication header and another", {
                let datagram = tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(1460)).extension(51, &AUTHENTICATION);
                datagram.extension(60, &[0, 1, 4, 0, 0, 0, 0])
            }),
            unchanged("behind another and an authentication header", {
                let datagram =
                    tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(1460)).extension(60, &[0, 1, 4, 0, 0, 0, 0]);
                datagram.extension(51, &AUTHENTICATION)
            }),
            unchanged("in a first fragment, behind an authentication header", {
                let datagram = tcp(CUSTOMER_V6, HOST_V6, SYN, &mss(1460)).fragment(0, true);
                datagram.extension(51, &AUTHENTICATION)
            }),
            unchanged("behind an authentication header of IPv4", {
                let body = [&[6][..], &AUTHENTICATION, &later.body].concat();
                Datagram { protocol: 51, body, ..later.clone() }
            }),
            unchanged("beside TCP-AO", v4(SYN, &[&mss(1460)[..], &AO].concat())),
            unchanged("behind TCP-AO", v4(SYN, &[&AO[..], &mss(1460)].concat())),
            unchanged(
                "beside TCP-AO behind others",
                v4(SYN, &[&[4, 2][..], &mss(1460), &[1, 1], &AO].concat()),
            ),
            unchanged(
                "beside TCP-AO in IPv6",
                tcp(CUSTOMER_V6, HOST_V6, SYN, &[&mss(1460)[..], &AO].concat()),
            ),
            unchanged("another protocol", Datagram { protocol: 132, ..later }),
            unchanged("behind the end of the list", v4(SYN, &[&[0, 0, 0, 0][..], &mss(1460)].concat())),
            unchanged("an MSS option of another length", v4(SYN, &[2, 3, 0xff, 0xff])),
            unchanged("an option of no length", v4(SYN, &[&[8, 0, 1, 1][..], &mss(1460)].concat())),
            unchanged("an option of length 1", v4(SYN, &[&[8, 1, 1, 1][..], &mss(1460)].concat())),
            unchanged(
                "an option longer than the header",
                v4(SYN, &[&[8, 255, 1, 1][..], &mss(1460)].concat()),
            ),
            unchanged("an option cut by the header's end", of(5, &[2, 4, 0xff, 0xff])),
            unchanged("one byte of it beyond the header's end", of(6, &[1, 2, 4, 0xff, 0xff, 0, 0, 0])),
            unchanged("a header longer than the packet", of(15, &mss(1460))),
            unchanged("a header shorter than a header", of(4, &mss(1460))),
            unchanged("a packet that ends in its TCP header", {
                Datagram { body: v4(SYN, &[]).body[..19].to_vec(), ..v4(SYN, &[]) }
            }),
            unchanged("a packet without a TCP header", Datagram { body: Vec::new(), ..v4(SYN, &[]) }),
            Case::line(
                "what stands in padding is no option",
                VIF_A,
                [on_vif(VIF_A, &of(6, &[])), mss(1460)].concat(),
                Want::ToVpc(VPC, &[1], of(6, &[])),
            )
            .when(clamping),
        ]
    });
}
