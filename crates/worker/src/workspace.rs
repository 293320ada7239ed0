//! The code of a container that changes under its developer's hands.
//!
//! A container whose code may change has an entry here for as long as it takes changes. They come
//! through a tunnel, are made one after the other in the container's own copy of the code, and the
//! container is told, so that it starts the code anew.

mod reloads;
mod tree;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use metal9_proto::worker::{WorkspaceAnswer, WorkspaceChange};
use metal9_sandbox::Account;
use metal9_tunnel::{FrameError, read_frame, write_frame};
use metal9_types::ContainerId;
use metal9_volume::VolumeError;
use tokio::io::DuplexStream;
use tokio::sync::Notify;

use crate::runner::ContainerDirectory;

pub(crate) use reloads::Reloads;
use tree::Tree;

/// Containers whose code may change. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workspaces(Arc<Mutex<HashMap<ContainerId, Workspace>>>);

/// The code of one container.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    tree: Arc<Mutex<Tree>>,
    changed: Arc<Notify>,
}

/// A container that takes changes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    all: Workspaces,
    container: ContainerId,
    /// What is not whole yet; goes with this.
    _aside: ContainerDirectory,
    /// Tells when the code is to be started anew.
    pub(crate) reloads: Reloads,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.all.lock().remove(&self.container);
    }
}

impl Workspaces {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ContainerId, Workspace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the code of a container may change. `code` is its directory; what is not whole
    /// yet is kept in `aside`, which jobs cannot reach.
    ///
    /// # Errors
    /// When the directory cannot be worked with.
    pub(crate) async fn open(
        &self,
        container: ContainerId,
        code: &Path,
        aside: ContainerDirectory,
        owner: Option<Account>,
    ) -> Result<Open, VolumeError> {
        let (code, path) = (code.to_owned(), aside.path().to_owned());
        let opening = tokio::task::spawn_blocking(move || Tree::open(&code, &path, owner));
        let tree =
            opening.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let changed = Arc::new(Notify::new());
        let reloads = Reloads::new(Arc::clone(&changed));
        let workspace = Workspace { tree: Arc::new(Mutex::new(tree)), changed };
        self.lock().insert(container, workspace);
        Ok(Open { all: self.clone(), container, _aside: aside, reloads })
    }

    /// The code of a container that takes changes.
    pub(crate) fn get(&self, container: ContainerId) -> Option<Workspace> {
        self.lock().get(&container).cloned()
    }
}

impl Workspace {
    /// Makes the changes that come, until no more do.
    ///
    /// # Errors
    /// When the other side does not keep to the protocol.
    pub(crate) async fn follow(self, mut io: DuplexStream) -> Result<(), FrameError> {
        while let Some(change) = read_frame::<WorkspaceChange>(&mut io).await? {
            let problem = self.make(change).await;
            write_frame(&mut io, &WorkspaceAnswer { problem }).await?;
        }
        Ok(())
    }

    /// Makes a change; why not, or an empty text.
    async fn make(&self, change: WorkspaceChange) -> String {
        let tree = Arc::clone(&self.tree);
        let making = tokio::task::spawn_blocking(move || {
            tree.lock().unwrap_or_else(PoisonError::into_inner).make(change)
        });
        match making.await {
            Ok(Ok(effect)) => {
                if effect == tree::Effect::Code {
                    self.changed.notify_one();
                }
                String::new()
            }
            Ok(Err(problem)) => problem,
            Err(error) => format!("the worker failed to make it: {error}"),
        }
    }
}
