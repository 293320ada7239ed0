//! How jobs reach a gateway that speaks TLS.
//!
//! The SDK speaks TLS only to port 443 and trusts only roots, so jobs are given two ports of this
//! machine's loopback interface; what they send there goes on to the gateway over TLS, once the
//! gateway is known to be the right one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use metal9_tls::{Address, Connector, Protocol, TlsError, Trust};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::event::Welcome;

/// Connections through one port at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 512;

/// Two ports of this machine for the two of the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Relays {
    trust: Trust,
    grpc: Relay,
    http: Relay,
}

/// One port.
#[derive(Clone, Debug)]
struct Relay {
    local: SocketAddr,
    protocol: Protocol,
    target: Arc<RwLock<Option<Connector>>>,
}

impl Relays {
    /// Takes the ports. Nobody gets through before [`Relays::redirect`].
    pub(crate) async fn open(trust: Trust) -> std::io::Result<Self> {
        let grpc = Relay::open(Protocol::Http2).await?;
        let http = Relay::open(Protocol::Http1).await?;
        Ok(Self { trust, grpc, http })
    }

    /// Sends jobs through the ports of this machine instead of to the gateway's own.
    pub(crate) fn redirect(&self, welcome: &mut Welcome) -> Result<(), TlsError> {
        for (relay, address) in [(&self.grpc, &mut welcome.grpc), (&self.http, &mut welcome.http)] {
            let local = (relay.local.ip().to_string(), relay.local.port().to_string());
            let (host, port) = std::mem::replace(address, local);
            let host = host.trim_matches(['[', ']']).to_owned();
            let target = Address { host, port: port.parse().unwrap_or_default(), tls: Some(true) };
            relay.aim(target, &self.trust)?;
        }
        Ok(())
    }
}

impl Relay {
    async fn open(protocol: Protocol) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let local = listener.local_addr()?;
        let relay = Self { local, protocol, target: Arc::default() };
        metal9_tasks::spawn_infallible("relay", relay.clone().serve(listener));
        Ok(relay)
    }

    fn aim(&self, address: Address, trust: &Trust) -> Result<(), TlsError> {
        let mut target = self.target.write().unwrap_or_else(PoisonError::into_inner);
        if target.as_ref().is_none_or(|known| *known.address() != address) {
            *target = Some(Connector::new(address, Some(trust), self.protocol)?);
        }
        Ok(())
    }

    async fn serve(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "a job cannot reach the gateway");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let target = self.target.read().unwrap_or_else(PoisonError::into_inner).clone();
            metal9_tasks::spawn_infallible("relay connection", async move {
                if let Some(target) = target {
                    relay(socket, &target).await;
                }
                drop(place);
            });
        }
    }
}

async fn relay(mut socket: TcpStream, target: &Connector) {
    let mut gateway = match target.connect().await {
        Ok(gateway) => gateway,
        Err(error) => {
            // The job sees its connection close, and tries again as it does without a relay.
            let error = crate::errors::chain(&error);
            tracing::warn!(error, "a job cannot reach the gateway");
            return;
        }
    };
    let _ = socket.set_nodelay(true);
    // How a connection ends is the business of its two ends.
    let _ = tokio::io::copy_bidirectional(&mut socket, &mut gateway).await;
}
