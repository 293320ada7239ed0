//! ListPoolMachines: the machines of one pool.

use metal9_proto::beta9::gateway::{ListPoolMachinesRequest, ListPoolMachinesResponse};

use super::list_machines::machines;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::pools;
use crate::shared::Shared;

/// Lists the pool's machines: workers that have joined it, and machines that are expected.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    request: ListPoolMachinesRequest,
) -> Result<ListPoolMachinesResponse, ApiError> {
    caller.require_client()?;
    pools::require(shared, caller, &request.pool_name).await?;
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let machines = machines(shared, caller, &views, &request.pool_name, request.limit).await?;
    Ok(ListPoolMachinesResponse { ok: true, err_msg: String::new(), machines })
}
