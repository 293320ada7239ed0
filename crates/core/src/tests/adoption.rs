//! Comparing notes when a worker connects.

use metal9_types::{AttemptId, ContainerId, FailureKind, SessionId, TaskStatus};

use super::env::{TestEnv, hello, stub, task, worker};
use crate::{Input, Reattach};

#[test]
fn a_lost_call_that_comes_back_before_its_next_attempt_is_adopted() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.millis(15_000);
    env.worker_lost(1);
    env.retried(task(1), FailureKind::WorkerLost);
    assert_eq!(env.waiting(task(1)), "waiting: no worker is connected");
    let mut again = hello(1, 2, 1, 16_384);
    again.attempts = vec![given.reattach()];
    again.containers = vec![(given.container, stub(1))];
    env.connect(again);
    let running = env.transition();
    assert_eq!((running.attempt, running.attempts_used), (Some(given.attempt), 1));
    env.finish(given);
    env.submit(2);
    assert_eq!(env.given().container, given.container);
}

#[test]
fn a_lost_call_that_comes_back_after_its_next_attempt_is_dropped() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let first = env.given();
    env.millis(10_000);
    env.hello(2, 2, 1);
    env.millis(5000);
    env.worker_lost(1);
    env.retried(task(1), FailureKind::WorkerLost);
    assert_eq!(env.waiting(task(1)), {
        "waiting: the only worker that can run it has not been heard of for a while"
    });
    env.alive(2, 2);
    assert_eq!(env.waiting(task(1)), "");
    let second = env.given();
    let mut again = hello(1, 3, 1, 16_384);
    again.attempts = vec![first.reattach()];
    again.containers = vec![(first.container, stub(1))];
    let dropped = env.reconnect(again);
    assert_eq!(dropped, (vec![first.attempt], vec![first.container]));
    assert_eq!(env.core.task(task(1)).unwrap().worker, Some(worker(2)));
    env.submit(2);
    env.nothing();
    env.gone(first.container);
    assert_eq!(env.given().worker, worker(1), "its room is free only now");
    env.finish(second);
}

#[test]
fn an_unknown_idle_container_of_a_known_stub_is_taken_over() {
    let mut env = TestEnv::new().stub();
    let mut other = hello(1, 1, 2, 16_384);
    other.containers = vec![(ContainerId(7), stub(1)), (ContainerId(8), stub(99))];
    assert_eq!(env.reconnect(other), (vec![], vec![ContainerId(8)]));
    env.submit(1);
    let given = env.given();
    assert_eq!((given.container, given.fresh), (ContainerId(7), false));
}

#[test]
fn ids_that_were_never_given_are_not_taken_over() {
    let mut env = TestEnv::new().stub();
    env.submit(1);
    env.waiting(task(1));
    let mut liar = hello(1, 1, 2, 16_384);
    let (attempt, container) = (AttemptId(1 << 32 | 1), ContainerId(1 << 32 | 1));
    liar.attempts = vec![Reattach { attempt, task: task(1), container }];
    liar.containers = vec![(container, stub(1))];
    assert_eq!(env.reconnect(liar), (vec![attempt], vec![container]));
    assert_eq!(env.waiting(task(1)), "");
    let given = env.given();
    assert!(given.fresh);
}

#[test]
fn an_attempt_that_was_never_given_is_not_taken_over_in_a_known_container() {
    let mut env = TestEnv::new().stub();
    env.submit(1);
    env.waiting(task(1));
    let mut liar = hello(1, 1, 1, 16_384);
    let (attempt, container) = (AttemptId(1 << 32 | 1), ContainerId(7));
    liar.attempts = vec![Reattach { attempt, task: task(1), container }];
    liar.containers = vec![(container, stub(1))];
    assert_eq!(env.reconnect(liar), (vec![attempt], vec![container]));
    env.nothing();
    env.gone(container);
    assert_eq!(env.waiting(task(1)), "");
    let given = env.given();
    assert_eq!((given.attempt, given.fresh), (attempt, true));
}

#[test]
fn one_attempt_is_not_taken_over_for_two_tasks() {
    let mut env = TestEnv::new().stub();
    for number in 1..=2 {
        env.submit(number);
        env.waiting(task(number));
    }
    let mut liar = hello(1, 1, 2, 16_384);
    let attempt = AttemptId(7);
    for number in 1..=2 {
        let container = ContainerId(number);
        liar.attempts.push(Reattach { attempt, task: task(number), container });
        liar.containers.push((container, stub(1)));
    }
    assert_eq!(env.reconnect(liar), (vec![], vec![ContainerId(2)]));
    assert_eq!(env.transition().task, task(1));
    assert_eq!(env.core.attempt_task(attempt), Some(task(1)));
}

#[test]
fn idle_containers_beyond_what_the_worker_offers_are_dropped() {
    let mut env = TestEnv::new().stub();
    let mut crowded = hello(1, 1, 2, 16_384);
    crowded.containers = (1..=3).map(|id| (ContainerId(id), stub(1))).collect();
    let (_, dropped) = env.reconnect(crowded);
    assert_eq!(dropped, vec![ContainerId(3)]);
    assert_eq!(env.core.counts().idle, 2);
}

#[test]
fn two_workers_that_claim_one_task_do_not_both_get_it() {
    let mut env = TestEnv::new().stub();
    env.submit(1);
    env.waiting(task(1));
    let claim = |number: u64| {
        let mut hello = hello(number, number, 1, 16_384);
        let (attempt, container) = (AttemptId(number), ContainerId(number));
        hello.attempts = vec![Reattach { attempt, task: task(1), container }];
        hello.containers = vec![(container, stub(1))];
        hello
    };
    env.connect(claim(1));
    assert_eq!(env.transition().attempt, Some(AttemptId(1)));
    assert_eq!(env.reconnect(claim(2)), (vec![AttemptId(2)], vec![ContainerId(2)]));
}

#[test]
fn an_attempt_whose_end_was_already_counted_leaves_its_idle_container_alone() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.finish(given);
    let mut again = hello(1, 2, 1, 16_384);
    again.attempts = vec![given.reattach()];
    again.containers = vec![(given.container, stub(1))];
    assert_eq!(env.reconnect(again), (vec![given.attempt], vec![]));
    env.submit(2);
    assert_eq!(env.given().container, given.container);
}

#[test]
fn an_idle_container_that_is_not_listed_is_gone_whatever_else_is_said_of_it() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.finish(given);
    let mut again = hello(1, 2, 1, 16_384);
    again.attempts = vec![given.reattach()];
    assert_eq!(env.reconnect(again), (vec![given.attempt], vec![]));
    env.submit(2);
    assert!(env.given().fresh);
}

#[test]
fn an_attempt_that_never_reached_its_worker_does_not_count() {
    let mut env = TestEnv::new().stub();
    let mut hello = hello(1, 1, 4, 8192);
    hello.process = 7;
    env.connect(hello.clone());
    env.submit(1);
    let lost = env.given();
    // The connection broke before the worker heard of it; the process is the same.
    env.ok(Input::WorkerDisconnected { worker: worker(1), session: SessionId(1) });
    hello.session = SessionId(2);
    env.connect(hello.clone());
    assert_eq!(env.transition().status, TaskStatus::Retry);
    let again = env.given();
    assert_eq!((again.task, again.number), (lost.task, 1));
    // Another process may have lost what it had begun: that counts.
    env.ok(Input::WorkerDisconnected { worker: worker(1), session: SessionId(2) });
    (hello.session, hello.process) = (SessionId(3), 8);
    env.connect(hello);
    assert_eq!(env.transition().status, TaskStatus::Retry);
    assert_eq!(env.given().number, 2);
}

#[test]
fn a_worker_that_was_interrupted_says_why_its_calls_are_lost() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 2);
    env.submit(1);
    let first = env.given();
    env.started(first);
    let mut again = hello(1, 2, 2, 1024);
    again.interruption = "the machine rebooted while 1 job ran".to_owned();
    env.connect(again);
    let retry = env.retried(task(1), FailureKind::WorkerLost);
    assert_eq!(
        retry.failure.unwrap().message,
        "worker `w1` came back without the call: the machine rebooted while 1 job ran"
    );
    env.given();
}
