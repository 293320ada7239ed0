//! Which certificate the gateway shows, and keeping it current.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use metal9_tasks::CancellationToken;
use metal9_tls::{Certificates, Source};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use crate::options::{Options, Tls};

/// How often to look whether the files were changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often a certificate of the gateway's own is made anew, long before it expires.
const RENEW_EVERY: Duration = Duration::from_hours(24);

/// Settings for TLS that make no sense together.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// One of two files is missing.
    #[error("`tls_cert` and `tls_key` must be given together")]
    Half,
    /// Files, but no use for them.
    #[error("`tls_cert` and `tls_key` are given, but `tls` is not `auto`")]
    Both,
}

/// Where the certificate is from; nothing for plain text.
pub(crate) fn source(options: &Options, grpc: SocketAddr) -> Result<Option<Source>, SettingsError> {
    match (options.tls, &options.tls_cert, &options.tls_key) {
        (Tls::Auto | Tls::Off, None, None) => Ok(None),
        (Tls::SelfSigned, None, None) => {
            let dir = options.state_dir.join("tls");
            Ok(Some(Source::Own { dir, names: names(options, grpc) }))
        }
        (Tls::Auto, Some(certificate), Some(key)) => {
            Ok(Some(Source::Files { certificate: certificate.clone(), key: key.clone() }))
        }
        (_, Some(_), Some(_)) => Err(SettingsError::Both),
        _ => Err(SettingsError::Half),
    }
}

/// Everything that clients may call this gateway, each once.
fn names(options: &Options, grpc: SocketAddr) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        Ipv4Addr::LOCALHOST.to_string(),
        Ipv6Addr::LOCALHOST.to_string(),
    ];
    names.extend(options.advertise_host.clone());
    let asked = options.tls_names.as_deref().unwrap_or_default().split(',');
    names.extend(asked.map(|name| name.trim().to_owned()));
    if let Ok(host) = nix::unistd::gethostname() {
        names.extend(host.into_string());
    }
    for address in [grpc, options.http] {
        let ip = address.ip();
        names.push(if ip.is_unspecified() { own_address(ip) } else { ip }.to_string());
    }
    let plain = |name: &String| name.trim_matches(['[', ']']).to_owned();
    let mut names: Vec<String> = names.iter().map(plain).filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    names
}

/// The address by which this machine reaches others. Nothing is sent to find it out.
fn own_address(any: IpAddr) -> IpAddr {
    let (local, far): (SocketAddr, SocketAddr) = match any {
        IpAddr::V4(_) => ((any, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into()),
        // An address for documentation, like the other.
        IpAddr::V6(_) => {
            ((any, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into())
        }
    };
    let found = UdpSocket::bind(local).and_then(|socket| {
        socket.connect(far)?;
        socket.local_addr()
    });
    found.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// Says once that tokens and results can be read by others on the way.
pub(crate) fn warn_of_plain_text(tls: bool, ports: [SocketAddr; 2]) {
    if !tls && let Some(port) = ports.iter().find(|port| !port.ip().is_loopback()) {
        tracing::warn!(
            address = %port,
            "the gateway speaks plain text to other machines: tokens, code and results can be read \
             on the way; serve with --tls self-signed, or with --tls-cert and --tls-key"
        );
    }
}

/// Shows the certificate anew when its files are changed, on SIGHUP, and when it grows old.
pub(crate) async fn keep_current(
    certificates: Certificates,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = certificates.changed();
    let mut loaded = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = hangup.recv() => {}
            _ = look.tick() => {
                let now = certificates.changed();
                let old = certificates.authority().is_some() && loaded.elapsed() > RENEW_EVERY;
                // Files that are missing are on their way.
                if (now.is_none() || now == seen) && !old {
                    continue;
                }
            }
        }
        seen = certificates.changed();
        loaded = Instant::now();
        match certificates.reload() {
            Ok(()) => {
                let fingerprint = certificates.fingerprint().map(|it| it.to_string());
                tracing::info!(fingerprint, "the certificate was loaded again");
            }
            Err(error) => {
                let error = crate::error::causes(&error);
                tracing::warn!(error, "the new certificate cannot be used; the old one stays");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options::new("/state".into())
    }

    #[test]
    fn loopback_is_plain_text_unless_asked_otherwise() {
        let grpc = options().grpc;
        assert_eq!(source(&options(), grpc).unwrap(), None);
        let own = Options { tls: Tls::SelfSigned, ..options() };
        assert!(matches!(source(&own, grpc).unwrap(), Some(Source::Own { .. })));
    }

    #[test]
    fn half_a_pair_and_two_certificates_are_refused() {
        let cert = Some("/cert".into());
        let half = Options { tls_cert: cert.clone(), ..options() };
        assert!(matches!(source(&half, half.grpc), Err(SettingsError::Half)));
        let both =
            Options { tls: Tls::SelfSigned, tls_cert: cert.clone(), tls_key: cert, ..options() };
        assert!(matches!(source(&both, both.grpc), Err(SettingsError::Both)));
    }

    #[test]
    fn a_certificate_is_for_every_name_once() {
        let options = Options {
            advertise_host: Some("gateway.example".into()),
            tls_names: Some("other.example, [2001:db8::7],localhost".into()),
            grpc: "0.0.0.0:1".parse().unwrap(),
            ..options()
        };
        let names = names(&options, options.grpc);
        for name in ["gateway.example", "other.example", "2001:db8::7", "127.0.0.1", "localhost"] {
            assert_eq!(names.iter().filter(|known| *known == name).count(), 1, "{names:?}");
        }
        assert!(!names.iter().any(|name| name == "0.0.0.0"), "{names:?}");
    }
}
