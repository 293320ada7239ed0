//! HTTP/1.1 over tunnels, and tunnels that wait for the next request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use metal9_types::TaskId;

use super::book::Place;
use super::tunnels::{OpenError, Tunnels};
use crate::shared::Shared;

/// Tunnels of one process that may wait. More are rarely busy at a time for long.
const WAITING: usize = 64;

/// Bytes that are read ahead of an answer, which is also the most that its headers may have.
const READ_AHEAD: usize = 64 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error(transparent)]
    Tunnel(#[from] OpenError),
    #[error("the container does not speak HTTP")]
    Http(#[source] hyper::Error),
}

/// Connects to a place.
pub(super) async fn connect(
    shared: &Shared,
    place: &Place,
) -> Result<SendRequest<Body>, ConnectError> {
    let io = Tunnels::open(shared, place).await?;
    let mut builder = Builder::new();
    builder.max_buf_size(READ_AHEAD);
    let (sender, connection) =
        builder.handshake(TokioIo::new(io)).await.map_err(ConnectError::Http)?;
    metal9_tasks::spawn_infallible("endpoint connection", async move {
        // Whoever sent a request is told of its end.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a container ended");
        }
    });
    Ok(sender)
}

type Idle = HashMap<TaskId, HashMap<u32, Vec<SendRequest<Body>>>>;

/// Connections that wait for the next request, by hold and process.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Idle>);

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that waits, the one used last.
    pub(super) fn take(&self, place: &Place) -> Option<SendRequest<Body>> {
        let mut idle = self.lock();
        let waiting = idle.get_mut(&place.hold)?.get_mut(&place.process)?;
        while let Some(connection) = waiting.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection whose request is over.
    pub(super) fn put(&self, place: &Place, connection: SendRequest<Body>) {
        if connection.is_closed() {
            return;
        }
        let mut idle = self.lock();
        let waiting = idle.entry(place.hold).or_default().entry(place.process).or_default();
        waiting.retain(|other| !other.is_closed());
        if waiting.len() < WAITING {
            waiting.push(connection);
        }
    }

    /// Closes what waits for a hold that is over.
    pub(super) fn forget(&self, hold: TaskId) {
        self.lock().remove(&hold);
    }
}
