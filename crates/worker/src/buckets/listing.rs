//! Which objects of a bucket become files.

use std::collections::{BTreeMap, BTreeSet};

use metal9_volume::VolumePath;
use object_store::path::Path;

/// An object, as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Its name in the bucket.
    pub(super) key: Path,
    pub(super) size: u64,
    /// What changes with its content.
    pub(super) version: String,
}

/// What a bucket has, as files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) files: BTreeMap<VolumePath, Object>,
    /// Names that cannot be files, as they are in the bucket.
    pub(super) left_out: BTreeSet<String>,
}

impl Listing {
    /// Lays objects out as files below `prefix`. Where `one_case`, names that differ in case only
    /// are the same file.
    pub(super) fn of(objects: Vec<Object>, prefix: &VolumePath, one_case: bool) -> Self {
        let mut listing = Self::default();
        let mut cases = BTreeSet::new();
        for object in objects {
            let Some(path) = below(prefix, &object.key) else { continue };
            match path {
                Ok(path) if !one_case || cases.insert(path.as_str().to_lowercase()) => {
                    listing.files.insert(path, object);
                }
                _ => drop(listing.left_out.insert(object.key.to_string())),
            }
        }
        listing.without_directories();
        listing
    }

    /// A name that others continue is a directory. An empty object of that name says just this, and
    /// any other cannot be a file.
    fn without_directories(&mut self) {
        let directories: BTreeSet<VolumePath> = self
            .files
            .keys()
            .flat_map(|path| {
                std::iter::successors(Some(path.parent()), |path| {
                    (!path.is_root()).then(|| path.parent())
                })
            })
            .collect();
        let left_out = &mut self.left_out;
        self.files.retain(|path, object| {
            let is_directory = directories.contains(path);
            if is_directory && object.size > 0 {
                left_out.insert(object.key.to_string());
            }
            !is_directory
        });
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|object| object.size).fold(0, u64::saturating_add)
    }
}

/// The path of an object below a prefix; nothing for the directory itself and for what is elsewhere.
fn below(prefix: &VolumePath, key: &Path) -> Option<Result<VolumePath, ()>> {
    let key = key.as_ref();
    let rest = match prefix.is_root() {
        true => key,
        false => key.strip_prefix(prefix.as_str())?.strip_prefix('/')?,
    };
    if rest.is_empty() {
        return None;
    }
    // A name that would be another as a path cannot be told from that.
    let path = VolumePath::parse(rest).ok().filter(|path| path.as_str() == rest);
    Some(path.ok_or(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, size: u64) -> Object {
        Object { key: Path::parse(key).unwrap(), size, version: "1".to_owned() }
    }

    fn list(objects: &[(&str, u64)], prefix: &str, one_case: bool) -> (Vec<String>, Vec<String>) {
        let objects = objects.iter().map(|(key, size)| object(key, *size)).collect();
        let listing = Listing::of(objects, &VolumePath::parse(prefix).unwrap(), one_case);
        let files = listing.files.keys().map(ToString::to_string).collect();
        (files, listing.left_out.into_iter().collect())
    }

    #[test]
    fn files_are_found_below_the_prefix() {
        let objects = [("a/b", 1), ("a/c/d", 1), ("ab/e", 1), ("a", 0)];
        assert_eq!(list(&objects, "", false).0, ["a/b", "a/c/d", "ab/e"]);
        assert_eq!(list(&objects, "a", false).0, ["b", "c/d"]);
    }

    #[test]
    fn what_cannot_be_a_file_is_left_out_and_told() {
        let long = "x".repeat(300);
        let objects = [("a", 5), ("a/b", 1), ("dir", 0), ("dir/x", 1), (long.as_str(), 1)];
        let (files, left_out) = list(&objects, "", false);
        assert_eq!(files, ["a/b", "dir/x"]);
        assert_eq!(left_out, ["a", long.as_str()]);
    }

    #[test]
    fn a_disk_that_ignores_case_has_one_of_two() {
        let objects = [("A", 1), ("a", 1)];
        assert_eq!(list(&objects, "", false).0, ["A", "a"]);
        assert_eq!(list(&objects, "", true), (vec!["A".to_owned()], vec!["a".to_owned()]));
    }
}
