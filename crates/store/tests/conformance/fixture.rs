use std::path::Path;

use bytes::Bytes;
use metal9_store::{NewTask, Quota, Store, TaskChange};
use metal9_types::{
    GpuRequest, ImageId, ObjectId, Resources, Serving, Stage, StubConfig, StubId, StubKind, TaskId,
    TaskStatus, WorkspaceId,
};
use tempfile::TempDir;
use uuid::Uuid;

/// A store with its first workspace.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) workspace: WorkspaceId,
    pub(crate) token: String,
    pub(crate) dir: TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let bootstrap = store.bootstrap().await.unwrap().unwrap();
        Self { store, workspace: bootstrap.workspace, token: bootstrap.token, dir }
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopen(self) -> Self {
        self.store.close().await;
        let store = Store::open(self.dir.path()).await.unwrap();
        Self { store, ..self }
    }

    pub(crate) async fn stub(&self, name: &str) -> StubId {
        self.store
            .get_or_create_stub(self.workspace, &config(name), false, Quota::NONE)
            .await
            .unwrap()
    }

    pub(crate) fn task(&self, stub: StubId) -> NewTask {
        new_task(self.workspace, stub)
    }
}

pub(crate) fn new_task(workspace: WorkspaceId, stub: StubId) -> NewTask {
    NewTask {
        id: TaskId(Uuid::from_u128(rand::random())),
        workspace,
        stub,
        arguments: Bytes::from_static(b"arguments"),
        headless: false,
        request_id: None,
    }
}

/// A change to `status` and nothing else.
pub(crate) fn change(task: TaskId, status: TaskStatus) -> TaskChange {
    TaskChange {
        task,
        status,
        attempts_used: 1,
        attempt: None,
        worker: None,
        container: None,
        failure: None,
        phases: Vec::new(),
        result: None,
    }
}

pub(crate) fn config(name: &str) -> StubConfig {
    StubConfig {
        kind: StubKind::Function,
        stage: Stage::Run,
        serving: Serving::default(),
        name: name.into(),
        app: "app".into(),
        object: ObjectId(Uuid::nil()),
        image: ImageId("0000000000000000".into()),
        root: metal9_types::RootSource::Host,
        handler: "app:square".into(),
        on_start: String::new(),
        callback_url: String::new(),
        env: vec![("A".into(), "1".into())],
        secrets: Vec::new(),
        secrets_changed_at: 0,
        resources: Resources { cpu_millicores: 1000, memory_mib: 128 },
        gpu: GpuRequest::default(),
        pool: None,
        timeout_seconds: Some(60),
        ttl_seconds: 3600,
        max_retries: 3,
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

/// A workspace other than the fixture's.
pub(crate) fn stranger() -> WorkspaceId {
    WorkspaceId(Uuid::from_u128(1))
}

/// The bytes of every file below `dir`.
pub(crate) fn all_bytes(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(all_bytes(&path));
        } else {
            all.extend(std::fs::read(&path).unwrap());
        }
    }
    all
}

pub(crate) fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}
