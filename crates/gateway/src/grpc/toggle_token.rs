//! ToggleToken: switch a token off, or on again.

use metal9_proto::beta9::gateway::{ToggleTokenRequest, ToggleTokenResponse};

use super::list_tokens::token;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Switches a token.
pub(super) async fn toggle(
    shared: &Shared,
    caller: &Caller,
    request: ToggleTokenRequest,
) -> Result<ToggleTokenResponse, ApiError> {
    caller.require_owner()?;
    let missing = || ApiError::NotFound { kind: "token", id: request.token_id.clone() };
    let id = request.token_id.parse().map_err(|_| missing())?;
    let row = shared.store.by(&caller.actor).toggle_token(caller.workspace, id).await?;
    let row = row.ok_or_else(missing)?;
    if !row.active {
        shared.revocations.revoke(id);
    }
    let token = Some(token(&row, String::new()));
    Ok(ToggleTokenResponse { ok: true, err_msg: String::new(), token })
}
