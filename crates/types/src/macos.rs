//! Versions of macOS.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of macOS, as far as packages care.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MacosVersion {
    /// `26` of `26.4`.
    pub major: u32,
    /// `4` of `26.4`.
    pub minor: u32,
}

impl MacosVersion {
    /// What is taken where nobody has said: the oldest that current PyTorch and MLX have wheels for.
    pub const DEFAULT: Self = Self { major: 14, minor: 0 };
}

impl FromStr for MacosVersion {
    type Err = String;

    /// Reads `26.4`, `macOS 26.4.1` and the like; what follows the minor version is left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let unreadable = || format!("`{text}` is not a version of macOS");
        let number = text.trim().strip_prefix("macOS").unwrap_or(text).trim_start();
        let number = number.split(char::is_whitespace).next().unwrap_or_default();
        let mut parts = number.split('.').map(str::parse::<u32>);
        let major = parts.next().and_then(Result::ok).ok_or_else(unreadable)?;
        let minor = parts.next().unwrap_or(Ok(0)).map_err(|_| unreadable())?;
        // Environments for Apple silicon begin with 11; what is far beyond is no version.
        if !(11..1000).contains(&major) || minor >= 1000 {
            return Err(unreadable());
        }
        Ok(Self { major, minor })
    }
}

impl fmt::Display for MacosVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_machines_and_people_write_them() {
        for (text, expected) in [
            ("26.4", "26.4"),
            ("macOS 26.4.1", "26.4"),
            ("macOS 14", "14.0"),
            ("macOS 15.2 (24C101)", "15.2"),
            (" 13.0 ", "13.0"),
        ] {
            assert_eq!(text.parse::<MacosVersion>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_versions() {
        for text in ["", "macOS", "10.15", "Debian 12", "Linux 6.1", "14.x", "99999.0"] {
            // `Debian 12` has a number, but not where a version begins.
            assert!(text.parse::<MacosVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn older_is_less() {
        let version = |text: &str| text.parse::<MacosVersion>().unwrap();
        assert!(version("14.5") < version("26.0") && version("14.2") < version("14.10"));
    }
}
