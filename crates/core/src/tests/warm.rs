//! Idle containers: reuse, expiry, eviction.

use std::time::Duration;

use super::env::{TestEnv, stub_spec, task, task_spec};
use crate::{ContainerPhase, Input, StubSpec};

#[test]
fn an_idle_container_takes_the_next_call_of_its_stub() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 4);
    env.submit(1);
    let first = env.given();
    env.finish(first);
    env.millis_alive(9000, &[(1, 1)]);
    env.submit(2);
    let second = env.given();
    assert_eq!((second.container, second.fresh), (first.container, false));
    env.finish(second);
    env.millis_alive(9000, &[(1, 1)]);
    env.nothing();
    env.millis_alive(1000, &[(1, 1)]);
    assert_eq!(env.stopped_container(), first.container, "it was idle for 10 s");
    assert_eq!(env.core.containers()[0].phase, ContainerPhase::Stopping);
    env.gone(first.container);
}

#[test]
fn without_keep_warm_every_call_gets_a_new_container() {
    let mut env = TestEnv::new();
    env.define(StubSpec { keep_warm: Duration::ZERO, ..stub_spec(1) });
    env.hello(1, 1, 1);
    env.submit(1);
    env.submit(2);
    let first = env.given();
    env.finish(first);
    assert_eq!(env.stopped_container(), first.container);
    env.nothing();
    env.gone(first.container);
    let second = env.given();
    assert!(second.fresh && second.container != first.container);
}

#[test]
fn the_longest_idle_container_makes_room_for_another_stub() {
    let mut env = TestEnv::new().stub();
    env.define(stub_spec(2));
    env.hello(1, 1, 2);
    env.submit(1);
    env.submit(2);
    let (first, second) = (env.given(), env.given());
    env.finish(first);
    env.millis(10);
    env.finish(second);
    env.ok(Input::Submit(task_spec(3, 2)));
    assert_eq!(env.stopped_container(), first.container);
    env.nothing();
    env.ok(Input::Submit(task_spec(4, 1)));
    assert_eq!(env.given().container, second.container, "it was not needed");
    env.gone(first.container);
    let third = env.given();
    assert_eq!((third.task, third.fresh), (task(3), true));
}

#[test]
fn two_tasks_have_two_containers_ended_and_one_task_one() {
    let mut env = TestEnv::new().stub();
    env.define(stub_spec(2));
    env.hello(1, 1, 3);
    for number in 1..=3 {
        env.submit(number);
    }
    for given in env.all_given() {
        env.finish(given);
    }
    env.ok(Input::Submit(task_spec(4, 2)));
    let one = env.stopped_container();
    env.nothing();
    env.ok(Input::Submit(task_spec(5, 2)));
    let two = env.stopped_container();
    env.nothing();
    env.gone(two);
    assert_eq!(env.given().task, task(4));
    env.gone(one);
    assert_eq!(env.given().task, task(5));
}

#[test]
fn no_more_is_ended_than_a_large_task_needs() {
    let mut env = TestEnv::new().stub();
    let mut large = stub_spec(2);
    large.resources.cpu_millicores = 2000;
    env.define(large);
    env.hello(1, 1, 4);
    for number in 1..=3 {
        env.submit(number);
    }
    let given = env.all_given();
    for given in &given {
        env.millis(1);
        env.finish(*given);
    }
    env.ok(Input::Submit(task_spec(4, 2)));
    assert_eq!(env.stopped_container(), given[0].container, "one core is free already");
    env.nothing();
    env.gone(given[0].container);
    assert_eq!(env.given().task, task(4));
}

#[test]
fn room_that_is_being_made_goes_to_others_if_the_task_is_cancelled() {
    let mut env = TestEnv::new().stub();
    env.define(stub_spec(2));
    env.define(stub_spec(3));
    env.hello(1, 1, 1);
    env.submit(1);
    let first = env.given();
    env.finish(first);
    env.ok(Input::Submit(task_spec(2, 2)));
    assert_eq!(env.stopped_container(), first.container);
    env.ok(Input::Submit(task_spec(3, 3)));
    env.nothing();
    env.cancel(task(2));
    env.ended(task(2));
    env.gone(first.container);
    assert_eq!(env.given().task, task(3));
}

#[test]
fn a_promised_room_is_not_given_to_a_smaller_task_that_comes_later() {
    let mut env = TestEnv::new().stub();
    env.define(stub_spec(2));
    let mut small = stub_spec(3);
    small.resources.cpu_millicores = 100;
    env.define(small);
    env.hello(1, 1, 1);
    env.submit(1);
    let first = env.given();
    env.finish(first);
    env.ok(Input::Submit(task_spec(2, 2)));
    env.stopped_container();
    env.ok(Input::Submit(task_spec(3, 3)));
    env.gone(first.container);
    assert_eq!(env.given().task, task(2));
    env.nothing();
}

#[test]
fn room_promised_to_a_large_task_is_kept_while_it_comes_together() {
    let mut env = TestEnv::new().stub();
    let mut large = stub_spec(2);
    large.resources.cpu_millicores = 2000;
    env.define(large);
    env.define(stub_spec(3));
    env.define(stub_spec(4));
    env.hello(1, 1, 2);
    env.submit(1);
    env.submit(2);
    for given in env.all_given() {
        env.finish(given);
    }
    env.ok(Input::Submit(task_spec(3, 2)));
    let (first, second) = (env.stopped_container(), env.stopped_container());
    env.ok(Input::Submit(task_spec(4, 3)));
    env.gone(first);
    env.nothing();
    env.ok(Input::Submit(task_spec(5, 4)));
    env.nothing();
    env.gone(second);
    assert_eq!(env.given().task, task(3));
    env.nothing();
}

#[test]
fn nobodys_container_is_ended_for_a_task_that_would_not_fit_anyway() {
    let mut env = TestEnv::new().stub();
    let mut large = stub_spec(2);
    large.resources.cpu_millicores = 3000;
    env.define(large);
    env.hello(1, 1, 3);
    env.submit(1);
    env.submit(2);
    let given = env.all_given();
    env.finish(given[0]);
    env.ok(Input::Submit(task_spec(3, 2)));
    env.nothing();
    env.finish(given[1]);
    env.stopped_container();
    env.stopped_container();
}
