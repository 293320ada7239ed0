//! POST /api/v1/worker/join-tokens: a token by which a machine joins the fleet.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::SharedRef;

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
    caller.require_owner()?;
    if wish.pool.is_empty() || wish.ttl_seconds == 0 || wish.ttl_seconds > MAX_TTL_SECONDS {
        let text = format!("a join token needs a pool and 1 to {MAX_TTL_SECONDS} seconds to live");
        return Err(ApiError::Invalid(text).into());
    }
    let ttl = Duration::from_secs(wish.ttl_seconds);
    let token =
        shared.store.create_join_token(caller.workspace, &wish.pool, ttl, wish.single_use).await?;
    let gateway = format!("{}:{}", shared.advertised_host(), shared.grpc_addr.port());
    Ok(Json(json!({ "token": token, "gateway": gateway, "pool": wish.pool })))
}
