//! Tunnels: the gateway asks for one in the session, and the worker dials out for it.

mod place;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metal9_proto::worker::TunnelMessage;
use metal9_types::ContainerId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::InspectReader;

use crate::gateway::Gateway;
use crate::workspace::Workspace;

/// Tunnels that may be open at a time. The gateway opens one for each request that is served.
const MOST: usize = 8192;

/// Messages of one tunnel that may wait for the connection.
const QUEUE: usize = 8;

/// Bytes between a tunnel and the code's files.
const BUFFER: usize = 64 * 1024;

/// How long a process may take to accept a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where the processes of containers are reached. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    containers: Arc<Mutex<HashMap<ContainerId, Served>>>,
    slots: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
struct Served {
    directory: PathBuf,
    processes: u32,
    answered: Arc<AtomicBool>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { containers: Arc::default(), slots: Arc::new(Semaphore::new(MOST)) }
    }
}

/// A container that can be reached, until this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    sockets: Sockets,
    container: ContainerId,
    answered: Arc<AtomicBool>,
}

impl Open {
    /// Is set whenever a process says something.
    pub(crate) fn answered(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.answered)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.sockets.lock().remove(&self.container);
    }
}

impl Sockets {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Served>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the processes of a container are reached in its directory.
    pub(crate) fn open(&self, container: ContainerId, directory: &Path, processes: u32) -> Open {
        let answered = Arc::new(AtomicBool::new(false));
        let directory = directory.to_owned();
        let served = Served { directory, processes, answered: Arc::clone(&answered) };
        self.lock().insert(container, served);
        Open { sockets: self.clone(), container, answered }
    }

    /// Dials the gateway and carries bytes between it and the process, in the background.
    pub(crate) fn carry(
        &self,
        gateway: Gateway,
        tunnel: u64,
        container: ContainerId,
        process: u32,
    ) {
        let served = self.lock().get(&container).cloned();
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            tracing::warn!(%container, "too many tunnels are open");
            return refuse(gateway, tunnel, "the worker carries too many connections");
        };
        let Some(served) = served.filter(|served| process < served.processes) else {
            return refuse(gateway, tunnel, "the container is not on this worker");
        };
        metal9_tasks::spawn_infallible("tunnel", async move {
            let _slot = slot;
            match connect(&served.directory, process).await {
                Ok(socket) => {
                    let answered = served.answered;
                    let told = move |_: &[u8]| answered.store(true, Ordering::Relaxed);
                    carry(&gateway, tunnel, InspectReader::new(socket, told)).await;
                }
                Err(error) => {
                    tracing::debug!(%container, process, %error, "a process cannot be reached");
                    refuse(gateway, tunnel, "the process does not listen");
                }
            }
        });
    }
}

async fn connect(directory: &Path, process: u32) -> std::io::Result<UnixStream> {
    let place = place::Place::of(directory, process)?;
    let connecting = UnixStream::connect(place.path());
    tokio::time::timeout(CONNECT_WITHIN, connecting).await?
}

async fn carry(gateway: &Gateway, tunnel: u64, io: impl AsyncRead + AsyncWrite) {
    let (out, queued) = mpsc::channel(QUEUE);
    let first = TunnelMessage { tunnel_id: tunnel, ..Default::default() };
    // There is room for it, and somebody has the other end.
    let _ = out.try_send(first);
    let messages = match gateway.tunnel(ReceiverStream::new(queued)).await {
        Ok(messages) => messages,
        Err(status) => {
            tracing::debug!(%status, "the gateway does not take a tunnel");
            return;
        }
    };
    if let Err(error) = metal9_tunnel::carry(io, messages, out).await {
        tracing::debug!(error = crate::errors::chain(&error), "a tunnel was cut");
    }
}

/// Dials the gateway and makes the changes of a container's code that come from there, in the
/// background.
pub(crate) fn carry_changes(gateway: Gateway, tunnel: u64, workspace: Option<Workspace>) {
    let Some(workspace) = workspace else {
        return refuse(gateway, tunnel, "the container takes no changes");
    };
    metal9_tasks::spawn_infallible("changes of code", async move {
        let (near, far) = tokio::io::duplex(BUFFER);
        let following = async {
            if let Err(error) = workspace.follow(near).await {
                tracing::debug!(error = crate::errors::chain(&error), "changes were cut off");
            }
        };
        tokio::join!(carry(&gateway, tunnel, far), following);
    });
}

/// Answers that there is no tunnel.
fn refuse(gateway: Gateway, tunnel: u64, why: &'static str) {
    metal9_tasks::spawn_infallible("refuse a tunnel", async move {
        let first =
            TunnelMessage { tunnel_id: tunnel, refusal: why.to_owned(), ..Default::default() };
        if let Err(status) = gateway.tunnel(tokio_stream::once(first)).await {
            tracing::debug!(%status, "the gateway does not hear that there is no tunnel");
        }
    });
}
