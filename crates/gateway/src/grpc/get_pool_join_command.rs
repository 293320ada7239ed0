//! GetPoolJoinCommand: what machines run to join a pool.

use metal9_proto::beta9::gateway::{GetPoolJoinCommandRequest, GetPoolJoinCommandResponse};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::joining::{self, DEFAULT_TTL_SECONDS};
use crate::shared::Shared;
use crate::{pools, timestamps};

/// Makes a token with which any number of machines may join the pool, and the command that uses it.
pub(super) async fn get(
    shared: &Shared,
    caller: &Caller,
    request: GetPoolJoinCommandRequest,
) -> Result<GetPoolJoinCommandResponse, ApiError> {
    shared.require_operator(caller).await?;
    pools::require(shared, caller, &request.pool_name).await?;
    let ttl = match request.ttl.trim() {
        "" => DEFAULT_TTL_SECONDS,
        text => metal9_types::seconds(text).map_err(ApiError::Invalid)?,
    };
    let invitation = joining::invite(shared, caller, &request.pool_name, ttl, false).await?;
    Ok(GetPoolJoinCommandResponse {
        ok: true,
        err_msg: String::new(),
        command: invitation.command(),
        expires_at: Some(timestamps::to_proto(invitation.expires_at)),
        token: invitation.token,
    })
}
