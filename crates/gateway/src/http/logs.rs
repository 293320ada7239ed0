//! GET /api/v1/task/{workspace}/{task}/logs: what a task wrote.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::error::HttpError;
use super::task::own_task;
use crate::auth::Caller;
use crate::shared::SharedRef;

const CHUNK: usize = 64 * 1024;
/// Chunks that may wait for a client that reads slowly.
const QUEUE: usize = 4;

/// What the client may ask for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Stay until the task has ended.
    #[serde(default)]
    follow: bool,
    /// Bytes to leave out at the start.
    #[serde(default)]
    #[param(value_type = usize)]
    offset: u64,
}

/// What a task wrote, as plain text.
#[utoipa::path(get, path = "/api/v1/task/{workspace}/{task}/logs", tag = "tasks",
    params(("workspace" = String, Path, description = "The workspace's id"),
        ("task" = String, Path, description = "The task's id"), Parameters),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn logs(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path((workspace, task)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, HttpError> {
    let row = own_task(&shared, &caller, &workspace, &task).await?;
    let open = shared.admission.stream(caller.workspace)?;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(QUEUE);
    let mut leave = caller.leave.clone();
    metal9_tasks::spawn_infallible("task log stream", async move {
        let _open = open;
        let mut watch = shared.hub.get(row.id).map(|live| live.watch());
        let mut offset = parameters.offset;
        loop {
            let ended = watch.as_mut().is_none_or(|w| w.borrow_and_update().ended.is_some());
            loop {
                match shared.store.logs().read(row.id, offset, CHUNK).await {
                    Ok(text) if text.is_empty() => break,
                    Ok(text) => {
                        offset += text.len() as u64;
                        if sender.send(Ok(Bytes::from(text))).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        // The client sees a body that breaks off, which is the truth.
                        let _ = sender.send(Err(error)).await;
                        return;
                    }
                }
            }
            let Some(watch) = watch.as_mut().filter(|_| parameters.follow && !ended) else {
                return;
            };
            tokio::select! {
                changed = watch.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
                error = leave.over() => {
                    let _ = sender.send(Err(std::io::Error::other(error.to_string()))).await;
                    return;
                }
                () = shared.shutdown.cancelled() => return,
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    Ok(([("content-type", "text/plain; charset=utf-8")], body).into_response())
}
