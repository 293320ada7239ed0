//! Naming a server by its key.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

const PREFIX: &str = "sha256:";

/// The SHA-256 of a certificate's public key (its `SubjectPublicKeyInfo`). It stays the same when a
/// certificate is renewed with the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a fingerprint: expected `sha256:` and 64 hexadecimal digits")]
pub struct FingerprintError(String);

impl Fingerprint {
    /// The fingerprint of a certificate's key; nothing if the certificate cannot be read.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        Some(Self(Sha256::digest(parsed.subject_public_key_info()).into()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let error = || FingerprintError(text.chars().take(100).collect());
        let digits: String = text
            .trim()
            .to_ascii_lowercase()
            .strip_prefix(PREFIX)
            .ok_or_else(error)?
            .chars()
            .filter(|c| *c != ':')
            .collect();
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_written() {
        let text = format!("sha256:{}", "0a".repeat(32));
        let read: Fingerprint = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
        let colons = format!("SHA256:{}", vec!["0A"; 32].join(":"));
        assert_eq!(colons.parse::<Fingerprint>().unwrap(), read);
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        for text in ["", "sha256:", "sha256:zz", "0a0a", &format!("sha1:{}", "0a".repeat(32))] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
        assert!(format!("sha256:{}é", "0".repeat(62)).parse::<Fingerprint>().is_err());
    }
}
