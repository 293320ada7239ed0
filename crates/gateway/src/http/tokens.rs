//! /api/v1/token: tokens with names and ends, which the client API does not know.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use metal9_store::{NewToken, TokenKind, TokenRow};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::HttpError;
use super::fields::Fields;
use super::whole;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::SharedRef;
use crate::timestamps::to_rfc3339;

/// A century.
const MAX_TTL_SECONDS: u64 = 36_525 * 24 * 3600;

/// What the client may ask for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenWish)]
pub(super) struct Wish {
    /// `workspace`, or `workspace_restricted` to call but not to administer.
    #[serde(default = "workspace")]
    #[schema(pattern = "^workspace(_restricted)?$")]
    kind: String,
    /// What it is for, in one line.
    #[serde(default)]
    #[schema(max_length = 64, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    name: String,
    /// How long it can be used; for ever if nothing is said.
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(minimum = 1, maximum = 3_155_760_000_u64)]
    ttl_seconds: Option<u64>,
}

fn workspace() -> String {
    TokenKind::Workspace.as_str().to_owned()
}

/// A token without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct Token {
    token_id: String,
    token_type: &'static str,
    name: String,
    /// Whether it is switched on.
    active: bool,
    created_at: String,
    expires_at: Option<String>,
}

/// A token that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewTokenTold {
    #[serde(flatten)]
    token: Token,
    /// The token itself, told this once.
    key: String,
}

/// A workspace's tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenList {
    tokens: Vec<Token>,
}

impl From<&TokenRow> for Token {
    fn from(row: &TokenRow) -> Self {
        Self {
            token_id: row.id.to_string(),
            token_type: row.kind.as_str(),
            name: row.name.clone(),
            active: row.active,
            created_at: to_rfc3339(row.created_at),
            expires_at: row.expires_at.map(to_rfc3339),
        }
    }
}

/// Makes a token; it is told here and never again.
#[utoipa::path(post, path = "/api/v1/token", tag = "tokens", request_body = Wish,
    responses((status = 200, body = NewTokenTold)))]
pub(super) async fn create(
    State(shared): State<SharedRef>,
    caller: Caller,
    Fields(wish): Fields<Wish>,
) -> Result<Json<NewTokenTold>, HttpError> {
    caller.require_owner()?;
    let kind = TokenKind::parse(&wish.kind)
        .filter(|kind| *kind != TokenKind::WorkspacePrimary)
        .ok_or_else(|| {
            ApiError::Invalid(format!(
                "`{}` is not a kind of token; use workspace or workspace_restricted",
                wish.kind
            ))
        })?;
    if wish.ttl_seconds.is_some_and(|ttl| !(1..=MAX_TTL_SECONDS).contains(&ttl)) {
        let text = format!("a token lives 1 to {MAX_TTL_SECONDS} seconds, or until it is deleted");
        return Err(ApiError::Invalid(text).into());
    }
    shared.disk.room_for("the token", 0)?;
    let ttl = wish.ttl_seconds.map(Duration::from_secs);
    let wanted = NewToken { kind, name: wish.name, ttl };
    let by = shared.store.by(&caller.actor);
    let (row, key) = by.create_token(caller.workspace, wanted).await?;
    Ok(Json(NewTokenTold { token: Token::from(&row), key }))
}

/// The workspace's tokens without their secrets.
#[utoipa::path(get, path = "/api/v1/token", tag = "tokens",
    responses((status = 200, body = TokenList)))]
pub(super) async fn list(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<TokenList>, HttpError> {
    caller.require_owner()?;
    let rows = shared.store.list_tokens(caller.workspace).await?;
    Ok(Json(TokenList { tokens: rows.iter().map(Token::from).collect() }))
}
