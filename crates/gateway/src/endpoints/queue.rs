//! The tasks of a queue that somebody tries out. They are requests to its one container, made by the
//! gateway: one after the other for each of its processes, and gone with it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{Request, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use metal9_proto::MAX_MESSAGE_BYTES;
use metal9_store::StubRow;
use metal9_types::TaskId;
use uuid::Uuid;

use super::Access;
use super::forward::travel;
use super::record::Record;
use super::refusal::UNSERVED;
use crate::accept::require_small;
use crate::error::ApiError;
use crate::shared::SharedRef;

/// Puts a task into a queue that is tried out.
///
/// # Errors
/// If nobody tries it out, or the task cannot be written down.
pub(crate) async fn put(
    shared: &SharedRef,
    stub: &Arc<StubRow>,
    arguments: Bytes,
) -> Result<TaskId, ApiError> {
    if !shared.endpoints.is_developed(stub.id) {
        return Err(ApiError::Invalid(UNSERVED.to_owned()));
    }
    require_small(&arguments)?;
    let claim = shared.admission.task(stub.workspace, arguments.len() as u64)?;
    let task = TaskId(Uuid::now_v7());
    let record = Record::new(task, stub);
    // Whoever put it asks what it is as soon as its id is known.
    shared.store.record_request(record.row().clone()).await?;
    let (shared, stub) = (SharedRef::clone(shared), Arc::clone(stub));
    metal9_tasks::spawn_infallible("a task that is tried out", async move {
        let _claim = claim;
        run(&shared, &stub, arguments, record, task).await;
    });
    Ok(task)
}

async fn run(
    shared: &SharedRef,
    stub: &Arc<StubRow>,
    arguments: Bytes,
    record: Record,
    task: TaskId,
) {
    let request = Request::post("/").header("host", "metal9");
    let request = request.header("content-type", "application/json");
    let Ok(request) = request.body(Body::from(arguments)) else { return };
    let access = Access { caller: None, peer: String::new() };
    let answer = travel(shared, stub, access, "", request, (task, Some(record))).await;
    let (parts, mut body) = answer.into_parts();
    let mut result = BytesMut::new();
    let length = parts.headers.get(CONTENT_LENGTH);
    let length: Option<usize> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    // The task is over with the end of the body, so the result is kept before that is looked for.
    while length.is_none_or(|length| result.len() < length) {
        match body.frame().await {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                if result.len() + data.len() > MAX_MESSAGE_BYTES {
                    // The runner refuses one that is so long, so this is not its answer; a part of it
                    // would be taken for the whole.
                    tracing::warn!(%task, "the result of a task is too large to be kept");
                    return;
                }
                result.extend_from_slice(&data);
            }
            Some(Err(_)) | None => break,
        }
    }
    if parts.status == StatusCode::OK
        && let Err(error) = shared.store.keep_result(task, result.freeze()).await
    {
        tracing::warn!(%task, %error, "the result of a task cannot be kept");
    }
}
