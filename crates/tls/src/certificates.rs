//! What a server shows, and changing it while it runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use crate::{Fingerprint, Protocol, TlsError, authority, files, provider};

/// Where a server's certificate is from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// PEM files of the operator's.
    Files {
        /// The certificate, with those between it and a root behind it.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// Made and signed by the gateway itself, whose keys are kept in a directory.
    Own {
        /// The directory; made if it is not there.
        dir: PathBuf,
        /// The names and addresses that the certificate is for.
        names: Vec<String>,
    },
}

/// The certificate a server shows. Clones are the same certificate.
#[derive(Clone)]
pub struct Certificates {
    source: Source,
    shown: Arc<Shown>,
}

#[derive(Debug)]
struct Shown {
    now: watch::Sender<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("source", &self.source).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

impl Shown {
    fn get(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.now.borrow())
    }
}

impl Certificates {
    /// Reads or makes the certificate.
    ///
    /// # Errors
    /// When a file cannot be used, or certificate and key do not go together.
    pub fn load(source: Source) -> Result<Self, TlsError> {
        let shown = Arc::new(Shown { now: watch::Sender::new(read(&source)?) });
        Ok(Self { source, shown })
    }

    /// Reads or makes the certificate again. Connections that are open keep the old one, which is
    /// also kept if this fails.
    ///
    /// # Errors
    /// As [`Certificates::load`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.source)?;
        self.shown.now.send_replace(fresh);
        Ok(())
    }

    /// What happens to the certificate from now on.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        Reloads { shown: self.shown.now.subscribe() }
    }

    /// When the files were changed; differs when there is something to reload.
    #[must_use]
    pub fn changed(&self) -> Option<[SystemTime; 2]> {
        let Source::Files { certificate, key } = &self.source else { return None };
        let at = |path: &PathBuf| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        Some([at(certificate)?, at(key)?])
    }

    /// The fingerprint of the key, which workers pin.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        fingerprint(&self.shown.get())
    }

    /// The certificate that clients can be told to trust, if the gateway signs for itself.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Files { .. } => None,
            Source::Own { dir, .. } => Some(authority::certificate_file(dir)),
        }
    }

    /// What a listener needs.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn server_config(&self, protocol: Protocol) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let mut config =
            builder.with_no_client_auth().with_cert_resolver(Arc::<Shown>::clone(&self.shown));
        config.alpn_protocols = protocol.names();
        Ok(Arc::new(config))
    }
}

/// Tells of certificates that take the place of earlier ones; the last one is never missed.
#[derive(Debug)]
pub struct Reloads {
    shown: watch::Receiver<Arc<CertifiedKey>>,
}

impl Reloads {
    /// Waits until the certificate was loaded again; the fingerprint of its key. For ever once
    /// nobody has the certificate any more.
    pub async fn next(&mut self) -> Option<Fingerprint> {
        if self.shown.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        fingerprint(&self.shown.borrow_and_update())
    }
}

fn fingerprint(pair: &CertifiedKey) -> Option<Fingerprint> {
    Fingerprint::of(pair.end_entity_cert().ok()?)
}

fn read(source: &Source) -> Result<Arc<CertifiedKey>, TlsError> {
    let (certificate, key_file) = match source {
        Source::Files { certificate, key } => (certificate.clone(), key.clone()),
        Source::Own { dir, .. } => (dir.join("server.pem"), dir.join("server.key")),
    };
    let (chain, key) = match source {
        Source::Files { certificate, key } => (files::certificates(certificate)?, files::key(key)?),
        Source::Own { dir, names } => authority::issue(dir, names)?,
    };
    let pair = CertifiedKey::from_der(chain, key, &provider());
    pair.map(Arc::new).map_err(|source| TlsError::Pair { certificate, key: key_file, source })
}
