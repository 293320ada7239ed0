//! /api/v1/worker/join-tokens: tokens by which machines join the fleet.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::SharedRef;
use crate::timestamps::{now as unix_micros, to_rfc3339};

const DEFAULT_TTL_SECONDS: u64 = 30 * 60;
const MAX_TTL_SECONDS: u64 = 30 * 24 * 3600;

/// What the client may ask for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    #[serde(default = "default_pool")]
    pool: String,
    #[serde(default = "default_ttl")]
    ttl_seconds: u64,
    #[serde(default = "yes")]
    single_use: bool,
}

fn default_pool() -> String {
    "default".to_owned()
}

fn default_ttl() -> u64 {
    DEFAULT_TTL_SECONDS
}

fn yes() -> bool {
    true
}

/// Makes a join token; it is told here and never again.
pub(super) async fn create(
    State(shared): State<SharedRef>,
    caller: Caller,
    Json(wish): Json<Wish>,
) -> Result<Json<Value>, HttpError> {
    // Every workspace's jobs run on every worker, so nobody else may say which machines those are.
    shared.require_operator(&caller).await?;
    if wish.pool.is_empty() || wish.ttl_seconds == 0 || wish.ttl_seconds > MAX_TTL_SECONDS {
        let text = format!("a join token needs a pool and 1 to {MAX_TTL_SECONDS} seconds to live");
        return Err(ApiError::Invalid(text).into());
    }
    let ttl = Duration::from_secs(wish.ttl_seconds);
    let by = shared.store.by(&caller.actor);
    let (id, token) =
        by.create_join_token(caller.workspace, &wish.pool, ttl, wish.single_use).await?;
    let gateway = format!("{}:{}", shared.advertised_host(), shared.grpc_addr.port());
    let certificates = shared.certificates.as_ref();
    // A certificate of somebody else's is renewed with keys that nobody knows yet.
    let own = certificates.filter(|certificates| certificates.authority().is_some());
    let fingerprint = own.and_then(|own| own.fingerprint()).map(|print| print.to_string());
    Ok(Json(json!({
        "id": id.to_string(),
        "token": token,
        "gateway": gateway,
        "pool": wish.pool,
        "tls": certificates.is_some(),
        "fingerprint": fingerprint,
    })))
}

/// GET: join tokens without their secrets.
pub(super) async fn list(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<Value>, HttpError> {
    caller.require_owner()?;
    let rows = shared.store.list_join_tokens(caller.workspace).await?;
    let now = unix_micros();
    let tokens: Vec<Value> = rows
        .iter()
        .map(|row| {
            let state = if row.revoked {
                "revoked"
            } else if row.expires_at <= now {
                "expired"
            } else if row.single_use && row.used > 0 {
                "used"
            } else {
                "open"
            };
            json!({
                "id": row.id.to_string(),
                "pool": row.pool,
                "single_use": row.single_use,
                "used": row.used,
                "state": state,
                "expires_at": to_rfc3339(row.expires_at),
                "created_at": to_rfc3339(row.created_at),
            })
        })
        .collect();
    Ok(Json(json!({ "join_tokens": tokens })))
}

/// DELETE: nobody joins with the token any more.
pub(super) async fn revoke(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    caller.require_owner()?;
    let missing = || ApiError::NotFound { kind: "join token", id: id.clone() };
    let name = id.parse().map_err(|_| missing())?;
    if !shared.store.by(&caller.actor).revoke_join_token(caller.workspace, name).await? {
        return Err(missing().into());
    }
    Ok(Json(json!({ "id": id })))
}
