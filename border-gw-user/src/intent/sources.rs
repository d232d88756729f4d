//! What a configuration was looked for in: where to look again when something changes there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::read::{entries, fits, is_pattern};

/// The files that were tried, also those that could not be read, and the patterns that name more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Files, in the order of reading.
    pub files: Vec<PathBuf>,
    /// Paths with `*` or `?`, in the order of reading.
    pub patterns: Vec<PathBuf>,
}

/// Directories, and which of their entries matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<PathBuf, Place>);

/// A directory that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Device and inode: another directory may have come under the same path.
    identity: Option<(u64, u64)>,
    /// Names, or patterns of names.
    names: BTreeSet<String>,
}

impl Sources {
    /// These and those of another.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.files.extend(other.files.iter().cloned());
        both.patterns.extend(other.patterns.iter().cloned());
        both
    }

    /// Where to look, as the directories are now: a path whose directory is not there is looked for in the last one that is.
    pub fn places(&self) -> Places {
        let mut places = Places::default();
        for path in self.files.iter().chain(&self.patterns) {
            // Without a current directory nothing relative is found, either.
            let Ok(path) = std::path::absolute(path) else { continue };
            places.add(PathBuf::new(), &path.components().collect::<Vec<_>>());
        }
        places
    }
}

impl Places {
    /// The directories.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Whether what happened to this path may change what is read: it is one of the entries that matter, or a directory itself.
    pub fn concern(&self, path: &Path) -> bool {
        let named = || {
            let place = self.0.get(path.parent()?)?;
            let name = path.file_name()?.to_string_lossy();
            Some(place.names.iter().any(|pattern| fits(pattern, &name)))
        };
        self.0.contains_key(path) || named().unwrap_or(false)
    }

    fn add(&mut self, directory: PathBuf, rest: &[Component<'_>]) {
        let [first, rest @ ..] = rest else { return };
        let name = first.as_os_str().to_string_lossy().into_owned();
        if rest.is_empty() {
            return self.insert(directory, name);
        }
        if is_pattern(&name) {
            // What cannot be listed is watched as far as it can be.
            for path in entries(&directory, &name).unwrap_or_default() {
                if path.is_dir() {
                    self.add(path, rest);
                }
            }
            return self.insert(directory, name);
        }
        let next = directory.join(first);
        if next.is_dir() {
            // A link may be pointed elsewhere, which nobody notices over there.
            if next.is_symlink() {
                self.insert(directory, name);
            }
            return self.add(next, rest);
        }
        self.insert(directory, name);
    }

    fn insert(&mut self, directory: PathBuf, name: String) {
        // The kernel tells of a directory under one path only, however many lead there.
        let directory = directory.canonicalize().unwrap_or(directory);
        let identity = fs::metadata(&directory).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let place = self.0.entry(directory).or_default();
        place.identity = identity;
        place.names.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test's own.
    struct Directory(PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("border-gw-{test}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path.canonicalize().unwrap())
        }

        fn make(&self, name: &str) {
            fs::create_dir_all(self.0.join(name)).unwrap();
        }

        /// Where to look for these, relative to the directory.
        fn places(&self, files: &[&str], patterns: &[&str]) -> Places {
            let paths = |names: &[&str]| names.iter().map(|name| self.0.join(name)).collect();
            Sources { files: paths(files), patterns: paths(patterns) }.places()
        }

        /// The directories with their names, relative to the directory.
        fn shown(&self, places: &Places) -> Vec<String> {
            let show = |(path, place): (&PathBuf, &Place)| {
                let names: Vec<_> = place.names.iter().map(String::as_str).collect();
                format!("{}: {}", path.strip_prefix(&self.0).unwrap().display(), names.join(" "))
            };
            places.0.iter().map(show).collect()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn what_is_not_there_is_looked_for_where_it_will_appear() {
        let directory = Directory::new("places");
        let places = || directory.places(&["bgw.yaml", "a/b/x.yaml"], &["conf.d/*.yaml", "sites/*/s?.yaml"]);
        assert_eq!(directory.shown(&places()), [": a bgw.yaml conf.d sites"]);
        for name in ["a", "conf.d", "sites/north", "sites/.hidden"] {
            directory.make(name);
        }
        let want = [": bgw.yaml", "a: b", "conf.d: *.yaml", "sites: *", "sites/north: s?.yaml"];
        assert_eq!(directory.shown(&places()), want);
    }

    #[test]
    fn only_names_that_match_and_the_directories_themselves_concern() {
        let directory = Directory::new("concern");
        directory.make("conf.d");
        let places = directory.places(&["bgw.yaml"], &["conf.d/*.yaml"]);
        for (path, want) in [
            ("bgw.yaml", true),
            ("bgw.yaml~", false),
            ("new.yaml", false),
            ("conf.d", true),
            ("conf.d/new.yaml", true),
            ("conf.d/.new.yaml.swp", false),
            ("conf.d/.new.yaml", false),
            ("conf.d/bgw.yml", false),
            ("conf.d/sub/new.yaml", false),
        ] {
            assert_eq!(places.concern(&directory.0.join(path)), want, "{path}");
        }
    }

    #[test]
    fn a_directory_that_replaces_another_is_another_place() {
        let directory = Directory::new("replaced");
        directory.make("conf.d");
        directory.make("next");
        let places = || directory.places(&[], &["conf.d/*.yaml"]);
        let before = places();
        assert_eq!(before, places());
        fs::rename(directory.0.join("conf.d"), directory.0.join("old")).unwrap();
        fs::rename(directory.0.join("next"), directory.0.join("conf.d")).unwrap();
        assert_ne!(before, places());
    }

    #[test]
    fn a_directory_that_is_reached_by_two_ways_is_one_place() {
        let directory = Directory::new("two-ways");
        directory.make("conf.d");
        std::os::unix::fs::symlink("conf.d", directory.0.join("link")).unwrap();
        let places = directory.places(&["conf.d/../conf.d/a.yaml", "link/b.yaml"], &["conf.d/c*.yaml"]);
        assert_eq!(directory.shown(&places), [": link", "conf.d: a.yaml b.yaml c*.yaml"]);
    }

    #[test]
    fn a_relative_path_is_looked_for_in_the_current_directory() {
        let here = Sources { files: vec!["bgw.yaml".into()], patterns: Vec::new() }.places();
        let directory = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(here.directories().collect::<Vec<_>>(), [directory.as_path()]);
    }
}
