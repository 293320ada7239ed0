//! GET /output/id/{id}: a file that a task left, for whoever has a signed address.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use metal9_types::OutputId;

use super::error::HttpError;
use super::file_body;
use crate::error::ApiError;
use crate::presigned::Signature;
use crate::shared::SharedRef;

/// A file that a task left, for whoever has a signed address.
#[utoipa::path(get, path = "/output/id/{id}", tag = "files", security(()),
    params(("id" = String, Path, description = "The output's id"), Signature),
    responses((status = 200, content_type = "application/octet-stream", body = [u8]),
        (status = 206, content_type = "application/octet-stream", body = [u8]),
        (status = 416, description = "The file does not have this range")))]
pub(super) async fn get(
    State(shared): State<SharedRef>,
    Path(id): Path<String>,
    address: Uri,
    Query(signature): Query<Signature>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    shared.check_presigned("GET", address.path(), &signature)?;
    let gone = || ApiError::NotFound { kind: "output", id: id.clone() };
    let id: OutputId = id.parse().map_err(|_| gone())?;
    let row = shared.store.output(id).await?.ok_or_else(gone)?;
    let file = shared.store.output_file(id).await?;
    file_body::answer(file, row.size, &row.filename, &headers).await
}
