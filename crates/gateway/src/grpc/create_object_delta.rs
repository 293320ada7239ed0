//! CreateObjectDelta and CommitObjectDelta: a code archive that is an earlier one but for some
//! files.

use metal9_proto::beta9::gateway as wire;
use metal9_types::ObjectId;
use uuid::Uuid;

use super::create_object::{archive_bytes, content_hash, whole_address};
use crate::archives::announced;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::uploads::{self, Upload};
use crate::validate::shown;

/// Begins the upload of what has changed. Without the earlier archive there is nothing to add it
/// to, and the client sends everything.
pub(super) async fn create(
    shared: &Shared,
    caller: &Caller,
    request: wire::CreateObjectDeltaRequest,
) -> Result<wire::CreateObjectDeltaResponse, ApiError> {
    caller.require_client()?;
    let hash = content_hash(request.hash)?;
    let bytes = archive_bytes(request.delta_size)?;
    let size = announced(request.size)?;
    let base = request.base_object_id.parse().ok();
    let base = match base {
        Some(base) => shared.store.object_file(caller.workspace, base).await?.map(|_| base),
        None => None,
    };
    let Some(base) = base else {
        let id = shown(&request.base_object_id);
        return Ok(wire::CreateObjectDeltaResponse {
            error_msg: ApiError::NotFound { kind: "object", id }.to_string(),
            base_missing: true,
            ..Default::default()
        });
    };
    shared.disk.room_for("the project", bytes)?;
    let object = ObjectId(Uuid::now_v7());
    let mut upload = Upload::new(caller.workspace, object, hash, bytes);
    upload.announced = size;
    upload.base = Some(base);
    let id = shared.uploads.begin(upload)?;
    Ok(wire::CreateObjectDeltaResponse {
        ok: true,
        object_id: object.to_string(),
        presigned_url: whole_address(shared, id)?,
        ..Default::default()
    })
}

/// Makes the archive of the earlier one, without what was removed, and of what has changed.
pub(super) async fn commit(
    shared: &Shared,
    caller: &Caller,
    request: wire::CommitObjectDeltaRequest,
) -> Result<wire::CommitObjectDeltaResponse, ApiError> {
    caller.require_client()?;
    let missing = || ApiError::NotFound { kind: "upload", id: shown(&request.object_id) };
    let object = request.object_id.parse().map_err(|_| missing())?;
    let base = request.base_object_id.parse().map_err(|_| missing())?;
    let found = shared.uploads.changes(caller.workspace, object, base);
    let (id, upload) = found.ok_or_else(missing)?;
    upload.require_whole(None)?;
    let removed = request.removed_paths.into_iter().collect();
    let (object, size) = uploads::finish(shared, id, removed).await?;
    Ok(wire::CommitObjectDeltaResponse {
        ok: true,
        object_id: object.to_string(),
        size: i64::try_from(size).unwrap_or(i64::MAX),
        error_msg: String::new(),
    })
}
