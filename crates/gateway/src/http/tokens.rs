//! /api/v1/token: tokens with names and ends, which the client API does not know.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use metal9_store::{NewToken, TokenKind, TokenRow};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::SharedRef;
use crate::timestamps::to_rfc3339;

/// What the client may ask for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default = "workspace")]
    kind: String,
    #[serde(default)]
    name: String,
    ttl_seconds: Option<u64>,
}

fn workspace() -> String {
    TokenKind::Workspace.as_str().to_owned()
}

fn token_json(row: &TokenRow) -> Value {
    json!({
        "token_id": row.id.to_string(),
        "token_type": row.kind.as_str(),
        "name": row.name,
        "active": row.active,
        "created_at": to_rfc3339(row.created_at),
        "expires_at": row.expires_at.map(to_rfc3339),
    })
}

/// POST: makes a token; it is told here and never again.
pub(super) async fn create(
    State(shared): State<SharedRef>,
    caller: Caller,
    Json(wish): Json<Wish>,
) -> Result<Json<Value>, HttpError> {
    caller.require_owner()?;
    let kind = TokenKind::parse(&wish.kind)
        .filter(|kind| *kind != TokenKind::WorkspacePrimary)
        .ok_or_else(|| {
            ApiError::Invalid(format!(
                "`{}` is not a kind of token; use workspace or workspace_restricted",
                wish.kind
            ))
        })?;
    if wish.ttl_seconds == Some(0) {
        return Err(ApiError::Invalid("a token needs at least a second to live".into()).into());
    }
    let ttl = wish.ttl_seconds.map(Duration::from_secs);
    let wanted = NewToken { kind, name: wish.name, ttl };
    let by = shared.store.by(&caller.actor);
    let (row, key) = by.create_token(caller.workspace, wanted).await?;
    let mut answer = token_json(&row);
    answer["key"] = json!(key);
    Ok(Json(answer))
}

/// GET: tokens without their secrets.
pub(super) async fn list(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<Value>, HttpError> {
    caller.require_owner()?;
    let rows = shared.store.list_tokens(caller.workspace).await?;
    let tokens: Vec<Value> = rows.iter().map(token_json).collect();
    Ok(Json(json!({ "tokens": tokens })))
}
