//! Sharing between workspaces and stubs.

use std::time::Duration;

use metal9_types::TaskId;

use super::env::{TestEnv, stub, stub_spec, task, task_spec, workspace};
use super::sim::Sim;
use crate::{Input, TaskSpec};

fn submit(env: &mut TestEnv, number: u64, of: u64, whose: u64) {
    let workspace = workspace(whose);
    env.ok(Input::Submit(TaskSpec { workspace, ..task_spec(number, of) }));
}

/// Two workspaces with a stub each, and so many cores.
fn shared(cores: u64) -> Sim {
    let mut env = TestEnv::new();
    env.define(stub_spec(1));
    env.define(stub_spec(2));
    env.hello(1, 1, cores);
    let mut sim = Sim::new(env, &[(1, 1)]);
    sim.pace(stub(1), 200, 100);
    sim.pace(stub(2), 200, 100);
    sim
}

fn begun(sim: &Sim, id: TaskId) -> Duration {
    sim.begun[&id].since(metal9_types::Moment(1_000_000))
}

#[test]
fn workspaces_take_turns_where_there_is_room() {
    let mut env = TestEnv::new();
    env.define(stub_spec(1));
    env.define(stub_spec(2));
    for number in 1..=10 {
        submit(&mut env, number, 1, 1);
        submit(&mut env, 100 + number, 2, 2);
    }
    env.actions.clear();
    env.hello(1, 1, 4);
    let mut first = 0;
    let mut second = 0;
    while let Some(action) = env.actions.pop_front() {
        if let crate::Action::Assign { stub: of, .. } = action {
            *(if of == stub(1) { &mut first } else { &mut second }) += 1;
        }
    }
    assert_eq!((first, second), (2, 2));
}

#[test]
fn a_newcomer_does_not_wait_for_anothers_long_queue() {
    let mut sim = shared(2);
    for number in 1..=400 {
        submit(&mut sim.env, number, 1, 1);
    }
    submit(&mut sim.env, 1000, 2, 2);
    sim.run(401, Duration::from_secs(100));
    assert_eq!(sim.ended.len(), 401);
    let waited = begun(&sim, task(1000));
    assert!(waited < Duration::from_millis(1500), "{waited:?}");
}

#[test]
fn another_stub_of_the_same_workspace_gets_its_turn_too() {
    let mut sim = shared(1);
    for number in 1..=200 {
        submit(&mut sim.env, number, 1, 1);
    }
    submit(&mut sim.env, 1000, 2, 1);
    sim.run(201, Duration::from_secs(100));
    assert_eq!(sim.ended.len(), 201);
    let waited = begun(&sim, task(1000));
    assert!(waited < Duration::from_millis(1500), "{waited:?}");
}

#[test]
fn two_long_queues_come_to_share_the_machine_and_lose_little_by_it() {
    let mut sim = shared(4);
    for number in 1..=400 {
        submit(&mut sim.env, number, 1, 1);
    }
    sim.run(40, Duration::from_secs(100));
    for number in 1001..=1400 {
        submit(&mut sim.env, number, 2, 2);
    }
    sim.run(440, Duration::from_secs(100));
    let of_second = sim.ended.keys().filter(|id| **id >= task(1001)).count();
    assert!((130..=230).contains(&of_second), "{of_second} of 400");
    let took = sim.run(800, Duration::from_secs(100));
    assert_eq!(sim.ended.len(), 800);
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert!(sim.container_count(stub(1)) + sim.container_count(stub(2)) < 12);
}

#[test]
fn a_large_task_is_not_starved_by_small_ones() {
    let mut sim = shared(4);
    let mut large = stub_spec(3);
    large.resources.cpu_millicores = 4000;
    sim.env.define(large);
    sim.pace(stub(3), 200, 100);
    for number in 1..=400 {
        submit(&mut sim.env, number, 1, 1);
    }
    submit(&mut sim.env, 1000, 3, 2);
    sim.run(401, Duration::from_secs(100));
    assert_eq!(sim.ended.len(), 401);
    let waited = begun(&sim, task(1000));
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[test]
fn a_gpu_is_handed_on_between_queues() {
    let mut env = TestEnv::new();
    for number in 1..=2 {
        let gpu = metal9_types::GpuRequest::parse("MPS", 1);
        env.define(crate::StubSpec { gpu, ..stub_spec(number) });
    }
    env.connect(super::env::mac(1, 1, "M3", "Max"));
    let mut sim = Sim::new(env, &[(1, 1)]);
    sim.pace(stub(1), 200, 100);
    sim.pace(stub(2), 200, 100);
    for number in 1..=100 {
        submit(&mut sim.env, number, 1, 1);
    }
    submit(&mut sim.env, 1000, 2, 2);
    sim.run(101, Duration::from_secs(100));
    assert_eq!(sim.ended.len(), 101);
    assert!(begun(&sim, task(1000)) < Duration::from_millis(1500));
}

#[test]
fn a_promise_that_nothing_will_cover_keeps_nobody_waiting() {
    let mut env = TestEnv::new();
    for (number, cpu) in [(1, 750), (2, 250), (3, 500), (4, 750)] {
        let mut spec = stub_spec(number);
        spec.resources.cpu_millicores = cpu;
        env.define(spec);
    }
    env.hello(1, 1, 1);
    let mut sim = Sim::new(env, &[(1, 1)]);
    for (number, call) in [(1, 229), (2, 20), (3, 90), (4, 20)] {
        sim.pace(stub(number), 100, call);
    }
    // One long queue fills three quarters of the only core and waits for more of it.
    for number in 1..=150 {
        submit(&mut sim.env, number, 1, 1);
    }
    sim.run(20, Duration::from_secs(60));
    let came = sim.env.now;
    for whose in 2..=4 {
        submit(&mut sim.env, whose * 1000, whose, whose);
    }
    sim.run(153, Duration::from_secs(100));
    for whose in 2..=4 {
        let waited = sim.begun[&task(whose * 1000)].since(came);
        assert!(waited < Duration::from_millis(2500), "workspace {whose}: {waited:?}");
    }
}
