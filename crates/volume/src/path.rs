//! Paths inside a volume.

use std::fmt;

use crate::VolumeError;

/// Bytes of a path at most.
const LONGEST: usize = 4096;
/// Bytes of one part at most: what file systems allow.
const LONGEST_PART: usize = 255;
/// Directories below each other at most.
const DEEPEST: usize = 64;

/// A path below a volume's directory: parts with `/` between them, none of which leads up. The
/// empty one is the directory itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct VolumePath(String);

impl VolumePath {
    /// Reads a path as clients write it: `/` at either end, doubled `/` and `.` mean nothing.
    ///
    /// # Errors
    /// [`VolumeError::Path`] for one that leads up (`..`), is too long, or has NUL in it.
    pub fn parse(text: &str) -> Result<Self, VolumeError> {
        let refuse = |why| {
            let path = text.chars().filter(|c| !c.is_control()).take(64).collect();
            Err(VolumeError::Path { path, why })
        };
        if text.len() > LONGEST {
            return refuse("it is longer than 4096 bytes");
        }
        if text.contains('\0') {
            return refuse("it contains a NUL");
        }
        let parts: Vec<&str> =
            text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return refuse("it contains `..`");
        }
        if parts.iter().any(|part| part.len() > LONGEST_PART) {
            return refuse("a part of it is longer than 255 bytes");
        }
        if parts.len() > DEEPEST {
            return refuse("it is more than 64 directories deep");
        }
        Ok(Self(parts.join("/")))
    }

    /// Reads `volume/path`; gives the volume's name and the path in it.
    ///
    /// # Errors
    /// As [`VolumePath::parse`], or when there is no volume's name.
    pub fn parse_with_volume(text: &str) -> Result<(&str, Self), VolumeError> {
        let text = text.trim_start_matches('/');
        let (volume, path) = text.split_once('/').unwrap_or((text, ""));
        if volume.is_empty() {
            let why = "expected the name of a volume and a path in it, as `volume/file`";
            return Err(VolumeError::Path { path: text.to_owned(), why });
        }
        Ok((volume, Self::parse(path)?))
    }

    /// As text, without a `/` at either end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `true` for the volume's directory itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The last part; empty for the volume's directory itself.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The directory it is in.
    #[must_use]
    pub fn parent(&self) -> Self {
        Self(self.0.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned()))
    }

    /// A path below this one. `name` is one part.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        if self.is_root() { Self(name.to_owned()) } else { Self(format!("{}/{name}", self.0)) }
    }

    /// How the system's calls want it.
    pub(crate) fn relative(&self) -> &str {
        if self.is_root() { "." } else { &self.0 }
    }
}

impl fmt::Display for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read_as_clients_write_them() {
        let read = |text| VolumePath::parse(text).unwrap().to_string();
        assert_eq!(read("/a//b/./c/"), "a/b/c");
        assert_eq!(read(""), "");
        assert_eq!(read("/"), "");
        let (volume, path) = VolumePath::parse_with_volume("vol/a b").unwrap();
        assert_eq!((volume, path.as_str()), ("vol", "a b"));
        assert!(VolumePath::parse_with_volume("vol").unwrap().1.is_root());
        assert!(VolumePath::parse_with_volume("/").is_err());
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for bad in ["..", "a/../b", "a/..", "a\0b", &"x".repeat(256), &"a/".repeat(65)] {
            assert!(VolumePath::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(VolumePath::parse("/etc/passwd").unwrap().as_str(), "etc/passwd");
        assert!(VolumePath::parse("..a/b..").is_ok());
    }

    proptest! {
        #[test]
        fn a_path_is_relative_and_goes_down(text in "[a./\\\\ ~]{0,40}") {
            if let Ok(path) = VolumePath::parse(&text) {
                prop_assert!(!path.as_str().starts_with('/'));
                prop_assert!(path.as_str().split('/').all(|part| part != ".." && part != "."));
                prop_assert_eq!(VolumePath::parse(path.as_str()).unwrap(), path);
            }
        }
    }
}
