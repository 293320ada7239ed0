use bytes::Bytes;
use metal9_store::{
    Actor, LogStream, Quota, RequestRow, StubRow, TASK_ROW_BYTES, Unused, WorkspaceLimits,
};
use metal9_types::{AttemptId, ObjectId, StubConfig, StubId, TaskId, TaskStatus, WorkspaceId};

use crate::fixture::{Fixture, change, config, new_task};

/// Later than anything in these tests.
const LATER: i64 = i64::MAX;

impl Fixture {
    async fn ended(&self, stub: StubId, text: &str) -> TaskId {
        self.ended_in(self.workspace, stub, text).await
    }

    async fn ended_in(&self, workspace: WorkspaceId, stub: StubId, text: &str) -> TaskId {
        let task = new_task(workspace, stub);
        let id = task.id;
        self.store.accept_task(task).await.unwrap();
        let stdout = LogStream::Stdout;
        self.store.logs().append(id, AttemptId(1), 1, stdout, text).await.unwrap();
        let mut end = change(id, TaskStatus::Complete);
        end.result = Some(Bytes::from_static(b"result"));
        self.store.transition(end).await.unwrap();
        id
    }

    async fn object(&self, hash: &str) -> ObjectId {
        self.store.put_object(self.workspace, hash, 1).await.unwrap().finish().await.unwrap()
    }

    async fn stub_with(&self, name: &str, object: ObjectId) -> StubId {
        let config = StubConfig { object, ..config(name) };
        self.store.get_or_create_stub(self.workspace, &config, false, Quota::NONE).await.unwrap()
    }
}

#[tokio::test]
async fn ended_tasks_go_with_their_results_and_logs_and_the_others_stay() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("f").await;
    let ended = fixture.ended(stub, "output").await;
    let waiting = fixture.task(stub);
    let waiting_id = waiting.id;
    fixture.store.accept_task(waiting).await.unwrap();
    assert_eq!(fixture.store.kept_bytes().await.unwrap(), TASK_ROW_BYTES + 6, "`result`");
    let logs = fixture.store.log_bytes().await.unwrap();
    assert!(logs > 0);

    assert_eq!(
        fixture.store.forget_ended(fixture.workspace, 1, 10).await.unwrap().count,
        0,
        "it ended after 1970"
    );
    let forgotten = fixture.store.forget_ended(fixture.workspace, LATER, 10).await.unwrap();
    assert_eq!((forgotten.count, forgotten.log_bytes), (1, logs));

    assert_eq!(fixture.store.task(ended).await.unwrap(), None);
    assert_eq!(fixture.store.task_result(ended).await.unwrap(), None);
    assert_eq!(fixture.store.logs().len(ended).await.unwrap(), 0);
    assert_eq!(fixture.store.kept_bytes().await.unwrap(), 0);
    assert_eq!(fixture.store.log_bytes().await.unwrap(), 0);
    let arguments = fixture.store.task_arguments(waiting_id).await.unwrap();
    assert_eq!(arguments, Some(Bytes::from_static(b"arguments")));
    let fixture = fixture.reopen().await;
    assert!(fixture.store.task(waiting_id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_bounded_number_of_tasks_is_removed_at_a_time() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("f").await;
    for _ in 0..3 {
        fixture.ended(stub, "x").await;
    }
    assert_eq!(fixture.store.forget_ended(fixture.workspace, LATER, 2).await.unwrap().count, 2);
    assert_eq!(fixture.store.forget_ended(fixture.workspace, LATER, 2).await.unwrap().count, 1);
}

#[tokio::test]
async fn code_goes_once_no_stub_names_it_and_a_stub_once_it_has_no_task() {
    let fixture = Fixture::new().await;
    let object = fixture.object("aa").await;
    let stub = fixture.stub_with("f", object).await;
    fixture.ended(stub, "x").await;
    let unnamed = fixture.object("bb").await;
    let removed = fixture.store.forget_unused(LATER).await.unwrap();
    assert_eq!(removed, Unused { stubs: 0, objects: 1, images: 0 });
    assert!(fixture.store.object_reader(unnamed).await.unwrap().is_none());
    assert!(fixture.store.object_reader(object).await.unwrap().is_some());

    fixture.store.forget_ended(fixture.workspace, LATER, 10).await.unwrap();
    assert!(fixture.store.stub(stub).await.unwrap().is_some(), "it is remembered now");
    let removed = fixture.store.forget_unused(LATER).await.unwrap();
    assert_eq!(removed, Unused { stubs: 1, objects: 1, images: 0 });
    assert_eq!(
        fixture.store.stub(stub).await.unwrap().map(|row: std::sync::Arc<StubRow>| row.id),
        None
    );
    assert_eq!(fixture.store.head_object(fixture.workspace, "aa").await.unwrap(), None);
    let again = fixture.object("aa").await;
    assert_ne!(again, object);
}

#[tokio::test]
async fn what_was_asked_for_since_stays() {
    let fixture = Fixture::new().await;
    let object = fixture.object("aa").await;
    fixture.stub_with("f", object).await;
    assert_eq!(fixture.store.forget_unused(1).await.unwrap(), Unused::default());
    assert_eq!(fixture.store.head_object(fixture.workspace, "aa").await.unwrap(), Some(object));
}

#[tokio::test]
async fn rows_of_ended_tasks_and_requests_count_once_each() {
    let fixture = Fixture::new().await;
    let (store, stub) = (&fixture.store, fixture.stub("f").await);
    let kept = async || store.kept_bytes().await.unwrap();

    let id = fixture.task(stub).id;
    let request = |status: TaskStatus| RequestRow {
        id,
        workspace: fixture.workspace,
        stub,
        status,
        worker: None,
        container: None,
        failure: None,
        created_at: 1,
        started_at: None,
        ended_at: status.is_terminal().then_some(2),
    };
    store.record_request(request(TaskStatus::Pending)).await.unwrap();
    assert_eq!(kept().await, 0, "it goes on");
    store.record_request(request(TaskStatus::Complete)).await.unwrap();
    store.record_request(request(TaskStatus::Complete)).await.unwrap();
    assert_eq!(kept().await, TASK_ROW_BYTES);
    let at_once = RequestRow { id: fixture.task(stub).id, ..request(TaskStatus::Complete) };
    store.record_request(at_once).await.unwrap();
    assert_eq!(kept().await, 2 * TASK_ROW_BYTES);

    let task = fixture.task(stub);
    let mut end = change(task.id, TaskStatus::Complete);
    end.result = Some(Bytes::from_static(&[7; 100]));
    store.accept_task(task).await.unwrap();
    let mut upload = store.put_output(fixture.workspace, end.task, "f").await.unwrap();
    upload.write(Bytes::from_static(b"bytes")).await.unwrap();
    upload.finish().await.unwrap();
    store.transition(end.clone()).await.unwrap();
    store.transition(end).await.unwrap();
    assert_eq!(kept().await, 3 * TASK_ROW_BYTES + 105);

    assert_eq!(store.forget_ended(fixture.workspace, LATER, 2).await.unwrap().count, 2);
    assert_eq!(kept().await, TASK_ROW_BYTES + 105, "the ones that ended first went");
    let late = store.put_output(fixture.workspace, id, "late").await.unwrap().finish().await;
    assert_eq!(late.unwrap_err().to_string(), format!("there is no task `{id}`"));
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.kept_bytes().await.unwrap(), TASK_ROW_BYTES + 105);
    fixture.store.forget_ended(fixture.workspace, LATER, 2).await.unwrap();
    assert_eq!(fixture.store.kept_bytes().await.unwrap(), 0);
}

#[tokio::test]
async fn what_each_workspace_keeps_is_known_and_goes_apart() {
    let fixture = Fixture::new().await;
    let (store, own) = (&fixture.store, fixture.workspace);
    let by = Actor::gateway();
    let limits = WorkspaceLimits::default();
    let team = store.by(&by).create_workspace("team", limits).await.unwrap().0.id;
    let stub = fixture.stub("f").await;
    let theirs = store.get_or_create_stub(team, &config("f"), false, Quota::NONE).await.unwrap();
    fixture.ended(stub, "x").await;
    for _ in 0..3 {
        let id = fixture.ended_in(team, theirs, &"y".repeat(10_000)).await;
        assert!(store.task(id).await.unwrap().is_some());
    }
    let kept = store.kept_bytes_each().await.unwrap();
    assert_eq!(kept[&own], TASK_ROW_BYTES + 6);
    assert_eq!(kept[&team], 3 * (TASK_ROW_BYTES + 6));
    let logs = store.log_bytes_each().await.unwrap();
    assert!(logs[&own] > 0 && logs[&team] >= 30_000, "{logs:?}");
    assert_eq!(logs[&own] + logs[&team], store.log_bytes().await.unwrap());
    assert_eq!(store.forget_ended(team, LATER, 10).await.unwrap().count, 3);
    assert_eq!(store.kept_bytes().await.unwrap(), TASK_ROW_BYTES + 6, "the other's is there");
}

#[tokio::test]
async fn the_room_of_what_is_removed_is_given_back_to_the_disk() {
    let fixture = Fixture::new().await;
    let (store, stub) = (&fixture.store, fixture.stub("f").await);
    let file = fixture.dir.path().join("state.db");
    let size = || std::fs::metadata(&file).unwrap().len();
    let result = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..24 {
        let task = fixture.task(stub);
        let mut end = change(task.id, TaskStatus::Complete);
        store.accept_task(task).await.unwrap();
        end.result = Some(result.clone());
        store.transition(end).await.unwrap();
    }
    store.forget_ended(fixture.workspace, LATER, 20).await.unwrap();
    assert!(store.free_in_database().await.unwrap() >= 20 << 20);
    let mut given = 0;
    loop {
        match store.give_back().await.unwrap() {
            0 => break,
            bytes => given += bytes,
        }
    }
    assert!(given >= 20 << 20, "{given}");
    assert_eq!(store.free_in_database().await.unwrap(), 0);
    assert!(size() < 8 << 20, "{} bytes", size());
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store.kept_bytes().await.unwrap(), 4 * (TASK_ROW_BYTES + (1 << 20)));
}
