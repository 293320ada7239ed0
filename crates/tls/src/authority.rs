//! A gateway that signs for itself: its own authority, and certificates of that.
//!
//! Two keys are kept, each made once: the authority's, whose certificate clients are given to
//! trust, and the server's, which workers pin. The server's certificate is made anew at every
//! start, so that it always names the addresses that the gateway has now.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use crate::{TlsError, files};

/// How long a server's certificate is valid. Some systems take none that is valid for longer.
const SERVER_DAYS: i64 = 397;
/// How long the authority's is: replacing it means telling every client.
const AUTHORITY_DAYS: i64 = 10 * 365;
/// Before the present, for clients whose clocks are behind.
const EARLIER: Duration = Duration::days(1);

/// The file with the authority's certificate, which clients may trust.
pub(crate) fn certificate_file(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// A certificate for these names with the key kept in `dir`, and the authority's behind it.
pub(crate) fn issue(
    dir: &Path,
    names: &[String],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    fs::create_dir_all(dir).map_err(|source| TlsError::File {
        doing: "create",
        path: dir.to_owned(),
        source,
    })?;
    let authority_key = kept_key(&dir.join("ca.key"))?;
    let authority = authority_params();
    let path = certificate_file(dir);
    if !path.exists() {
        let certificate = authority.self_signed(&authority_key).map_err(TlsError::Make)?;
        files::write(&path, &certificate.pem(), 0o644)?;
    }
    let authority_certificate = files::certificates(&path)?;
    let issuer = Issuer::new(authority, authority_key);
    let key = kept_key(&dir.join("server.key"))?;
    let certificate = server_params(names)?.signed_by(&key, &issuer).map_err(TlsError::Make)?;
    let mut chain = vec![certificate.der().clone()];
    chain.extend(authority_certificate);
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|_| TlsError::Pem { path: dir.join("server.key"), expected: "private key" })?;
    Ok((chain, key))
}

/// The key in a file; made if there is no such file.
fn kept_key(path: &Path) -> Result<KeyPair, TlsError> {
    if path.exists() {
        let text = String::from_utf8(files::read(path)?).unwrap_or_default();
        return KeyPair::from_pem(&text)
            .map_err(|_| TlsError::Pem { path: path.to_owned(), expected: "private key" });
    }
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    files::write(path, &key.serialize_pem(), 0o600)?;
    Ok(key)
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "metal9 gateway authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    valid_for(&mut params, AUTHORITY_DAYS);
    params
}

fn server_params(names: &[String]) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(names).map_err(TlsError::Make)?;
    params.distinguished_name.push(DnType::CommonName, "metal9 gateway");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    valid_for(&mut params, SERVER_DAYS);
    Ok(params)
}

fn valid_for(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - EARLIER;
    params.not_after = now + Duration::days(days);
}
