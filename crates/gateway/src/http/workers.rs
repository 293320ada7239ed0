//! /api/v1/worker: the workers that have joined, and who may no longer be one.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use metal9_core::WorkerView;
use metal9_proto::worker as wire;
use metal9_store::WorkerRow;
use metal9_types::WorkerId;
use serde::Serialize;
use utoipa::ToSchema;
use wire::gateway_message::Message;

use super::error::{HttpError, Refused};
use crate::auth::Caller;
use crate::cordon::shut_out;
use crate::error::ApiError;
use crate::shared::SharedRef;
use crate::timestamps::to_rfc3339;

/// How long a worker may take to get a new credential.
const ROTATION: Duration = Duration::from_secs(15);
/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A worker that has joined.
#[derive(Debug, Serialize, ToSchema)]
struct JoinedWorker {
    id: String,
    hostname: String,
    pool: String,
    /// `connected`, `away`, `suspect`, `leaving` or `revoked`.
    state: &'static str,
    joined_at: String,
    last_seen: String,
    rotated_at: Option<String>,
    revoked_at: Option<String>,
}

/// Workers that have joined.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerList {
    workers: Vec<JoinedWorker>,
}

/// What became of a worker.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerState {
    id: String,
    /// `revoked` or `removed`.
    state: &'static str,
}

/// A worker that has a new credential.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rotated {
    id: String,
    rotated_at: Option<String>,
}

/// Every worker that has joined.
#[utoipa::path(get, path = "/api/v1/worker", tag = "workers",
    responses((status = 200, body = WorkerList)))]
pub(super) async fn list(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<WorkerList>, HttpError> {
    caller.require_client()?;
    let rows = shared.store.list_workers(caller.workspace).await?;
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let workers = rows
        .iter()
        .map(|row| {
            let view = views.iter().find(|view| view.worker == row.id);
            JoinedWorker {
                id: row.id.to_string(),
                hostname: row.hostname.clone(),
                pool: row.pool.clone(),
                state: state(row, view),
                joined_at: to_rfc3339(row.joined_at),
                last_seen: to_rfc3339(row.last_seen),
                rotated_at: row.rotated_at.map(to_rfc3339),
                revoked_at: row.revoked_at.map(to_rfc3339),
            }
        })
        .collect();
    Ok(Json(WorkerList { workers }))
}

fn state(row: &WorkerRow, view: Option<&WorkerView>) -> &'static str {
    if row.revoked_at.is_some() {
        return "revoked";
    }
    match view {
        Some(view) if view.leaving => "leaving",
        Some(view) if view.session.is_some() && view.suspect => "suspect",
        Some(view) if view.session.is_some() => "connected",
        _ => "away",
    }
}

fn missing(id: &str) -> ApiError {
    ApiError::NotFound { kind: "worker", id: id.to_owned() }
}

fn worker_id(id: &str) -> Result<WorkerId, ApiError> {
    id.parse().map_err(|_| missing(id))
}

/// The worker is cut off at once, and its credential is good for nothing.
#[utoipa::path(post, path = "/api/v1/worker/{id}/revoke", tag = "workers",
    params(("id" = String, Path, description = "The worker's id")),
    responses((status = 200, body = WorkerState)))]
pub(super) async fn revoke(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<WorkerState>, HttpError> {
    caller.require_owner()?;
    let worker = worker_id(&id)?;
    if !shared.store.by(&caller.actor).revoke_worker(caller.workspace, worker).await? {
        return Err(missing(&id).into());
    }
    shut_out(&shared, worker).await?;
    Ok(Json(WorkerState { id, state: "revoked" }))
}

/// The worker is cut off at once, and forgotten.
#[utoipa::path(delete, path = "/api/v1/worker/{id}", tag = "workers",
    params(("id" = String, Path, description = "The worker's id")),
    responses((status = 200, body = WorkerState)))]
pub(super) async fn remove(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<WorkerState>, HttpError> {
    caller.require_owner()?;
    let worker = worker_id(&id)?;
    if !shared.store.by(&caller.actor).remove_worker(caller.workspace, worker).await? {
        return Err(missing(&id).into());
    }
    shut_out(&shared, worker).await?;
    Ok(Json(WorkerState { id, state: "removed" }))
}

/// The worker gets a new credential; answers once the worker uses it.
#[utoipa::path(post, path = "/api/v1/worker/{id}/rotate", tag = "workers",
    params(("id" = String, Path, description = "The worker's id")),
    responses((status = 200, body = Rotated),
        (status = 409, description = "The worker is not connected", body = Refused)))]
pub(super) async fn rotate(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Rotated>, HttpError> {
    caller.require_owner()?;
    let worker = worker_id(&id)?;
    let rotated = async || -> Result<_, ApiError> {
        let rows = shared.store.list_workers(caller.workspace).await?;
        let row = rows.into_iter().find(|row| row.id == worker).ok_or_else(|| missing(&id))?;
        Ok(row.rotated_at)
    };
    let before = rotated().await?;
    let sessions = shared.fleet.connections();
    let Some((session, _)) = sessions.iter().rev().find(|(_, it)| it.worker == worker) else {
        let text = "the worker is not connected; it can get a new credential only while it is";
        return Err(ApiError::Conflict(text.into()).into());
    };
    let wanted = caller.actor.did("worker.rotate", &id).with("asked for");
    shared.store.audit(wanted).await?;
    shared.fleet.send(*session, Message::RotateCredential(wire::RotateCredential {}).into());
    let done = tokio::time::timeout(ROTATION, async {
        loop {
            match rotated().await {
                Ok(now) if now == before => tokio::time::sleep(LOOK_EVERY).await,
                other => return other,
            }
        }
    });
    match done.await {
        Ok(at) => {
            let rotated_at = at?.map(to_rfc3339);
            Ok(Json(Rotated { id, rotated_at }))
        }
        Err(_) => {
            let text = "the worker has not taken its new credential yet; it keeps the old one \
                        until it does";
            Err(ApiError::Unavailable(text).into())
        }
    }
}
