//! YAML as a tree that knows where everything stands, so that one reading can report all that is wrong.
//!
//! serde stops at the first field that does not fit; an operator wants to see every wrong line at once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::diagnostic::{At, Place};

/// A node of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// Where it begins.
    pub(super) at: Place,
    /// What it is.
    pub(super) value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar as it is written; a quoted one without its quotes.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the document; a key may be there twice.
    Map(Vec<(At<String>, Node)>),
}

/// A document that is not YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Line, from 1; 0 if unknown.
    pub(super) line: u32,
    /// Column, from 1; 0 if unknown.
    pub(super) column: u32,
    /// The parser's words.
    pub(super) message: String,
}

/// Reads one document.
pub(super) fn parse(file: u32, text: &str) -> Result<Node, Malformed> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
        // A tag would change what a value means, and nothing here asks for one.
        reject_unsupported_tags: true,
        // A server's whole document may list a hundred thousand hosts.
        budget: serde_saphyr::budget! { max_events: 20_000_000, max_nodes: 10_000_000 },
    };
    match serde_saphyr::from_str_with_options::<Spanned<Shape>>(text, options) {
        Ok(shape) => Ok(node(file, text, shape)),
        Err(error) => {
            let location = error.location();
            Err(Malformed {
                line: location.map_or(0, |at| at.line() as u32),
                column: location.map_or(0, |at| at.column() as u32),
                message: words(&error),
            })
        }
    }
}

/// The parser's message without its own way to write a place.
fn words(error: &serde_saphyr::Error) -> String {
    if matches!(error.without_snippet(), serde_saphyr::Error::MultipleDocuments { .. }) {
        return "a second document begins here; a file holds one".into();
    }
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(" at line ").next().unwrap_or(text);
    text.trim_end_matches([',', ':', ' ']).to_owned()
}

fn node(file: u32, text: &str, shape: Spanned<Shape>) -> Node {
    let at = place(file, shape.referenced);
    let value = match shape.value {
        Shape::Null => Value::Null,
        Shape::Quoted(value) => Value::Text(value),
        Shape::Plain(value) => Value::Text(written(text, shape.defined).map_or(value, str::to_owned)),
        Shape::List(items) => Value::List(items.into_iter().map(|item| node(file, text, item)).collect()),
        Shape::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = At { at: place(file, key.referenced), value: key.value };
                    (key, node(file, text, value))
                })
                .collect(),
        ),
    };
    Node { at, value }
}

fn place(file: u32, location: serde_saphyr::Location) -> Place {
    Place { file, line: location.line() as u32, column: location.column() as u32 }
}

/// A plain scalar as it is written: `0x88a8`, not 34984.
fn written(text: &str, location: serde_saphyr::Location) -> Option<&str> {
    let start = location.span().byte_offset()? as usize;
    let end = start + location.span().byte_len()? as usize;
    text.get(start..end).map(str::trim).filter(|written| !written.is_empty())
}

/// A node as the parser shows it.
enum Shape {
    Null,
    Quoted(String),
    /// A number or truth value: what is written counts, not what YAML makes of it.
    Plain(String),
    List(Vec<Spanned<Shape>>),
    Map(Vec<(Spanned<String>, Spanned<Shape>)>),
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Quoted(value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Shape, E> {
        Ok(Shape::Plain(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Shape::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Shape::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        let Place { line, column, .. } = node.at;
        match &node.value {
            Value::Null => format!("{line}:{column} null"),
            Value::Text(text) => format!("{line}:{column} {text}"),
            Value::List(items) => {
                format!("{line}:{column} [{}]", items.iter().map(show).collect::<Vec<_>>().join(", "))
            }
            Value::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| {
                        format!("{}:{} {}= {}", key.at.line, key.at.column, key.value, show(value))
                    })
                    .collect();
                format!("{line}:{column} {{{}}}", entries.join(", "))
            }
        }
    }

    #[test]
    fn everything_knows_its_place_and_scalars_stay_as_written() {
        let rows = [
            ("", "1:1 null"),
            ("# nothing\n", "2:1 null"),
            (
                "a: 0x88a8\nb: 'off'\nc: off\nd: 010",
                "1:1 {1:1 a= 1:4 0x88a8, 2:1 b= 2:4 off, 3:1 c= 3:4 off, 4:1 d= 4:4 010}",
            ),
            (
                "[1e3, 02:00:5e:00:50:01, true, -1, 1_000, .inf]",
                "1:1 [1:2 1e3, 1:7 02:00:5e:00:50:01, 1:26 true, 1:32 -1, 1:36 1_000, 1:43 .inf]",
            ),
            (
                "a:\n  - {b: 1, b: 2}\n  -\n",
                "1:1 {1:1 a= 2:3 [2:5 {2:6 b= 2:9 1, 2:12 b= 2:15 2}, 3:4 null]}",
            ),
            ("x: &v 0x10\ny: *v\n", "1:1 {1:1 x= 1:7 0x10, 2:1 y= 2:4 0x10}"),
            ("\u{e9}: 0x10 # \u{e9}\n", "1:1 {1:1 \u{e9}= 1:4 0x10}"),
        ];
        for (text, want) in rows {
            assert_eq!(parse(0, text).map(|node| show(&node)), Ok(want.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        let rows = [
            ("a: [", 1, 4, "unclosed bracket '['"),
            ("a: b: c", 1, 5, "mapping values are not allowed in this context"),
            ("a: 1\n---\nb: 2\n", 3, 1, "a second document begins here; a file holds one"),
            ("a: *x", 1, 4, "alias references unknown anchor"),
            ("a: \"x", 1, 4, "unclosed quote"),
            ("{[1]: 2}", 1, 2, "expected string scalar"),
            ("a: !vault x", 1, 11, "unsupported tag `!vault`"),
            ("a: !list [x]", 1, 10, "unsupported tag `!list`"),
        ];
        for (text, line, column, message) in rows {
            assert_eq!(parse(0, text), Err(Malformed { line, column, message: message.into() }), "{text:?}");
        }
    }
}
