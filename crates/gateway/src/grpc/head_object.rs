//! HeadObject: is this code archive here already?

use metal9_proto::beta9::gateway::{HeadObjectRequest, HeadObjectResponse};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Looks an archive up by its content hash. `use_workspace_storage` is what steers the SDK: to
/// CreateObject and addresses for HTTP, or else to PutObjectStream.
pub(super) async fn head(
    shared: &Shared,
    caller: &Caller,
    request: HeadObjectRequest,
) -> Result<HeadObjectResponse, ApiError> {
    let object = shared.store.head_object(caller.workspace, &request.hash).await?;
    Ok(HeadObjectResponse {
        ok: true,
        exists: object.is_some(),
        object_id: object.map(|id| id.to_string()).unwrap_or_default(),
        use_workspace_storage: shared.options.http_uploads,
        ..Default::default()
    })
}
