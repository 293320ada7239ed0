//! The way to the gateway for jobs that have no other: sockets that listen in the job's network and
//! belong to the worker.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::container::Addresses;

/// Connections that one job may have at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 64;

/// What is held of a connection in each direction, in bytes.
const BUFFER: usize = 16 * 1024;

/// How long the gateway may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted, because too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// Relays until it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where the job finds the gateway.
    pub(crate) addresses: Addresses,
    _running: DropGuard,
}

impl Relay {
    /// Relays what comes to the first listener to the gateway's gRPC address, and to the second to
    /// its HTTP address.
    pub(crate) fn start(
        listeners: [std::net::TcpListener; 2],
        gateway: &Addresses,
    ) -> io::Result<Self> {
        let running = CancellationToken::new();
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let [grpc, http] = listeners;
        let start = |listener: std::net::TcpListener, to: &(String, String)| {
            let at = listener.local_addr()?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let accepting = accept(listener, to.clone(), slots.clone(), running.clone());
            let until = running.clone().cancelled_owned();
            metal9_tasks::spawn_infallible("gateway-relay", async move {
                tokio::select! {
                    () = accepting => {}
                    () = until => {}
                }
            });
            io::Result::Ok((at.ip().to_string(), at.port().to_string()))
        };
        let addresses =
            Addresses { grpc: start(grpc, &gateway.grpc)?, http: start(http, &gateway.http)? };
        Ok(Self { addresses, _running: running.drop_guard() })
    }
}

async fn accept(
    listener: TcpListener,
    to: (String, String),
    slots: Arc<Semaphore>,
    running: CancellationToken,
) {
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let (to, until) = (to.clone(), running.clone().cancelled_owned());
                metal9_tasks::spawn_infallible("gateway-relay-connection", async move {
                    tokio::select! {
                        result = carry(socket, &to) => if let Err(error) = result {
                            tracing::debug!(%error, gateway = to.0, "a job's connection failed");
                        },
                        () = until => {}
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a job's connection to the gateway cannot be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn carry(mut socket: TcpStream, (host, port): &(String, String)) -> io::Result<()> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = format_address(host, port);
    let connecting = TcpStream::connect(address);
    let connected = tokio::time::timeout(CONNECT_WITHIN, connecting).await;
    let mut gateway = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    socket.set_nodelay(true)?;
    gateway.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut socket, &mut gateway, BUFFER, BUFFER).await.map(drop)
}

/// `host:port`, with brackets around what is an IPv6 address.
fn format_address(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn listener() -> std::net::TcpListener {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap()
    }

    fn address(listener: &TcpListener) -> (String, String) {
        let address = listener.local_addr().unwrap();
        (address.ip().to_string(), address.port().to_string())
    }

    #[tokio::test]
    async fn what_is_said_reaches_the_gateway_and_the_answer_the_job() {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Addresses { grpc: address(&gateway), http: address(&gateway) };
        let relay = Relay::start([listener(), listener()], &to).unwrap();
        for (host, port) in [&relay.addresses.grpc, &relay.addresses.http] {
            let mut job = TcpStream::connect(format_address(host, port)).await.unwrap();
            job.write_all(b"question").await.unwrap();
            let (mut served, _) = gateway.accept().await.unwrap();
            let mut heard = [0; 8];
            served.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"question");
            served.write_all(b"answer").await.unwrap();
            drop(served);
            let mut answer = String::new();
            job.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "answer");
        }
    }

    #[tokio::test]
    async fn nothing_is_relayed_once_the_container_is_gone() {
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Addresses { grpc: address(&gateway), http: address(&gateway) };
        let relay = Relay::start([listener(), listener()], &to).unwrap();
        let (host, port) = relay.addresses.grpc.clone();
        let mut job = TcpStream::connect(format_address(&host, &port)).await.unwrap();
        let (_served, _) = gateway.accept().await.unwrap();
        drop(relay);
        let end = job.read(&mut [0; 1]).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }

    #[test]
    fn addresses_are_written_as_they_are_connected_to() {
        assert_eq!(format_address("::1", "80"), "[::1]:80");
        assert_eq!(format_address("gateway.example", "80"), "gateway.example:80");
    }
}
