//! PUT /object/part/{upload}/{number} and /object/whole/{upload}: code on its way in, for whoever
//! has a signed address.

use std::collections::HashSet;
use std::path::Path as FilePath;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use metal9_types::UploadId;
use tokio::io::AsyncWriteExt as _;

use super::error::HttpError;
use super::volume_body::Pieces;
use crate::error::ApiError;
use crate::presigned::Signature;
use crate::shared::SharedRef;
use crate::uploads;

/// Writes one part of a code archive.
#[utoipa::path(put, path = "/object/part/{upload}/{number}", tag = "files", security(()),
    params(("upload" = String, Path, description = "The upload's id"),
        ("number" = u32, Path, description = "The part's number, from 1"), Signature),
    request_body(content_type = "application/octet-stream", content = [u8]),
    responses((status = 200, description = "It has come", headers(("etag" = String)))))]
pub(super) async fn part(
    State(shared): State<SharedRef>,
    Path((upload, number)): Path<(String, u32)>,
    address: Uri,
    Query(signature): Query<Signature>,
    body: Body,
) -> Result<Response, HttpError> {
    shared.check_presigned("PUT", address.path(), &signature)?;
    let (_, etag) = receive(&shared, &upload, number, body).await?;
    Ok([("etag", format!("\"{etag}\""))].into_response())
}

/// Writes a whole code archive, or what has changed since an earlier one. A whole one is looked
/// through and kept before this answers.
#[utoipa::path(put, path = "/object/whole/{upload}", tag = "files", security(()),
    params(("upload" = String, Path, description = "The upload's id"), Signature),
    request_body(content_type = "application/octet-stream", content = [u8]),
    responses((status = 200, description = "It has come", headers(("etag" = String)))))]
pub(super) async fn whole(
    State(shared): State<SharedRef>,
    Path(upload): Path<String>,
    address: Uri,
    Query(signature): Query<Signature>,
    body: Body,
) -> Result<Response, HttpError> {
    shared.check_presigned("PUT", address.path(), &signature)?;
    let (id, etag) = receive(&shared, &upload, 1, body).await?;
    // What has changed is of use only with what was removed, which the client says afterwards.
    if shared.uploads.get(id).is_some_and(|upload| upload.base.is_none()) {
        uploads::finish(&shared, id, HashSet::new()).await?;
    }
    Ok([("etag", format!("\"{etag}\""))].into_response())
}

/// Takes a part in; the upload's id and the part's etag.
async fn receive(
    shared: &SharedRef,
    upload: &str,
    number: u32,
    body: Body,
) -> Result<(UploadId, String), ApiError> {
    let missing = || ApiError::NotFound { kind: "upload", id: upload.to_owned() };
    let id: UploadId = upload.parse().map_err(|_| missing())?;
    let row = shared.uploads.get(id).ok_or_else(missing)?;
    let (start, length) = row.part(number).ok_or_else(missing)?;
    let (file, _writing) = shared.uploads.writer(id, start)?;
    let mut file = tokio::fs::File::from_std(file);
    let failed = |source| uploads::failed("write", FilePath::new("an upload"), source);
    let mut pieces = Pieces::new(shared, body, Some(length));
    while let Some(bytes) = pieces.next().await? {
        file.write_all(&bytes).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    let etag = pieces.etag();
    if !shared.uploads.part_came(id, number, &etag) {
        return Err(missing());
    }
    Ok((id, etag))
}
