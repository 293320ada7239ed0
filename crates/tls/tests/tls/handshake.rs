use std::path::Path;

use metal9_tls::{
    Address, Certificates, ConnectError, Connector, Fingerprint, Listener, Protocol, Source,
    Stream, Trust,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn own(dir: &Path) -> Certificates {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    Certificates::load(Source::Own { dir: dir.to_owned(), names }).unwrap()
}

async fn listener(certificates: &Certificates) -> (Address, Listener) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string().parse().unwrap();
    let config = certificates.server_config(Protocol::Http2).unwrap();
    (address, Listener::new(socket, Some(config)))
}

/// One try to connect while the server accepts: what the client has, and the server.
async fn connect(
    certificates: &Certificates,
    trust: &Trust,
) -> (Result<Stream, ConnectError>, Option<Stream>) {
    let (address, mut listener) = listener(certificates).await;
    let connector = Connector::new(address, Some(trust), Protocol::Http2).unwrap();
    let mut client = Box::pin(connector.connect());
    let mut accepted = None;
    loop {
        tokio::select! {
            biased;
            (stream, _) = listener.next(), if accepted.is_none() => accepted = Some(stream),
            connected = &mut client => {
                if connected.is_ok() && accepted.is_none() {
                    accepted = Some(listener.next().await.0);
                }
                return (connected, accepted);
            }
        }
    }
}

#[tokio::test]
async fn a_pinned_server_is_known_and_another_is_told_nothing() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let pinned = Trust::Pinned(own(ours.path()).fingerprint().unwrap());
    let (connected, accepted) = connect(&own(theirs.path()), &pinned).await;
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::NotTrusted { .. }), "{error:?}");
    assert!(error.hint().is_some());
    assert!(accepted.is_none(), "no connection came about");

    // The certificate is made anew at every start; the key stays.
    let (connected, accepted) = connect(&own(ours.path()), &pinned).await;
    let (mut client, mut server) = (connected.unwrap(), accepted.unwrap());
    client.write_all(b"hello").await.unwrap();
    client.flush().await.unwrap();
    let mut said = [0; 5];
    server.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
}

#[tokio::test]
async fn the_gateways_own_authority_can_be_trusted() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let certificates = own(dir.path());
    let roots = Trust::Roots(certificates.authority().unwrap());
    connect(&certificates, &roots).await.0.unwrap();
    let other = Trust::Roots(own(other.path()).authority().unwrap());
    let error = connect(&certificates, &other).await.0.unwrap_err();
    assert!(matches!(error, ConnectError::NotTrusted { .. }), "{error:?}");
    let names = vec!["elsewhere.example".to_owned()];
    let renamed = Source::Own { dir: dir.path().to_owned(), names };
    let error = connect(&Certificates::load(renamed).unwrap(), &roots).await.0.unwrap_err();
    assert!(matches!(error, ConnectError::NotTrusted { .. }), "for another name: {error:?}");
}

#[test]
fn keys_are_private_and_made_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let first = own(dir.path()).fingerprint();
    assert_eq!(own(dir.path()).fingerprint(), first);
    for name in ["ca.key", "server.key"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_changed_file_is_shown_once_it_fits_its_key() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = tempfile::tempdir().unwrap();
    let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
    own(first.path());
    own(second.path());
    std::fs::copy(first.path().join("ca.pem"), &certificate).unwrap();
    std::fs::copy(first.path().join("ca.key"), &key).unwrap();
    let source = Source::Files { certificate: certificate.clone(), key: key.clone() };
    let certificates = Certificates::load(source).unwrap();
    let shown: Option<Fingerprint> = certificates.fingerprint();
    std::fs::copy(second.path().join("ca.pem"), &certificate).unwrap();
    let mut reloads = certificates.reloads();
    let error = certificates.reload().unwrap_err();
    assert!(error.hint().is_some(), "the key is still the old one: {error}");
    assert_eq!(certificates.fingerprint(), shown);
    std::fs::copy(second.path().join("ca.key"), &key).unwrap();
    certificates.reload().unwrap();
    assert_ne!(certificates.fingerprint(), shown);
    assert_eq!(reloads.next().await, certificates.fingerprint());
}

#[tokio::test]
async fn a_port_without_tls_is_told_from_an_impostor() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Address = socket.local_addr().unwrap().to_string().parse().unwrap();
    let print: Fingerprint = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    let trust = Trust::Pinned(print);
    let connector = Connector::new(address, Some(&trust), Protocol::Http2).unwrap();
    let answer = async {
        let (mut stream, _) = socket.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (connected, _stream) = tokio::join!(connector.connect(), answer);
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::NoTls { .. }), "{error:?}");
}
