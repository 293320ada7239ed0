//! POST /api/v1/worker/{id}/cordon, /uncordon and /drain.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::error::HttpError;
use super::whole;
use crate::auth::Caller;
use crate::cordon::{self, Wish};
use crate::error::ApiError;
use crate::shared::SharedRef;

/// What the client may say of a drain.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// How long running calls may go on.
    #[serde(default, deserialize_with = "whole::optional")]
    #[schema(maximum = 604_800)]
    deadline_seconds: Option<u64>,
}

/// How a worker stands now.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Standing {
    worker_id: String,
    /// Whether it gets nothing new.
    cordoned: bool,
    /// How long running calls may go on, if it is to become empty.
    deadline_seconds: Option<u64>,
}

/// The worker gets nothing new.
#[utoipa::path(post, path = "/api/v1/worker/{id}/cordon", tag = "workers",
    params(("id" = String, Path, description = "The worker's id")),
    responses((status = 200, body = Standing)))]
pub(super) async fn cordon(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Standing>, HttpError> {
    answer(&shared, &caller, &id, Wish::Cordon).await
}

/// The worker may get work again.
#[utoipa::path(post, path = "/api/v1/worker/{id}/uncordon", tag = "workers",
    params(("id" = String, Path, description = "The worker's id")),
    responses((status = 200, body = Standing)))]
pub(super) async fn uncordon(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Standing>, HttpError> {
    answer(&shared, &caller, &id, Wish::Uncordon).await
}

/// The worker is to become empty.
#[utoipa::path(post, path = "/api/v1/worker/{id}/drain", tag = "workers",
    params(("id" = String, Path, description = "The worker's id")),
    request_body = Option<Drain>, responses((status = 200, body = Standing)))]
pub(super) async fn drain(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Standing>, HttpError> {
    caller.require_owner()?;
    let drain: Drain = if body.is_empty() {
        Drain::default()
    } else {
        // Through a map, since a list is no object without names.
        let fields: Result<Option<Map<String, Value>>, _> = serde_json::from_slice(&body);
        let read =
            fields.and_then(|fields| serde_json::from_value(fields.unwrap_or_default().into()));
        read.map_err(|error| ApiError::Invalid(error.to_string()))?
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
) -> Result<Json<Standing>, HttpError> {
    let worker = cordon::carry_out(shared, caller, id, wish).await?;
    let deadline = match wish {
        Wish::Drain(within) => Some(within.as_secs()),
        _ => None,
    };
    Ok(Json(Standing {
        worker_id: worker.to_string(),
        cordoned: wish != Wish::Uncordon,
        deadline_seconds: deadline,
    }))
}
