//! Mappings with known keys: what is missing, what is there twice, what nobody knows.

use super::diagnostic::{At, Place, Report};
use super::tree::{Node, Value};
use super::values::{Read, any_of};

/// A mapping whose keys were checked.
pub(super) struct Record<'n> {
    /// Where it begins.
    pub(super) at: Place,
    entries: Vec<(&'n At<String>, &'n Node)>,
}

impl<'n> Record<'n> {
    /// Takes a node as a mapping; reports keys that are missing, unknown, empty or there twice.
    pub(super) fn new(
        report: &mut Report,
        node: &'n Node,
        what: &str,
        required: &[&str],
        optional: &[&str],
    ) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            other => {
                report.error(node.at, format!("{what} is a mapping, not {}", kind(other)));
                return None;
            }
        };
        let mut record = Self { at: node.at, entries: Vec::with_capacity(entries.len()) };
        for (key, value) in entries {
            let is_known = required.contains(&key.value.as_str()) || optional.contains(&key.value.as_str());
            if !is_known && report.is_full() {
                report.count_one_more();
                continue;
            }
            if let Some((first, _)) = record.entries.iter().find(|(known, _)| known.value == key.value) {
                let message = format!("`{}` is there twice: first at {}", key.value, report.show(first.at));
                report.error(key.at, message).suggest("remove one");
                continue;
            }
            if !is_known {
                let help = known_keys(&key.value, required, optional);
                report.error(key.at, format!("unknown key `{}` in {what}", key.value)).suggest(help);
                continue;
            }
            if value.value == Value::Null {
                let message = format!("`{}` has no value", key.value);
                report.error(key.at, message).suggest("give it a value, or remove the key");
            }
            record.entries.push((key, value));
        }
        for key in required {
            if !record.entries.iter().any(|(known, _)| known.value == *key) {
                let help = format!("add `{key}`; docs/reference.md says what it may be");
                report.error(node.at, format!("`{key}` is missing in {what}")).suggest(help);
            }
        }
        Some(record)
    }

    /// The value of a key, unless it is absent or empty.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(known, _)| known.value == key)
            .map(|(_, node)| *node)
            .filter(|node| node.value != Value::Null)
    }

    /// Where a key stands.
    pub(super) fn key(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|(known, _)| known.value == key).map(|(known, _)| known.at)
    }

    /// A scalar.
    pub(super) fn scalar<T>(
        &self,
        report: &mut Report,
        key: &str,
        read: impl FnOnce(&str) -> Read<T>,
    ) -> Option<At<T>> {
        scalar(report, self.get(key)?, &format!("`{key}`"), read)
    }

    /// A list, of what could be read of it.
    pub(super) fn list<T>(
        &self,
        report: &mut Report,
        key: &str,
        mut item: impl FnMut(&mut Report, &'n Node) -> Option<T>,
    ) -> Vec<T> {
        match self.get(key).map(|node| (node.at, &node.value)) {
            None => Vec::new(),
            Some((_, Value::List(items))) => items.iter().filter_map(|node| item(report, node)).collect(),
            Some((at, other)) => {
                report
                    .error(at, format!("`{key}` is a list, not {}", kind(other)))
                    .suggest("write it in brackets, or a line each that begins with `- `");
                Vec::new()
            }
        }
    }

    /// A list that must not be empty, of what could be read of it.
    pub(super) fn filled_list<T>(
        &self,
        report: &mut Report,
        key: &str,
        item: impl FnMut(&mut Report, &'n Node) -> Option<T>,
    ) -> Vec<T> {
        if let Some(node) = self.get(key)
            && matches!(&node.value, Value::List(items) if items.is_empty())
        {
            report.error(node.at, format!("`{key}` is empty")).suggest("it needs at least one entry");
        }
        self.list(report, key, item)
    }
}

/// A scalar, read.
pub(super) fn scalar<T>(
    report: &mut Report,
    node: &Node,
    what: &str,
    read: impl FnOnce(&str) -> Read<T>,
) -> Option<At<T>> {
    let Value::Text(text) = &node.value else {
        report.error(node.at, format!("{what} is one value, not {}", kind(&node.value)));
        return None;
    };
    match read(text) {
        Ok(value) => Some(At { value, at: node.at }),
        Err(wrong) => {
            report.wrong(node.at, wrong);
            None
        }
    }
}

/// Name of what a node is.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Text(_) => "a scalar",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}

/// The key that was meant, or all that there are.
fn known_keys(key: &str, required: &[&str], optional: &[&str]) -> String {
    let known: Vec<&str> = required.iter().chain(optional).copied().collect();
    let near = known.iter().map(|known| (distance(key, known), known)).min();
    match near {
        Some((0..=2, known)) => format!("did you mean `{known}`?"),
        _ => format!("known here: {}", any_of(&known)),
    }
}

/// Edits that make one word of another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A key of thousands of characters is no slip of the pen.
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::diagnostic::Diagnostic;
    use crate::intent::tree::parse;
    use crate::intent::values;

    fn errors(text: &str) -> Vec<String> {
        let mut report = Report::default();
        let file = report.add_file("f".into(), text.into());
        let node = parse(file, text).unwrap();
        if let Some(record) = Record::new(&mut report, &node, "a line", &["name"], &["interfaces", "mtu"]) {
            record.scalar(&mut report, "name", values::name);
            record.list(&mut report, "interfaces", |report, node| {
                scalar(report, node, "an interface", values::interface)
            });
        }
        let show = |d: &Diagnostic| {
            format!("{}:{} {}; {}", d.line, d.column, d.message, d.help.as_deref().unwrap_or_default())
        };
        report.finish().diagnostics.iter().map(show).collect()
    }

    #[test]
    fn a_mapping_reports_every_key_that_is_wrong() {
        let rows: [(&str, &[&str]); 8] = [
            ("name: a\ninterfaces: [b, c]", &[]),
            ("[a]", &["1:1 a line is a mapping, not a list; "]),
            ("mtu: 1", &["1:1 `name` is missing in a line; add `name`"]),
            ("{name: a, nmae: b}", &["1:11 unknown key `nmae` in a line; did you mean `name`?"]),
            (
                "name: a\ncolour: b",
                &["2:1 unknown key `colour` in a line; known here: name, interfaces or mtu"],
            ),
            ("name: a\nname: b", &["2:1 `name` is there twice: first at f:1:1"]),
            (
                "name:\ninterfaces: x",
                &["1:1 `name` has no value", "2:13 `interfaces` is a list, not a scalar"],
            ),
            (
                "name: [a]\ninterfaces:\n- {}\n- a b\n",
                &[
                    "1:7 `name` is one value, not a list",
                    "3:3 an interface is one value, not a mapping",
                    "4:3 `a b` is not the name of a network interface",
                ],
            ),
        ];
        for (text, want) in rows {
            let got = errors(text);
            assert_eq!(got.len(), want.len(), "{text}: {got:?}");
            for (got, want) in got.iter().zip(want) {
                assert!(got.starts_with(want), "{text}: {got}");
            }
        }
    }

    #[test]
    fn distances_are_edits() {
        for (a, b, want) in [("", "", 0), ("vlann", "vlan", 1), ("valn", "vlan", 2), ("abc", "", 3)] {
            assert_eq!(distance(a, b), want, "{a} {b}");
        }
    }
}
