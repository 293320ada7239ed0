//! Workers that fall silent, disconnect, come back and leave.

use metal9_types::{FailureKind, SessionId, TaskStatus};

use super::env::{TestEnv, hello, stub, task, task_spec, worker};
use crate::{Ignored, Input, TaskSpec};

#[test]
fn a_silent_worker_gets_nothing_new_until_it_speaks() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 2);
    env.millis(5000);
    assert!(env.core.workers()[0].suspect);
    env.submit(1);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: the only worker that can run it has not been heard of for a while"
    );
    env.alive(1, 1);
    assert_eq!(env.waiting(task(1)), "");
    env.given();
}

#[test]
fn a_worker_that_stays_silent_is_lost_and_its_calls_are_made_elsewhere() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let first = env.given();
    env.started(first);
    env.hello(2, 2, 1);
    env.millis_alive(14_000, &[(2, 2)]);
    env.nothing();
    env.millis_alive(1000, &[(2, 2)]);
    env.worker_lost(1);
    let retry = env.retried(task(1), FailureKind::WorkerLost);
    assert_eq!(retry.failure.unwrap().message, "worker `w1` was lost");
    let second = env.given();
    assert_eq!((second.worker, second.number), (worker(2), 2));
    assert_eq!(env.core.workers().len(), 1);
    assert_eq!(env.input(Input::WorkerAlive { worker: worker(1), session: SessionId(1) }), {
        Err(Ignored::UnknownWorker)
    });
}

#[test]
fn the_calls_of_a_revoked_worker_are_made_elsewhere_at_once() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let first = env.given();
    env.started(first);
    env.hello(2, 2, 1);
    env.ok(Input::WorkerRevoked { worker: worker(1) });
    env.worker_lost(1);
    env.retried(task(1), FailureKind::WorkerLost);
    assert_eq!(env.given().worker, worker(2));
    assert_eq!(env.input(Input::WorkerRevoked { worker: worker(1) }), Err(Ignored::UnknownWorker));
}

#[test]
fn a_lost_call_without_attempts_left_ends_in_error() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.ok(Input::Submit(TaskSpec { max_retries: 0, ..task_spec(1, 1) }));
    env.given();
    env.millis(15_000);
    env.worker_lost(1);
    let end = env.ended(task(1));
    assert_eq!(end.status, TaskStatus::Error);
    assert_eq!(end.failure.unwrap().kind, FailureKind::WorkerLost);
}

#[test]
fn a_worker_that_reconnects_in_time_keeps_its_calls() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 2);
    env.submit(1);
    let given = env.given();
    env.started(given);
    env.disconnect(1, 1);
    env.submit(2);
    assert_eq!(env.waiting(task(2)), "waiting: no worker is connected");
    env.millis(14_000);
    let mut again = hello(1, 2, 2, 16_384);
    again.attempts = vec![given.reattach()];
    again.containers = vec![(given.container, stub(1))];
    env.connect(again);
    assert_eq!(env.waiting(task(2)), "");
    let other = env.given();
    env.finish(given);
    env.finish(other);
}

#[test]
fn what_ended_while_the_connection_was_down_is_reported_afterwards() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.disconnect(1, 1);
    let mut again = hello(1, 2, 1, 16_384);
    // The attempt has ended and its container is gone; the report is still on its way.
    again.attempts = vec![given.reattach()];
    env.connect(again);
    env.nothing();
    env.report(given.attempt, metal9_types::CallOutcome::Returned, false);
    assert_eq!(env.ended(task(1)).status, TaskStatus::Complete);
    assert_eq!(env.stopped_container(), given.container);
    env.gone(given.container);
    assert_eq!(env.core.counts().containers, 0);
}

#[test]
fn a_worker_that_comes_back_empty_has_lost_its_calls() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let first = env.given();
    env.hello(1, 2, 1);
    env.retried(task(1), FailureKind::WorkerLost);
    let second = env.given();
    assert!(second.container != first.container && second.fresh);
}

#[test]
fn messages_of_a_replaced_session_are_ignored() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.hello(1, 2, 1);
    let (worker, session) = (worker(1), SessionId(1));
    let stale = Err(Ignored::StaleSession);
    assert_eq!(env.input(Input::WorkerAlive { worker, session }), stale);
    assert_eq!(env.input(Input::WorkerDisconnected { worker, session }), stale);
    assert_eq!(env.core.workers()[0].session, Some(SessionId(2)));
}

#[test]
fn a_cancellation_while_the_worker_is_away_reaches_it_when_it_is_back() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.disconnect(1, 1);
    env.cancel(task(1));
    assert_eq!(env.ended(task(1)).status, TaskStatus::Cancelled);
    let mut again = hello(1, 2, 1, 16_384);
    again.attempts = vec![given.reattach()];
    again.containers = vec![(given.container, stub(1))];
    let dropped = env.reconnect(again);
    assert_eq!(dropped, (vec![given.attempt], vec![given.container]));
    env.submit(2);
    env.nothing();
    env.gone(given.container);
    env.given();
}

#[test]
fn a_container_that_ended_while_the_worker_was_away_holds_no_room() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    env.disconnect(1, 1);
    env.cancel(task(1));
    env.ended(task(1));
    let mut again = hello(1, 2, 1, 16_384);
    again.attempts = vec![given.reattach()];
    assert_eq!(env.reconnect(again), (vec![given.attempt], vec![]));
    env.submit(2);
    assert!(env.given().fresh);
}

#[test]
fn a_leaving_worker_finishes_what_it_has_and_is_forgotten() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 2);
    env.submit(1);
    env.submit(2);
    let (first, second) = (env.given(), env.given());
    env.finish(first);
    env.ok(Input::WorkerLeaving { worker: worker(1) });
    assert_eq!(env.stopped_container(), first.container);
    env.submit(3);
    assert_eq!(env.waiting(task(3)), "waiting: the only worker that can run it is leaving");
    env.gone(first.container);
    env.finish(second);
    assert_eq!(env.stopped_container(), second.container);
    env.gone(second.container);
    env.worker_left(1);
    assert!(env.core.workers().is_empty());
    env.millis(250);
    assert_eq!(env.waiting(task(3)), "waiting: no worker is connected");
}

#[test]
fn an_empty_worker_that_leaves_is_forgotten_at_once() {
    let mut env = TestEnv::new();
    env.hello(1, 1, 2);
    env.ok(Input::WorkerLeaving { worker: worker(1) });
    env.worker_left(1);
    assert_eq!(env.input(Input::WorkerLeaving { worker: worker(1) }), {
        Err(Ignored::UnknownWorker)
    });
}
