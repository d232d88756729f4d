//! Who speaks BGP with whom, and what is announced.

use std::collections::HashMap;

use crate::intent::Routing;
use crate::intent::diagnostic::{Place, Report};
use crate::intent::document::{BorderGateway, VirtualInterface};
use crate::intent::values;

/// Checks sessions and announcements of a border gateway.
pub(super) fn check(report: &mut Report, gateway: &BorderGateway) {
    for vif in &gateway.virtual_interfaces {
        if gateway.routing == Routing::External {
            external(report, vif);
        }
        if let (Some(ours), Some(theirs)) = (gateway.asn, vif.bgp.as_ref().and_then(|bgp| bgp.asn))
            && ours.value == theirs.value
        {
            let message = format!(
                "the peer's autonomous system {} is our own, at {}",
                theirs.value,
                report.show(ours.at)
            );
            report.error(theirs.at, message).suggest(
                "a customer is another autonomous system (RFC 4271); private ones are 64512 to 65534",
            );
        }
    }
    announced(report, gateway);
}

/// Sections that the operator's own daemon would not see.
fn external(report: &mut Report, vif: &VirtualInterface) {
    let sections = [("bgp", vif.bgp.as_ref().map(|bgp| bgp.at)), ("bfd", vif.bfd.map(|bfd| bfd.at))];
    for (name, at) in sections {
        if let Some(at) = at {
            report
                .error(at, format!("`{name}` has no effect with `routing: external`"))
                .suggest("configure it in the daemon that runs in the namespace, or use `routing: bird`");
        }
    }
}

/// What is announced beside CIDRs: each once, and nothing that is announced anyway.
fn announced(report: &mut Report, gateway: &BorderGateway) {
    let cidrs = gateway.vpc_attachments.iter().flat_map(|attachment| &attachment.cidrs);
    let mut seen: HashMap<_, Place> = cidrs.map(|cidr| (cidr.value, cidr.at)).collect();
    for prefix in &gateway.advertise {
        if let Some((special, what)) =
            values::holds_special(prefix.value).filter(|_| prefix.value.prefix_len() > 0)
        {
            let message = format!("{} holds {special}, which is {what}", prefix.value);
            report.error(prefix.at, message).suggest("announce what customers may send here");
        }
        if let Some(first) = seen.insert(prefix.value, prefix.at) {
            let message = format!("{} is announced anyway: {}", prefix.value, report.show(first));
            report.error(prefix.at, message).suggest("remove it from `advertise`");
        }
    }
}
