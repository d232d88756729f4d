//! Packets larger than a next hop's MTU, counted for it.

use border_gw_common::abi::{Entry, TooBig};

use crate::support::case::run;
use crate::support::datagram::{Datagram, udp};
use crate::support::frame::Frame;
use crate::support::send::{in_vpc, on_vif};
use crate::support::world::{FABRIC, Underlay, VIF_A, VPC, vif_next_hop, vif_port, vpc_next_hop, world};

const CUSTOMER: &str = "172.16.0.5";
const CUSTOMER_V6: &str = "fd00:172:16::5";
const HOST: &str = "10.1.0.10";
const HOST_V6: &str = "fd00:1::10";

#[test]
fn what_is_too_big_is_counted_by_next_hop_with_and_without_df() {
    let may_be_fragmented = |from, to| {
        let mut datagram = udp(from, to);
        datagram.fragment = [0xab, 0xcd, 0, 0];
        datagram
    };
    for underlay in Underlay::ALL {
        let fits = usize::from(underlay.mtu());
        let (to_vpc, to_customer) = (vpc_next_hop(VPC, 1), vif_next_hop(VIF_A));
        let line = |datagram: Datagram| (Entry::Line, vif_port(VIF_A), on_vif(VIF_A, &datagram));
        let fabric = |datagram: Datagram| (Entry::Fabric, FABRIC, in_vpc(underlay, VPC, 1, &datagram));
        let counted = |next_hop, with_df, without_df| Some((next_hop, TooBig { with_df, without_df }));
        let rows = [
            ("what fits", line(udp(CUSTOMER, HOST).len(fits)), None),
            ("with DF", line(udp(CUSTOMER, HOST).len(fits + 1)), counted(to_vpc, 1, 0)),
            ("without DF", line(may_be_fragmented(CUSTOMER, HOST).len(fits + 1)), counted(to_vpc, 0, 1)),
            (
                "a fragment without DF",
                line(udp(CUSTOMER, HOST).fragment(1, true).len(fits + 1)),
                counted(to_vpc, 0, 1),
            ),
            ("IPv6", line(udp(CUSTOMER_V6, HOST_V6).len(fits + 1)), counted(to_vpc, 1, 0)),
            ("toward the customer, what fits", fabric(udp(HOST, CUSTOMER).len(1500)), None),
            (
                "toward the customer, with DF",
                fabric(udp(HOST, CUSTOMER).len(1501)),
                counted(to_customer, 1, 0),
            ),
            (
                "toward the customer, without DF",
                fabric(may_be_fragmented(HOST, CUSTOMER).len(1501)),
                counted(to_customer, 0, 1),
            ),
        ];
        for (name, (entry, ifindex, packet), want) in rows {
            let mut world = world(underlay);
            for (index, next_hop) in &mut world.next_hops {
                next_hop.identity = u64::from(*index);
            }
            run(entry, &mut Frame::with_room(&packet, 256, 128), &world, ifindex);
            let want = want.map(|(next_hop, counts)| (u64::from(next_hop), counts));
            assert_eq!(world.too_big(), want.into_iter().collect(), "{name} ({underlay:?})");
        }
    }
}
