//! Weights, priorities, and what stubs and workspaces may have.

use std::time::Duration;

use metal9_types::{FailureKind, Resources};

use super::env::{Given, TestEnv, stub, stub_spec, task, task_spec, workspace};
use super::sim::Sim;
use crate::{Action, Config, Input, StubSpec, TaskSpec, WorkspaceRules};

fn submit(env: &mut TestEnv, number: u64, of: u64, whose: u64) {
    let workspace = workspace(whose);
    env.ok(Input::Submit(TaskSpec { workspace, ..task_spec(number, of) }));
}

/// Runs two workspaces with long queues on so many cores; how many tasks of each began.
fn compete(weights: [u32; 2], memory: [u64; 2], call: [u64; 2], keep_warm: Duration) -> [usize; 2] {
    let mut config = Config::default();
    for (whose, weight) in (1..).zip(weights) {
        let rules = WorkspaceRules { weight, ..WorkspaceRules::default() };
        config.workspaces.insert(workspace(whose), rules);
    }
    let mut env = TestEnv::with(config);
    for (number, memory_mib) in (1..).zip(memory) {
        let resources = Resources { cpu_millicores: 1000, memory_mib };
        env.define(StubSpec { resources, keep_warm, ..stub_spec(number) });
    }
    let mut sim = Sim::new(env, &[(1, 1)]);
    for (number, call) in (1..).zip(call) {
        sim.pace(stub(number), 50, call);
    }
    for number in 0..2000 {
        submit(&mut sim.env, number, 1, 1);
        submit(&mut sim.env, 10_000 + number, 2, 2);
    }
    sim.env.actions.clear();
    sim.env.connect(super::env::hello(1, 1, 8, 1_000_000));
    sim.run(800, Duration::from_secs(200));
    let first = sim.begun.keys().filter(|id| **id < task(10_000)).count();
    sim.env.actions.clear();
    [first, sim.begun.len() - first]
}

#[test]
fn workspaces_share_by_weight() {
    let [first, second] = compete([3, 1], [128, 128], [200, 200], Duration::ZERO);
    let ratio = first as f64 / second as f64;
    assert!((2.4..3.6).contains(&ratio), "{first} to {second}");
}

#[test]
fn costly_containers_count_for_more_than_cheap_ones() {
    let [large, small] = compete([1, 1], [16_384, 128], [200, 200], Duration::ZERO);
    let ratio = small as f64 / large as f64;
    assert!((3.0..5.0).contains(&ratio), "{small} small and {large} large ones");
}

#[test]
fn long_calls_count_for_more_than_short_ones() {
    let [long, short] = compete([1, 1], [128, 128], [800, 200], Duration::ZERO);
    let ratio = short as f64 / long as f64;
    assert!((2.2..5.5).contains(&ratio), "{short} short and {long} long ones");
}

#[test]
fn warm_containers_come_to_be_shared_by_weight_too() {
    let [first, second] = compete([3, 1], [128, 128], [200, 200], Duration::from_secs(10));
    let ratio = first as f64 / second as f64;
    assert!((1.8..4.5).contains(&ratio), "{first} to {second}");
}

#[test]
fn calls_that_keep_step_do_not_hide_from_who_waits() {
    let mut config = Config::default();
    let rules = WorkspaceRules { weight: 3, ..WorkspaceRules::default() };
    config.workspaces.insert(workspace(2), rules);
    let mut env = TestEnv::with(config);
    for number in [1, 2] {
        env.define(StubSpec { keep_warm: Duration::from_secs(60), ..stub_spec(number) });
    }
    env.hello(1, 1, 4);
    // Three rooms are the light one's, and one the heavy one's.
    let mut running = Vec::new();
    for (number, whose) in [(1, 2), (2, 1), (3, 1), (4, 1)] {
        submit(&mut env, number, whose, whose);
        let given = env.given();
        env.started(given);
        running.push(given);
    }
    for number in 10..200 {
        submit(&mut env, number, 1, 1);
        submit(&mut env, 1000 + number, 2, 2);
    }
    // Its call ends just before theirs, again and again.
    for _ in 0..40 {
        env.millis_alive(190, &[(1, 1)]);
        for given in &mut running {
            env.actions.clear();
            env.finish(*given);
            let stopped = |action: &Action| matches!(action, Action::StopContainer { .. });
            if env.actions.iter().any(stopped) {
                env.actions.clear();
                return;
            }
            *given = env.given();
            env.started(*given);
            env.millis(20);
        }
    }
    env.actions.clear();
    panic!("the light one keeps three of four rooms");
}

#[test]
fn the_higher_priority_goes_first_within_a_workspace() {
    let mut env = TestEnv::new();
    env.define(stub_spec(1));
    env.define(StubSpec { priority: 5, ..stub_spec(2) });
    submit(&mut env, 1, 1, 1);
    submit(&mut env, 2, 2, 1);
    env.waiting(task(1));
    env.waiting(task(2));
    env.hello(1, 1, 1);
    env.waiting(task(2));
    let first = env.given();
    assert_eq!(first.task, task(2));
    env.millis_alive(10_000, &[(1, 1)]);
    let sentence = env.waiting(task(1));
    assert_eq!(sentence, "waiting: the only worker is busy; it is next");
    submit(&mut env, 3, 2, 1);
    assert_eq!(
        env.sentence(1),
        "waiting: the only worker is busy, and tasks of higher priority go first; it is next"
    );
}

#[test]
fn what_a_task_has_waited_for_goes_to_a_higher_priority_of_its_workspace() {
    let mut env = TestEnv::new();
    env.define(StubSpec { keep_warm: Duration::from_secs(60), ..stub_spec(1) });
    env.define(stub_spec(2));
    env.define(StubSpec { priority: 5, ..stub_spec(3) });
    env.hello(1, 1, 1);
    submit(&mut env, 1, 1, 1);
    let running = env.given();
    env.started(running);
    submit(&mut env, 2, 2, 1);
    env.millis_alive(3000, &[(1, 1)]);
    submit(&mut env, 3, 3, 1);
    env.actions.clear();
    env.finish(running);
    assert_eq!(env.stopped_container(), running.container);
    env.gone(running.container);
    assert_eq!(env.given().task, task(3));
}

#[test]
fn a_low_priority_becomes_due_by_waiting() {
    let config = Config { ageing: Duration::from_secs(1), ..Config::default() };
    let mut env = TestEnv::with(config);
    env.define(StubSpec { keep_warm: Duration::ZERO, ..stub_spec(1) });
    env.define(StubSpec { keep_warm: Duration::ZERO, priority: 5, ..stub_spec(2) });
    env.hello(1, 1, 1);
    let mut sim = Sim::new(env, &[(1, 1)]);
    sim.pace(stub(1), 50, 400);
    sim.pace(stub(2), 50, 400);
    submit(&mut sim.env, 1, 2, 1);
    submit(&mut sim.env, 2, 1, 1);
    // A new urgent task comes as often as one ends.
    for number in 3..60 {
        submit(&mut sim.env, number, 2, 1);
        sim.run(number as usize - 2, Duration::from_secs(5));
    }
    let waited = sim.begun[&task(2)].since(metal9_types::Moment(1_000_000));
    assert!((3.0..8.0).contains(&waited.as_secs_f64()), "{waited:?}");
}

#[test]
fn a_stub_has_no_more_containers_than_it_may() {
    let mut env = TestEnv::new();
    env.define(StubSpec { max_containers: Some(2), ..stub_spec(1) });
    env.hello(1, 1, 8);
    for number in 1..=4 {
        env.submit(number);
    }
    let given = env.all_given();
    assert_eq!(given.len(), 2);
    assert_eq!(
        env.sentence(4),
        "waiting: its stub has all 2 containers that it may have; 1 task is ahead"
    );
    env.finish(given[0]);
    assert_eq!(env.given().container, given[0].container);
    env.report(given[1].attempt, metal9_types::CallOutcome::Returned, false);
    env.ended(task(2));
    env.stopped_container();
    assert!(env.given().fresh, "one that ends makes room for another");
}

/// A workspace that by these rules gets two of the three calls it wants to make.
fn two_of_three(rules: WorkspaceRules) -> (TestEnv, Vec<Given>) {
    let mut env = TestEnv::new().stub();
    env.ok(Input::SetWorkspace { workspace: workspace(1), rules });
    env.hello(1, 1, 8);
    for number in 1..=3 {
        env.submit(number);
    }
    let given = env.all_given();
    assert_eq!(given.len(), 2);
    (env, given)
}

#[test]
fn a_workspace_has_no_more_than_it_may() {
    let rules = WorkspaceRules { max_cpu_millicores: Some(2000), ..WorkspaceRules::default() };
    let (mut env, given) = two_of_three(rules);
    assert_eq!(
        env.sentence(3),
        "waiting: the workspace uses 2000 of the 2000 millicores it may have; it is next"
    );
    submit(&mut env, 4, 1, 2);
    assert_eq!(env.given().task, task(4), "others may have more");
    env.finish(given[0]);
    assert_eq!(env.given().task, task(3));
    env.submit(5);
    env.nothing();
    let rules = WorkspaceRules::default();
    env.ok(Input::SetWorkspace { workspace: workspace(1), rules });
    assert_eq!(env.given().task, task(5));
}

#[test]
fn a_task_that_crashes_again_and_again_rests_in_between() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.ok(Input::Submit(TaskSpec { max_retries: 10, ..task_spec(1, 1) }));
    for (crash, pause) in [(1, 0), (2, 1000), (3, 2000), (4, 4000)] {
        let given = env.given();
        env.fail(given, FailureKind::Crash);
        env.retried(task(1), FailureKind::Crash);
        env.stopped_container();
        env.gone(given.container);
        if pause > 0 {
            let seconds = pause / 1000;
            let sentence = env.sentence(1);
            let expected =
                format!("waiting: it crashed {crash} times; it is tried again in {seconds} s");
            assert_eq!(sentence, expected);
            env.millis_alive(pause - 1, &[(1, 1)]);
            env.nothing();
            env.millis(1);
        }
    }
    env.given();
    env.cancel(task(1));
    env.stopped_attempt(FailureKind::Cancelled);
    env.ended(task(1));
}

#[test]
fn a_worker_that_starts_as_many_containers_as_it_may_is_named_so() {
    let mut env = TestEnv::new();
    let resources = Resources { cpu_millicores: 100, memory_mib: 128 };
    env.define(StubSpec { resources, ..stub_spec(1) });
    env.hello(1, 1, 1);
    for number in 1..=3 {
        env.submit(number);
    }
    assert_eq!(env.all_given().len(), 2);
    assert_eq!(
        env.sentence(3),
        "waiting: the worker with room is starting as many containers as it may; it is next"
    );
}

#[test]
fn each_limit_of_a_workspace_is_named_when_it_is_reached() {
    let none = WorkspaceRules::default();
    let limits = [
        (WorkspaceRules { max_memory_mib: Some(300), ..none }, "256 of the 300 MiB of memory"),
        (WorkspaceRules { max_containers: Some(2), ..none }, "2 of the 2 containers"),
        (WorkspaceRules { max_cpu_millicores: Some(2999), ..none }, "2000 of the 2999 millicores"),
    ];
    for (rules, said) in limits {
        let (mut env, given) = two_of_three(rules);
        let sentence = env.sentence(3);
        assert!(sentence.contains(&format!("the workspace uses {said} it may have")), "{sentence}");
        env.finish(given[0]);
        assert_eq!(env.given().task, task(3));
    }
}
