//! After a restart of the gateway.

use std::time::Duration;

use metal9_types::{AttemptId, ContainerId, FailureKind, TaskStatus};

use super::env::{TestEnv, hello, stub, task, task_spec};
use crate::{Config, Input, Reattach, TaskSpec};

fn restarted() -> TestEnv {
    TestEnv::with(Config { epoch: 2, ..Config::default() }).stub()
}

fn recover(env: &mut TestEnv, number: u64, attempts_used: u32, max_retries: u32) {
    let spec = TaskSpec {
        attempts_used,
        max_retries,
        recovered: Some(Duration::ZERO),
        ..task_spec(number, 1)
    };
    env.ok(Input::Submit(spec));
}

#[test]
fn a_running_task_is_left_to_the_worker_that_has_it() {
    let mut env = restarted();
    recover(&mut env, 1, 1, 0);
    assert!(env.core.is_recovering(task(1)));
    env.hello(2, 1, 1);
    env.nothing();
    let (attempt, container) = (AttemptId(1 << 32 | 5), ContainerId(1 << 32 | 3));
    let mut back = hello(1, 2, 1, 16_384);
    back.attempts = vec![Reattach { attempt, task: task(1), container }];
    back.containers = vec![(container, stub(1))];
    env.connect(back);
    let running = env.transition();
    assert_eq!((running.status, running.attempt), (TaskStatus::Running, Some(attempt)));
    env.millis_alive(20_000, &[(1, 2), (2, 1)]);
    env.report(attempt, metal9_types::CallOutcome::Returned, true);
    assert_eq!(env.ended(task(1)).status, TaskStatus::Complete);
}

#[test]
fn a_running_task_that_nobody_has_counts_as_lost_after_the_grace() {
    let mut env = restarted();
    recover(&mut env, 1, 1, 1);
    recover(&mut env, 2, 1, 0);
    env.hello(1, 1, 2);
    env.millis_alive(14_000, &[(1, 1)]);
    env.nothing();
    env.millis_alive(1000, &[(1, 1)]);
    env.retried(task(1), FailureKind::WorkerLost);
    assert_eq!(env.ended(task(2)).status, TaskStatus::Error);
    let given = env.given();
    assert_eq!((given.task, given.number), (task(1), 2));
}

#[test]
fn a_task_that_was_not_begun_is_queued_after_the_grace() {
    let mut env = restarted();
    recover(&mut env, 1, 0, 0);
    env.hello(1, 1, 1);
    env.submit(2);
    let new = env.given();
    assert_eq!(new.task, task(2), "new tasks do not wait");
    env.finish(new);
    env.millis_alive(15_000, &[(1, 1)]);
    let expired = env.stopped_container();
    assert_eq!(expired, new.container);
    env.nothing();
    env.gone(expired);
    assert_eq!(env.given().task, task(1));
}

#[test]
fn a_recovered_task_can_be_cancelled_while_it_waits() {
    let mut env = restarted();
    recover(&mut env, 1, 1, 3);
    env.cancel(task(1));
    assert_eq!(env.ended(task(1)).status, TaskStatus::Cancelled);
    let (attempt, container) = (AttemptId(1 << 32 | 5), ContainerId(1 << 32 | 3));
    let mut back = hello(1, 2, 1, 16_384);
    back.attempts = vec![Reattach { attempt, task: task(1), container }];
    back.containers = vec![(container, stub(1))];
    assert_eq!(env.reconnect(back), (vec![attempt], vec![container]));
    env.millis_alive(16_000, &[(1, 2)]);
}

#[test]
fn an_adopted_calls_timeout_counts_from_its_adoption_or_its_late_start() {
    let mut env = restarted();
    let timeout = Some(Duration::from_secs(10));
    let spec =
        TaskSpec { attempts_used: 1, recovered: Some(Duration::ZERO), timeout, ..task_spec(1, 1) };
    env.ok(Input::Submit(spec));
    let (attempt, container) = (AttemptId(1 << 32 | 5), ContainerId(1 << 32 | 3));
    let mut back = hello(1, 2, 1, 16_384);
    back.attempts = vec![Reattach { attempt, task: task(1), container }];
    env.connect(back);
    env.transition();
    env.millis_alive(8000, &[(1, 2)]);
    env.ok(Input::Attempt { attempt, report: crate::AttemptReport::Started });
    env.millis_alive(9000, &[(1, 2)]);
    env.nothing();
    env.millis_alive(1000, &[(1, 2)]);
    env.stopped_attempt(FailureKind::Timeout);
    assert_eq!(env.ended(task(1)).status, TaskStatus::Timeout);
}

#[test]
fn a_recovered_task_has_what_is_left_of_its_time_and_is_told_all_of_it() {
    let mut env = restarted();
    let recovered = Some(Duration::from_secs(40));
    let spec = TaskSpec { recovered, ttl: Duration::from_secs(60), ..task_spec(1, 1) };
    env.ok(Input::Submit(spec));
    env.millis(21_000);
    let ended = std::mem::take(&mut env.actions).into_iter().find_map(|action| match action {
        crate::Action::Transition(transition) if transition.status.is_terminal() => {
            Some((transition.status, transition.failure))
        }
        _ => None,
    });
    let (status, failure) = ended.expect("its time is over");
    assert_eq!(status, TaskStatus::Timeout);
    assert!(failure.is_some_and(|failure| failure.message.contains("within 60 s")));
}
