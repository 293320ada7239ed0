//! Containers that stay whatever the calls, and how many calls are worth one.

use std::time::Duration;

use super::env::{TestEnv, stub_spec, task, task_spec};
use crate::{Input, Pace, StubSpec, TaskSpec};

fn kept(min_containers: u32) -> StubSpec {
    StubSpec { min_containers, ..stub_spec(1) }
}

fn warm_up(env: &mut TestEnv, number: u64) {
    env.ok(Input::Submit(TaskSpec { warm_up: true, ..task_spec(number, 1) }));
}

#[test]
fn a_container_that_is_to_stay_outlives_its_idleness_until_it_need_not() {
    let mut env = TestEnv::new();
    env.define(kept(1));
    env.hello(1, 1, 4);
    warm_up(&mut env, 1);
    let given = env.given();
    env.finish(given);
    env.millis_alive(60_000, &[(1, 1)]);
    env.nothing();
    assert_eq!(env.core.containers_of(super::env::stub(1)), 1);
    env.define(kept(0));
    env.millis_alive(11_000, &[(1, 1)]);
    assert_eq!(env.stopped_container(), given.container);
}

#[test]
fn a_warm_up_takes_no_idle_container_and_calls_go_before_it() {
    let mut env = TestEnv::new();
    env.define(kept(2));
    env.hello(1, 1, 1);
    env.submit(1);
    let first = env.given();
    env.finish(first);
    // There is room for one container only, and it is idle: the warm-up waits, and a call does not.
    warm_up(&mut env, 2);
    env.submit(3);
    let call = env.given();
    assert_eq!((call.task, call.container), (task(3), first.container));
    env.finish(call);
    env.hello(2, 2, 1);
    let second = env.given();
    assert_eq!((second.task, second.fresh), (task(2), true));
}

#[test]
fn a_warm_up_starts_nothing_once_there_are_enough() {
    let mut env = TestEnv::new();
    env.define(kept(1));
    env.hello(1, 1, 4);
    env.submit(1);
    assert_eq!(env.given().task, task(1));
    warm_up(&mut env, 2);
    env.nothing();
}

#[test]
fn containers_that_stay_make_no_room_and_those_above_do() {
    let mut env = TestEnv::new();
    env.define(StubSpec { max_containers: Some(2), ..kept(1) });
    env.define(stub_spec(2));
    env.hello(1, 1, 2);
    env.submit(1);
    env.submit(2);
    let [one, two] = [env.given(), env.given()];
    env.finish(one);
    env.finish(two);
    for number in 3..=4 {
        env.ok(Input::Submit(task_spec(number, 2)));
    }
    let ended = env.stopped_container();
    env.gone(ended);
    assert_eq!(env.given().task, task(3));
    env.nothing();
    // Once it need not stay, the other makes room, too.
    env.define(StubSpec { max_containers: Some(2), ..kept(0) });
    assert_ne!(env.stopped_container(), ended);
}

#[test]
fn containers_follow_the_calls_at_their_pace() {
    let mut env = TestEnv::new();
    let pace = Some(Pace { tasks: 10, containers: 2 });
    env.define(StubSpec { pace, ..stub_spec(1) });
    env.hello(1, 1, 32);
    for number in 1..=10 {
        env.submit(number);
    }
    assert_eq!(env.all_given().len(), 2);
    env.submit(11);
    assert_eq!(env.all_given().len(), 2, "there are enough calls for more");
}

#[test]
fn a_stub_may_be_told_to_have_fewer_or_more() {
    let mut env = TestEnv::new();
    env.define(StubSpec { max_containers: Some(1), ..stub_spec(1) });
    env.hello(1, 1, 8);
    for number in 1..=4 {
        env.submit(number);
    }
    assert_eq!(env.all_given().len(), 1);
    env.define(StubSpec { max_containers: Some(3), ..stub_spec(1) });
    assert_eq!(env.all_given().len(), 2);
    env.millis_alive(Duration::from_secs(1).as_millis() as u64, &[(1, 1)]);
    assert_eq!(env.core.containers_of(super::env::stub(1)), 3);
}
