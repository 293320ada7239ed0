//! PUT /volume/part/{upload}/{number}: one part of a file on its way into a volume.

use std::io::Write;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use metal9_types::UploadId;
use metal9_volume::VolumeError;

use super::error::HttpError;
use super::volume_body::Pieces;
use crate::error::ApiError;
use crate::parts;
use crate::presigned::Signature;
use crate::shared::SharedRef;

/// Writes one part of a file on its way into a volume, and answers when it is on disk.
#[utoipa::path(put, path = "/volume/part/{upload}/{number}", tag = "files", security(()),
    params(("upload" = String, Path, description = "The upload's id"),
        ("number" = u32, Path, description = "The part's number, from 1"), Signature),
    request_body(content_type = "application/octet-stream", content = [u8]),
    responses((status = 200, description = "It is on disk", headers(("etag" = String)))))]
pub(super) async fn put(
    State(shared): State<SharedRef>,
    Path((upload, number)): Path<(String, u32)>,
    address: Uri,
    Query(signature): Query<Signature>,
    body: Body,
) -> Result<Response, HttpError> {
    shared.check_presigned("PUT", address.path(), &signature)?;
    let missing = || ApiError::NotFound { kind: "upload", id: upload.clone() };
    let id: UploadId = upload.parse().map_err(|_| missing())?;
    let row = shared.store.upload(id).await?.ok_or_else(missing)?;
    let (start, length) = parts::place(row.size, row.chunk, number).ok_or_else(missing)?;
    let mut file =
        shared.volumes.stage(move |staging| staging.part(&id.to_string(), start)).await?;
    let mut pieces = Pieces::new(&shared, body, Some(length));
    while let Some(bytes) = pieces.next().await? {
        let write = move |_: &metal9_volume::Staging| {
            file.write_all(&bytes).map_err(failed)?;
            Ok(file)
        };
        file = shared.volumes.stage(write).await?;
    }
    let etag = pieces.etag();
    shared.volumes.stage(move |_| file.sync_all().map_err(failed)).await?;
    if !shared.store.upload_part_came(id, number, &etag).await? {
        shared.volumes.stage(move |staging| staging.forget(&id.to_string())).await?;
        return Err(missing().into());
    }
    Ok([("etag", format!("\"{etag}\""))].into_response())
}

fn failed(source: std::io::Error) -> VolumeError {
    VolumeError::Io { doing: "write", path: "a part of a file".to_owned(), source }
}
