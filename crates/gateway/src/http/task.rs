//! GET /api/v1/task/{workspace}/{task}.

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metal9_store::TaskRow;
use metal9_types::{Failure, Phase, StubKind, TaskId, TaskStatus};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::error::HttpError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::outputs::{Output, told};
use crate::shared::Shared;
use crate::shared::SharedRef;
use crate::timestamps::to_rfc3339;

/// A task of the caller's workspace, or "not found".
pub(super) async fn own_task(
    shared: &Shared,
    caller: &Caller,
    workspace: &str,
    task: &str,
) -> Result<TaskRow, ApiError> {
    let missing = || ApiError::NotFound { kind: "task", id: task.to_owned() };
    if workspace != caller.workspace.to_string() {
        return Err(missing());
    }
    let id: TaskId = task.parse().map_err(|_| missing())?;
    let row = shared.store.task(id).await?.ok_or_else(missing)?;
    if row.workspace == caller.workspace { Ok(row) } else { Err(missing()) }
}

/// What a task belongs to.
#[derive(Debug, Serialize, ToSchema)]
struct Reference {
    external_id: String,
}

/// A task's stub.
#[derive(Debug, Serialize, ToSchema)]
struct TaskStub {
    external_id: String,
    name: String,
}

/// A task as the SDK's REST client reads it: `status`, `result` and `outputs` are always there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Task {
    id: String,
    external_id: String,
    /// `PENDING`, `RUNNING`, `COMPLETE`, `ERROR`, `CANCELLED`, `TIMEOUT` or `RETRY`.
    status: &'static str,
    /// Of a task queue's task any JSON, of others `{"base64": "<pickle>"}`; null if there is none.
    #[schema(value_type = Value)]
    result: Option<Box<RawValue>>,
    /// Files that it left.
    outputs: Vec<Output>,
    container_id: Option<String>,
    worker_id: Option<String>,
    stub: TaskStub,
    workspace: Reference,
    /// Attempts begun so far.
    attempts: u32,
    created_at: String,
    updated_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    failure_reason: Option<String>,
    #[schema(value_type = Option<Object>)]
    failure: Option<Failure>,
    /// What took how long.
    #[schema(value_type = Vec<Object>)]
    phases: Vec<Phase>,
}

/// What is told of a task.
pub(super) async fn told_task(shared: &Shared, row: &TaskRow) -> Result<Task, ApiError> {
    let result = match row.status {
        TaskStatus::Complete => shared.store.task_result(row.id).await?,
        _ => None,
    };
    let stub = shared.store.stub(row.stub).await?;
    let as_json = stub.is_some_and(|stub| stub.config.kind == StubKind::Taskqueue);
    let result = result.and_then(|bytes| match as_json {
        // As it was written: Python's numbers have any size.
        true => serde_json::from_slice(&bytes).ok(),
        // A pickle means nothing to JSON; the SDK unpickles this shape.
        false => to_raw_value(&json!({ "base64": STANDARD.encode(bytes) })).ok(),
    });
    Ok(Task {
        id: row.id.to_string(),
        external_id: row.id.to_string(),
        status: row.status.as_str(),
        result,
        outputs: told(shared, row.id).await?,
        container_id: row.container.map(|container| container.api_name(row.kind, row.stub)),
        worker_id: row.worker.map(|worker| worker.to_string()),
        stub: TaskStub { external_id: row.stub.to_string(), name: row.stub_name.clone() },
        workspace: Reference { external_id: row.workspace.to_string() },
        attempts: row.attempts_used,
        created_at: to_rfc3339(row.created_at),
        updated_at: to_rfc3339(row.updated_at),
        started_at: row.started_at.map(to_rfc3339),
        ended_at: row.ended_at.map(to_rfc3339),
        failure_reason: row.failure.as_ref().map(|failure| failure.message.clone()),
        failure: row.failure.clone(),
        phases: row.phases.clone(),
    })
}

/// One task.
#[utoipa::path(get, path = "/api/v1/task/{workspace}/{task}", tag = "tasks",
    params(("workspace" = String, Path, description = "The workspace's id"),
        ("task" = String, Path, description = "The task's id")),
    responses((status = 200, body = Task)))]
pub(super) async fn get(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path((workspace, task)): Path<(String, String)>,
) -> Result<Json<Task>, HttpError> {
    let row = own_task(&shared, &caller, &workspace, &task).await?;
    Ok(Json(told_task(&shared, &row).await?))
}
