//! Files that tasks leave: who may have them, and where.

use metal9_store::OutputRow;
use metal9_types::{OutputId, TaskId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::{Caller, Rights};
use crate::error::ApiError;
use crate::shared::Shared;
use crate::validate::{refuse, shown};

/// How long the addresses that a task tells of its outputs are good for, in seconds.
const TOLD_SECONDS: u32 = 3600;

/// The address of an output, good for a while.
pub(crate) fn address(shared: &Shared, id: OutputId, seconds: u32) -> Result<String, ApiError> {
    shared.presign("GET", &format!("/output/id/{id}"), seconds)
}

/// A task whose outputs the caller may have: one of its workspace, for a job only its own.
pub(crate) async fn task_of(
    shared: &Shared,
    caller: &Caller,
    task: &str,
) -> Result<TaskId, ApiError> {
    let missing = || ApiError::NotFound { kind: "task", id: shown(task) };
    let id: TaskId = task.parse().map_err(|_| missing())?;
    match caller.rights {
        Rights::Job(own) => return of_job(shared, caller, own, id).await,
        Rights::Owner | Rights::Restricted => {}
    }
    let row = shared.store.task(id).await?.filter(|row| row.workspace == caller.workspace);
    row.map(|row| row.id).ok_or_else(missing)
}

/// A task whose outputs a job may have: its own, or a request that its container serves or has served.
async fn of_job(
    shared: &Shared,
    caller: &Caller,
    own: TaskId,
    wanted: TaskId,
) -> Result<TaskId, ApiError> {
    let serving = shared.endpoints.container_of(own);
    if own == wanted {
        return match shared.endpoints.is_hold(own) {
            true => Err(refuse(
                "a container that serves requests has no task of its own to keep an output with",
                "save it while a request is served",
            )),
            false => Ok(own),
        };
    }
    if let Some(row) = shared.endpoints.served_by(own, wanted) {
        // Requests are written down late, and what a task leaves is kept with it.
        shared.store.record_request(row).await?;
        return Ok(wanted);
    }
    if let Some(container) = serving
        && let Some(row) = shared.store.task(wanted).await?
        && (row.workspace, row.container) == (caller.workspace, Some(container))
    {
        return Ok(wanted);
    }
    Err(ApiError::Forbidden("a job has only its own task's outputs"))
}

/// An output that the caller may have.
pub(crate) async fn output_of(
    shared: &Shared,
    caller: &Caller,
    task: &str,
    id: &str,
) -> Result<OutputRow, ApiError> {
    let missing = || ApiError::NotFound { kind: "output", id: shown(id) };
    let task = task_of(shared, caller, task).await?;
    let id: OutputId = id.parse().map_err(|_| missing())?;
    let row = shared.store.output(id).await?;
    row.filter(|row| row.task == task && row.workspace == caller.workspace).ok_or_else(missing)
}

/// A file that a task left.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Output {
    id: String,
    /// The file's name.
    name: String,
    /// Bytes.
    size: u64,
    /// Where it is, for whoever has the address.
    url: String,
    /// Seconds for which the address is good.
    expires_in: u32,
}

/// A task's outputs as REST clients read them.
pub(crate) async fn told(shared: &Shared, task: TaskId) -> Result<Vec<Output>, ApiError> {
    let rows = shared.store.task_outputs(task).await?;
    let told = rows.into_iter().map(|row| {
        Ok(Output {
            id: row.id.to_string(),
            name: row.filename,
            size: row.size,
            url: address(shared, row.id, TOLD_SECONDS)?,
            expires_in: TOLD_SECONDS,
        })
    });
    told.collect()
}
