//! GET /api/v1/stub/{id}/url and /api/v1/deployment/{id}/url: where something is called.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::HttpError;
use crate::accept::own_stub;
use crate::auth::Caller;
use crate::deployed;
use crate::shared::SharedRef;

/// Where something is called.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Address {
    /// The whole address.
    url: String,
}

/// Where a stub is called.
#[utoipa::path(get, path = "/api/v1/stub/{id}/url", tag = "deployments",
    params(("id" = String, Path, description = "The stub's id")),
    responses((status = 200, body = Address)))]
pub(super) async fn stub(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Address>, HttpError> {
    let stub = own_stub(&shared, &caller, &id).await?;
    Ok(Json(Address { url: deployed::url(&shared, &stub, None) }))
}

/// Where a deployment is called.
#[utoipa::path(get, path = "/api/v1/deployment/{id}/url", tag = "deployments",
    params(("id" = String, Path, description = "The deployment's id")),
    responses((status = 200, body = Address)))]
pub(super) async fn deployment(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Address>, HttpError> {
    let deployment = deployed::own_deployment(&shared, &caller, &id).await?;
    let stub = own_stub(&shared, &caller, &deployment.stub.to_string()).await?;
    Ok(Json(Address { url: deployed::url(&shared, &stub, Some(&deployment)) }))
}
