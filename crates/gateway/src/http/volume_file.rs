//! GET, HEAD and PUT /volume/file/{workspace}/{volume}/{path}: a file of a volume, for whoever has a
//! signed address.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Response};
use metal9_types::VolumeId;
use metal9_volume::{Files, VolumePath};

use super::error::HttpError;
use super::{file_body, volume_body};
use crate::error::ApiError;
use crate::presigned::Signature;
use crate::shared::{Shared, SharedRef};

type Place = Path<(String, String, String)>;

/// A volume's file, whole or a range of it, for whoever has a signed address; for HEAD only how
/// many bytes there are.
#[utoipa::path(get, path = "/volume/file/{workspace}/{volume}/{*path}", tag = "files", security(()),
    params(("workspace" = String, Path, description = "The workspace's id"),
        ("volume" = String, Path, description = "The volume's id"),
        ("path" = String, Path, description = "The file's path in the volume"), Signature),
    responses((status = 200, content_type = "application/octet-stream", body = [u8]),
        (status = 206, content_type = "application/octet-stream", body = [u8]),
        (status = 416, description = "The file does not have this range")))]
pub(super) async fn get(
    State(shared): State<SharedRef>,
    Path(place): Place,
    method: Method,
    address: Uri,
    Query(signature): Query<Signature>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let (id, path) = find(&shared, &method, &address, &signature, &place).await?;
    let name = path.name().to_owned();
    let read = move |files: &Files, _: &metal9_volume::Staging| files.read(&path);
    let (file, size) = shared.volumes.with(id, read).await?;
    file_body::answer(file, size, &name, &headers).await
}

/// Writes a volume's file, for whoever has a signed address; it exists only once it is whole.
#[utoipa::path(put, path = "/volume/file/{workspace}/{volume}/{*path}", tag = "files", security(()),
    params(("workspace" = String, Path, description = "The workspace's id"),
        ("volume" = String, Path, description = "The volume's id"),
        ("path" = String, Path, description = "The file's path in the volume"), Signature),
    request_body(content_type = "application/octet-stream", content = [u8]),
    responses((status = 200, description = "It is on disk", headers(("etag" = String)))))]
pub(super) async fn put(
    State(shared): State<SharedRef>,
    Path(place): Place,
    method: Method,
    address: Uri,
    Query(signature): Query<Signature>,
    body: Body,
) -> Result<Response, HttpError> {
    let (id, path) = find(&shared, &method, &address, &signature, &place).await?;
    let mut staged = shared.volumes.stage(|staging| staging.file()).await?;
    let mut pieces = volume_body::Pieces::new(&shared, body, None);
    while let Some(bytes) = pieces.next().await? {
        let write = move |_: &metal9_volume::Staging| {
            staged.write(&bytes)?;
            Ok(staged)
        };
        staged = shared.volumes.stage(write).await?;
    }
    let etag = pieces.etag();
    shared.volumes.with(id, move |files, _| files.place(staged, &path)).await?;
    shared.store.touch_volume(id).await?;
    Ok([("etag", etag)].into_response())
}

/// The volume and path that an address is good for.
async fn find(
    shared: &Shared,
    method: &Method,
    address: &Uri,
    signature: &Signature,
    (workspace, volume, path): &(String, String, String),
) -> Result<(VolumeId, VolumePath), ApiError> {
    shared.check_presigned(method.as_str(), address.path(), signature)?;
    let missing = || ApiError::NotFound { kind: "volume", id: volume.clone() };
    let workspace = workspace.parse().map_err(|_| missing())?;
    let id = volume.parse().map_err(|_| missing())?;
    // It may have been deleted since the address was made.
    let row = shared.store.volume(workspace, id).await?.ok_or_else(missing)?;
    Ok((row.id, VolumePath::parse(path)?))
}
