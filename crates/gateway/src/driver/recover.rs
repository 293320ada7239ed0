//! Handing unfinished work back to the scheduler after a restart.

use std::time::Duration;

use metal9_core::{Input, Pace, StubSpec, TaskSpec, WorkspaceRules};
use metal9_store::{StoreError, StubRow, TaskChange, TaskRow, WorkspaceRow};
use metal9_types::{Failure, FailureKind, Runtime, StubConfig, StubKind, TaskId};

use super::Driver;
use crate::shared::Shared;
use crate::timestamps;

/// The environment variable by which a stub says how long its idle containers are kept, in
/// seconds: the SDK has no such option for functions.
const KEEP_WARM_VARIABLE: &str = "METAL9_KEEP_WARM_SECONDS";

/// The one by which it says that its tasks go before those of other stubs of the workspace; a whole
/// number, 0 if not set, and higher first.
const PRIORITY_VARIABLE: &str = "METAL9_PRIORITY";
/// The most and, negated, the least it may say.
const MOST_PRIORITY: i32 = 100;

/// The one by which it says how many containers it may have at a time. The SDK's autoscaler is not
/// for functions: it always says 1.
const MAX_CONTAINERS_VARIABLE: &str = "METAL9_MAX_CONTAINERS";

/// The one by which it says what its containers are isolated by: the SDK has no such option.
pub(crate) const RUNTIME_VARIABLE: &str = "METAL9_RUNTIME";

/// The value of a stub's environment variable, if it is of this type; the last one counts.
fn variable<T: std::str::FromStr>(stub: &StubRow, wanted: &str) -> Option<T> {
    let mut values = stub.config.env.iter().rev().filter(|(name, _)| name == wanted);
    values.next().and_then(|(_, value)| value.trim().parse().ok())
}

/// What the scheduler must know of a stub.
pub(crate) fn stub_spec(shared: &Shared, stub: &StubRow) -> StubSpec {
    let (scales, config) = (&shared.scales, &stub.config);
    let seconds = variable(stub, KEEP_WARM_VARIABLE).unwrap_or(config.keep_warm_seconds);
    let seconds = if seconds.is_finite() { seconds.clamp(0.0, 86_400.0) } else { 0.0 };
    let min_containers = scales.kept(stub.id);
    // One that is to stay is not ended after each call.
    let seconds = if min_containers > 0 { seconds.max(1.0) } else { seconds };
    StubSpec {
        stub: stub.id,
        // The function of `module:function`.
        name: config.handler.rsplit(':').next().unwrap_or_default().to_owned(),
        resources: config.resources,
        gpu: config.gpu.clone(),
        pool: config.pool.clone(),
        runtime: runtime(shared, stub),
        root: config.root,
        allow_list: !config.allow_list.is_empty(),
        keep_warm: Duration::from_secs_f32(seconds),
        image: config.image.to_string(),
        object: config.object.to_string(),
        priority: variable(stub, PRIORITY_VARIABLE)
            .unwrap_or(0_i32)
            .clamp(-MOST_PRIORITY, MOST_PRIORITY),
        max_containers: scales
            .of(stub.id)
            .map(|count| processes(config, count))
            .or_else(|| variable(stub, MAX_CONTAINERS_VARIABLE).filter(|most: &u32| *most > 0))
            .or_else(|| most_processes(config)),
        min_containers,
        pace: pace(config),
    }
}

/// What its containers are isolated by: in an untrusted pool by gVisor, whatever it says.
fn runtime(shared: &Shared, stub: &StubRow) -> Option<Runtime> {
    let pool = stub.config.pool.as_deref();
    match pool.is_some_and(|pool| shared.options.is_untrusted(pool)) {
        true => Some(Runtime::Runsc),
        false => variable(stub, RUNTIME_VARIABLE),
    }
}

/// What so many containers are to the scheduler: where each process takes a call, it counts each as a
/// container of its own.
fn processes(config: &StubConfig, containers: u32) -> u32 {
    let each = if config.served().is_some() { 1 } else { config.serving.workers };
    containers.saturating_mul(each)
}

/// How many processes so many waiting calls are worth. What answers requests counts them itself.
fn pace(config: &StubConfig) -> Option<Pace> {
    let serving = &config.serving;
    let paced = config.kind == StubKind::Taskqueue && serving.tasks_per_container > 1;
    paced.then_some(Pace { tasks: serving.tasks_per_container, containers: serving.workers })
}

fn most_processes(config: &StubConfig) -> Option<u32> {
    let most = config.serving.max_containers;
    (most > 0).then(|| processes(config, most))
}

/// Tells the scheduler what a workspace may have.
pub(crate) fn workspace_input(row: &WorkspaceRow) -> Input {
    let limits = row.limits;
    let rules = WorkspaceRules {
        weight: limits.weight,
        max_cpu_millicores: limits.max_cpu_millicores,
        max_memory_mib: limits.max_memory_mib,
        max_gpus: limits.max_gpus,
        max_containers: limits.max_containers,
    };
    Input::SetWorkspace { workspace: row.id, rules }
}

/// What the scheduler must know of a task.
pub(crate) fn task_spec(task: TaskId, stub: &StubRow) -> TaskSpec {
    TaskSpec {
        task,
        workspace: stub.workspace,
        stub: stub.id,
        attempts_used: 0,
        max_retries: stub.config.max_retries,
        timeout: stub.config.timeout_seconds.map(Duration::from_secs),
        ttl: Duration::from_secs(stub.config.ttl_seconds),
        recovered: None,
        warm_up: false,
    }
}

impl Driver {
    /// Tells the scheduler what workspaces may have and which workers are to get nothing new, and
    /// hands every unfinished task back to it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn recover(&mut self) -> Result<usize, StoreError> {
        for row in self.shared.store.workspaces().await? {
            self.shared.rates.set(row.id, row.limits.max_requests_per_second);
            self.input(workspace_input(&row), None).await;
        }
        for worker in self.shared.store.cordoned_workers().await? {
            self.input(Input::Cordon { worker: worker.id, on: true }, None).await;
        }
        // Whatever served before does so no more.
        self.shared.store.container_served(None).await?;
        let rows = self.shared.store.unfinished_tasks().await?;
        let bytes = self.shared.store.argument_sizes().await?;
        let count = rows.len();
        for row in rows {
            metal9_faults::point("recovering").await;
            let bytes = bytes.get(&row.id).copied().unwrap_or(0);
            self.recover_task(&row, bytes).await?;
        }
        Ok(count)
    }

    async fn recover_task(&mut self, row: &TaskRow, bytes: u64) -> Result<(), StoreError> {
        let shared = &self.shared;
        let Some(stub) = shared.store.stub(row.stub).await? else {
            tracing::error!(task = %row.id, stub = %row.stub, "the stub of a task is missing");
            return Ok(());
        };
        if stub.config.served().is_some() {
            return end_request(shared, row).await;
        }
        let log_end = shared.store.logs().len(row.id).await.unwrap_or(0);
        let claim = shared.admission.known_task(row.workspace, bytes);
        let live = shared.hub.open(claim, row.id, row.workspace, row.headless, row.status, log_end);
        if let Some(attempt) = row.attempt {
            live.set_attempt(attempt);
        }
        let waited = u64::try_from(timestamps::now() - row.created_at).unwrap_or(0);
        let mut spec = task_spec(row.id, &stub);
        spec.attempts_used = row.attempts_used;
        spec.recovered = Some(Duration::from_micros(waited));
        Shared::watch_for_client(shared, live);
        self.input(Input::DefineStub(stub_spec(&self.shared, &stub)), None).await;
        self.input(Input::Submit(spec), None).await;
        Ok(())
    }
}

/// A request died with the connection it came by, when the gateway ended.
async fn end_request(shared: &Shared, row: &TaskRow) -> Result<(), StoreError> {
    let text = "the gateway ended while the request was served";
    let failure = Failure::new(FailureKind::Internal, text);
    let change = TaskChange {
        task: row.id,
        status: failure.kind.terminal_status(),
        attempts_used: row.attempts_used,
        attempt: None,
        worker: None,
        container: None,
        failure: Some(failure),
        phases: Vec::new(),
        result: None,
    };
    shared.store.transition(change).await.map(drop)
}
