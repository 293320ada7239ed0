//! CreatePool: a pool of one's own, which machines may then join.

use metal9_proto::beta9::gateway::{CreatePoolRequest, CreatePoolResponse, PoolConfig};

use super::list_private_pools::private_pool;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::validate;

/// Makes a pool. One that is there already stays as it is: the SDK asks for it before every join.
pub(super) async fn create(
    shared: &Shared,
    caller: &Caller,
    request: CreatePoolRequest,
) -> Result<CreatePoolResponse, ApiError> {
    shared.require_operator(caller).await?;
    let wanted = request.pool.unwrap_or_default();
    refuse_rented(&wanted)?;
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let devices: Vec<_> = views.iter().flat_map(|view| view.offer.devices.clone()).collect();
    validate::gpu::request(&wanted.gpu.join(","), 0, &devices)?;
    shared.disk.room_for("the pool", 0)?;
    let by = shared.store.by(&caller.actor);
    by.create_pool(caller.workspace, &wanted.name, &wanted.gpu, wanted.nodes).await?;
    let rows = shared.store.pools(caller.workspace).await?;
    let row = rows.iter().find(|row| row.name == wanted.name);
    let row = row.ok_or_else(|| ApiError::Conflict("the pool was deleted just now".to_owned()))?;
    let differs = (!wanted.gpu.is_empty() && wanted.gpu != row.gpus)
        || (wanted.nodes != 0 && wanted.nodes != row.nodes);
    if differs {
        let text = format!(
            "pool `{}` exists already, for other machines\nhint: `beta9 pool list` shows it; delete \
             it first, or leave `--gpu` and `--nodes` out",
            row.name
        );
        return Err(ApiError::Conflict(text));
    }
    let pool = Some(private_pool(row, &views));
    Ok(CreatePoolResponse { ok: true, err_msg: String::new(), pool })
}

/// Refuses what would need machines for rent, or belongs to the workers.
fn refuse_rented(wanted: &PoolConfig) -> Result<(), ApiError> {
    let rents = !wanted.providers.is_empty()
        || !wanted.regions.is_empty()
        || !wanted.offer_id.is_empty()
        || !wanted.ttl.is_empty()
        || wanted.max_spend != 0.0
        || wanted.min_reliability != 0.0;
    if rents {
        return Err(validate::refuse(
            "metal9 rents no machines, so a pool has no provider, region, duration or price",
            "make the pool by its name alone and join your own machines: `beta9 pool join NAME`",
        ));
    }
    if !matches!(wanted.mode.as_str(), "" | "private") {
        let what = format!("a pool cannot be `{}`", validate::shown(&wanted.mode));
        return Err(validate::refuse(what, "leave `mode` out: machines join a pool by a token"));
    }
    if !wanted.container_runtime.is_empty() {
        return Err(validate::refuse(
            "how containers are isolated is no property of a pool",
            "set `worker.runtime` on its machines, and name the pool in `gateway.untrusted_pools` \
             to insist on gVisor",
        ));
    }
    Ok(())
}
