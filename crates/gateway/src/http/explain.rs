//! GET /api/v1/task/{workspace}/{task}/explain: why a task is where it is.

use axum::Json;
use axum::extract::{Path, State};
use metal9_types::Phase;
use metal9_types::TaskStatus;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::HttpError;
use super::task::own_task;
use crate::auth::Caller;
use crate::endpoints;
use crate::shared::SharedRef;

/// Why a task is where it is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Explanation {
    task_id: String,
    /// `PENDING`, `RUNNING`, `COMPLETE`, `ERROR`, `CANCELLED`, `TIMEOUT` or `RETRY`.
    status: &'static str,
    /// One sentence for a person.
    sentence: String,
    /// What is behind it.
    detail: Vec<String>,
    /// Attempts begun so far.
    attempts: u32,
    /// What took how long.
    #[schema(value_type = Vec<Object>)]
    phases: Vec<Phase>,
}

/// One sentence for a person on why a task waits or how it ended, and the details behind it.
#[utoipa::path(get, path = "/api/v1/task/{workspace}/{task}/explain", tag = "tasks",
    params(("workspace" = String, Path, description = "The workspace's id"),
        ("task" = String, Path, description = "The task's id")),
    responses((status = 200, body = Explanation)))]
pub(super) async fn explain(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path((workspace, task)): Path<(String, String)>,
) -> Result<Json<Explanation>, HttpError> {
    let row = own_task(&shared, &caller, &workspace, &task).await?;
    let id = row.id;
    let explanation = match endpoints::explain(&shared, &row).await? {
        Some(request) => Some(request),
        None => shared.driver.query(move |core, now| core.explain(now, id)).await?,
    };
    let (sentence, detail) = match (explanation, &row.failure) {
        (Some(explanation), _) => (explanation.sentence, explanation.detail),
        (None, Some(failure)) => (failure.message.clone(), Vec::new()),
        (None, None) if row.status == TaskStatus::Complete => ("complete".to_owned(), Vec::new()),
        (None, None) => (format!("the task is {}", row.status), Vec::new()),
    };
    Ok(Json(Explanation {
        task_id: row.id.to_string(),
        status: row.status.as_str(),
        sentence,
        detail,
        attempts: row.attempts_used,
        phases: row.phases,
    }))
}
