//! Failures, retries, cancellation.

use metal9_types::{FailureKind, TaskStatus};

use super::env::{TestEnv, task, task_spec, worker};
use crate::{Ignored, Input};

#[test]
fn an_exception_ends_the_task_at_once() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.fail(given, FailureKind::Exception);
    let end = env.ended(task(1));
    assert_eq!((end.status, end.attempt), (TaskStatus::Error, Some(given.attempt)));
    assert_eq!(env.stopped_container(), given.container, "it was not reusable");
}

#[test]
fn a_crash_is_retried_ahead_of_others_until_no_attempt_is_left() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.ok(Input::Submit(crate::TaskSpec { max_retries: 1, ..task_spec(1, 1) }));
    env.submit(2);
    let first = env.given();
    env.fail(first, FailureKind::Crash);
    let retry = env.retried(task(1), FailureKind::Crash);
    assert_eq!((retry.attempt, retry.attempts_used), (Some(first.attempt), 1));
    assert_eq!(env.stopped_container(), first.container);
    env.nothing();
    assert_eq!(env.core.task(task(1)).unwrap().status, TaskStatus::Retry);
    env.gone(first.container);
    let second = env.given();
    assert_eq!((second.task, second.number), (task(1), 2));
    env.fail(second, FailureKind::Crash);
    let end = env.ended(task(1));
    assert_eq!((end.status, end.attempts_used), (TaskStatus::Error, 2));
    env.stopped_container();
    env.gone(second.container);
    assert_eq!(env.given().task, task(2));
}

#[test]
fn a_container_that_ends_by_itself_takes_its_call_with_it() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.gone(given.container);
    env.retried(task(1), FailureKind::Crash);
    let again = env.given();
    assert!(again.fresh && again.container != given.container);
    let late = Input::ContainerGone { container: given.container };
    assert_eq!(env.input(late), Err(Ignored::UnknownContainer));
}

#[test]
fn a_queued_task_is_cancelled_at_once() {
    let mut env = TestEnv::new().stub();
    env.submit(1);
    env.waiting(task(1));
    env.cancel(task(1));
    assert_eq!(env.ended(task(1)).status, TaskStatus::Cancelled);
    assert_eq!(env.core.counts(), crate::Counts::default());
}

#[test]
fn a_running_task_is_cancelled_at_once_but_its_room_is_free_only_when_its_container_is_gone() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.started(given);
    env.cancel(task(1));
    assert_eq!(env.stopped_attempt(FailureKind::Cancelled), given.attempt);
    let end = env.ended(task(1));
    assert_eq!((end.status, end.attempt), (TaskStatus::Cancelled, Some(given.attempt)));
    env.submit(2);
    env.nothing();
    let late = crate::AttemptReport::Finished {
        outcome: metal9_types::CallOutcome::Returned,
        reusable: true,
    };
    let late = Input::Attempt { attempt: given.attempt, report: late };
    assert_eq!(env.input(late), Err(Ignored::StaleAttempt));
    env.gone(given.container);
    let next = env.given();
    assert_eq!((next.task, next.worker, next.fresh), (task(2), worker(1), true));
}

#[test]
fn stopping_a_container_cancels_its_call() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.ok(Input::StopContainer { container: given.container });
    assert_eq!(env.stopped_attempt(FailureKind::Cancelled), given.attempt);
    assert_eq!(env.ended(task(1)).status, TaskStatus::Cancelled);
    env.ok(Input::StopContainer { container: given.container });
    env.nothing();
    env.gone(given.container);
    assert_eq!(env.core.counts().containers, 0);
}
