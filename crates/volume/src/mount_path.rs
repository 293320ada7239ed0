//! Where a job finds a volume.

use std::path::{Path, PathBuf};

use crate::{VolumeError, VolumePath};

/// The directory that clients believe the code to be in.
const CODE: &str = "/mnt/code";

/// What no volume may cover or be in: the system's, and what every job has of its own.
const SYSTEM: &[&str] = &[
    "/Applications",
    "/Library",
    "/System",
    "/bin",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/opt",
    "/private",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
];

/// Where a job finds a volume.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum MountPath {
    /// Below the directory of its code.
    Code(VolumePath),
    /// Anywhere else, as an absolute path.
    Absolute(PathBuf),
}

impl MountPath {
    /// Reads a path as users write it: `./data`, `data` and `/mnt/code/data` are the same place.
    ///
    /// # Errors
    /// [`VolumeError::Path`] for one that leads up, the code's directory itself, or a directory of
    /// the system.
    pub fn parse(text: &str) -> Result<Self, VolumeError> {
        let refuse = |why| {
            let path = text.chars().filter(|c| !c.is_control()).take(64).collect();
            Err(VolumeError::Path { path, why })
        };
        let path = VolumePath::parse(text)?;
        if text.chars().any(char::is_control) {
            return refuse("it contains a control character");
        }
        if !text.starts_with('/') {
            return match path.is_root() {
                true => refuse("a volume cannot take the place of the code"),
                false => Ok(Self::Code(path)),
            };
        }
        let absolute = Path::new("/").join(path.as_str());
        if let Ok(below) = absolute.strip_prefix(CODE) {
            return Self::parse(&below.to_string_lossy());
        }
        let system =
            |dir: &&str| absolute.starts_with(dir) || Path::new(dir).starts_with(&absolute);
        if SYSTEM.iter().chain(&[CODE]).any(system) {
            return refuse("a volume cannot be mounted over or below a directory of the system");
        }
        Ok(Self::Absolute(absolute))
    }

    /// The absolute path by which a program may name it, wherever the code is.
    #[must_use]
    pub fn absolute(&self) -> PathBuf {
        match self {
            Self::Code(path) => Path::new(CODE).join(path.as_str()),
            Self::Absolute(path) => path.clone(),
        }
    }

    /// Whether one is below the other, or both are the same.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (one, other) = match (self, other) {
            (Self::Code(one), Self::Code(other)) => {
                (PathBuf::from(one.as_str()), PathBuf::from(other.as_str()))
            }
            (Self::Absolute(one), Self::Absolute(other)) => (one.clone(), other.clone()),
            _ => return false,
        };
        one.starts_with(&other) || other.starts_with(&one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_can_be_written_in_several_ways() {
        let code = MountPath::Code(VolumePath::parse("data/x").unwrap());
        for text in ["data/x", "./data/x", "data//x/", "/mnt/code/data/x"] {
            assert_eq!(MountPath::parse(text).unwrap(), code, "{text}");
        }
        assert_eq!(code.absolute(), Path::new("/mnt/code/data/x"));
        assert_eq!(MountPath::parse("/models/").unwrap(), MountPath::Absolute("/models".into()));
    }

    #[test]
    fn places_of_the_system_and_of_the_code_are_refused() {
        for text in [
            "",
            ".",
            "./",
            "/",
            "/mnt",
            "/mnt/code",
            "../x",
            "a/../../b",
            "/usr/lib/x",
            "/tmp/x",
            "/etc",
            "a\nb",
        ] {
            assert!(MountPath::parse(text).is_err(), "{text}");
        }
        assert!(MountPath::parse("/mnt/data").is_ok());
    }

    #[test]
    fn places_overlap_where_one_is_in_the_other() {
        let at = |text| MountPath::parse(text).unwrap();
        assert!(at("a").overlaps(&at("./a/b")) && at("/m/a").overlaps(&at("/m/a")));
        assert!(!at("a").overlaps(&at("ab")) && !at("a").overlaps(&at("/a")));
    }
}
