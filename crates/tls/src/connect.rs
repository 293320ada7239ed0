//! Connecting to a server, and knowing that it is the right one before anything is said.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Address, Protocol, Stream, TlsError, Trust, client_config};

/// There is no connection, or not to the right server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody is there.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address that was tried.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody is there, but does not prove to be the one that is meant.
    #[error("{address} is not the expected gateway")]
    NotTrusted {
        /// The address that was tried.
        address: String,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// Somebody is there who does not speak TLS.
    #[error("{address} does not speak TLS")]
    NoTls {
        /// The address that was tried.
        address: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl ConnectError {
    /// What the person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect { .. } => None,
            Self::NotTrusted { .. } => Some(
                "take the fingerprint from `metal9 token join` on the gateway; if it is the same, \
                 somebody else answers at this address",
            ),
            Self::NoTls { .. } => Some(
                "is it the right port? A gateway without TLS is named without https:// and \
                 fingerprint",
            ),
        }
    }

    /// The one among an error and its causes, if there is one.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        std::iter::successors(Some(error), |error| error.source())
            .find_map(<dyn std::error::Error>::downcast_ref)
    }
}

/// Connects to one server. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("address", &self.address)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

impl Connector {
    /// To `address`; plain text if there is no `trust`.
    ///
    /// # Errors
    /// When the system's roots are needed and not there.
    pub fn new(
        address: Address,
        trust: Option<&Trust>,
        protocol: Protocol,
    ) -> Result<Self, TlsError> {
        let tls = trust.map(|trust| client_config(trust, protocol)).transpose()?;
        Ok(Self { address, tls })
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Connects; with TLS, the server has proved who it is when this returns.
    ///
    /// # Errors
    /// When nobody is there, or not the right one.
    pub async fn connect(&self) -> Result<Stream, ConnectError> {
        let address = || self.address.authority();
        let socket = TcpStream::connect((self.address.host.as_str(), self.address.port))
            .await
            .map_err(|source| ConnectError::Connect { address: address(), source })?;
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(socket)) };
        let name = ServerName::try_from(self.address.host.clone()).map_err(|_| {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the host is no name");
            ConnectError::Connect { address: address(), source }
        })?;
        match TlsConnector::from(Arc::clone(tls)).connect(name, socket).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream.into()))),
            Err(error) => Err(self.refusal(error)),
        }
    }

    fn refusal(&self, error: io::Error) -> ConnectError {
        use rustls::Error::{General, InvalidCertificate, NoCertificatesPresented, PeerMisbehaved};
        let address = self.address.authority();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(
                source @ (General(_)
                | InvalidCertificate(_)
                | NoCertificatesPresented
                | PeerMisbehaved(_)),
            ) => ConnectError::NotTrusted { address, source: source.clone() },
            _ => ConnectError::NoTls { address, source: error },
        }
    }
}

/// How tonic connects: the URI is not looked at, because a connector has one server.
impl tower::Service<http::Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}
