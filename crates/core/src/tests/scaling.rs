//! When another container is worth starting.

use std::time::Duration;

use super::env::{TestEnv, stub, stub_spec, task, task_spec};
use super::sim::Sim;
use crate::{Config, Input, TaskSpec};

const MINUTE: Duration = Duration::from_secs(60);

fn fleet(cores: u64, millicores: u64) -> Sim {
    let mut env = TestEnv::new();
    let mut spec = stub_spec(1);
    spec.resources.cpu_millicores = millicores;
    env.define(spec);
    env.hello(1, 1, cores);
    Sim::new(env, &[(1, 1)])
}

/// A fleet with one warm container and a thousand calls of a millisecond each.
fn a_thousand_short_calls() -> Sim {
    let mut sim = fleet(16, 1000);
    sim.pace(stub(1), 300, 1);
    sim.env.submit(0);
    sim.run(1, MINUTE);
    for number in 1..=1000 {
        sim.env.submit(number);
    }
    sim
}

#[test]
fn a_thousand_short_calls_are_served_by_few_containers() {
    let mut sim = a_thousand_short_calls();
    let took = sim.run(1001, MINUTE);
    assert!(sim.container_count(stub(1)) <= 4, "{}", sim.container_count(stub(1)));
    assert!(took < Duration::from_millis(700), "{took:?}");
}

#[test]
fn long_calls_spread_out_at_once() {
    let mut sim = fleet(20, 1000);
    sim.pace(stub(1), 300, 1000);
    for number in 1..=20 {
        sim.env.submit(number);
    }
    let took = sim.run(20, MINUTE);
    assert!(took <= Duration::from_millis(1310), "{took:?}");
    for number in 101..=120 {
        sim.env.submit(number);
    }
    assert_eq!(sim.run(40, MINUTE), Duration::from_secs(1), "all containers are warm");
}

#[test]
fn long_calls_of_known_length_spread_out_too() {
    let mut sim = fleet(20, 1000);
    sim.pace(stub(1), 300, 1000);
    sim.env.submit(0);
    sim.run(1, MINUTE);
    for number in 1..=20 {
        sim.env.submit(number);
    }
    let took = sim.run(21, MINUTE);
    assert!(took <= Duration::from_millis(1310), "{took:?}");
}

#[test]
fn no_more_containers_start_at_a_time_than_the_cores_allow() {
    let mut env = TestEnv::new();
    let mut spec = stub_spec(1);
    spec.resources.cpu_millicores = 100;
    env.define(spec);
    env.hello(1, 1, 2);
    for number in 1..=20 {
        env.submit(number);
    }
    let given = env.all_given();
    assert_eq!(given.len(), 4, "two per core");
    env.started(given[0]);
    let next = env.given();
    env.nothing();
    assert_eq!(next.task, task(5));
    let explanation = env.core.explain(env.now, task(6)).unwrap();
    assert_eq!(
        explanation.detail[1],
        "1 worker: could run it and is starting as many containers as it may"
    );
}

#[test]
fn calls_that_turn_out_long_bring_more_containers() {
    let mut sim = fleet(8, 1000);
    sim.pace(stub(1), 300, 1);
    sim.env.submit(0);
    sim.run(1, MINUTE);
    sim.pace(stub(1), 300, 5000);
    for number in 1..=8 {
        sim.env.submit(number);
    }
    let took = sim.run(9, MINUTE);
    assert_eq!(sim.container_count(stub(1)), 8);
    // One after another they would take 40 s, and all at once 5.3 s.
    assert!(took < Duration::from_millis(8000), "{took:?}");
}

#[test]
fn a_stub_without_keep_warm_uses_all_the_room_there_is() {
    let mut env = TestEnv::new();
    let mut spec = stub_spec(1);
    spec.keep_warm = Duration::ZERO;
    env.define(spec);
    env.hello(1, 1, 4);
    let mut sim = Sim::new(env, &[(1, 1)]);
    sim.pace(stub(1), 100, 1);
    for number in 1..=40 {
        sim.env.submit(number);
    }
    let took = sim.run(40, MINUTE);
    assert_eq!(sim.container_count(stub(1)), 40);
    assert!(took < Duration::from_millis(10 * 125), "{took:?}");
}

#[test]
fn a_large_idle_fleet_takes_a_whole_queue_at_once() {
    let hour = Duration::from_secs(3600);
    let config = Config { suspect_after: hour, lost_after: hour, ..Config::default() };
    let mut env = TestEnv::with(config).stub();
    env.check_every = 50;
    for number in 1..=600 {
        env.hello(number, number, 1);
    }
    for number in 1..=600 {
        env.ok(Input::Submit(TaskSpec { recovered: Some(Duration::ZERO), ..task_spec(number, 1) }));
    }
    env.nothing();
    env.millis(15_000);
    assert_eq!(env.all_given().len(), 600);
}

#[test]
fn calls_that_are_slow_because_the_machine_is_full_bring_no_more_containers() {
    let mut sim = a_thousand_short_calls();
    // Four share what is worth one: each call takes ten times as long as it could.
    sim.pace(stub(1), 300, 10);
    sim.run(1001, MINUTE);
    assert!(sim.container_count(stub(1)) <= 5, "{}", sim.container_count(stub(1)));
}
