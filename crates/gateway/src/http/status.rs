//! GET /api/v1/status: the fleet at a glance.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use metal9_core::WorkerView;
use metal9_types::{Device, Machine, Platform, Resources, Runtime};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::error::HttpError;
use crate::auth::Caller;
use crate::shared::{Shared, SharedRef};

/// A worker of the fleet.
#[derive(Debug, Serialize, ToSchema)]
struct StatusWorker {
    id: String,
    hostname: String,
    pool: String,
    /// As `aarch64-darwin`.
    #[schema(value_type = String)]
    platform: Platform,
    version: String,
    connected: bool,
    /// It has been silent for too long to be given work.
    suspect: bool,
    leaving: bool,
    cordoned: bool,
    draining: bool,
    /// Processor and memory that it offers.
    #[schema(value_type = Object)]
    capacity: Resources,
    /// What of it no container holds.
    #[schema(value_type = Object)]
    free: Resources,
    #[schema(value_type = Object)]
    machine: Machine,
    #[schema(value_type = Vec<Object>)]
    devices: Vec<Device>,
    /// How many containers use each device.
    device_users: Vec<usize>,
    /// What it does on a battery.
    #[schema(value_type = Value)]
    on_battery: Value,
    /// How it is doing, if it is connected.
    #[schema(value_type = Value)]
    condition: Value,
    /// Nothing begins on it because it is too hot, or runs on a battery.
    rests: bool,
    /// Nothing that uses an accelerator does.
    gpus_rest: bool,
    #[schema(value_type = Vec<String>)]
    runtimes: Vec<Runtime>,
    /// Whether its pool is for code that nobody trusts.
    untrusted: bool,
    /// Whether it can hold a job to an `allow_list`.
    allow_lists: bool,
    /// Versions of Python that it has.
    pythons: Vec<String>,
    /// How its jobs are kept apart, if it is connected.
    #[schema(value_type = Value)]
    isolation: Value,
    containers: usize,
    /// Containers with a call.
    running: usize,
    /// Images that it is building.
    builds: usize,
}

/// The fleet at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Status {
    version: &'static str,
    uptime_seconds: u64,
    /// Where gRPC is served.
    grpc: String,
    /// Where HTTP is served.
    http: String,
    workspace_id: String,
    workers: Vec<StatusWorker>,
    /// Containers on all workers.
    containers: usize,
    /// The workspace's tasks, by status.
    tasks: BTreeMap<String, u64>,
}

/// Workers, containers and tasks.
#[utoipa::path(get, path = "/api/v1/status", tag = "gateway",
    responses((status = 200, body = Status)))]
pub(super) async fn status(
    State(shared): State<SharedRef>,
    caller: Caller,
) -> Result<Json<Status>, HttpError> {
    caller.require_client()?;
    let (workers, containers) =
        shared.driver.query(|core, _| (core.workers(), core.containers().len())).await?;
    let tasks = shared.store.count_tasks(caller.workspace).await?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: shared.started.elapsed().as_secs(),
        grpc: shared.grpc_addr.to_string(),
        http: shared.http_addr.to_string(),
        workspace_id: caller.workspace.to_string(),
        workers: workers.into_iter().map(|view| worker(&shared, view)).collect(),
        containers,
        tasks: tasks.into_iter().map(|(status, count)| (status.to_string(), count)).collect(),
    }))
}

fn worker(shared: &Shared, view: WorkerView) -> StatusWorker {
    let condition = view.session.and_then(|session| shared.fleet.condition(session));
    let isolation = view.session.and_then(|session| shared.fleet.isolation(session));
    StatusWorker {
        id: view.worker.to_string(),
        connected: view.session.is_some(),
        suspect: view.suspect,
        leaving: view.leaving,
        cordoned: view.cordoned,
        draining: view.drain_until.is_some(),
        free: view.free,
        device_users: view.device_users.iter().map(Vec::len).collect(),
        on_battery: serde_json::to_value(view.offer.on_battery).unwrap_or_default(),
        condition: serde_json::to_value(condition).unwrap_or_default(),
        rests: view.rests,
        gpus_rest: view.gpus_rest,
        isolation: serde_json::to_value(isolation).unwrap_or_default(),
        containers: view.containers.len(),
        running: view.running,
        builds: view.session.map_or(0, |session| shared.builds.on(session)),
        untrusted: shared.options.is_untrusted(&view.offer.pool),
        allow_lists: view.offer.allow_lists,
        hostname: view.offer.hostname,
        pool: view.offer.pool,
        platform: view.offer.platform,
        version: view.offer.version,
        capacity: view.offer.capacity,
        machine: view.offer.machine,
        devices: view.offer.devices,
        runtimes: view.offer.runtimes,
        pythons: view.offer.pythons,
    }
}
