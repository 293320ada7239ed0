//! GET /api/v1/workspace/current/callback-key.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::HttpError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::SharedRef;

/// What the workspace's callbacks are signed with.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CallbackKey {
    /// 32 bytes, in hex.
    key: String,
}

/// The key by which a receiver of callbacks can tell that they are this workspace's: the header
/// `X-Task-Signature` is the HMAC-SHA256 of the body in base64, a colon and `X-Task-Timestamp`.
#[utoipa::path(get, path = "/api/v1/workspace/current/callback-key", tag = "workspaces",
    responses((status = 200, body = CallbackKey)))]
pub(super) async fn get(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<CallbackKey>, HttpError> {
    if caller.require_owner().is_err() {
        // Whoever has the key can make callbacks that look real.
        return Err(ApiError::Forbidden("this token may not read the key of callbacks").into());
    }
    Ok(Json(CallbackKey { key: shared.signer.callback_key(caller.workspace) }))
}
