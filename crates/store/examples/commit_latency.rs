//! How long a task takes to be durable on this disk: `commit_latency [DIRECTORY]`.
//!
//! Prints one line per number of concurrent callers for accepting tasks and for ending them, with
//! the disk's own time for one write and sync first.

use std::error::Error;
use std::fs::File;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use metal9_store::{NewTask, Quota, Store, TaskChange};
use metal9_types::{
    AttemptId, GpuRequest, ImageId, ObjectId, Resources, Serving, Stage, StubConfig, StubId,
    StubKind, TaskId, TaskStatus, WorkspaceId,
};
use uuid::Uuid;

const ROUNDS: usize = 2000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(dir)?;
    report("disk: write 4 KiB and sync", 1, disk(dir.path())?)?;
    let store = Store::open(dir.path()).await?;
    let bootstrap = store.bootstrap().await?.ok_or("the directory is not empty")?;
    let stub = store.get_or_create_stub(bootstrap.workspace, &config(), false, Quota::NONE).await?;
    for callers in [1, 8, 32, 200] {
        let tasks: Vec<TaskId> = (0..ROUNDS).map(|_| TaskId(id())).collect();
        let accepted =
            measure(callers, &tasks, |task| {
                let store = store.clone();
                async move {
                    store.accept_task(task_of(bootstrap.workspace, stub, task)).await.map(drop)
                }
            })
            .await?;
        report("accept", callers, accepted)?;
        let ended = measure(callers, &tasks, |task| {
            let store = store.clone();
            async move { store.transition(end_of(task)).await.map(drop) }
        })
        .await?;
        report("end", callers, ended)?;
    }
    store.close().await;
    Ok(())
}

/// Random ids that sort by time, as the gateway's do.
fn id() -> Uuid {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

fn task_of(workspace: WorkspaceId, stub: StubId, id: TaskId) -> NewTask {
    let arguments = Bytes::from_static(&[7; 200]);
    NewTask { id, workspace, stub, arguments, headless: false, request_id: None }
}

fn end_of(task: TaskId) -> TaskChange {
    TaskChange {
        task,
        status: TaskStatus::Complete,
        attempts_used: 1,
        attempt: Some(AttemptId(1)),
        worker: None,
        container: None,
        failure: None,
        phases: Vec::new(),
        result: Some(Bytes::from_static(&[7; 200])),
    }
}

async fn measure<F, E>(
    callers: usize,
    tasks: &[TaskId],
    call: impl Fn(TaskId) -> F,
) -> Result<(Vec<Duration>, Duration), E>
where
    F: Future<Output = Result<(), E>>,
{
    let call = Arc::new(call);
    let begun = Instant::now();
    let share = tasks.len().div_ceil(callers);
    let callers: FuturesUnordered<_> = tasks
        .chunks(share)
        .map(|tasks| {
            let call = Arc::clone(&call);
            async move {
                let mut times = Vec::with_capacity(tasks.len());
                for task in tasks {
                    let begun = Instant::now();
                    call(*task).await?;
                    times.push(begun.elapsed());
                }
                Ok::<_, E>(times)
            }
        })
        .collect();
    let results: Vec<Result<Vec<Duration>, E>> = callers.collect().await;
    let took = begun.elapsed();
    let mut all = Vec::with_capacity(tasks.len());
    for times in results {
        all.extend(times?);
    }
    Ok((all, took))
}

fn disk(dir: &Path) -> std::io::Result<(Vec<Duration>, Duration)> {
    let mut file = File::create(dir.join("probe"))?;
    let mut times = Vec::new();
    let begun = Instant::now();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok((times, begun.elapsed()))
}

fn report(
    what: &str,
    callers: usize,
    (mut times, took): (Vec<Duration>, Duration),
) -> std::io::Result<()> {
    times.sort();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
    let rate = times.len() as f64 / took.as_secs_f64();
    writeln!(
        stdout(),
        "{what:<28} {callers:>3} callers  p50 {:>7.3} ms  p99 {:>7.3} ms  {rate:>7.0} per second",
        at(0.5),
        at(0.99),
    )
}

fn config() -> StubConfig {
    StubConfig {
        kind: StubKind::Function,
        stage: Stage::Run,
        serving: Serving::default(),
        name: "function/app:square".into(),
        app: "app".into(),
        object: ObjectId(Uuid::nil()),
        image: ImageId("0000000000000000".into()),
        root: metal9_types::RootSource::Host,
        handler: "app:square".into(),
        on_start: String::new(),
        callback_url: String::new(),
        env: Vec::new(),
        secrets: Vec::new(),
        secrets_changed_at: 0,
        resources: Resources::default(),
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
        extra: String::new(),
    }
}
