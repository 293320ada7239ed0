//! Whether the entries of an archive, one after another, make sense together.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use crate::{ArchiveError, Bounds};

/// File type bits of a Unix mode, and what they can be.
pub(crate) const TYPE_BITS: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// The longest name of one file that file systems take, in bytes.
const LONGEST_COMPONENT: usize = 255;

/// Characters of a bad name that messages show.
const SHOWN: usize = 100;

/// What an entry says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    /// The Unix mode; 0 where the archive has none.
    pub(crate) mode: u32,
    pub(crate) is_dir: bool,
    pub(crate) encrypted: bool,
}

/// What is to be made of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Node {
    File,
    Directory,
}

/// The entries seen so far.
#[derive(Debug)]
pub(crate) struct Listing {
    bounds: Bounds,
    nodes: HashMap<PathBuf, Node>,
}

impl Listing {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, nodes: HashMap::new() }
    }

    /// Takes an entry; where it is to be put, below the code directory, and as what.
    pub(crate) fn add(&mut self, entry: Entry<'_>) -> Result<(PathBuf, Node), ArchiveError> {
        let Entry { name, mode, is_dir, encrypted } = entry;
        if encrypted {
            return Err(ArchiveError::Encrypted(shown(name)));
        }
        let node = match (mode & TYPE_BITS, is_dir) {
            (0 | DIRECTORY, true) => Node::Directory,
            (0 | REGULAR, false) => Node::File,
            (kind, _) => return Err(ArchiveError::Kind { name: shown(name), kind: word(kind) }),
        };
        let path = self.place(name)?;
        self.put(name, &path, node)?;
        Ok((path, node))
    }

    /// The relative path a name stands for.
    fn place(&self, name: &str) -> Result<PathBuf, ArchiveError> {
        let wrong = |why: String| ArchiveError::Name { name: shown(name), why };
        if name.is_empty() {
            return Err(wrong("is empty".to_owned()));
        }
        if name.contains('\0') {
            return Err(wrong("has a NUL in it".to_owned()));
        }
        if name.len() > self.bounds.name {
            return Err(wrong(format!("is longer than {} bytes", self.bounds.name)));
        }
        // A backslash is a separator to some who make archives: `..\x` must not slip through.
        if name.contains('\\') {
            return Err(ArchiveError::Outside(shown(name)));
        }
        let mut path = PathBuf::new();
        let mut depth = 0;
        for component in Path::new(name).components() {
            match component {
                Component::Normal(part) => {
                    if part.len() > LONGEST_COMPONENT {
                        let most = LONGEST_COMPONENT;
                        return Err(wrong(format!("has a part of more than {most} bytes")));
                    }
                    depth += 1;
                    path.push(part);
                }
                Component::CurDir => {}
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    return Err(ArchiveError::Outside(shown(name)));
                }
            }
        }
        if depth > self.bounds.depth + 1 {
            return Err(wrong(format!("is nested deeper than {} directories", self.bounds.depth)));
        }
        Ok(path)
    }

    /// Notes the entry and the directories above it.
    fn put(&mut self, name: &str, path: &Path, node: Node) -> Result<(), ArchiveError> {
        for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            match self.nodes.insert(above.to_owned(), Node::Directory) {
                None => {}
                // Those above it are there as well.
                Some(Node::Directory) => break,
                Some(Node::File) => return Err(ArchiveError::Twice(format!("`{}`", shown(name)))),
            }
        }
        match self.nodes.insert(path.to_owned(), node) {
            // A directory may be named after what is in it, and more than once.
            None => {}
            Some(Node::Directory) if node == Node::Directory => {}
            // `.` is the code directory, and no file.
            Some(_) => return Err(ArchiveError::Twice(format!("`{}`", shown(name)))),
        }
        if path.as_os_str().is_empty() && node == Node::File {
            return Err(ArchiveError::Outside(shown(name)));
        }
        if self.nodes.len() > self.bounds.entries {
            let found = self.nodes.len() as u64;
            return Err(ArchiveError::Entries { found, limit: self.bounds.entries });
        }
        Ok(())
    }
}

/// A name as messages show it.
fn shown(name: &str) -> String {
    let mut text: String =
        name.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if name.chars().nth(SHOWN).is_some() {
        text.push('…');
    }
    text
}

fn word(kind: u32) -> &'static str {
    match kind {
        0o120_000 => "a symbolic link",
        0o020_000 | 0o060_000 => "a device",
        0o010_000 => "a named pipe",
        0o140_000 => "a socket",
        REGULAR | DIRECTORY | 0 => "a file and a directory at once",
        _ => "of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str) -> Entry<'_> {
        Entry { name, mode: 0o100_644, is_dir: false, encrypted: false }
    }

    fn add(names: &[&str]) -> Result<(), ArchiveError> {
        let mut listing = Listing::new(Bounds::default());
        names.iter().try_for_each(|name| {
            let is_dir = name.ends_with('/');
            let mode = if is_dir { DIRECTORY | 0o755 } else { REGULAR | 0o644 };
            listing.add(Entry { name, mode, is_dir, encrypted: false }).map(|_| ())
        })
    }

    #[test]
    fn one_place_takes_one_entry() {
        assert!(add(&["a", "b", "d/", "d/", "d/a", "./e"]).is_ok());
        for names in [&["a", "a"][..], &["a", "./a"], &["a", "a/b"], &["a/b", "a"], &["d/", "d"]] {
            assert!(matches!(add(names), Err(ArchiveError::Twice(_))), "{names:?}");
        }
    }

    #[test]
    fn implied_directories_count() {
        let mut listing = Listing::new(Bounds { entries: 4, ..Bounds::default() });
        assert!(listing.add(file("a/b/c")).is_ok());
        assert!(listing.add(file("a/b/d")).is_ok());
        let refused = listing.add(file("e"));
        assert!(
            matches!(refused, Err(ArchiveError::Entries { found: 5, limit: 4 })),
            "{refused:?}"
        );
    }

    #[test]
    fn names_that_no_file_system_takes_are_refused() {
        let deep = "d/".repeat(65) + "f";
        assert!(add(&[&deep["d/".len()..]]).is_ok());
        for name in ["x".repeat(256), deep, format!("{}y", "x/".repeat(1000)), "a\0b".into()] {
            let refused = add(&[&name]);
            assert!(matches!(refused, Err(ArchiveError::Name { .. })), "{name}: {refused:?}");
        }
    }

    #[test]
    fn a_bad_name_is_shown_short_and_without_control_characters() {
        let name = format!("../\x1b[31m{}", "x".repeat(500));
        let text = add(&[&name]).unwrap_err().to_string();
        assert!(text.len() < 300 && !text.contains('\x1b'), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_inside(name in "[a./\\\\\u{0}é~-]{0,20}", mode in any::<u32>(), is_dir: bool) {
            let entry = Entry { name: &name, mode, is_dir, encrypted: false };
            if let Ok((path, node)) = Listing::new(Bounds::default()).add(entry) {
                prop_assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert_eq!(node == Node::Directory, is_dir);
            }
        }
    }
}
