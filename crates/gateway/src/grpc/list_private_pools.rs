//! ListPrivatePools: the pools that the workspace has made.

use metal9_core::WorkerView;
use metal9_proto::beta9::gateway::{
    ListPrivatePoolsRequest, ListPrivatePoolsResponse, PoolConfig, PrivatePool,
};
use metal9_store::PoolRow;

use super::list_pools::limit;
use super::list_workers::state;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps;

/// Lists the caller's pools, with or without workers.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    request: ListPrivatePoolsRequest,
) -> Result<ListPrivatePoolsResponse, ApiError> {
    caller.require_client()?;
    let mut rows = shared.store.pools(caller.workspace).await?;
    if let Some(names) = request.filters.get("name") {
        rows.retain(|row| names.values.contains(&row.name));
    }
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let rows = rows.iter().take(limit(request.limit));
    let pools = rows.map(|row| private_pool(row, &views)).collect();
    Ok(ListPrivatePoolsResponse { ok: true, err_msg: String::new(), pools })
}

/// A pool as the client API shows it.
pub(super) fn private_pool(row: &PoolRow, views: &[WorkerView]) -> PrivatePool {
    let workers: Vec<_> = views.iter().filter(|view| view.offer.pool == row.name).collect();
    let ready = workers.iter().filter(|view| state(view) == "available").count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let status = match (workers.len(), ready) {
        (0, _) => "empty",
        (_, 0) => "degraded",
        _ => "active",
    };
    PrivatePool {
        name: row.name.clone(),
        selector: row.name.clone(),
        config: Some(PoolConfig {
            name: row.name.clone(),
            selector: row.name.clone(),
            gpu: row.gpus.clone(),
            nodes: row.nodes,
            mode: "private".to_owned(),
            ..Default::default()
        }),
        status: status.to_owned(),
        created_at: Some(timestamps::to_proto(row.created_at)),
        machine_count: count(workers.len()),
        ready_machine_count: count(ready),
        ..Default::default()
    }
}
