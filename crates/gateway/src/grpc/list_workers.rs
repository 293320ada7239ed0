//! ListWorkers.

use metal9_core::{ContainerView, WorkerView};
use metal9_proto::beta9::gateway::{ListWorkersRequest, ListWorkersResponse};
use metal9_proto::beta9::types::{Container, Worker};
use metal9_types::Runtime;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Lists the workers that are connected or were a moment ago.
pub(super) async fn list(
    shared: &Shared,
    caller: &Caller,
    _: ListWorkersRequest,
) -> Result<ListWorkersResponse, ApiError> {
    caller.require_client()?;
    let views = shared.driver.query(|core, _| core.workers()).await?;
    let mut workers = Vec::with_capacity(views.len());
    for view in &views {
        let mut containers = Vec::new();
        for container in &view.containers {
            // Everybody's calls run on every worker; which those are is nobody else's business.
            let stub = shared.store.stub(container.stub).await?;
            if stub.is_some_and(|stub| stub.workspace == caller.workspace) {
                containers.push(container);
            }
        }
        workers.push(worker(view, caller, &containers));
    }
    Ok(ListWorkersResponse { ok: true, err_msg: String::new(), workers })
}

fn worker(view: &WorkerView, caller: &Caller, containers: &[&ContainerView]) -> Worker {
    let capacity = view.offer.capacity;
    let gpus = u32::try_from(view.offer.devices.len()).unwrap_or(u32::MAX);
    let containers = containers.iter().map(|container| Container {
        container_id: container.container.api_name(container.stub),
        stub_id: container.stub.to_string(),
        status: "RUNNING".to_owned(),
        workspace_id: caller.workspace.to_string(),
        worker_id: view.worker.to_string(),
        ..Default::default()
    });
    let runtimes: Vec<_> = view.offer.runtimes.iter().copied().map(Runtime::as_str).collect();
    Worker {
        id: view.worker.to_string(),
        status: state(view).to_owned(),
        total_cpu: to_i64(capacity.cpu_millicores),
        total_memory: to_i64(capacity.memory_mib),
        total_gpu_count: gpus,
        free_cpu: to_i64(view.free.cpu_millicores),
        free_memory: to_i64(view.free.memory_mib),
        free_gpu_count: free_gpus(view),
        gpu: view.offer.devices.first().map(metal9_types::Device::name).unwrap_or_default(),
        pool_name: view.offer.pool.clone(),
        machine_id: view.worker.to_string(),
        build_version: view.offer.version.clone(),
        active_containers: containers.collect(),
        runtime: runtimes.join(","),
        ..Default::default()
    }
}

/// Accelerators that could take one more job.
pub(super) fn free_gpus(view: &WorkerView) -> u32 {
    let devices = view.offer.devices.iter().zip(&view.device_users);
    let free = devices.filter(|(device, users)| users.len() < device.seats()).count();
    u32::try_from(free).unwrap_or(u32::MAX)
}

/// A worker's state in the client API's words.
pub(super) fn state(view: &WorkerView) -> &'static str {
    if view.leaving || view.cordoned {
        "disabled"
    } else if view.session.is_some() && !view.suspect {
        "available"
    } else {
        "pending"
    }
}

pub(super) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
