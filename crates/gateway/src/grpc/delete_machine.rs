//! DeleteMachine: a machine that is expected no more, or that is to be a worker no more.

use metal9_proto::beta9::gateway::{DeleteMachineRequest, DeleteMachineResponse};
use metal9_types::WorkerId;
use uuid::Uuid;

use crate::auth::Caller;
use crate::cordon::shut_out;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps;

/// Takes back the token of a machine that has not joined, or removes the worker of one that has and
/// runs nothing.
pub(super) async fn delete(
    shared: &Shared,
    caller: &Caller,
    request: DeleteMachineRequest,
) -> Result<DeleteMachineResponse, ApiError> {
    caller.require_owner()?;
    let missing = || ApiError::NotFound { kind: "machine", id: request.machine_id.clone() };
    let id: Uuid = request.machine_id.trim().parse().map_err(|_| missing())?;
    let in_pool = |pool: &str| request.pool_name.is_empty() || request.pool_name == pool;
    let store = shared.store.by(&caller.actor);
    let workers = shared.store.list_workers(caller.workspace).await?;
    let worker = workers.iter().find(|row| row.id.0 == id || row.join_token == Some(id));
    if let Some(row) = worker.filter(|row| in_pool(&row.pool)) {
        require_idle(shared, row.id).await?;
        if !store.remove_worker(caller.workspace, row.id).await? {
            return Err(missing());
        }
        shut_out(shared, row.id).await?;
        return Ok(DeleteMachineResponse { ok: true, err_msg: String::new() });
    }
    let tokens = shared.store.list_join_tokens(caller.workspace).await?;
    let is_expected = tokens.iter().any(|token| {
        token.id == id && token.expects_one(timestamps::now()) && in_pool(&token.pool)
    });
    if !is_expected || !store.revoke_join_token(caller.workspace, id).await? {
        return Err(missing());
    }
    Ok(DeleteMachineResponse { ok: true, err_msg: String::new() })
}

/// Refuses a worker that runs calls. A call that it gets a moment later goes to another, as if the
/// machine had gone.
async fn require_idle(shared: &Shared, worker: WorkerId) -> Result<(), ApiError> {
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let running = views.iter().find(|view| view.worker == worker).map_or(0, |view| view.running);
    if running == 0 {
        return Ok(());
    }
    let calls = if running == 1 { "a call".to_owned() } else { format!("{running} calls") };
    Err(ApiError::Conflict(format!(
        "machine `{worker}` runs {calls}\nhint: `beta9 machine drain {worker}` empties it, and then \
         it can be deleted; `metal9 worker remove {worker}` cuts it off at once"
    )))
}
