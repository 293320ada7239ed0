use metal9_store::{LogStream, TaskFilter};
use metal9_types::{AttemptId, ContainerId, StubId, TaskId};
use uuid::Uuid;

use crate::fixture::{Fixture, stranger};

fn log(number: u128) -> TaskId {
    TaskId(Uuid::from_u128(number))
}

impl Fixture {
    async fn logs_of(&self, filter: TaskFilter) -> Vec<TaskId> {
        let found = self.store.served_containers(self.workspace, &filter).await.unwrap();
        found.iter().map(|row| row.log).collect()
    }
}

#[tokio::test]
async fn what_containers_wrote_is_found_by_container_and_stub_and_removed_in_the_end() {
    let fixture = Fixture::new().await;
    let (stub, other) = (fixture.stub("f").await, fixture.stub("g").await);
    let store = &fixture.store;
    for (number, stub, container) in [(1, stub, 10), (2, stub, 10), (3, other, 11)] {
        store.container_serves(log(number), stub, ContainerId(container)).await.unwrap();
        let appended = store.logs().append(log(number), AttemptId(0), 0, LogStream::Stdout, "x");
        appended.await.unwrap();
    }
    let of_container = TaskFilter { containers: vec![ContainerId(10)], ..TaskFilter::default() };
    let mut found = fixture.logs_of(of_container.clone()).await;
    found.sort();
    assert_eq!(found, [log(1), log(2)]);
    let of_stub = TaskFilter { stubs: vec![other], ..TaskFilter::default() };
    assert_eq!(fixture.logs_of(of_stub).await, [log(3)]);
    let strangers = store.served_containers(stranger(), &of_container).await.unwrap();
    assert!(strangers.is_empty(), "{strangers:?}");

    store.container_served(Some(log(1))).await.unwrap();
    assert_eq!(store.forget_served(fixture.workspace, i64::MAX, 10).await.unwrap().count, 1);
    assert_eq!(store.logs().len(log(1)).await.unwrap(), 0);
    assert_eq!(fixture.logs_of(of_container).await, [log(2)]);
    // After a restart none serves any more.
    store.container_served(None).await.unwrap();
    assert_eq!(store.forget_served(fixture.workspace, i64::MAX, 10).await.unwrap().count, 2);
}

#[tokio::test]
async fn a_container_of_no_stub_is_not_noted() {
    let fixture = Fixture::new().await;
    let nobody = StubId(Uuid::from_u128(5));
    fixture.store.container_serves(log(1), nobody, ContainerId(1)).await.unwrap();
    assert!(fixture.logs_of(TaskFilter::default()).await.is_empty());
}
