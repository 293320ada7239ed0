//! GET /api/v1/stub/{id}/url and /api/v1/deployment/{id}/url: where something is called.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::error::HttpError;
use crate::accept::own_stub;
use crate::auth::Caller;
use crate::deployed;
use crate::shared::SharedRef;

/// Of a stub.
pub(super) async fn stub(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    caller.require_client()?;
    let stub = own_stub(&shared, &caller, &id).await?;
    Ok(Json(json!({ "url": deployed::url(&shared, &stub, None) })))
}

/// Of a deployment.
pub(super) async fn deployment(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    caller.require_client()?;
    let deployment = deployed::own_deployment(&shared, &caller, &id).await?;
    let stub = own_stub(&shared, &caller, &deployment.stub.to_string()).await?;
    Ok(Json(json!({ "url": deployed::url(&shared, &stub, Some(&deployment)) })))
}
