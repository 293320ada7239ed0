//! Digests: what contents are named by.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::RootfsError;

/// The only algorithm that is taken. Registries use no other.
const PREFIX: &str = "sha256:";
const HEX_DIGITS: usize = 64;

/// The SHA-256 of some contents, as `sha256:…` with 64 lower-case hexadecimal digits. Safe as a part
/// of a file's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct Digest(String);

impl Digest {
    pub(crate) fn parse(text: &str) -> Result<Self, RootfsError> {
        let digits = text.strip_prefix(PREFIX).unwrap_or_default();
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != HEX_DIGITS || !digits.bytes().all(is_hex) {
            let shown: String = text.chars().take(100).collect();
            return Err(RootfsError::malformed(
                format!("the digest `{shown}`"),
                "it must be `sha256:` and 64 lower-case hexadecimal digits",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits alone.
    pub(crate) fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// The name of a file or directory with these contents.
    pub(crate) fn file_name(&self) -> String {
        format!("sha256-{}", self.hex())
    }

    /// The digest that a file's name stands for.
    pub(crate) fn from_file_name(name: &str) -> Option<Self> {
        Self::parse(&name.replacen("sha256-", PREFIX, 1)).ok()
    }

    /// Whether `found` is this.
    pub(crate) fn check(&self, found: &Self, what: impl Into<String>) -> Result<(), RootfsError> {
        if self == found {
            return Ok(());
        }
        let (expected, found) = (self.to_string(), found.to_string());
        Err(RootfsError::Digest { what: what.into(), expected, found })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a digest of bytes that come in pieces.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        let hex: String = self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Digest(format!("{PREFIX}{hex}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_exactly_what_its_name_says() {
        let digest = Digest::of(b"");
        assert!(digest.as_str().starts_with("sha256:e3b0c44298fc1c14"));
        assert_eq!(Digest::from_file_name(&digest.file_name()), Some(digest.clone()));
        assert_eq!(Digest::parse(digest.as_str()).unwrap(), digest);
    }

    #[test]
    fn nothing_else_passes_for_a_digest() {
        let upper = Digest::of(b"").as_str().to_uppercase().replace("SHA", "sha");
        for text in ["", "sha256:", "sha512:00", "sha256:../../etc/passwd", &upper] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
