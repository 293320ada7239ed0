//! GET /api/v1/workspace/current.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;

/// The caller's workspace.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CurrentWorkspace {
    /// Its id.
    id: String,
    /// The same, under the name that the SDK reads.
    external_id: String,
    /// Its name.
    name: String,
}

/// The workspace that the token belongs to.
#[utoipa::path(get, path = "/api/v1/workspace/current", tag = "workspaces",
    responses((status = 200, body = CurrentWorkspace)))]
pub(super) async fn current(caller: Caller) -> Json<CurrentWorkspace> {
    Json(CurrentWorkspace {
        id: caller.workspace.to_string(),
        external_id: caller.workspace.to_string(),
        name: caller.workspace_name,
    })
}
