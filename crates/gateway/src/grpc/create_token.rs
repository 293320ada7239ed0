//! CreateToken.

use metal9_proto::beta9::gateway::{CreateTokenRequest, CreateTokenResponse};
use metal9_store::{NewToken, TokenKind};

use super::list_tokens::token;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Makes a token; its key is told here and never again.
pub(super) async fn create(
    shared: &Shared,
    caller: &Caller,
    request: CreateTokenRequest,
) -> Result<CreateTokenResponse, ApiError> {
    caller.require_owner()?;
    let kind = match request.token_type.as_str() {
        "" | "workspace" => TokenKind::Workspace,
        "workspace_restricted" => TokenKind::WorkspaceRestricted,
        other => {
            return Err(ApiError::Invalid(format!(
                "`{other}` is not a kind of token; use workspace or workspace_restricted"
            )));
        }
    };
    shared.disk.room_for("the token", 0)?;
    let wanted = NewToken { kind, name: String::new(), ttl: None };
    let (row, key) = shared.store.by(&caller.actor).create_token(caller.workspace, wanted).await?;
    let token = Some(token(&row, key));
    Ok(CreateTokenResponse { ok: true, err_msg: String::new(), token })
}
