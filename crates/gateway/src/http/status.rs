//! GET /api/v1/status: the fleet at a glance.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::error::HttpError;
use crate::auth::Caller;
use crate::shared::SharedRef;

/// Workers, containers and tasks.
pub(super) async fn status(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<Value>, HttpError> {
    caller.require_client()?;
    let (workers, containers) =
        shared.driver.query(|core, _| (core.workers(), core.containers().len())).await?;
    let tasks = shared.store.count_tasks(caller.workspace).await?;
    let tasks: serde_json::Map<String, Value> =
        tasks.into_iter().map(|(status, count)| (status.to_string(), count.into())).collect();
    let workers: Vec<Value> = workers
        .iter()
        .map(|view| {
            json!({
                "id": view.worker.to_string(),
                "hostname": view.offer.hostname,
                "pool": view.offer.pool,
                "platform": view.offer.platform,
                "version": view.offer.version,
                "connected": view.session.is_some(),
                "suspect": view.suspect,
                "leaving": view.leaving,
                "cordoned": view.cordoned,
                "draining": view.drain_until.is_some(),
                "capacity": view.offer.capacity,
                "free": view.free,
                "machine": view.offer.machine,
                "devices": view.offer.devices,
                "device_users": view.device_users.iter().map(Vec::len).collect::<Vec<_>>(),
                "on_battery": view.offer.on_battery,
                "condition": view.session.and_then(|session| shared.fleet.condition(session)),
                "rests": view.rests,
                "gpus_rest": view.gpus_rest,
                "runtimes": view.offer.runtimes,
                "pythons": view.offer.pythons,
                "isolation": view.session.and_then(|session| shared.fleet.isolation(session)),
                "containers": view.containers.len(),
                "running": view.running,
            })
        })
        .collect();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "grpc": shared.grpc_addr.to_string(),
        "http": shared.http_addr.to_string(),
        "workspace_id": caller.workspace.to_string(),
        "workers": workers,
        "containers": containers,
        "tasks": tasks,
    })))
}
