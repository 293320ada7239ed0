use bytes::Bytes;
use futures::future::join_all;
use metal9_store::{Changed, TaskChange};
use metal9_types::{AttemptId, TaskStatus};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{Fixture, change};

fn orders() -> impl Strategy<Value = Vec<TaskStatus>> {
    proptest::collection::vec(proptest::sample::select(TaskStatus::ALL.to_vec()), 1..8)
}

/// Changes numbered by their attempt, with a result that tells them apart.
async fn begin(fixture: &Fixture, order: &[TaskStatus]) -> Vec<TaskChange> {
    let task = fixture.task(fixture.stub("function/a").await);
    fixture.store.accept_task(task.clone()).await.unwrap();
    let numbered = order.iter().zip(1_u64..).map(|(status, number)| TaskChange {
        attempt: Some(AttemptId(number)),
        result: Some(Bytes::copy_from_slice(&number.to_le_bytes())),
        ..change(task.id, *status)
    });
    numbered.collect()
}

/// What is stored must be what the changes that were applied say, and only one of them the end.
async fn check(fixture: &Fixture, changes: &[TaskChange], outcomes: &[Changed]) {
    let id = changes[0].task;
    let row = fixture.store.task(id).await.unwrap().unwrap();
    let applied = || changes.iter().zip(outcomes).filter(|(_, it)| **it == Changed::Applied);
    let ends: Vec<&TaskChange> =
        applied().map(|(change, _)| change).filter(|change| change.status.is_terminal()).collect();
    let any_end = changes.iter().any(|change| change.status.is_terminal());
    assert_eq!(ends.len(), usize::from(any_end), "{changes:?} {outcomes:?}");
    let last =
        ends.first().copied().or_else(|| applied().last().map(|(change, _)| change)).unwrap();
    assert_eq!((row.status, row.attempt), (last.status, last.attempt));
    assert_eq!(row.ended_at.is_some(), any_end);
    let result = fixture.store.task_result(id).await.unwrap();
    assert_eq!(result, ends.first().and_then(|end| end.result.clone()));
    let arguments = fixture.store.task_arguments(id).await.unwrap();
    assert_eq!(arguments.is_none(), any_end);
}

#[test]
fn whatever_the_order_a_task_ends_once_and_stays_so() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(Fixture::new());
    let mut runner = TestRunner::new(Config { cases: 100, ..Config::default() });
    let result = runner.run(&orders(), |order| {
        runtime.block_on(async {
            let changes = begin(&fixture, &order).await;
            let mut outcomes = Vec::new();
            for change in &changes {
                outcomes.push(fixture.store.transition(change.clone()).await.unwrap());
            }
            let first_end = order.iter().position(|it| it.is_terminal()).unwrap_or(order.len());
            for (at, outcome) in outcomes.iter().enumerate() {
                let expected =
                    if at <= first_end { Changed::Applied } else { Changed::AlreadyTerminal };
                assert_eq!(*outcome, expected, "{order:?} at {at}");
            }
            check(&fixture, &changes, &outcomes).await;
        });
        Ok(())
    });
    result.unwrap();
}

#[test]
fn of_ends_that_arrive_at_once_one_counts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = runtime.block_on(Fixture::new());
    let mut runner = TestRunner::new(Config { cases: 50, ..Config::default() });
    let result = runner.run(&orders(), |order| {
        runtime.block_on(async {
            let changes = begin(&fixture, &order).await;
            let outcomes =
                join_all(changes.iter().map(|it| fixture.store.transition(it.clone()))).await;
            let outcomes: Vec<Changed> = outcomes.into_iter().map(Result::unwrap).collect();
            check(&fixture, &changes, &outcomes).await;
        });
        Ok(())
    });
    result.unwrap();
}
