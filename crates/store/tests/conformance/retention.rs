use bytes::Bytes;
use metal9_store::{LogStream, StubRow, Unused};
use metal9_types::{AttemptId, ObjectId, StubId, TaskId, TaskStatus};

use crate::fixture::{Fixture, change, config};

/// Later than anything in these tests.
const LATER: i64 = i64::MAX;

impl Fixture {
    async fn ended(&self, stub: StubId, text: &str) -> TaskId {
        let task = self.task(stub);
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
        let config = metal9_types::StubConfig { object, ..config(name) };
        self.store.get_or_create_stub(self.workspace, &config, false).await.unwrap()
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
    assert!(fixture.store.kept_bytes().await.unwrap() > 0);

    assert_eq!(fixture.store.forget_ended(1, 10).await.unwrap(), 0, "it ended after 1970");
    assert_eq!(fixture.store.forget_ended(LATER, 10).await.unwrap(), 1);

    assert_eq!(fixture.store.task(ended).await.unwrap(), None);
    assert_eq!(fixture.store.task_result(ended).await.unwrap(), None);
    assert_eq!(fixture.store.logs().len(ended).await.unwrap(), 0);
    assert_eq!(fixture.store.kept_bytes().await.unwrap(), 0);
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
    assert_eq!(fixture.store.forget_ended(LATER, 2).await.unwrap(), 2);
    assert_eq!(fixture.store.forget_ended(LATER, 2).await.unwrap(), 1);
}

#[tokio::test]
async fn code_goes_once_no_stub_names_it_and_a_stub_once_it_has_no_task() {
    let fixture = Fixture::new().await;
    let object = fixture.object("aa").await;
    let stub = fixture.stub_with("f", object).await;
    fixture.ended(stub, "x").await;
    let unnamed = fixture.object("bb").await;
    let removed = fixture.store.forget_unused(LATER).await.unwrap();
    assert_eq!(removed, Unused { stubs: 0, objects: 1 });
    assert!(fixture.store.object_reader(unnamed).await.unwrap().is_none());
    assert!(fixture.store.object_reader(object).await.unwrap().is_some());

    fixture.store.forget_ended(LATER, 10).await.unwrap();
    assert!(fixture.store.stub(stub).await.unwrap().is_some(), "it is remembered now");
    let removed = fixture.store.forget_unused(LATER).await.unwrap();
    assert_eq!(removed, Unused { stubs: 1, objects: 1 });
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
