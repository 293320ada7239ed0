//! The main path.

use std::collections::BTreeSet;
use std::time::Duration;

use metal9_types::{FailureKind, TaskStatus};

use super::env::{TestEnv, stub, task, task_spec, worker};
use crate::{Ignored, Input};

#[test]
fn a_task_is_given_away_at_once_and_ends_when_its_call_returns() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 2);
    env.submit(1);
    let given = env.given();
    assert_eq!((given.task, given.worker, given.fresh), (task(1), worker(1), true));
    assert_eq!(given.number, 1);
    let view = env.core.task(task(1)).unwrap();
    assert_eq!((view.status, view.started), (TaskStatus::Running, None));
    env.started(given);
    assert_eq!(env.core.task(task(1)).unwrap().started, Some(env.now));
    assert_eq!(env.core.attempt_task(given.attempt), Some(task(1)));
    env.finish(given);
    assert_eq!(env.core.attempt_task(given.attempt), None);
    assert_eq!(env.core.counts().idle, 1);
}

#[test]
fn a_worker_is_at_work_for_a_stub_while_it_has_a_call_of_it() {
    let mut env = TestEnv::new().stub();
    assert_eq!(env.core.stubs_at_work(env.now, worker(1)), None, "it has not said what it has");
    env.hello(1, 1, 2);
    let nothing = Some(BTreeSet::new());
    assert_eq!(env.core.stubs_at_work(env.now, worker(1)), nothing);
    env.submit(1);
    let given = env.given();
    assert_eq!(env.core.stubs_at_work(env.now, worker(1)), Some(BTreeSet::from([stub(1)])));
    env.finish(given);
    assert_eq!(env.core.counts().idle, 1);
    assert_eq!(env.core.stubs_at_work(env.now, worker(1)), nothing, "a warm container has no call");
    env.submit(2);
    let given = env.given();
    env.cancel(task(2));
    assert_eq!(env.stopped_attempt(FailureKind::Cancelled), given.attempt);
    assert_eq!(env.ended(task(2)).status, TaskStatus::Cancelled);
    let own = Some(BTreeSet::from([stub(1)]));
    assert_eq!(
        env.core.stubs_at_work(env.now, worker(1)),
        own,
        "it has yet to send what was written"
    );
    let later = env.now.after(Duration::from_secs(600));
    assert_eq!(env.core.stubs_at_work(later, worker(1)), nothing, "but not for ever");
    env.gone(given.container);
    assert_eq!(env.core.stubs_at_work(env.now, worker(1)), nothing);
}

#[test]
fn a_task_that_finds_no_worker_gets_the_first_that_comes() {
    let mut env = TestEnv::new().stub();
    env.submit(1);
    assert_eq!(env.waiting(task(1)), "waiting: no worker is connected");
    env.hello(1, 1, 2);
    assert_eq!(env.waiting(task(1)), "", "it waits no more");
    assert_eq!(env.given().task, task(1));
}

#[test]
fn ids_carry_the_epoch_and_are_never_given_twice() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 4);
    let mut seen = std::collections::BTreeSet::new();
    for number in 1..=4 {
        env.submit(number);
        let given = env.given();
        assert_eq!(given.attempt.0 >> 32, 1);
        assert!(seen.insert(given.attempt));
    }
}

#[test]
fn tasks_of_one_stub_are_begun_in_order() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    for number in 1..=5 {
        env.submit(number);
    }
    let mut given = env.given();
    for number in 2..=5 {
        env.started(given);
        env.finish(given);
        given = env.given();
        assert_eq!((given.task, given.fresh), (task(number), false));
    }
    env.finish(given);
}

#[test]
fn repeated_and_unknown_things_are_ignored() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    assert_eq!(env.input(Input::Submit(task_spec(1, 1))), Err(Ignored::DuplicateTask));
    assert_eq!(env.input(Input::Submit(task_spec(2, 9))), Err(Ignored::UnknownStub));
    env.finish(given);
    let report = crate::AttemptReport::Started;
    let late = Input::Attempt { attempt: given.attempt, report };
    assert_eq!(env.input(late), Err(Ignored::StaleAttempt));
    let failure = metal9_types::Failure::new(metal9_types::FailureKind::Cancelled, "too late");
    let late = Input::Cancel { task: task(1), failure };
    assert_eq!(env.input(late), Err(Ignored::UnknownTask));
}

#[test]
fn a_task_that_cannot_be_placed_does_not_hold_up_others() {
    let mut env = TestEnv::new().stub();
    let mut large = super::env::stub_spec(2);
    large.resources.cpu_millicores = 64_000;
    env.define(large);
    env.hello(1, 1, 2);
    env.ok(Input::Submit(task_spec(1, 2)));
    assert_eq!(
        env.waiting(task(1)),
        "waiting: needs 64000 millicores; the largest worker has 2000"
    );
    env.submit(2);
    assert_eq!(env.given().task, task(2));
}
