//! StopTasks: cancel.

use std::time::Duration;

use metal9_proto::beta9::gateway::{StopTasksRequest, StopTasksResponse};
use metal9_types::{Failure, FailureKind, TaskId};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// How long the answer waits for the cancellation to be durable.
const WAIT: Duration = Duration::from_secs(10);

/// Cancels tasks and answers when that is durable. A task that has ended already is no error.
pub(super) async fn stop(
    shared: &Shared,
    caller: &Caller,
    request: StopTasksRequest,
) -> Result<StopTasksResponse, ApiError> {
    caller.require_client()?;
    let mut tasks = Vec::with_capacity(request.task_ids.len());
    for text in &request.task_ids {
        let missing = || ApiError::NotFound { kind: "task", id: text.clone() };
        let task: TaskId = text.parse().map_err(|_| missing())?;
        let row = shared.store.task(task).await?.ok_or_else(missing)?;
        if row.workspace != caller.workspace {
            return Err(missing());
        }
        tasks.push(task);
    }
    for task in tasks {
        if shared.endpoints.cancel(task) {
            shared.store.audit(caller.actor.did("task.cancel", task.to_string())).await?;
            continue;
        }
        let Some(live) = shared.hub.get(task) else { continue };
        shared.store.audit(caller.actor.did("task.cancel", task.to_string())).await?;
        let failure = Failure::new(FailureKind::Cancelled, "cancelled by its user");
        shared.driver.cancel(task, failure).await?;
        let mut watch = live.watch();
        let ended = watch.wait_for(|snapshot| snapshot.ended.is_some());
        if tokio::time::timeout(WAIT, ended).await.is_err() {
            return Err(ApiError::Unavailable("the cancellation is slow to be stored; ask again"));
        }
    }
    Ok(StopTasksResponse { ok: true, err_msg: String::new() })
}
