//! ListPools: workers by pool.

use std::collections::BTreeMap;

use metal9_core::WorkerView;
use metal9_proto::beta9::gateway::{ListPoolsRequest, ListPoolsResponse, Pool};
use metal9_proto::beta9::types::WorkerPoolState;

use super::list_workers::{free_gpus, state, to_i64};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Lists the pools that have workers or that a setting names, but for those that the caller made:
/// they are in the other list.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    request: ListPoolsRequest,
) -> Result<ListPoolsResponse, ApiError> {
    caller.require_client()?;
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let mut pools: BTreeMap<&str, Vec<&WorkerView>> = BTreeMap::new();
    for name in shared.options.untrusted_pools() {
        pools.entry(name).or_default();
    }
    for view in &views {
        pools.entry(&view.offer.pool).or_default().push(view);
    }
    for row in shared.store.pools(caller.workspace).await? {
        pools.remove(row.name.as_str());
    }
    if let Some(names) = request.filters.get("name") {
        pools.retain(|name, _| names.values.iter().any(|wanted| wanted == name));
    }
    let pools = pools.into_iter().take(limit(request.limit));
    let pools = pools.map(|(name, workers)| pool(name, &workers)).collect();
    Ok(ListPoolsResponse { ok: true, err_msg: String::new(), pools })
}

/// How many a request wants at most, where 0 means all.
pub(super) fn limit(wanted: u32) -> usize {
    if wanted == 0 { usize::MAX } else { wanted as usize }
}

fn pool(name: &str, workers: &[&WorkerView]) -> Pool {
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let available = workers.iter().filter(|view| state(view) == "available").count();
    let gpus: Vec<_> = workers.iter().flat_map(|view| &view.offer.devices).collect();
    let state = WorkerPoolState {
        status: if available > 0 { "HEALTHY" } else { "DEGRADED" }.to_owned(),
        free_gpu: workers.iter().map(|view| free_gpus(view)).fold(0, u32::saturating_add),
        free_cpu: workers.iter().map(|view| to_i64(view.free.cpu_millicores)).sum(),
        free_memory: workers.iter().map(|view| to_i64(view.free.memory_mib)).sum(),
        pending_workers: count(workers.len() - available),
        available_workers: count(available),
        running_containers: count(workers.iter().map(|view| view.containers.len()).sum()),
        registered_machines: count(workers.len()),
        ready_machines: count(available),
        ..Default::default()
    };
    Pool {
        name: name.to_owned(),
        active: available > 0,
        gpu: gpus.first().map(|device| device.name()).unwrap_or_default(),
        state: Some(state),
        ..Default::default()
    }
}
