//! What can be wrong with certificates.

use std::io;
use std::path::PathBuf;

/// Certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        /// What was tried, as `read`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file has not what it should have.
    #[error("`{}` has no {expected} in PEM format", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// Certificate and key are there, but do not go together or are not supported.
    #[error("certificate `{}` and key `{}` cannot be used", certificate.display(), key.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// The system has no roots.
    #[error("no trusted root certificates were found on this system")]
    NoRoots,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl TlsError {
    /// What the person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Pair { .. } => Some("the key must be the one that the certificate was made for"),
            Self::NoRoots => Some(
                "install the system's ca-certificates, name a file in $SSL_CERT_FILE, or give the \
                 gateway's fingerprint",
            ),
            _ => None,
        }
    }
}
