//! FunctionSchedule: says when a deployment is called by itself.

use metal9_proto::beta9::function::{FunctionScheduleRequest, FunctionScheduleResponse};

use crate::auth::Caller;
use crate::deployed::own_deployment;
use crate::error::ApiError;
use crate::schedules;
use crate::shared::Shared;

/// Gives the deployment a schedule; its id is the deployment's.
pub(super) async fn schedule(
    shared: &Shared,
    caller: &Caller,
    request: FunctionScheduleRequest,
) -> Result<FunctionScheduleResponse, ApiError> {
    caller.require_client()?;
    let deployment = own_deployment(shared, caller, &request.deployment_id).await?;
    schedules::set(shared, caller, &deployment, &request.when).await?;
    let scheduled_job_id = deployment.id.to_string();
    Ok(FunctionScheduleResponse { ok: true, scheduled_job_id, ..Default::default() })
}
