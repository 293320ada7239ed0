//! /api/v1/worker/join-tokens: tokens by which machines join the fleet.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::HttpError;
use super::fields::Fields;
use super::whole;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::joining::{DEFAULT_POOL, DEFAULT_TTL_SECONDS, invite};
use crate::shared::SharedRef;
use crate::timestamps::{now as unix_micros, to_rfc3339};

/// What the client may ask for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JoinTokenWish)]
pub(super) struct Wish {
    /// The pool of the workers that join with it.
    #[serde(default = "default_pool")]
    #[schema(min_length = 1)]
    pool: String,
    /// How long it can be used.
    #[serde(default = "default_ttl", deserialize_with = "whole::required")]
    #[schema(minimum = 1, maximum = 2_592_000)]
    ttl_seconds: u64,
    /// Whether one worker only may join with it.
    #[serde(default = "yes")]
    single_use: bool,
}

fn default_pool() -> String {
    DEFAULT_POOL.to_owned()
}

fn default_ttl() -> u64 {
    DEFAULT_TTL_SECONDS
}

fn yes() -> bool {
    true
}

/// A join token that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewJoinToken {
    id: String,
    /// The token itself, told this once.
    token: String,
    /// Where workers join.
    gateway: String,
    pool: String,
    /// Whether the gateway speaks TLS.
    tls: bool,
    /// The fingerprint of the gateway's key, if that is its own.
    fingerprint: Option<String>,
    /// What to run on the machine, in a shell.
    command: String,
}

/// A join token without its secret.
#[derive(Debug, Serialize, ToSchema)]
struct JoinToken {
    id: String,
    pool: String,
    single_use: bool,
    /// Workers that joined with it.
    #[schema(value_type = u64)]
    used: i64,
    /// `open`, `used`, `expired` or `revoked`.
    state: &'static str,
    expires_at: String,
    created_at: String,
}

/// Join tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JoinTokenList {
    join_tokens: Vec<JoinToken>,
}

/// What was revoked.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevokedJoinToken {
    id: String,
}

/// Makes a join token; it is told here and never again.
#[utoipa::path(post, path = "/api/v1/worker/join-tokens", tag = "workers", request_body = Wish,
    responses((status = 200, body = NewJoinToken)))]
pub(super) async fn create(
    State(shared): State<SharedRef>,
    caller: Caller,
    Fields(wish): Fields<Wish>,
) -> Result<Json<NewJoinToken>, HttpError> {
    let made = invite(&shared, &caller, &wish.pool, wish.ttl_seconds, wish.single_use).await?;
    Ok(Json(NewJoinToken {
        command: made.command(),
        id: made.id.to_string(),
        token: made.token,
        gateway: made.gateway,
        pool: wish.pool,
        tls: made.tls,
        fingerprint: made.fingerprint,
    }))
}

/// Join tokens without their secrets.
#[utoipa::path(get, path = "/api/v1/worker/join-tokens", tag = "workers",
    responses((status = 200, body = JoinTokenList)))]
pub(super) async fn list(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<JoinTokenList>, HttpError> {
    caller.require_owner()?;
    let rows = shared.store.list_join_tokens(caller.workspace).await?;
    let now = unix_micros();
    let join_tokens = rows
        .iter()
        .map(|row| JoinToken {
            id: row.id.to_string(),
            pool: row.pool.clone(),
            single_use: row.single_use,
            used: row.used,
            state: row.state(now),
            expires_at: to_rfc3339(row.expires_at),
            created_at: to_rfc3339(row.created_at),
        })
        .collect();
    Ok(Json(JoinTokenList { join_tokens }))
}

/// Nobody joins with the token any more; workers that have stay.
#[utoipa::path(delete, path = "/api/v1/worker/join-tokens/{id}", tag = "workers",
    params(("id" = String, Path, description = "The join token's id")),
    responses((status = 200, body = RevokedJoinToken)))]
pub(super) async fn revoke(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<RevokedJoinToken>, HttpError> {
    caller.require_owner()?;
    let missing = || ApiError::NotFound { kind: "join token", id: id.clone() };
    let name = id.parse().map_err(|_| missing())?;
    if !shared.store.by(&caller.actor).revoke_join_token(caller.workspace, name).await? {
        return Err(missing().into());
    }
    Ok(Json(RevokedJoinToken { id }))
}
