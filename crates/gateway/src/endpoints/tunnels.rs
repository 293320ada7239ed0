//! The way to a container: a tunnel that its worker opens when it is asked to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use metal9_proto::worker as wire;
use metal9_types::WorkerId;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Response, Status, Streaming};
use wire::TunnelMessage;
use wire::gateway_message::Message;

use super::book::Place;
use crate::shared::Shared;

/// How long a worker may take to open a tunnel.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Messages of one tunnel that may wait for the connection.
const QUEUE: usize = 8;

/// Bytes between HTTP and a tunnel.
const BUFFER: usize = 64 * 1024;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// The worker has no session.
    #[error("the worker is not connected")]
    Away,
    /// The worker does not answer.
    #[error("the worker did not open a tunnel within {} s", OPEN_WITHIN.as_secs())]
    Slow,
    /// The worker says so.
    #[error("{0}")]
    Refused(String),
}

type Opened = Result<DuplexStream, String>;

#[derive(Debug)]
struct Expected {
    worker: WorkerId,
    answer: oneshot::Sender<Opened>,
}

/// Tunnels that workers were asked for.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    next: AtomicU64,
    expected: Mutex<HashMap<u64, Expected>>,
}

/// A tunnel that is waited for; when dropped, it is waited for no more.
struct Wanted<'a>(&'a Tunnels, u64);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

impl Tunnels {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Expected>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a tunnel to a place.
    pub(super) async fn open(shared: &Shared, place: &Place) -> Result<DuplexStream, OpenError> {
        let (container_id, process) = (place.container.0, place.process);
        Self::ask(shared, place.worker, |tunnel_id| {
            Message::OpenTunnel(wire::OpenTunnel { tunnel_id, container_id, process })
        })
        .await
    }

    /// Opens one by which the code of a container changes.
    pub(super) async fn open_workspace(
        shared: &Shared,
        place: &Place,
    ) -> Result<DuplexStream, OpenError> {
        let container_id = place.container.0;
        Self::ask(shared, place.worker, |tunnel_id| {
            Message::OpenWorkspace(wire::OpenWorkspace { tunnel_id, container_id })
        })
        .await
    }

    async fn ask(
        shared: &Shared,
        worker: WorkerId,
        message: impl FnOnce(u64) -> Message,
    ) -> Result<DuplexStream, OpenError> {
        let tunnels = &shared.endpoints.tunnels;
        let id = tunnels.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        tunnels.lock().insert(id, Expected { worker, answer });
        let _wanted = Wanted(tunnels, id);
        if !shared.fleet.tell(worker, message(id)) {
            return Err(OpenError::Away);
        }
        match tokio::time::timeout(OPEN_WITHIN, answered).await {
            Ok(Ok(Ok(io))) => Ok(io),
            Ok(Ok(Err(refusal))) => Err(OpenError::Refused(refusal)),
            Ok(Err(_)) | Err(_) => Err(OpenError::Slow),
        }
    }

    /// Takes a tunnel that a worker opens. One that nobody asked this worker for is refused.
    pub(crate) async fn accept(
        &self,
        worker: WorkerId,
        mut messages: Streaming<TunnelMessage>,
    ) -> Result<Response<BoxStream<TunnelMessage>>, Status> {
        let first = tokio::time::timeout(OPEN_WITHIN, messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the tunnel was not named"))??
            .ok_or_else(|| Status::invalid_argument("a tunnel begins with its name"))?;
        let expected = {
            let mut all = self.lock();
            let its = all.get(&first.tunnel_id).is_some_and(|it| it.worker == worker);
            if its { all.remove(&first.tunnel_id) } else { None }
        };
        let expected = expected.ok_or_else(|| Status::not_found("nobody waits for this tunnel"))?;
        if !first.refusal.is_empty() {
            let _ = expected.answer.send(Err(first.refusal));
            return Ok(Response::new(Box::pin(futures::stream::empty())));
        }
        let (near, far) = tokio::io::duplex(BUFFER);
        let (out, queued) = mpsc::channel(QUEUE);
        metal9_tasks::spawn_infallible("tunnel", async move {
            if let Err(error) = metal9_tunnel::carry(far, messages, out).await {
                tracing::debug!(%error, "a tunnel was cut");
            }
        });
        let _ = expected.answer.send(Ok(near));
        Ok(Response::new(Box::pin(ReceiverStream::new(queued).map(Ok))))
    }
}
