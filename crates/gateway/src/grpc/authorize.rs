//! Authorize: is this token good? Makes the first workspace on a fresh gateway.

use metal9_proto::beta9::gateway::AuthorizeResponse;
use tonic::metadata::MetadataMap;

use crate::auth::{grpc_bearer, grpc_peer};
use crate::error::ApiError;
use crate::shared::Shared;

/// Checks the caller's token. Without a valid one, and as long as there is no workspace at all, the
/// first workspace is made and its token told, once.
pub(super) async fn authorize(
    shared: &Shared,
    metadata: &MetadataMap,
) -> Result<AuthorizeResponse, ApiError> {
    match shared.caller(grpc_bearer(metadata), grpc_peer(metadata)).await {
        Ok(caller) => Ok(AuthorizeResponse {
            ok: true,
            workspace_id: caller.workspace.to_string(),
            ..Default::default()
        }),
        Err(ApiError::Unauthenticated(reason)) => match shared.store.bootstrap().await? {
            Some(first) => Ok(AuthorizeResponse {
                ok: true,
                workspace_id: first.workspace.to_string(),
                new_token: first.token,
                ..Default::default()
            }),
            None => Ok(AuthorizeResponse { error_msg: reason.to_owned(), ..Default::default() }),
        },
        Err(error) => Err(error),
    }
}
