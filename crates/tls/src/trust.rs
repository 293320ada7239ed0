//! How a client knows its server.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::{Fingerprint, Protocol, TlsError, files, provider};

/// How a client knows its server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trust {
    /// By its key, whatever the certificate says.
    Pinned(Fingerprint),
    /// By a certificate for its name, signed by a root that the system trusts.
    System,
    /// The same with the roots in a file.
    Roots(PathBuf),
}

/// What a connector needs. Roots are read here, and only if they are needed.
///
/// # Errors
/// When there are no roots, or TLS cannot be set up.
pub fn client_config(trust: &Trust, protocol: Protocol) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Pinned(fingerprint) => Arc::new(Pinned { fingerprint: *fingerprint }),
        Trust::System => roots(&system_roots())?,
        Trust::Roots(path) => roots(std::slice::from_ref(path))?,
    };
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = protocol.names();
    Ok(Arc::new(config))
}

/// The files that hold the system's roots: `$SSL_CERT_FILE`, else the usual places.
fn system_roots() -> Vec<PathBuf> {
    openssl_probe::probe().cert_file.into_iter().collect()
}

fn roots(files: &[PathBuf]) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    for file in files {
        let _ = store.add_parsable_certificates(files::certificates(file)?);
    }
    if store.is_empty() {
        return Err(TlsError::NoRoots);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider())
        .build()
        .map_err(|_| TlsError::NoRoots)
}

/// Takes exactly one key. Who has the key is the server, so names and dates do not matter.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Fingerprint::of(certificate)
            .ok_or(Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
        if shown == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        let expected = self.fingerprint;
        Err(Error::General(format!("its key has the fingerprint {shown}, expected {expected}")))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
