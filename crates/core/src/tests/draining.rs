//! Workers that are cordoned, drained, or leave with a deadline.

use std::time::Duration;

use metal9_types::{FailureKind, TaskStatus};

use super::env::{TestEnv, hello, stub, task, task_spec, worker};
use crate::{Ignored, Input, TaskSpec};

fn cordon(env: &mut TestEnv, number: u64, on: bool) {
    env.ok(Input::Cordon { worker: worker(number), on });
}

fn drain(env: &mut TestEnv, number: u64, seconds: u64) {
    let within = Duration::from_secs(seconds);
    env.ok(Input::Drain { worker: worker(number), within });
}

#[test]
fn a_cordoned_worker_finishes_what_it_has_and_gets_nothing_new() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 2);
    env.submit(1);
    let first = env.given();
    cordon(&mut env, 1, true);
    env.submit(2);
    assert_eq!(env.waiting(task(2)), "waiting: the only worker that can run it is cordoned");
    env.finish(first);
    env.nothing();
    assert!(env.core.workers()[0].cordoned);
    cordon(&mut env, 1, false);
    assert_eq!(env.waiting(task(2)), "");
    assert_eq!(env.given().container, first.container, "it was kept warm");
}

#[test]
fn a_worker_stays_cordoned_when_it_comes_back_and_before_it_was_ever_there() {
    let mut env = TestEnv::new().stub();
    cordon(&mut env, 1, true);
    env.hello(1, 1, 2);
    env.submit(1);
    env.waiting(task(1));
    env.hello(1, 2, 2);
    env.nothing();
    env.hello(2, 3, 2);
    env.waiting(task(1));
    assert_eq!(env.given().worker, worker(2));
}

#[test]
fn a_drained_worker_is_emptied_and_what_still_runs_at_the_deadline_is_made_elsewhere() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 3);
    for number in 1..=3 {
        env.ok(Input::Submit(TaskSpec { max_retries: 0, ..task_spec(number, 1) }));
    }
    let (idle, short, long) = (env.given(), env.given(), env.given());
    env.finish(idle);
    env.hello(2, 2, 1);
    drain(&mut env, 1, 10);
    assert_eq!(env.stopped_container(), idle.container);
    env.gone(idle.container);
    env.millis_alive(5000, &[(1, 1), (2, 2)]);
    env.finish(short);
    assert_eq!(env.stopped_container(), short.container, "nothing is kept warm");
    env.gone(short.container);
    env.millis_alive(5000, &[(1, 1), (2, 2)]);
    assert_eq!(env.stopped_attempt(FailureKind::WorkerLost), long.attempt);
    let retry = env.retried(task(3), FailureKind::WorkerLost);
    assert_eq!(retry.attempts_used, 0, "it does not count");
    assert!(retry.failure.unwrap().message.contains("was drained"));
    let again = env.given();
    assert_eq!((again.worker, again.number), (worker(2), 1));
    env.gone(long.container);
    env.finish(again);
    assert_eq!(env.core.counts().workers, 2, "it stays, cordoned");
    drain(&mut env, 2, 1);
    env.stopped_container();
    env.submit(4);
    assert_eq!(
        env.waiting(task(4)),
        "waiting: of the 2 workers that can run it, 1 is being drained, 1 is cordoned"
    );
}

#[test]
fn uncordoning_ends_a_drain() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    drain(&mut env, 1, 2);
    cordon(&mut env, 1, false);
    env.millis_alive(3000, &[(1, 1)]);
    env.nothing();
    env.finish(given);
    env.submit(2);
    env.given();
}

#[test]
fn nobody_drains_a_worker_that_is_not_there() {
    let mut env = TestEnv::new();
    let input = Input::Drain { worker: worker(1), within: Duration::ZERO };
    assert_eq!(env.input(input), Err(Ignored::UnknownWorker));
}

#[test]
fn a_worker_that_leaves_within_a_time_loses_no_call_and_no_retry() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 2);
    for number in 1..=2 {
        env.ok(Input::Submit(TaskSpec { max_retries: 0, ..task_spec(number, 1) }));
    }
    let (short, long) = (env.given(), env.given());
    let within = Duration::from_secs(3);
    env.ok(Input::WorkerLeavingWithin { worker: worker(1), within });
    env.finish(short);
    assert_eq!(env.stopped_container(), short.container);
    env.gone(short.container);
    env.hello(2, 2, 1);
    env.millis_alive(3000, &[(1, 1), (2, 2)]);
    env.stopped_attempt(FailureKind::WorkerLost);
    env.retried(task(2), FailureKind::WorkerLost);
    assert_eq!(env.given().worker, worker(2));
    env.gone(long.container);
    env.worker_left(1);
}

#[test]
fn what_a_leaving_worker_could_not_do_any_more_does_not_count() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.ok(Input::Submit(TaskSpec { max_retries: 0, ..task_spec(1, 1) }));
    let given = env.given();
    env.ok(Input::WorkerLeaving { worker: worker(1) });
    env.fail(given, FailureKind::WorkerLost);
    let retry = env.retried(task(1), FailureKind::WorkerLost);
    assert_eq!((retry.status, retry.attempts_used), (TaskStatus::Retry, 0));
    env.stopped_container();
    env.waiting(task(1));
    env.gone(given.container);
    env.worker_left(1);
}

#[test]
fn a_worker_that_drains_and_connects_again_keeps_its_calls() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    drain(&mut env, 1, 60);
    env.disconnect(1, 1);
    let mut again = hello(1, 2, 1, 16_384);
    again.attempts = vec![given.reattach()];
    again.containers = vec![(given.container, stub(1))];
    env.connect(again);
    assert!(env.core.workers()[0].drain_until.is_some());
    env.finish(given);
    env.stopped_container();
}
