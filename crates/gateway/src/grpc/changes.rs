//! Changes of code on their way from a developer's directory to a container.

use metal9_proto::beta9::gateway as wire;
use metal9_proto::worker::workspace_change::Change;
use metal9_proto::worker::{WorkspaceAnswer, WorkspaceChange, WorkspaceFile, WorkspaceMove};
use metal9_tunnel::{read_frame, write_frame};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tonic::Streaming;
use wire::container_stream_message::Payload;
use wire::{
    ContainerStreamMessage, SyncContainerWorkspaceOperation, SyncContainerWorkspaceRequest,
};

use crate::endpoints::take_changes_at;
use crate::serves::Session;
use crate::shared::SharedRef;
use crate::validate::shown;

/// Takes over the changes that a client sends, one after the other, until it sends no more. What
/// cannot be taken over is said in `notes`.
pub(super) async fn take(
    shared: &SharedRef,
    session: Option<&Session>,
    mut messages: Streaming<ContainerStreamMessage>,
    notes: &mpsc::Sender<String>,
) {
    let mut way = Way::default();
    loop {
        let change = match messages.message().await {
            Ok(Some(ContainerStreamMessage {
                payload: Some(Payload::SyncContainerWorkspace(change)),
            })) => change,
            // The client only says that it is there.
            Ok(Some(_)) => continue,
            Ok(None) => return,
            Err(status) => {
                let text = format!("changes are not taken over any more: {}\n", status.message());
                let _ = notes.send(text).await;
                return;
            }
        };
        let path = shown(&change.path);
        let problem = match session {
            None => "this container was not started by `beta9 serve`".to_owned(),
            Some(session) => {
                session.touch();
                let Some(change) = read(change) else { continue };
                match way.make(shared, session, &change).await {
                    Ok(problem) => problem,
                    // The container is gone, which is told by its end.
                    Err(Gone) => return,
                }
            }
        };
        if !problem.is_empty() {
            let text = format!("the change of `{path}` was not taken over: {problem}\n");
            let _ = notes.send(text).await;
        }
    }
}

/// The container takes no changes any more.
struct Gone;

/// The way to the container.
#[derive(Default)]
struct Way(Option<DuplexStream>);

impl Way {
    /// Makes a change; why not, or an empty text.
    async fn make(
        &mut self,
        shared: &SharedRef,
        session: &Session,
        change: &WorkspaceChange,
    ) -> Result<String, Gone> {
        // A way that was cut is opened anew, once; making a change twice is as good as once.
        for _ in 0..2 {
            let io = match &mut self.0 {
                Some(io) => io,
                None => {
                    // What changes while the container is being made waits for it.
                    let place = shared.endpoints.developed(session.stub, true).await.ok_or(Gone)?;
                    match take_changes_at(shared, &place).await {
                        Ok(io) => self.0.insert(io),
                        Err(why) => return Ok(why),
                    }
                }
            };
            let made = async {
                write_frame(io, change).await?;
                read_frame::<WorkspaceAnswer>(io).await
            };
            match made.await {
                Ok(Some(answer)) => return Ok(answer.problem),
                Ok(None) | Err(_) => self.0 = None,
            }
        }
        Ok("the worker does not answer".to_owned())
    }
}

/// What a client's change is to the worker; nothing if it is none. What Python makes of the code on
/// the developer's machine is of no use in the container.
fn read(change: SyncContainerWorkspaceRequest) -> Option<WorkspaceChange> {
    use SyncContainerWorkspaceOperation::{Delete, Moved, Write};
    let is_cache = |path: &str| path.split('/').any(|part| part == "__pycache__");
    let op = change.op();
    let SyncContainerWorkspaceRequest { path, new_path, is_dir, data, .. } = change;
    let change = match op {
        _ if is_cache(&path) || is_cache(&new_path) => return None,
        Write if is_dir => Change::MakeDirectory(path),
        Write => Change::Write(WorkspaceFile { path, data }),
        Delete => Change::Remove(path),
        Moved => Change::Move(WorkspaceMove { from: path, to: new_path }),
    };
    Some(WorkspaceChange { change: Some(change) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(op: SyncContainerWorkspaceOperation, path: &str) -> SyncContainerWorkspaceRequest {
        SyncContainerWorkspaceRequest { op: op.into(), path: path.into(), ..Default::default() }
    }

    #[test]
    fn changes_are_read_as_clients_mean_them() {
        use SyncContainerWorkspaceOperation::{Delete, Write};
        let of = |change| read(change).and_then(|change| change.change);
        assert!(matches!(of(change(Write, "a.py")), Some(Change::Write(_))));
        let directory = SyncContainerWorkspaceRequest { is_dir: true, ..change(Write, ".") };
        assert!(matches!(of(directory), Some(Change::MakeDirectory(_))));
        assert!(matches!(of(change(Delete, "a")), Some(Change::Remove(_))));
        assert!(of(change(Write, "a/__pycache__/b.pyc")).is_none());
    }
}
