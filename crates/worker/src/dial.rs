//! Where the gateway is, and how the worker knows that it is the one.

use std::time::Duration;

use metal9_tls::{
    Address, AddressError, ConnectError, Connector, Fingerprint, FingerprintError, Protocol,
    TlsError, Trust,
};
use tonic::transport::{Channel, Endpoint};

/// Why a gateway cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    #[error("`{0}` is plain text, but the gateway is known by a fingerprint")]
    PlainText(String),
    #[error("the gateway cannot be known by the certificates that this system trusts")]
    Tls(#[from] TlsError),
    #[error("`{0}` is not an address as host:port")]
    Uri(String, #[source] tonic::transport::Error),
}

impl DialError {
    /// What the person can do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PlainText(_) => Some("leave out `http://`, or the fingerprint"),
            Self::Tls(error) => error.hint(),
            _ => None,
        }
    }
}

/// A gateway's address and how it is known. Everything that is secret goes only to who proves to
/// be that gateway.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    address: Address,
    trust: Option<Trust>,
    connector: Connector,
    endpoint: Endpoint,
}

impl Dial {
    /// With a fingerprint, TLS with whoever has that key; without, `https://` means TLS with a
    /// certificate that the system trusts, and anything else plain text.
    pub(crate) fn new(address: &str, fingerprint: Option<&str>) -> Result<Self, DialError> {
        let parsed: Address = address.parse()?;
        let trust = match (fingerprint, parsed.tls) {
            (Some(_), Some(false)) => return Err(DialError::PlainText(address.to_owned())),
            (Some(fingerprint), _) => Some(Trust::Pinned(fingerprint.parse::<Fingerprint>()?)),
            (None, Some(true)) => Some(Trust::System),
            (None, _) => None,
        };
        let connector = Connector::new(parsed.clone(), trust.as_ref(), Protocol::Http2)?;
        let endpoint = Endpoint::from_shared(format!("http://{}", parsed.authority()))
            .map_err(|source| DialError::Uri(address.to_owned(), source))?
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024);
        Ok(Self { address: parsed, trust, connector, endpoint })
    }

    /// The address of another run, in the way that was agreed on when the worker joined.
    pub(crate) fn redirected(
        address: &str,
        joined: &str,
        fingerprint: Option<&str>,
    ) -> Result<Self, DialError> {
        let asked: Address = address.parse()?;
        let tls = joined.parse::<Address>()?.tls == Some(true);
        // Credentials of a gateway with TLS never go over plain text because a scheme was left out.
        if tls && asked.tls.is_none() {
            return Self::new(&format!("https://{}", asked.authority()), fingerprint);
        }
        if tls && asked.tls == Some(false) {
            return Err(DialError::PlainText(address.to_owned()));
        }
        Self::new(address, fingerprint)
    }

    /// How the gateway is known; nothing for plain text.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Where the gateway is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A connection that is made when it is needed and made again when it is lost.
    pub(crate) fn connect_lazy(&self) -> Channel {
        self.endpoint.connect_with_connector_lazy(self.connector.clone())
    }

    /// A connection to a gateway that is there, and known.
    ///
    /// # Errors
    /// `Ok` is somebody who is not the gateway, `Err` nobody at all.
    pub(crate) async fn connect(
        &self,
    ) -> Result<Channel, Result<ConnectError, tonic::transport::Error>> {
        if self.trust.is_some()
            && let Err(error) = self.connector.connect().await
            && !matches!(error, ConnectError::Connect { .. })
        {
            return Err(Ok(error));
        }
        self.endpoint.connect_with_connector(self.connector.clone()).await.map_err(Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_or_https_means_tls() {
        let print = format!("sha256:{}", "0a".repeat(32));
        let trust = |address: &str, print: Option<&str>| {
            Dial::new(address, print).map(|dial| dial.trust().cloned())
        };
        assert_eq!(trust("h:1", None).unwrap(), None);
        assert_eq!(trust("http://h:1", None).unwrap(), None);
        let pinned = Some(Trust::Pinned(print.parse().unwrap()));
        assert_eq!(trust("h:1", Some(&print)).unwrap(), pinned);
        assert_eq!(trust("https://h:1", Some(&print)).unwrap(), pinned);
        assert!(matches!(trust("http://h:1", Some(&print)), Err(DialError::PlainText(_))));
        assert!(matches!(trust("h:1", Some("0a")), Err(DialError::Fingerprint(_))));
    }

    #[test]
    fn another_address_never_takes_tls_away() {
        let print = format!("sha256:{}", "0a".repeat(32));
        let again = |address: &str, joined: &str, print: Option<&str>| {
            Dial::redirected(address, joined, print).map(|dial| dial.trust().is_some())
        };
        assert!(again("other:1", "h:1", Some(&print)).unwrap());
        assert!(matches!(again("http://o:1", "https://h:1", None), Err(DialError::PlainText(_))));
        assert!(!again("other:1", "h:1", None).unwrap());
    }
}
