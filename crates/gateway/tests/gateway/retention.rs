//! What is removed when ended tasks take more room than they may.

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use metal9_gateway::{Gateway, Options, start};
use metal9_store::{
    Actor, NewTask, Quota, RequestRow, Store, TASK_ROW_BYTES, UnixMicros, WorkspaceLimits,
};
use metal9_testkit::until;
use metal9_types::{
    GpuRequest, ImageId, ObjectId, Resources, Serving, Stage, StubConfig, StubId, StubKind, TaskId,
    TaskStatus, WorkspaceId,
};
use uuid::Uuid;

use crate::fixture::{options, run};

/// More than fit into a mebibyte, together with those below.
const OLD: u32 = 1000;
const YOUNG: u32 = 200;
/// Removed at a time.
const BATCH: usize = 200;
const MEBIBYTE: u64 = 1024 * 1024;
const HOUR: UnixMicros = 3_600_000_000;

fn config() -> StubConfig {
    StubConfig {
        kind: StubKind::Function,
        stage: Stage::Run,
        serving: Serving::default(),
        name: "function/app:f".into(),
        app: "app".into(),
        object: ObjectId(Uuid::nil()),
        image: ImageId("0000000000000000".into()),
        root: metal9_types::RootSource::Host,
        handler: "app:f".into(),
        on_start: String::new(),
        callback_url: String::new(),
        env: Vec::new(),
        secrets: Vec::new(),
        secrets_changed_at: 0,
        resources: Resources { cpu_millicores: 100, memory_mib: 128 },
        gpu: GpuRequest::default(),
        pool: None,
        timeout_seconds: None,
        ttl_seconds: 3600,
        max_retries: 0,
        keep_warm_seconds: 10.0,
        inputs: None,
        outputs: None,
        block_network: false,
        allow_list: Vec::new(),
        volumes: Vec::new(),
        buckets: Vec::new(),
        extra: "{}".into(),
    }
}

/// A store with many requests.
struct Full {
    store: Store,
    workspace: WorkspaceId,
    stub: StubId,
}

impl Full {
    async fn of(gateway: &Gateway) -> Result<Self> {
        let store = gateway.store().clone();
        let workspace = store.bootstrap().await?.context("a fresh store")?.workspace;
        let stub = store.get_or_create_stub(workspace, &config(), false, Quota::NONE).await?;
        Ok(Self { store, workspace, stub })
    }

    /// Requests that ended one after the other from a moment on.
    async fn ended(&self, many: u32, from: UnixMicros) -> Result<Vec<TaskId>> {
        let row = |number| RequestRow {
            // In no order that means anything.
            id: TaskId(Uuid::from_u128(rand::random())),
            workspace: self.workspace,
            stub: self.stub,
            status: TaskStatus::Complete,
            worker: None,
            container: None,
            failure: None,
            created_at: from,
            started_at: Some(from),
            ended_at: Some(from + UnixMicros::from(number)),
        };
        let rows: Vec<_> = (0..many).map(row).collect();
        let ids = rows.iter().map(|row| row.id).collect();
        try_join_all(rows.into_iter().map(|row| self.store.record_request(row))).await?;
        Ok(ids)
    }

    async fn unended(&self) -> Result<TaskId> {
        let task = NewTask {
            id: TaskId(Uuid::now_v7()),
            workspace: self.workspace,
            stub: self.stub,
            arguments: bytes::Bytes::new(),
            headless: true,
            request_id: None,
        };
        let id = task.id;
        self.store.accept_task(task).await?;
        Ok(id)
    }
}

/// How many of these are there.
async fn there(store: &Store, tasks: &[TaskId]) -> Result<usize> {
    let rows = try_join_all(tasks.iter().map(|task| store.task(*task))).await?;
    Ok(rows.iter().flatten().count())
}

async fn waits_until(store: &Store, gone: &[TaskId]) -> Result<()> {
    until("the oldest are removed", async || {
        let left = there(store, gone).await.map_err(|error| error.to_string())?;
        if left == 0 { Ok(()) } else { Err(format!("{left} of {} are there", gone.len())) }
    })
    .await
}

fn now() -> Result<UnixMicros> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(UnixMicros::try_from(now.as_micros())?)
}

#[tokio::test]
async fn rows_over_the_budget_go_the_oldest_first_and_the_young_and_unended_stay() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let with_mib = |keep_ended_mib| Options { keep_ended_mib, ..options(dir.path()) };
    let gateway = start(with_mib(1)).await?;
    let full = Full::of(&gateway).await?;
    let young = full.ended(YOUNG, now()?).await?;
    let unended = full.unended().await?;
    let old = full.ended(OLD, now()? - HOUR).await?;
    let store = &full.store;
    assert_eq!(store.kept_bytes().await?, u64::from(OLD + YOUNG) * TASK_ROW_BYTES);

    let running = run(gateway);
    let (first, others) = old.split_at(old.len() / 5);
    waits_until(store, first).await?;
    assert!(store.kept_bytes().await? <= MEBIBYTE);
    assert_eq!(there(store, others).await?, others.len(), "there is room for them");
    running.stop().await?;

    // The same without any room.
    let gateway = start(with_mib(0)).await?;
    let store = &gateway.store().clone();
    let running = run(gateway);
    waits_until(store, others).await?;
    assert_eq!(there(store, &young).await?, young.len(), "their clients may come back");
    assert!(store.task(unended).await?.is_some());
    running.stop().await?;

    // And after the time for which each is kept.
    let none = Options { keep_ended_at_least_seconds: 0, ..with_mib(0) };
    let gateway = start(none).await?;
    let store = &gateway.store().clone();
    let running = run(gateway);
    waits_until(store, &young).await?;
    assert!(store.task(unended).await?.is_some());
    running.stop().await
}

#[tokio::test]
async fn what_a_workspace_leaves_makes_nothing_of_a_smaller_one_go() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let gateway = start(Options { keep_ended_mib: 1, ..options(dir.path()) }).await?;
    let small = Full::of(&gateway).await?;
    let oldest = small.ended(YOUNG, now()? - 2 * HOUR).await?;
    let store = small.store.clone();
    let by = Actor::gateway();
    let team = store.by(&by).create_workspace("team", WorkspaceLimits::default()).await?.0.id;
    let stub = store.get_or_create_stub(team, &config(), false, Quota::NONE).await?;
    let large = Full { store: store.clone(), workspace: team, stub };
    let younger = large.ended(OLD, now()? - HOUR).await?;

    let running = run(gateway);
    waits_until(&store, younger.get(..BATCH).context("there are more")?).await?;
    assert_eq!(there(&store, &oldest).await?, oldest.len(), "they were there first, and are few");
    running.stop().await
}
