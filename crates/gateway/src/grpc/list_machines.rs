//! ListMachines: the workers' machines, and those that are expected.

use std::collections::HashMap;

use metal9_core::WorkerView;
use metal9_proto::beta9::gateway::{
    ListMachinesRequest, ListMachinesResponse, Machine, MachineMetrics,
};
use metal9_store::WorkerRow;

use super::list_pools::limit;
use super::list_workers::{free_gpus, state, to_i64};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps;

/// Lists machines: one per worker, and one per token that is for a single worker.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    request: ListMachinesRequest,
) -> Result<ListMachinesResponse, ApiError> {
    caller.require_client()?;
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let machines = machines(shared, caller, &views, &request.pool_name, request.limit).await?;
    let shown = views.iter().filter(|view| {
        let id = view.worker.to_string();
        machines.iter().any(|machine| machine.id == id)
    });
    let gpus: HashMap<_, _> =
        shown.flat_map(|view| &view.offer.devices).map(|device| (device.name(), true)).collect();
    let supported_gpus = gpus.clone();
    Ok(ListMachinesResponse { ok: true, machines, gpus, supported_gpus, ..Default::default() })
}

/// The machines of the caller's workspace: those that are connected, then those that are expected,
/// then those that are away.
pub(super) async fn machines(
    shared: &Shared,
    caller: &Caller,
    views: &[WorkerView],
    pool: &str,
    most: u32,
) -> Result<Vec<Machine>, ApiError> {
    let in_pool = |name: &str| pool.is_empty() || name == pool;
    let mut rows = shared.store.list_workers(caller.workspace).await?;
    rows.retain(|row| row.revoked_at.is_none() && in_pool(&row.pool));
    let mut machines = Vec::new();
    let mut away = Vec::new();
    for row in &rows {
        match views.iter().find(|view| view.worker == row.id) {
            Some(view) => machines.push(joined(row, view)),
            None => away.push(absent(row)),
        }
    }
    // Tokens are for owners to see.
    if caller.require_owner().is_ok() {
        let now = timestamps::now();
        let tokens = shared.store.list_join_tokens(caller.workspace).await?;
        let open = tokens.iter().filter(|token| token.expects_one(now));
        for token in open.filter(|token| in_pool(&token.pool)) {
            let created = timestamps::to_rfc3339(token.created_at);
            machines.push(Machine { created, ..waiting(&token.id.to_string(), &token.pool) });
        }
    }
    machines.append(&mut away);
    machines.truncate(limit(most));
    Ok(machines)
}

/// A machine that has not joined.
pub(super) fn waiting(id: &str, pool: &str) -> Machine {
    Machine {
        id: id.to_owned(),
        status: "waiting".to_owned(),
        pool_name: pool.to_owned(),
        provider_name: "metal9".to_owned(),
        ..Default::default()
    }
}

/// A machine that has joined and whose worker is not there.
fn absent(row: &WorkerRow) -> Machine {
    Machine {
        status: "disconnected".to_owned(),
        created: timestamps::to_rfc3339(row.joined_at),
        last_keepalive: timestamps::to_rfc3339(row.last_seen),
        ..waiting(&row.id.to_string(), &row.pool)
    }
}

fn joined(row: &WorkerRow, view: &WorkerView) -> Machine {
    let capacity = view.offer.capacity;
    let available = state(view) == "available";
    Machine {
        cpu: to_i64(capacity.cpu_millicores),
        memory: to_i64(capacity.memory_mib),
        gpu: view.offer.devices.first().map(metal9_types::Device::name).unwrap_or_default(),
        gpu_count: u32::try_from(view.offer.devices.len()).unwrap_or(u32::MAX),
        status: if available { "ready" } else { "pending" }.to_owned(),
        agent_version: view.offer.version.clone(),
        machine_metrics: Some(MachineMetrics {
            total_cpu_available: i32::try_from(view.free.cpu_millicores).unwrap_or(i32::MAX),
            total_memory_available: i32::try_from(view.free.memory_mib).unwrap_or(i32::MAX),
            worker_count: 1,
            free_gpu_count: i32::try_from(free_gpus(view)).unwrap_or(i32::MAX),
            container_count: i32::try_from(view.containers.len()).unwrap_or(i32::MAX),
            ..Default::default()
        }),
        ..absent(row)
    }
}
