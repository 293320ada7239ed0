//! TLS between gateway, workers and clients.
//!
//! - [`Certificates`] is what a server shows: files of an operator's, watched for changes, or
//!   certificates that the gateway makes and signs itself.
//! - [`Listener`] accepts connections, with TLS or without.
//! - [`Trust`] is how a client knows its server: by the [`Fingerprint`] of the server's key, or by
//!   the roots that the system trusts. [`Connector`] connects and checks before a byte of a
//!   request is sent; [`blocking_agent`] does the same for HTTP.

#![forbid(unsafe_code)]

mod address;
mod authority;
mod blocking;
mod certificates;
mod connect;
mod error;
mod files;
mod fingerprint;
mod listen;
mod stream;
mod trust;

pub use address::{Address, AddressError};
pub use blocking::blocking_agent;
pub use certificates::{Certificates, Reloads, Source};
pub use connect::{ConnectError, Connector};
pub use error::TlsError;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use listen::Listener;
pub use stream::{Peer, Stream};
pub use trust::{Trust, client_config};

/// What is spoken inside a connection, as the handshake names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// gRPC.
    Http2,
    /// REST: the client may choose.
    Http,
    /// REST by a client that knows only this version.
    Http1,
}

impl Protocol {
    /// The names for the handshake, the preferred first.
    pub(crate) fn names(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http2 => &[b"h2"],
            Self::Http => &[b"h2", b"http/1.1"],
            Self::Http1 => &[b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

/// Makes the cryptography of this crate that of libraries which ask the process for one.
pub fn use_for_everything() {
    // It is an error only that there is one already.
    let _ = rustls::crypto::CryptoProvider::install_default((*provider()).clone());
}

/// The cryptography behind it all, made when it is first needed.
pub(crate) fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    use std::sync::{Arc, LazyLock};
    static PROVIDER: LazyLock<Arc<rustls::crypto::CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&PROVIDER)
}
