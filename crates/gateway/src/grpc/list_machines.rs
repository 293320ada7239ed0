//! ListMachines: the workers' machines.

use std::collections::HashMap;

use metal9_proto::beta9::gateway::{
    ListMachinesRequest, ListMachinesResponse, Machine, MachineMetrics,
};

use super::list_workers::{free_gpus, state, to_i64};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps;

/// Lists machines: one per worker.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    request: ListMachinesRequest,
) -> Result<ListMachinesResponse, ApiError> {
    caller.require_client()?;
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let rows = shared.store.list_workers(caller.workspace).await?;
    let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
    let mut gpus = HashMap::new();
    let mut machines = Vec::new();
    let wanted = views
        .iter()
        .filter(|view| request.pool_name.is_empty() || view.offer.pool == request.pool_name);
    for view in wanted.take(limit) {
        let Some(row) = rows.iter().find(|row| row.id == view.worker) else { continue };
        for device in &view.offer.devices {
            gpus.insert(device.name(), true);
        }
        let capacity = view.offer.capacity;
        let available = state(view) == "available";
        machines.push(Machine {
            id: view.worker.to_string(),
            cpu: to_i64(capacity.cpu_millicores),
            memory: to_i64(capacity.memory_mib),
            gpu: view.offer.devices.first().map(metal9_types::Device::name).unwrap_or_default(),
            gpu_count: u32::try_from(view.offer.devices.len()).unwrap_or(u32::MAX),
            status: if available { "ready" } else { "pending" }.to_owned(),
            pool_name: view.offer.pool.clone(),
            provider_name: "metal9".to_owned(),
            created: timestamps::to_rfc3339(row.joined_at),
            last_keepalive: timestamps::to_rfc3339(row.last_seen),
            agent_version: view.offer.version.clone(),
            machine_metrics: Some(MachineMetrics {
                total_cpu_available: i32::try_from(view.free.cpu_millicores).unwrap_or(i32::MAX),
                total_memory_available: i32::try_from(view.free.memory_mib).unwrap_or(i32::MAX),
                worker_count: 1,
                free_gpu_count: i32::try_from(free_gpus(view)).unwrap_or(i32::MAX),
                container_count: i32::try_from(view.containers.len()).unwrap_or(i32::MAX),
                ..Default::default()
            }),
            ..Default::default()
        });
    }
    let supported_gpus = gpus.clone();
    Ok(ListMachinesResponse { ok: true, machines, gpus, supported_gpus, ..Default::default() })
}
