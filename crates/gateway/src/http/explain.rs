//! GET /api/v1/task/{workspace}/{task}/explain: why a task is where it is.

use axum::Json;
use axum::extract::{Path, State};
use metal9_types::TaskStatus;
use serde_json::{Value, json};

use super::error::HttpError;
use super::task::own_task;
use crate::auth::Caller;
use crate::endpoints;
use crate::shared::SharedRef;

/// One sentence for a person, and the details behind it.
pub(super) async fn explain(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path((workspace, task)): Path<(String, String)>,
) -> Result<Json<Value>, HttpError> {
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
    Ok(Json(json!({
        "task_id": row.id.to_string(),
        "status": row.status.as_str(),
        "sentence": sentence,
        "detail": detail,
        "attempts": row.attempts_used,
        "phases": row.phases,
    })))
}
