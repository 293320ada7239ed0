use bytes::Bytes;
use metal9_store::{Accepted, Changed, NewTask, StoreError, TaskFilter};
use metal9_types::{
    AttemptId, ContainerId, Failure, FailureKind, Phase, StubId, TaskId, TaskStatus, WorkerId,
};
use uuid::Uuid;

use crate::fixture::{Fixture, change, new_task, stranger};

#[tokio::test]
async fn a_task_goes_through_its_life() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("function/a").await;
    let task = NewTask { headless: true, ..fixture.task(stub) };
    assert_eq!(fixture.store.accept_task(task.clone()).await.unwrap(), Accepted::New);
    let row = fixture.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.stub_name.as_str()), (TaskStatus::Pending, "function/a"));
    assert_eq!((row.headless, row.started_at, row.ended_at), (true, None, None));

    let attempt = Some(AttemptId(0x8000_0001_0000_0002));
    let worker = Some(WorkerId(Uuid::from_u128(9)));
    let container = Some(ContainerId(7));
    let mut running = change(task.id, TaskStatus::Running);
    (running.attempt, running.worker, running.container) = (attempt, worker, container);
    assert_eq!(fixture.store.transition(running).await.unwrap(), Changed::Applied);

    let fixture = fixture.reopen().await;
    let row = fixture.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((row.attempt, row.worker, row.container), (attempt, worker, container));
    let started = row.started_at.unwrap();
    assert_eq!(fixture.store.task_arguments(task.id).await.unwrap(), Some(task.arguments));

    let mut complete = change(task.id, TaskStatus::Complete);
    complete.phases = vec![Phase { name: "call".into(), micros: 5 }];
    complete.result = Some(Bytes::from_static(b"result"));
    assert_eq!(fixture.store.transition(complete.clone()).await.unwrap(), Changed::Applied);
    let fixture = fixture.reopen().await;
    let row = fixture.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.attempt), (TaskStatus::Complete, attempt));
    assert_eq!((row.phases, row.started_at), (complete.phases, Some(started)));
    assert!(row.ended_at.unwrap() >= started);
    assert_eq!(fixture.store.task_arguments(task.id).await.unwrap(), None);
    assert_eq!(fixture.store.task_result(task.id).await.unwrap(), complete.result);
}

#[tokio::test]
async fn a_retry_keeps_the_arguments_and_the_first_start() {
    let fixture = Fixture::new().await;
    let task = fixture.task(fixture.stub("function/a").await);
    fixture.store.accept_task(task.clone()).await.unwrap();
    fixture.store.transition(change(task.id, TaskStatus::Running)).await.unwrap();
    let started = fixture.store.task(task.id).await.unwrap().unwrap().started_at;
    let failure = Failure::new(FailureKind::WorkerLost, "worker `a` was lost");
    let mut retry = change(task.id, TaskStatus::Retry);
    retry.failure = Some(failure.clone());
    fixture.store.transition(retry).await.unwrap();
    let row = fixture.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.failure), (TaskStatus::Retry, Some(failure)));
    fixture.store.transition(change(task.id, TaskStatus::Running)).await.unwrap();
    let row = fixture.store.task(task.id).await.unwrap().unwrap();
    assert_eq!((row.failure, row.started_at), (None, started));
    assert!(fixture.store.task_arguments(task.id).await.unwrap().is_some());
    assert_eq!(fixture.store.unfinished_tasks().await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_same_request_is_accepted_once() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("function/a").await;
    let first = NewTask { request_id: Some("r".into()), ..fixture.task(stub) };
    let again = NewTask { request_id: Some("r".into()), ..fixture.task(stub) };
    let other = NewTask { request_id: Some("s".into()), ..fixture.task(stub) };
    let (a, b) = tokio::join!(
        fixture.store.accept_task(first.clone()),
        fixture.store.accept_task(again.clone())
    );
    assert_eq!((a.unwrap(), b.unwrap()), (Accepted::New, Accepted::Duplicate(first.id)));
    assert_eq!(fixture.store.accept_task(other).await.unwrap(), Accepted::New);
    assert_eq!(fixture.store.task(again.id).await.unwrap(), None);
    assert_eq!(fixture.store.task_arguments(again.id).await.unwrap(), None);

    fixture.store.transition(change(first.id, TaskStatus::Complete)).await.unwrap();
    let fixture = fixture.reopen().await;
    let again = fixture.store.accept_task(again).await.unwrap();
    assert_eq!(again, Accepted::Duplicate(first.id));
    let same_id = NewTask { request_id: None, ..first.clone() };
    let accepted = fixture.store.accept_task(same_id).await.unwrap();
    assert_eq!(accepted, Accepted::Duplicate(first.id));
    assert_eq!(fixture.store.task_arguments(first.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_task_of_an_unknown_stub_is_refused() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("function/a").await;
    for task in [fixture.task(StubId(Uuid::from_u128(8))), new_task(stranger(), stub)] {
        let error = fixture.store.accept_task(task).await.unwrap_err();
        assert!(matches!(error, StoreError::UnknownStub { .. }), "{error}");
    }
    assert!(fixture.store.unfinished_tasks().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_change_of_an_unknown_task_changes_nothing() {
    let fixture = Fixture::new().await;
    let mut complete = change(TaskId(Uuid::from_u128(1)), TaskStatus::Complete);
    complete.result = Some(Bytes::from_static(b"result"));
    let changed = fixture.store.transition(complete.clone()).await.unwrap();
    assert_eq!(changed, Changed::Unknown);
    assert_eq!(fixture.store.task_result(complete.task).await.unwrap(), None);
}

#[tokio::test]
async fn arguments_and_results_may_be_large() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("function/a").await;
    let large = Bytes::from(vec![5; 16 << 20]);
    let task = NewTask { arguments: large.clone(), ..fixture.task(stub) };
    fixture.store.accept_task(task.clone()).await.unwrap();
    assert!(fixture.store.task_arguments(task.id).await.unwrap() == Some(large.clone()));
    let mut complete = change(task.id, TaskStatus::Complete);
    complete.result = Some(large.clone());
    fixture.store.transition(complete).await.unwrap();
    assert!(fixture.store.task_result(task.id).await.unwrap() == Some(large));
}

#[tokio::test]
async fn tasks_are_listed_newest_first_and_filtered() {
    let fixture = Fixture::new().await;
    let (a, b) = (fixture.stub("function/a").await, fixture.stub("function/b").await);
    let mut ids = Vec::new();
    for stub in [a, a, b, b] {
        let task = fixture.task(stub);
        ids.push(task.id);
        fixture.store.accept_task(task).await.unwrap();
    }
    let mut running = change(ids[1], TaskStatus::Running);
    running.container = Some(ContainerId(3));
    fixture.store.transition(running).await.unwrap();
    fixture.store.transition(change(ids[2], TaskStatus::Complete)).await.unwrap();

    let all = TaskFilter::default;
    let containers = vec![ContainerId(3)];
    let unfinished = vec![TaskStatus::Pending, TaskStatus::Running, TaskStatus::Retry];
    let busy = vec![TaskStatus::Running, TaskStatus::Complete];
    for (filter, expected) in [
        (all(), vec![3, 2, 1, 0]),
        (TaskFilter { limit: 2, ..all() }, vec![3, 2]),
        (TaskFilter { ids: vec![ids[0], ids[3]], ..all() }, vec![3, 0]),
        (TaskFilter { statuses: vec![TaskStatus::Pending], ..all() }, vec![3, 0]),
        (TaskFilter { statuses: busy, ..all() }, vec![2, 1]),
        (TaskFilter { stubs: vec![a], ..all() }, vec![1, 0]),
        (TaskFilter { stub_names: vec!["function/b".into()], ..all() }, vec![3, 2]),
        (TaskFilter { stub_names: vec!["function/c".into()], ..all() }, vec![]),
        (TaskFilter { containers: containers.clone(), ..all() }, vec![1]),
        (TaskFilter { containers, statuses: vec![TaskStatus::Pending], ..all() }, vec![]),
        (TaskFilter { ids: vec![ids[0]], statuses: vec![TaskStatus::Pending], ..all() }, vec![0]),
        (TaskFilter { statuses: unfinished, ..all() }, vec![3, 1, 0]),
        (TaskFilter { stubs: vec![a], statuses: vec![TaskStatus::Pending], ..all() }, vec![0]),
    ] {
        let rows = fixture.store.list_tasks(fixture.workspace, &filter).await.unwrap();
        let found: Vec<TaskId> = rows.iter().map(|row| row.id).collect();
        let expected: Vec<TaskId> = expected.into_iter().map(|at: usize| ids[at]).collect();
        assert_eq!(found, expected, "{filter:?}");
        assert!(fixture.store.list_tasks(stranger(), &filter).await.unwrap().is_empty());
    }
    let too_many = TaskFilter { containers: vec![ContainerId(0); 20_000], ..all() };
    let error = fixture.store.list_tasks(fixture.workspace, &too_many).await.unwrap_err();
    assert!(matches!(error, StoreError::Invalid { .. }), "{error}");
}

#[tokio::test]
async fn tasks_are_counted_by_state() {
    let fixture = Fixture::new().await;
    let stub = fixture.stub("function/a").await;
    for status in [None, None, Some(TaskStatus::Complete), Some(TaskStatus::Error)] {
        let task = fixture.task(stub);
        fixture.store.accept_task(task.clone()).await.unwrap();
        if let Some(status) = status {
            fixture.store.transition(change(task.id, status)).await.unwrap();
        }
    }
    let counts = fixture.store.count_tasks(fixture.workspace).await.unwrap();
    let expected = [(TaskStatus::Pending, 2), (TaskStatus::Complete, 1), (TaskStatus::Error, 1)];
    assert_eq!(counts, expected.into());
    assert!(fixture.store.count_tasks(stranger()).await.unwrap().is_empty());
}
