//! GET /api/v1/task/{workspace}/{task}/subscribe: a task's states as they come.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::HttpError;
use super::openapi::ServerSentEvent;
use super::task::{own_task, told_task};
use crate::auth::Caller;
use crate::shared::SharedRef;

/// States that may wait for a client that reads slowly.
const QUEUE: usize = 8;

/// A task's states as server-sent events: one `status` per state with the task in it, the present
/// state first; ends after the last.
#[utoipa::path(get, path = "/api/v1/task/{workspace}/{task}/subscribe", tag = "tasks",
    params(("workspace" = String, Path, description = "The workspace's id"),
        ("task" = String, Path, description = "The task's id")),
    responses((status = 200, content_type = "text/event-stream", body = ServerSentEvent)))]
pub(super) async fn subscribe(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path((workspace, task)): Path<(String, String)>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, HttpError> {
    let row = own_task(&shared, &caller, &workspace, &task).await?;
    let open = shared.admission.stream(caller.workspace)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let mut leave = caller.leave.clone();
    metal9_tasks::spawn_infallible("task subscription", async move {
        let _open = open;
        let live = shared.hub.get(row.id);
        let mut watch = live.as_ref().map(|live| live.watch());
        let mut told = None;
        loop {
            let Ok(Some(row)) = shared.store.task(row.id).await else { return };
            if told != Some(row.status) {
                told = Some(row.status);
                let Ok(told) = told_task(&shared, &row).await else { return };
                let Ok(event) = Event::default().event("status").json_data(told) else { return };
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            if row.status.is_terminal() {
                return;
            }
            let Some(watch) = &mut watch else { return };
            tokio::select! {
                changed = watch.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                _ = leave.over() => return,
                () = shared.shutdown.cancelled() => return,
            }
        }
    });
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::default()))
}
