//! Timeouts and times to live.

use std::time::Duration;

use metal9_types::{FailureKind, TaskStatus};

use super::env::{TestEnv, task, task_spec};
use crate::{Input, TaskSpec};

fn limited(number: u64, millis: u64) -> Input {
    let timeout = Some(Duration::from_millis(millis));
    Input::Submit(TaskSpec { timeout, ..task_spec(number, 1) })
}

#[test]
fn a_timeout_counts_from_the_start_of_the_users_code() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.ok(limited(1, 1500));
    let given = env.given();
    env.millis_alive(60_000, &[(1, 1)]);
    env.nothing();
    env.started(given);
    env.millis(1499);
    env.nothing();
    env.millis(1);
    assert_eq!(env.stopped_attempt(FailureKind::Timeout), given.attempt);
    let end = env.ended(task(1));
    assert_eq!(end.status, TaskStatus::Timeout);
    let failure = end.failure.unwrap();
    assert_eq!(failure.message, "the call timed out after 1.5 s (the function's timeout)");
    assert_eq!(failure.exit_code, 124);
    env.gone(given.container);
}

#[test]
fn a_call_that_ends_in_time_hears_nothing_of_its_timeout() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.ok(limited(1, 1000));
    let given = env.given();
    env.started(given);
    env.millis(900);
    env.finish(given);
    env.millis(1000);
}

#[test]
fn saying_twice_that_it_started_does_not_prolong_a_call() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.ok(limited(1, 1000));
    let given = env.given();
    env.started(given);
    env.millis(900);
    env.started(given);
    env.millis(100);
    env.stopped_attempt(FailureKind::Timeout);
    env.ended(task(1));
}

#[test]
fn a_task_that_is_not_begun_in_time_expires() {
    let mut env = TestEnv::new().stub();
    let ttl = Duration::from_secs(30);
    env.ok(Input::Submit(TaskSpec { ttl, ..task_spec(1, 1) }));
    env.waiting(task(1));
    env.millis(29_999);
    env.nothing();
    env.millis(1);
    let end = env.ended(task(1));
    assert_eq!(end.status, TaskStatus::Timeout);
    let failure = end.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Expired);
    assert_eq!(failure.message, "the task was not begun within 30 s (its time to live)");
}

#[test]
fn a_task_that_was_begun_once_does_not_expire() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    let ttl = Duration::from_secs(30);
    env.ok(Input::Submit(TaskSpec { ttl, ..task_spec(1, 1) }));
    let given = env.given();
    env.fail(given, FailureKind::Crash);
    env.retried(task(1), FailureKind::Crash);
    env.stopped_container();
    env.millis_alive(60_000, &[(1, 1)]);
    assert!(env.waiting(task(1)).starts_with("waiting: the only worker is busy"));
    assert_eq!(env.core.task(task(1)).unwrap().status, TaskStatus::Retry);
}
