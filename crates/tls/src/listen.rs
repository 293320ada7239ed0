//! Accepting connections, with TLS or without.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Stream;

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at a time; further clients wait to be accepted.
const HANDSHAKES: usize = 1024;
/// How long to wait when the system gives no connection, as when files run out.
const PAUSE: Duration = Duration::from_millis(100);
/// The first byte of a TLS handshake.
const HANDSHAKE_RECORD: u8 = 0x16;

const PLAIN_TEXT_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
    connection: close\r\ncontent-length: 57\r\n\r\n\
    {\"message\": \"this port speaks TLS: use https:// instead\"}";

/// Accepts connections; those with TLS once the handshake is done. Handshakes run beside each
/// other, and only while somebody waits for a connection.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
    handshakes: FuturesUnordered<BoxFuture<'static, Option<(Stream, SocketAddr)>>>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Listener {
    /// Accepts from a socket; plain connections if there is no `tls`.
    #[must_use]
    pub fn new(socket: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        Self { socket, tls: tls.map(TlsAcceptor::from), handshakes: FuturesUnordered::new() }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection.
    pub async fn next(&mut self) -> (Stream, SocketAddr) {
        loop {
            tokio::select! {
                accepted = self.socket.accept(), if self.handshakes.len() < HANDSHAKES => {
                    let Some((socket, peer)) = usable(accepted).await else { continue };
                    match &self.tls {
                        None => return (Stream::Plain(socket), peer),
                        Some(tls) => {
                            let shaking = handshake(tls.clone(), socket, peer);
                            self.handshakes.push(Box::pin(shaking));
                        }
                    }
                }
                Some(done) = self.handshakes.next(), if !self.handshakes.is_empty() => {
                    if let Some(connection) = done {
                        return connection;
                    }
                }
            }
        }
    }
}

async fn usable(accepted: io::Result<(TcpStream, SocketAddr)>) -> Option<(TcpStream, SocketAddr)> {
    match accepted {
        Ok((socket, peer)) => {
            // Without it, small answers wait for the client's delayed acknowledgement.
            if let Err(error) = socket.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            Some((socket, peer))
        }
        Err(error) => {
            use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
            let theirs =
                matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset);
            if !theirs {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
            None
        }
    }
}

async fn handshake(
    tls: TlsAcceptor,
    socket: TcpStream,
    peer: SocketAddr,
) -> Option<(Stream, SocketAddr)> {
    let shaking = async {
        let mut first = [0];
        if socket.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
            tracing::debug!(%peer, "a client speaks plain text to a port with TLS");
            let mut socket = socket;
            socket.write_all(PLAIN_TEXT_ANSWER).await?;
            socket.shutdown().await?;
            return Err(io::Error::other("plain text"));
        }
        tls.accept(socket).await
    };
    match tokio::time::timeout(HANDSHAKE, shaking).await {
        Ok(Ok(stream)) => Some((Stream::Tls(Box::new(stream.into())), peer)),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "a TLS handshake took too long");
            None
        }
    }
}
