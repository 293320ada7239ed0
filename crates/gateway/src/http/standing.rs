//! POST /api/v1/worker/{id}/cordon, /uncordon and /drain.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::auth::Caller;
use crate::cordon::{self, Wish};
use crate::error::ApiError;
use crate::shared::SharedRef;

/// What the client may say of a drain.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    /// How long running calls may go on.
    deadline_seconds: Option<u64>,
}

/// Nothing new for a worker.
pub(super) async fn cordon(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    answer(&shared, &caller, &id, Wish::Cordon).await
}

/// A worker may get work again.
pub(super) async fn uncordon(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    answer(&shared, &caller, &id, Wish::Uncordon).await
}

/// A worker is to become empty.
pub(super) async fn drain(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, HttpError> {
    caller.require_owner()?;
    let drain: Drain = if body.is_empty() {
        Drain::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| ApiError::Invalid(error.to_string()))?
    };
    let within = drain.deadline_seconds.map_or(cordon::DEFAULT_DEADLINE, Duration::from_secs);
    if within > cordon::LONGEST_DEADLINE {
        let most = cordon::LONGEST_DEADLINE.as_secs();
        return Err(ApiError::Invalid(format!("a deadline is at most {most} seconds")).into());
    }
    answer(&shared, &caller, &id, Wish::Drain(within)).await
}

async fn answer(
    shared: &SharedRef,
    caller: &Caller,
    id: &str,
    wish: Wish,
) -> Result<Json<Value>, HttpError> {
    let worker = cordon::carry_out(shared, caller, id, wish).await?;
    let deadline = match wish {
        Wish::Drain(within) => Some(within.as_secs()),
        _ => None,
    };
    Ok(Json(json!({
        "worker_id": worker.to_string(),
        "cordoned": wish != Wish::Uncordon,
        "deadline_seconds": deadline,
    })))
}
