//! Which container serves which stub, written down beside what the driver does, for whoever asks what
//! a container wrote.

use metal9_types::{ContainerId, StubId, TaskId};
use tokio::sync::mpsc;

use crate::shared::SharedRef;

/// Notes that may wait for the store; more are left out, with a warning.
const QUEUE: usize = 4096;

/// What is to be noted of a container that serves requests.
#[derive(Debug)]
pub(super) enum Note {
    /// It serves; its output has the hold's name.
    Serves { hold: TaskId, stub: StubId, container: ContainerId },
    /// It serves no more.
    Served { hold: TaskId },
}

/// Where notes wait.
#[derive(Debug)]
pub(super) struct Notes(mpsc::Sender<Note>);

impl Notes {
    /// Notes written one after the other until the sender is dropped: an end must not come before its
    /// beginning.
    pub(super) fn start(shared: SharedRef) -> Self {
        let (notes, mut inbox) = mpsc::channel(QUEUE);
        metal9_tasks::spawn_infallible("note containers", async move {
            while let Some(note) = inbox.recv().await {
                let noted = match note {
                    Note::Serves { hold, stub, container } => {
                        shared.store.container_serves(hold, stub, container).await
                    }
                    Note::Served { hold } => shared.store.container_served(Some(hold)).await,
                };
                if let Err(error) = noted {
                    tracing::warn!(%error, "a container cannot be noted, so its output is not found");
                }
            }
        });
        Self(notes)
    }

    pub(super) fn add(&self, note: Note) {
        if self.0.try_send(note).is_err() {
            tracing::warn!("the store does not keep up with containers that serve");
        }
    }
}
