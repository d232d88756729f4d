//! Rows of the API as tables for people: few columns, short units, no wider than the terminal.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::Value;

use super::What;

/// Narrowest column of explanations that is worth wrapping into: a terminal below that wraps for itself.
const NARROWEST: u16 = 20;

/// What a column holds.
enum Cell {
    /// A text or a number, as it is.
    Plain(&'static str),
    /// A number, to be compared with those above and below.
    Number(&'static str),
    /// A rate in bits a second.
    Rate(&'static str),
    /// Packets, in short units.
    Packets(&'static str),
    /// Packets and bytes of a direction.
    Flow(&'static str),
    /// A list of names.
    Names(&'static str),
    /// A sentence, which is wrapped.
    Sentence(&'static str),
    /// Whatever takes several fields.
    Of(fn(&Value) -> String),
    /// The same, on the right.
    NumberOf(fn(&Value) -> String),
}

use Cell::{Flow, Names, Number, NumberOf, Of, Packets, Plain, Rate, Sentence};

/// Header and contents of a column. Fields of fields are named by a pointer (RFC 6901).
type Column = (&'static str, Cell);

const VIFS: &[Column] = &[
    ("NAME", Plain("/name")),
    ("BORDER_GATEWAY", Plain("/border_gateway")),
    ("PORT", Plain("/interface")),
    ("VLAN", Plain("/vlan")),
    ("STATE", Plain("/state")),
    ("XDP", Plain("/xdp_mode")),
    ("TO_VPC", Flow("/to_vpc")),
    ("CAP", Rate("/to_vpc_limit_bps")),
    ("POLICED", Packets("/to_vpc/policed_packets")),
    ("TO_CUSTOMER", Flow("/to_customer")),
    ("CAP", Rate("/to_customer_limit_bps")),
    ("POLICED", Packets("/to_customer/policed_packets")),
];

const ROUTES: &[Column] = &[
    ("BORDER_GATEWAY", Plain("/border_gateway")),
    ("PREFIX", Plain("/prefix")),
    ("SOURCE", Plain("/source")),
    ("OWNERS", Names("/owners")),
    ("GROUP", NumberOf(|row| if is_local(row) { "-".into() } else { plain(row, "/group") })),
    ("LIVE/DECLARED", NumberOf(alive)),
];

const GROUPS: &[Column] = &[
    ("BORDER_GATEWAY", Plain("/border_gateway")),
    ("GROUP", Number("/group")),
    ("OWNER", Plain("/owner")),
    ("NEXT_HOP", Of(next_hop)),
    ("PORT", Plain("/interface")),
    ("MAC", Plain("/mac")),
    ("STATE", Plain("/state")),
    ("BUCKETS", Number("/buckets")),
    ("SHARE", NumberOf(|row| format!("{:.1}%", number(row, "/share_percent")))),
];

const NEIGHBORS: &[Column] = &[
    ("SIDE", Plain("/side")),
    ("INTERFACE", Plain("/interface")),
    ("ADDRESS", Plain("/address")),
    ("MAC", Plain("/mac")),
];

const DROPS: &[Column] = &[
    ("SCOPE", Of(scope)),
    ("REASON", Plain("/reason")),
    ("PACKETS", Number("/packets")),
    ("HELP", Sentence("/help")),
];

const SUMMARY: &[Column] = &[
    ("PROGRAM", Plain("/program")),
    ("RECEIVED", Number("/received")),
    ("FORWARDED", Number("/forwarded")),
    ("PUNTED", Number("/punted")),
    ("PASSED", Number("/passed")),
    ("ANSWERED", Number("/answered")),
    ("DROPPED", Number("/dropped")),
];

const LOSSES: &[Column] = &[
    ("INTERFACE", Plain("/interface")),
    ("OF", Plain("/name")),
    ("REASON", Plain("/reason")),
    ("PACKETS", Number("/packets")),
    ("HELP", Sentence("/help")),
];

const FAILOVERS: &[Column] = &[
    ("DETECTED (UTC)", Of(|row| utc(number(row, "/detected_at_seconds")))),
    ("CAUSE", Plain("/cause")),
    ("OF", Plain("/name")),
    ("PEER", Plain("/peer")),
    ("GROUPS", Number("/groups")),
    ("REROUTED", NumberOf(|row| milliseconds(row, "/rerouted_seconds"))),
    ("CONVERGED", NumberOf(|row| milliseconds(row, "/converged_seconds"))),
];

const BGP: &[Column] = &[
    ("VIF", Plain("/vif")),
    ("PEER", Plain("/peer")),
    ("ASN", Number("/asn")),
    ("FAMILY", Plain("/family")),
    ("STATE", Plain("/state")),
    ("SINCE (UTC)", Of(|row| count(row, "/since").map_or_else(|| "-".into(), |since| utc(since as f64)))),
    ("ACCEPTED", NumberOf(|row| format!("{}/{}", plain(row, "/accepted"), plain(row, "/limit")))),
    ("FILTERED", Number("/refused_by_filter")),
    ("OVER", Number("/refused_by_limit")),
    ("ANNOUNCED", Number("/announced")),
    ("LAST_ERROR", Sentence("/last_error")),
];

const REFUSED: &[Column] = &[("PREFIX", Plain("/prefix")), ("WHY", Plain("/why"))];

const HEALTH: &[Column] = &[
    ("VIF", Plain("/vif")),
    ("PEER", Plain("/peer")),
    ("PORT", Plain("/port")),
    ("NEIGHBOR", Plain("/neighbor")),
    ("BFD", Plain("/bfd")),
    ("BGP", Plain("/bgp")),
    ("ROUTES", Number("/routes")),
    ("PROBE", Plain("/probe")),
    ("RTT", NumberOf(|row| milliseconds(row, "/round_trip_seconds"))),
    ("STATE", Plain("/state")),
];

fn columns(what: What) -> &'static [Column] {
    match what {
        What::Vifs => VIFS,
        What::Routes => ROUTES,
        What::Groups => GROUPS,
        What::Neighbors => NEIGHBORS,
        What::Drops => DROPS,
        What::Summary => SUMMARY,
        What::Losses => LOSSES,
        What::Failovers => FAILOVERS,
        What::Bgp => BGP,
        What::Refused => REFUSED,
        What::Health => HEALTH,
    }
}

/// Rows as a table for a terminal of this width, in columns of characters. Only sentences are wrapped: a name or a number that is
/// cut is another one.
pub(super) fn table(what: What, rows: &Value, width: u16) -> String {
    // One blank between columns is less easy to read, and better than lines that the terminal wraps.
    let roomy = with_gap(what, rows, width, 2);
    if widest(&roomy) <= usize::from(width) { roomy } else { with_gap(what, rows, width, 1) }
}

fn widest(table: &str) -> usize {
    table.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

fn with_gap(what: What, rows: &Value, width: u16, gap: u16) -> String {
    let columns = columns(what);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(header, _)| *header));
    for row in rows.as_array().into_iter().flatten() {
        table.add_row(columns.iter().map(|(_, cell)| cell.text(row)));
    }
    let widths = table.column_max_content_widths();
    let others: u16 = widths.iter().rev().skip(1).map(|width| width + gap).sum();
    for (column, (_, cell)) in table.column_iter_mut().zip(columns) {
        column.set_padding((0, gap));
        if cell.is_number() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if matches!(cell, Sentence(_)) {
            let left = width.saturating_sub(others).max(NARROWEST);
            column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(left + gap)));
        }
    }
    if columns.iter().any(|(_, cell)| matches!(cell, Sentence(_))) {
        // Widths are those of the constraints; the table's own is out of the way.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(u16::MAX);
    }
    table.trim_fmt()
}

impl Cell {
    fn is_number(&self) -> bool {
        matches!(self, Number(_) | Rate(_) | Packets(_) | Flow(_) | NumberOf(_))
    }

    fn text(&self, row: &Value) -> String {
        match self {
            Plain(field) | Number(field) | Sentence(field) => plain(row, field),
            Rate(field) => count(row, field).map_or_else(|| "-".into(), rate),
            Packets(field) => count(row, field).map_or_else(|| "-".into(), short),
            Flow(field) => flow(row.pointer(field).unwrap_or(&Value::Null)),
            Names(field) => names(row.pointer(field).unwrap_or(&Value::Null)),
            Of(make) | NumberOf(make) => make(row),
        }
    }
}

/// A field as it is; `-` for none.
fn plain(row: &Value, field: &str) -> String {
    match row.pointer(field) {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(text)) if text.is_empty() => "-".into(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn count(row: &Value, field: &str) -> Option<u64> {
    row.pointer(field)?.as_u64()
}

fn number(row: &Value, field: &str) -> f64 {
    row.pointer(field).and_then(Value::as_f64).unwrap_or(0.0)
}

/// A time of the API, in seconds since 1970, to the millisecond.
fn utc(seconds: f64) -> String {
    let time = jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64);
    time.map_or_else(|_out_of_range| "-".into(), |time| format!("{time:.3}"))
}

/// A duration of the API, in seconds.
fn milliseconds(row: &Value, field: &str) -> String {
    let seconds = row.pointer(field).and_then(Value::as_f64);
    seconds.map_or_else(|| "-".into(), |seconds| format!("{:.3} ms", seconds * 1000.0))
}

fn flow(flow: &Value) -> String {
    match (count(flow, "/packets"), count(flow, "/bytes")) {
        (Some(packets), Some(bytes)) => format!("{}/{}", short(packets), short(bytes)),
        _ => "-".into(),
    }
}

fn names(list: &Value) -> String {
    let names: Vec<_> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if names.is_empty() { "-".into() } else { names.join(",") }
}

fn is_local(row: &Value) -> bool {
    count(row, "/group") == Some(0)
}

fn alive(row: &Value) -> String {
    if is_local(row) { "-".into() } else { format!("{}/{}", plain(row, "/live"), plain(row, "/declared")) }
}

fn next_hop(row: &Value) -> String {
    let address = plain(row, "/next_hop");
    match plain(row, "/gateway").as_str() {
        "-" => address,
        gateway => format!("{address} via {gateway}"),
    }
}

/// The smallest thing that the packets were counted for; names are unique on a server.
fn scope(row: &Value) -> String {
    let named = ["/vif", "/attachment", "/program"].map(|field| plain(row, field));
    named.into_iter().find(|name| name != "-").unwrap_or_else(|| "-".into())
}

/// Powers of 1000, the largest first.
const UNITS: [(u64, &str); 5] = [
    (1_000_000_000_000_000, "P"),
    (1_000_000_000_000, "T"),
    (1_000_000_000, "G"),
    (1_000_000, "M"),
    (1_000, "k"),
];

/// A number of at most five characters, such as `1.2M`; cut, not rounded up: 999,999 is not a million.
fn short(value: u64) -> String {
    let Some((unit, letter)) = UNITS.iter().find(|(unit, _)| value >= *unit) else {
        return value.to_string();
    };
    let (whole, tenths) = (value / unit, value % unit / (unit / 10));
    if whole < 10 { format!("{whole}.{tenths}{letter}") } else { format!("{whole}{letter}") }
}

/// A rate in bits a second, exactly: what is configured is found again.
fn rate(value: u64) -> String {
    match UNITS.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, letter)) => format!("{}{letter}", value as f64 / *unit as f64),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(what: What, rows: &Value, width: u16) -> Vec<String> {
        table(what, rows, width).lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn a_number_is_short_and_a_rate_exact() {
        for (value, want_short, want_rate) in [
            (0, "0", "0"),
            (999, "999", "999"),
            (1_000, "1.0k", "1k"),
            (1_250_000, "1.2M", "1.25M"),
            (999_999, "999k", "999.999k"),
            (100_000_000, "100M", "100M"),
            (1_500_000_000, "1.5G", "1.5G"),
            (400_000_000_000, "400G", "400G"),
            (u64::MAX, "18446P", "18446.744073709553P"),
        ] {
            assert_eq!((short(value).as_str(), rate(value).as_str()), (want_short, want_rate));
        }
    }

    #[test]
    fn a_failover_is_told_with_its_times() {
        let rows = json!([
            {"detected_at_seconds": 1_767_225_600.25, "cause": "bfd", "name": "vif-a", "peer": "169.254.10.1", "groups": 2,
                "rerouted_seconds": 0.000_25, "converged_seconds": 0.0525},
            {"detected_at_seconds": 1_767_225_599.0, "cause": "port", "name": "ens1f0", "peer": null, "groups": 1,
                "rerouted_seconds": 0.001, "converged_seconds": null},
        ]);
        assert_eq!(
            lines(What::Failovers, &rows, 120),
            [
                "DETECTED (UTC)            CAUSE  OF      PEER          GROUPS  REROUTED  CONVERGED",
                "2026-01-01T00:00:00.250Z  bfd    vif-a   169.254.10.1       2  0.250 ms  52.500 ms",
                "2025-12-31T23:59:59.000Z  port   ens1f0  -                  1  1.000 ms          -",
            ]
        );
    }

    #[test]
    fn virtual_interfaces_fit_120_columns_with_the_longest_states() {
        let flow = json!({"packets": 123_456_789, "bytes": 9_876_543_210_u64, "policed_packets": 1_234_567,
            "policed_bytes": 0});
        let row = json!({"name": "acme-fra-2", "border_gateway": "acme-frankfurt", "connection": "acme-fra-line-2",
            "interface": "ens1f0np0", "vlan": "4000.4000", "state": "no_neighbor", "xdp_mode": "native",
            "to_vpc_limit_bps": 2_500_000_000_u64, "to_customer_limit_bps": null, "to_vpc": flow, "to_customer": flow});
        let shown = lines(What::Vifs, &json!([row]), 120);
        assert_eq!(
            shown,
            [
                "NAME       BORDER_GATEWAY PORT      VLAN      STATE       XDP       TO_VPC  CAP POLICED TO_CUSTOMER CAP POLICED",
                "acme-fra-2 acme-frankfurt ens1f0np0 4000.4000 no_neighbor native 123M/9.8G 2.5G    1.2M   123M/9.8G   -    1.2M",
            ]
        );
        // What fits with room has it.
        let flow = json!({"packets": 5, "bytes": 420, "policed_packets": 0, "policed_bytes": 0});
        let row = json!({"name": "vif-a", "border_gateway": "bgw-1", "interface": "eth0", "vlan": "100",
            "state": "up", "xdp_mode": "native", "to_vpc_limit_bps": 100_000_000, "to_vpc": flow,
            "to_customer": flow});
        assert_eq!(
            lines(What::Vifs, &json!([row]), 120)[1],
            "vif-a  bgw-1           eth0  100   up     native   5/420  100M        0        5/420    -        0"
        );
    }

    #[test]
    fn routes_name_all_owners_and_what_is_local_has_no_group() {
        let rows = json!([
            {"border_gateway": "bgw-1", "prefix": "172.16.0.0/16", "source": "static", "owner": "vif-a",
             "owners": ["vif-a", "vif-b"], "group": 3, "live": 1, "declared": 2},
            {"border_gateway": "bgw-1", "prefix": "10.1.0.1/32", "source": "local", "owner": "vpc-1",
             "owners": ["vpc-1"], "group": 0, "live": 0, "declared": 0},
        ]);
        assert_eq!(
            lines(What::Routes, &rows, 80),
            [
                "BORDER_GATEWAY  PREFIX         SOURCE  OWNERS       GROUP  LIVE/DECLARED",
                "bgw-1           172.16.0.0/16  static  vif-a,vif-b      3            1/2",
                "bgw-1           10.1.0.1/32    local   vpc-1            -              -",
            ]
        );
    }

    #[test]
    fn groups_name_next_hops_and_show_the_dead() {
        let rows = json!([
            {"border_gateway": "bgw-1", "group": 1, "owner": "vpc-1", "next_hop": "10.90.0.23",
             "gateway": "192.0.2.22", "interface": "fab1", "mac": "02:00:00:00:00:16", "state": "live",
             "buckets": 256, "share_percent": 100.0},
            {"border_gateway": "bgw-1", "group": 1, "owner": "vpc-1", "next_hop": "192.0.2.21", "gateway": null,
             "interface": "", "mac": null, "state": "dead", "buckets": 0, "share_percent": 0.0},
        ]);
        assert_eq!(
            lines(What::Groups, &rows, 120),
            [
                "BORDER_GATEWAY  GROUP  OWNER  NEXT_HOP                   PORT  MAC                STATE  BUCKETS   SHARE",
                "bgw-1               1  vpc-1  10.90.0.23 via 192.0.2.22  fab1  02:00:00:00:00:16  live       256  100.0%",
                "bgw-1               1  vpc-1  192.0.2.21                 -     -                  dead         0    0.0%",
            ]
        );
    }

    #[test]
    fn explanations_are_wrapped_at_the_width_and_nothing_else_is() {
        let rows = json!([
            {"program": "line", "border_gateway": "bgw-1", "vif": "vif-a", "attachment": "", "reason": "no_route",
             "packets": 1_234_567, "help": "No route in the border gateway's table."},
            {"program": "fabric", "border_gateway": "", "vif": "", "attachment": "", "reason": "unknown_vni",
             "packets": 1, "help": "No attachment has this VNI."},
        ]);
        assert_eq!(
            lines(What::Drops, &rows, 60),
            [
                "SCOPE   REASON       PACKETS  HELP",
                "vif-a   no_route     1234567  No route in the border",
                "                              gateway's table.",
                "fabric  unknown_vni        1  No attachment has this VNI.",
            ]
        );
        assert_eq!(lines(What::Drops, &rows, 120).len(), 3);
        let narrow = lines(What::Drops, &rows, 10);
        assert_eq!(narrow[1], "vif-a  no_route    1234567 No route in the", "names and numbers stay whole");
    }

    #[test]
    fn no_rows_are_a_header_and_a_missing_field_is_a_dash() {
        assert_eq!(lines(What::Neighbors, &json!([]), 80), ["SIDE  INTERFACE  ADDRESS  MAC"]);
        assert_eq!(lines(What::Neighbors, &json!([{"side": "line"}]), 80)[1], "line  -          -        -");
    }
}
