//! ListTokens.

use metal9_proto::beta9::gateway::{ListTokensRequest, ListTokensResponse, Token};
use metal9_store::TokenRow;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps::to_proto;

/// Lists the workspace's tokens. Their keys are stored only as hashes, so none is told.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    _: ListTokensRequest,
) -> Result<ListTokensResponse, ApiError> {
    caller.require_owner()?;
    let rows = shared.store.list_tokens(caller.workspace).await?;
    let tokens = rows.iter().map(|row| token(row, String::new())).collect();
    Ok(ListTokensResponse { ok: true, err_msg: String::new(), tokens })
}

/// A token as the client API tells it.
pub(super) fn token(row: &TokenRow, key: String) -> Token {
    Token {
        token_id: row.id.to_string(),
        key,
        active: row.active,
        reusable: row.reusable,
        workspace_id: None,
        token_type: row.kind.as_str().to_owned(),
        created_at: Some(to_proto(row.created_at)),
        updated_at: Some(to_proto(row.updated_at)),
    }
}
