//! GET /api/v1/workspace/current.

use axum::Json;
use serde_json::{Value, json};

use crate::auth::Caller;

/// The caller's workspace.
pub(super) async fn current(caller: Caller) -> Json<Value> {
    Json(json!({
        "id": caller.workspace.to_string(),
        "external_id": caller.workspace.to_string(),
        "name": caller.workspace_name,
    }))
}
