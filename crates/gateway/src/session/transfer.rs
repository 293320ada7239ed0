//! Streams for what is too large for the session.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use metal9_proto::MAX_MESSAGE_BYTES;
use metal9_proto::worker as wire;
use metal9_store::WorkerRow;
use metal9_types::{AttemptId, ObjectId, WorkerId};
use tonic::{Response, Status, Streaming};

use super::grants::{is_context, stub_at_work};
use super::{BoxStream, PushedResults};
use crate::error::ApiError;
use crate::shared::Shared;

const CHUNK_BYTES: usize = 256 * 1024;

pub(super) async fn fetch_object(
    shared: &Shared,
    worker: &WorkerRow,
    request: &wire::FetchObjectRequest,
) -> Result<Response<BoxStream<wire::Chunk>>, Status> {
    let missing = || ApiError::NotFound { kind: "object", id: request.object_id.clone() };
    let object: ObjectId = request.object_id.parse().map_err(|_| missing())?;
    // A worker runs jobs of every workspace, and gets the code of those that it runs.
    let code = stub_at_work(shared, worker.id, |stub| stub.config.object == object).await?;
    if code.is_none() && !is_context(shared, worker.id, object).await? {
        return Err(missing().into());
    }
    let reader = shared.store.object_reader(object).await.map_err(ApiError::from)?;
    let (_, bytes) = reader.ok_or_else(missing)?;
    let chunks = bytes.map(|chunk| match chunk {
        Ok(data) => Ok(wire::Chunk { data }),
        Err(error) => Err(Status::internal(format!("cannot read the object: {error}"))),
    });
    Ok(Response::new(Box::pin(chunks)))
}

pub(super) async fn fetch_arguments(
    shared: &Shared,
    worker: WorkerId,
    attempt: AttemptId,
) -> Result<Response<BoxStream<wire::Chunk>>, Status> {
    let missing = || ApiError::NotFound { kind: "attempt", id: attempt.to_string() };
    let task = shared.driver.query(move |core, _| {
        let task = core.task(core.attempt_task(attempt)?)?;
        (task.worker == Some(worker)).then_some(task.task)
    });
    let task = task.await?.ok_or_else(missing)?;
    let arguments = shared.store.task_arguments(task).await.map_err(ApiError::from)?;
    let arguments = arguments.ok_or_else(missing)?;
    let starts = (0..arguments.len()).step_by(CHUNK_BYTES);
    let chunks: Vec<_> = starts
        .map(|start| arguments.slice(start..(start + CHUNK_BYTES).min(arguments.len())))
        .map(|data| Ok(wire::Chunk { data }))
        .collect();
    Ok(Response::new(Box::pin(futures::stream::iter(chunks))))
}

pub(super) async fn push_result(
    results: &PushedResults,
    worker: WorkerId,
    mut stream: Streaming<wire::ResultChunk>,
) -> Result<Response<wire::PushResultResponse>, Status> {
    let mut attempt = None;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.message().await? {
        if attempt.is_some_and(|attempt| attempt != AttemptId(chunk.attempt_id)) {
            return Err(Status::invalid_argument("one result at a time"));
        }
        attempt = Some(AttemptId(chunk.attempt_id));
        if bytes.len() + chunk.data.len() > MAX_MESSAGE_BYTES {
            return Err(Status::resource_exhausted("the result is larger than a message may be"));
        }
        bytes.extend_from_slice(&chunk.data);
    }
    let attempt = attempt.ok_or_else(|| Status::invalid_argument("an empty result"))?;
    if !results.put(worker, attempt, Bytes::from(bytes)) {
        return Err(Status::resource_exhausted(
            "too many results of this worker wait for their reports; report those first",
        ));
    }
    Ok(Response::new(wire::PushResultResponse {}))
}
