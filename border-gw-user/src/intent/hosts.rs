//! Lists of hosts: a line each, `PREFIX VTEP[,VTEP]`.

use super::diagnostic::{At, Place, Report, Wrong};
use super::document::{Host, Vtep};
use super::values;

/// Reads a list of hosts, reporting every line that is wrong.
pub(super) fn parse(report: &mut Report, file: u32, text: &str) -> Vec<Host> {
    let mut hosts = Vec::new();
    for (index, line) in text.lines().enumerate() {
        match host(file, index as u32 + 1, line) {
            Ok(host) => hosts.extend(host),
            Err((at, wrong)) => report.wrong(at, wrong),
        }
    }
    hosts
}

/// Reads a line; one that is blank or a comment has no host.
fn host(file: u32, line: u32, text: &str) -> Result<Option<Host>, (Place, Wrong)> {
    let text = text.split('#').next().unwrap_or_default();
    let mut words = text.split_ascii_whitespace();
    let Some(prefix) = words.next() else { return Ok(None) };
    let place = |part: &str| {
        // Both point into the same line.
        let before = part.as_ptr().addr() - text.as_ptr().addr();
        Place { file, line, column: text[..before].chars().count() as u32 + 1 }
    };
    let wrong = |part: &str, message: String| {
        let help = "a line is PREFIX VTEP[,VTEP], such as 10.1.0.10/32 192.0.2.21,192.0.2.22".into();
        (place(part), Wrong { message, help })
    };
    let value = values::prefix(prefix).map_err(|wrong| (place(prefix), wrong))?;
    let prefix = At { value, at: place(prefix) };
    let Some(list) = words.next() else {
        return Err(wrong(&text[text.trim_end().len()..], "no VTEP follows the prefix".into()));
    };
    if let Some(more) = words.next() {
        return Err(wrong(more, format!("`{more}` is too much here")));
    }
    let mut vteps = Vec::with_capacity(1);
    for part in list.split(',') {
        let value = values::address(part).map_err(|wrong| (place(part), wrong))?;
        vteps.push(Vtep { address: At { value, at: place(part) }, mac: None, has_mac: false });
    }
    Ok(Some(Host { prefix, vteps }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Host>, Vec<String>) {
        let mut report = Report::default();
        let file = report.add_file("vpc.hosts".into(), text.into());
        let hosts = parse(&mut report, file, text);
        let errors = if report.count() == 0 { Vec::new() } else { report.finish().diagnostics };
        (hosts, errors.iter().map(|d| format!("{}:{} {}", d.line, d.column, d.message)).collect())
    }

    #[test]
    fn comments_and_blank_lines_are_skipped() {
        let (hosts, errors) =
            read("# hosts\n\n10.1.0.10/32 192.0.2.21\r\n  fd00::/64\t192.0.2.21,192.0.2.22 # two\n   # end");
        assert_eq!(errors, Vec::<String>::new());
        let shown: Vec<_> = hosts
            .iter()
            .map(|host| {
                let vteps: Vec<_> = host.vteps.iter().map(|vtep| vtep.address.value.to_string()).collect();
                let Place { line, column, .. } = host.prefix.at;
                format!("{line}:{column} {} {}", host.prefix.value, vteps.join("+"))
            })
            .collect();
        assert_eq!(shown, ["3:1 10.1.0.10/32 192.0.2.21", "4:3 fd00::/64 192.0.2.21+192.0.2.22"]);
    }

    #[test]
    fn each_wrong_line_says_where() {
        for (line, want) in [
            ("10.1.0.10/32", "1:13 no VTEP follows"),
            ("10.1.0.10/32  # none", "1:13 no VTEP follows"),
            ("10.1.0.10 192.0.2.21", "1:1 `10.1.0.10` has no prefix length"),
            ("10.1.0.10/24 192.0.2.21", "1:1 10.1.0.10/24 has host bits set"),
            ("10.1.0.10/32 192.0.2.21, 192.0.2.22", "1:26 `192.0.2.22` is too much"),
            ("10.1.0.10/32 192.0.2.21,", "1:25 `` is not an IP address"),
            ("10.1.0.10/32 192.0.2.21,224.0.0.1", "1:25 224.0.0.1 is multicast"),
            ("\u{e9} x", "1:1 `\u{e9}` is not a prefix"),
        ] {
            let (_, errors) = read(line);
            assert!(errors.len() == 1 && errors[0].starts_with(want), "{line}: {errors:?}");
        }
    }
}
