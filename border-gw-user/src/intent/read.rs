//! Files: the main document, what it includes, and lists of hosts.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::diagnostic::{At, Place, Report};
use super::document::Document;
use super::file::{self, MAX_DOCUMENT, MAX_HOSTS, Unreadable};
use super::tree::{Malformed, parse};
use super::{Password, bgp, hosts};

/// Reads the main file and everything that it names.
pub(super) fn read(path: &Path) -> (Report, Document) {
    let mut report = Report::default();
    let mut document = Document::default();
    let mut seen = HashSet::new();
    let mut waiting = VecDeque::from([(path.to_owned(), None)]);
    while let Some((path, named_at)) = waiting.pop_front() {
        // A pattern may match the file that it stands in, or two patterns the same file: each is read once.
        if !seen.insert(path.canonicalize().unwrap_or_else(|_unreadable| path.clone())) {
            continue;
        }
        let Some(file) = add_document(&mut report, &mut document, &path, named_at) else {
            document.is_incomplete = true;
            continue;
        };
        for include in std::mem::take(&mut document.includes) {
            let pattern = beside(report.path(file), &include.value);
            if is_pattern(&include.value) {
                report.look_for(pattern.clone());
            }
            let Some(paths) = expand(&mut report, &include, &pattern) else {
                document.is_incomplete = true;
                continue;
            };
            waiting.extend(paths.into_iter().map(|path| (path, Some(include.at))));
        }
    }
    for attachment in document.border_gateways.iter_mut().flat_map(|gateway| &mut gateway.vpc_attachments) {
        if let Some(hosts_file) = &attachment.hosts_file {
            let path = beside(report.path(hosts_file.at.file), &hosts_file.value);
            if let Some((file, text)) = open(&mut report, &path, Some(hosts_file.at), MAX_HOSTS) {
                attachment.hosts.extend(hosts::parse(&mut report, file, &text));
            }
        }
    }
    passwords(&mut report, &mut document);
    (report, document)
}

/// Reads the keys of BGP sessions.
fn passwords(report: &mut Report, document: &mut Document) {
    let vifs = document.border_gateways.iter_mut().flat_map(|gateway| &mut gateway.virtual_interfaces);
    for bgp in vifs.filter_map(|vif| vif.bgp.as_mut()) {
        let Some(named) = &bgp.password_file else { continue };
        let path = beside(report.path(named.at.file), &named.value);
        report.look_at(path.clone());
        match file::read_secret(&path).map(|text| bgp::key(&text)) {
            Ok(Ok(key)) => bgp.password = Some(Password { file: path, key }),
            Ok(Err(wrong)) => {
                let message = format!("{} holds no key for BGP", path.display());
                report.error(named.at, message).suggest(wrong.help);
            }
            Err(error) => {
                let message = format!("cannot use {} as the key of this session: {error}", path.display());
                report.error(named.at, message).suggest(error.help());
            }
        }
    }
}

/// Reads one document into the merged one.
fn add_document(
    report: &mut Report,
    document: &mut Document,
    path: &Path,
    named_at: Option<Place>,
) -> Option<u32> {
    let (file, text) = open(report, path, named_at, MAX_DOCUMENT)?;
    match parse(file, &text) {
        Ok(node) => {
            document.add(report, &node);
            Some(file)
        }
        Err(Malformed { line, column, message }) => {
            report.error(Place { file, line, column }, format!("this is not YAML: {message}"));
            None
        }
    }
}

/// Reads and registers a file, or reports why it cannot be read: where it is named, if it is.
fn open(report: &mut Report, path: &Path, named_at: Option<Place>, most: u64) -> Option<(u32, Arc<str>)> {
    report.look_at(path.to_owned());
    let error = match file::read(path, most) {
        Ok(text) => {
            let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(&text).into();
            return Some((report.add_file(path.to_owned(), text.clone()), text));
        }
        Err(error) => error,
    };
    if let Unreadable::NotText { line, column, text } = &error {
        let file = report.add_file(path.to_owned(), text.as_str().into());
        let at = Place { file, line: *line, column: *column };
        report.error(at, error.to_string()).suggest(error.help());
    } else if let Some(at) = named_at {
        report.error(at, format!("cannot read {}: {error}", path.display())).suggest(error.help());
    } else {
        let file = report.add_file(path.to_owned(), "".into());
        let at = Place { file, line: 0, column: 0 };
        report.error(at, format!("cannot read this file: {error}")).suggest(error.help());
    }
    None
}

/// A path that is relative to the file that names it.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// The files that a pattern matches, in the order of their names; none if that cannot be told.
fn expand(report: &mut Report, include: &At<String>, pattern: &Path) -> Option<Vec<PathBuf>> {
    if include.value.contains("**") || include.value.contains(['[', ']', '{', '}']) {
        report
            .error(include.at, format!("`{}` is not a pattern that is known here", include.value))
            .suggest("use * for any characters of a name and ? for one");
        return None;
    }
    match glob(pattern) {
        Ok(paths) => Some(paths),
        Err((path, error)) => {
            let message = format!("cannot read {}: {error}", path.display());
            report.error(include.at, message).suggest(Unreadable::Io(error).help());
            None
        }
    }
}

/// Files whose path matches, sorted. A path without a wildcard matches itself, there or not.
fn glob(pattern: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut matches = vec![PathBuf::new()];
    for component in pattern.components() {
        let name = component.as_os_str().to_string_lossy();
        if !is_pattern(&name) {
            for path in &mut matches {
                path.push(component);
            }
            continue;
        }
        let mut next = Vec::new();
        for directory in matches {
            next.extend(entries(&directory, &name).map_err(|error| (directory, error))?);
        }
        // What a wildcard matches is taken if it fits: a directory has to have more of the pattern behind it.
        matches = next;
    }
    if is_pattern(&pattern.to_string_lossy()) {
        // A pipe or a dangling link is reported when it is opened: somebody meant it to be read.
        matches.retain(|path| !path.is_dir());
    }
    matches.sort();
    Ok(matches)
}

/// Whether a path, or a component of one, has a wildcard.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// Whether a pattern means a name. As in a shell: what an editor hides beside a file is not meant.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    (!name.starts_with('.') || pattern.starts_with('.')) && matches(pattern.as_bytes(), name.as_bytes())
}

/// Paths in a directory whose name matches; a directory that is not there has none.
pub(super) fn entries(directory: &Path, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let listing = match std::fs::read_dir(listed) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in listing {
        let name = entry?.file_name();
        if fits(pattern, &name.to_string_lossy()) {
            found.push(directory.join(&name));
        }
    }
    Ok(found)
}

/// Whether a name matches a pattern of `*` and `?`, in time of their product.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters_and_a_question_mark_is_one() {
        for (pattern, name, want) in [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yaml~", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab-a", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
    }

    #[test]
    fn a_path_is_relative_to_the_file_that_names_it() {
        for (file, path, want) in [
            ("bgw.yaml", "conf.d/*.yaml", "conf.d/*.yaml"),
            ("/etc/bgw/bgw.yaml", "a.yaml", "/etc/bgw/a.yaml"),
            ("/etc/bgw/bgw.yaml", "/srv/a.yaml", "/srv/a.yaml"),
        ] {
            assert_eq!(beside(Path::new(file), path), Path::new(want));
        }
    }
}
