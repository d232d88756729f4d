//! What is wrong in a document, where, and what would be right.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sources::Sources;

/// Diagnostics that are kept; what is beyond is counted only.
const MAX_DIAGNOSTICS: usize = 100;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file it is in.
    pub file: PathBuf,
    /// Line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// Column in characters, from 1; 0 where the whole file is meant.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The line of the file.
    pub excerpt: Option<String>,
}

impl Diagnostic {
    /// Adds what would be right.
    pub(super) fn suggest(&mut self, help: impl Into<String>) {
        self.help = Some(printable(&help.into()));
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let indent = self.column.saturating_sub(1) as usize;
            write!(f, "\n  | {excerpt}\n  | {:indent$}^", "")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// Everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// By file in the order of reading, then by line; never empty.
    pub diagnostics: Vec<Diagnostic>,
    /// Where it was looked for: what mends it is done there.
    pub sources: Sources,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// A place in a file that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index of the file in its [`Report`].
    pub(super) file: u32,
    /// Line, from 1; 0 for the whole file.
    pub(super) line: u32,
    /// Column in characters, from 1.
    pub(super) column: u32,
}

/// A value and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    /// The value.
    pub(super) value: T,
    /// Where it stands.
    pub(super) at: Place,
}

/// What a text should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What is wrong.
    pub(super) message: String,
    /// What would be right.
    pub(super) help: String,
}

/// The files that were read and what is wrong in them.
#[derive(Debug, Default)]
pub(super) struct Report {
    texts: Vec<Text>,
    sources: Sources,
    diagnostics: Vec<(Place, Diagnostic)>,
    count: usize,
    /// Takes what is reported beyond the limit.
    overflow: Option<Diagnostic>,
}

/// A file that was read.
#[derive(Debug)]
struct Text {
    path: PathBuf,
    text: Arc<str>,
}

impl Report {
    /// Registers a file; its index is for places.
    pub(super) fn add_file(&mut self, path: PathBuf, text: Arc<str>) -> u32 {
        self.texts.push(Text { path, text });
        self.texts.len() as u32 - 1
    }

    /// Notes a file that is tried.
    pub(super) fn look_at(&mut self, path: PathBuf) {
        self.sources.files.push(path);
    }

    /// Notes a pattern that is expanded.
    pub(super) fn look_for(&mut self, pattern: PathBuf) {
        self.sources.patterns.push(pattern);
    }

    /// Path of a file that was registered.
    pub(super) fn path(&self, file: u32) -> &Path {
        self.texts.get(file as usize).map_or(Path::new(""), |text| &text.path)
    }

    /// Text of a file that was registered.
    fn text(&self, file: u32) -> &str {
        self.texts.get(file as usize).map_or("", |text| &text.text)
    }

    /// What was looked at.
    pub(super) fn sources(&self) -> Sources {
        self.sources.clone()
    }

    /// A place as text, for messages that name two.
    pub(super) fn show(&self, at: Place) -> String {
        format!("{}:{}:{}", self.path(at.file).display(), at.line, at.column)
    }

    /// Adds what is wrong.
    pub(super) fn error(&mut self, at: Place, message: impl AsRef<str>) -> &mut Diagnostic {
        self.count += 1;
        let diagnostic = Diagnostic {
            file: self.path(at.file).to_owned(),
            line: at.line,
            column: at.column,
            message: printable(message.as_ref()),
            help: None,
            excerpt: None,
        };
        if self.count > MAX_DIAGNOSTICS {
            return self.overflow.insert(diagnostic);
        }
        self.diagnostics.push((at, diagnostic));
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last].1
    }

    /// Adds a text that is not what it should be.
    pub(super) fn wrong(&mut self, at: Place, wrong: Wrong) {
        self.error(at, wrong.message).suggest(wrong.help);
    }

    /// Whether enough is kept: what is wrong beyond that need not be worded.
    pub(super) fn is_full(&self) -> bool {
        self.count >= MAX_DIAGNOSTICS
    }

    /// Counts something that is wrong, without words.
    pub(super) fn count_one_more(&mut self) {
        self.count += 1;
    }

    /// How many things are wrong.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// All that is wrong, in order, with excerpts.
    pub(super) fn finish(mut self) -> Errors {
        let mut diagnostics = std::mem::take(&mut self.diagnostics);
        diagnostics.sort_by_key(|(at, _)| *at);
        let mut all: Vec<Diagnostic> = diagnostics
            .into_iter()
            .map(|(at, mut diagnostic)| {
                diagnostic.excerpt = self.excerpt(at);
                diagnostic
            })
            .collect();
        let more = self.count - all.len();
        if more > 0
            && let Some(last) = all.last().cloned()
        {
            let message = format!("{more} more errors are not shown");
            all.push(Diagnostic { line: 0, column: 0, message, help: None, excerpt: None, ..last });
        }
        Errors { diagnostics: all, sources: self.sources }
    }

    /// The line of a place, if it can be shown as it is.
    fn excerpt(&self, at: Place) -> Option<String> {
        const WIDEST: usize = 160;
        let line = self.text(at.file).lines().nth(at.line.checked_sub(1)? as usize)?;
        (!line.is_empty() && line.chars().count() <= WIDEST).then(|| printable(line))
    }
}

/// The text without what would move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' => ' ',
            control if control.is_control() => '\u{fffd}',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_place_line_caret_and_help() {
        let mut report = Report::default();
        let file = report.add_file("bgw.yaml".into(), "a: 1\nb:\t\u{1b}2\n".into());
        report.error(Place { file, line: 2, column: 4 }, "`b` is \u{1b}2").suggest("write 3");
        assert_eq!(
            report.finish().to_string(),
            "bgw.yaml:2:4: `b` is \u{fffd}2\n  | b: \u{fffd}2\n  |    ^\n  help: write 3"
        );
    }

    #[test]
    fn errors_are_ordered_by_place_and_bounded() {
        let mut report = Report::default();
        let file = report.add_file("x".into(), "line\n".repeat(1000).into());
        for line in (1..=500).rev() {
            report.error(Place { file, line, column: 1 }, "wrong");
        }
        assert_eq!(report.count(), 500);
        let errors = report.finish().diagnostics;
        assert_eq!(errors.len(), MAX_DIAGNOSTICS + 1);
        assert!(errors[..MAX_DIAGNOSTICS].is_sorted_by_key(|diagnostic| diagnostic.line));
        assert_eq!(errors[MAX_DIAGNOSTICS].to_string(), "x: 400 more errors are not shown");
    }
}
