//! DeleteToken.

use metal9_proto::beta9::gateway::{DeleteTokenRequest, DeleteTokenResponse};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Deletes a token; it is refused from then on.
pub(super) async fn delete(
    shared: &Shared,
    caller: &Caller,
    request: DeleteTokenRequest,
) -> Result<DeleteTokenResponse, ApiError> {
    caller.require_owner()?;
    let missing = || ApiError::NotFound { kind: "token", id: request.token_id.clone() };
    let id = request.token_id.parse().map_err(|_| missing())?;
    if !shared.store.by(&caller.actor).delete_token(caller.workspace, id).await? {
        return Err(missing());
    }
    shared.revocations.revoke(id);
    Ok(DeleteTokenResponse { ok: true, err_msg: String::new() })
}
