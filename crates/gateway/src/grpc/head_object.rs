//! HeadObject: is this code archive here already?

use metal9_proto::beta9::gateway::{HeadObjectRequest, HeadObjectResponse};
use metal9_types::{ObjectId, TaskId};

use crate::auth::{Caller, Rights};
use crate::error::ApiError;
use crate::shared::Shared;

/// Looks an archive up by its content hash. `use_workspace_storage` is what steers the SDK: to
/// CreateObject and addresses for HTTP, or else to PutObjectStream.
///
/// A job has added to its directory, if only what Python compiled, and may upload nothing: what it calls
/// has the code that it has itself.
pub(super) async fn head(
    shared: &Shared,
    caller: &Caller,
    request: HeadObjectRequest,
) -> Result<HeadObjectResponse, ApiError> {
    let known = shared.store.head_object(caller.workspace, &request.hash).await?;
    let object = match caller.rights {
        Rights::Job(task) if known.is_none() => code_of(shared, task).await?,
        _ => known,
    };
    Ok(HeadObjectResponse {
        ok: true,
        exists: object.is_some(),
        object_id: object.map(|id| id.to_string()).unwrap_or_default(),
        use_workspace_storage: shared.options.http_uploads,
        ..Default::default()
    })
}

/// The code of a job.
async fn code_of(shared: &Shared, task: TaskId) -> Result<Option<ObjectId>, ApiError> {
    let stub = match shared.endpoints.stub_of(task) {
        Some(stub) => Some(stub),
        None => shared.store.task(task).await?.map(|row| row.stub),
    };
    let Some(stub) = stub else { return Ok(None) };
    Ok(shared.store.stub(stub).await?.map(|stub| stub.config.object))
}
