//! DeletePool.

use metal9_proto::beta9::gateway::{DeletePoolRequest, DeletePoolResponse};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::pools;
use crate::shared::Shared;

/// Forgets a pool that nothing uses, and takes back the tokens for it.
pub(super) async fn delete(
    shared: &Shared,
    caller: &Caller,
    request: DeletePoolRequest,
) -> Result<DeletePoolResponse, ApiError> {
    caller.require_owner()?;
    let pool = request.name;
    let made = shared.store.pools(caller.workspace).await?;
    if made.iter().all(|row| row.name != pool) {
        pools::require(shared, caller, &pool).await?;
        let text = format!(
            "nobody made pool `{pool}`, so there is nothing to delete: it is there as long as \
             machines are in it or a setting names it"
        );
        return Err(ApiError::Conflict(text));
    }
    pools::require_unused(shared, caller.workspace, &pool).await?;
    shared.store.by(&caller.actor).delete_pool(caller.workspace, &pool).await?;
    Ok(DeletePoolResponse { ok: true, err_msg: String::new() })
}
