//! Machines that get hot or run on a battery.

use metal9_types::{GpuRequest, OnBattery, Power, SessionId, Thermal};

use super::env::{Given, TestEnv, mac, stub_spec, task, task_spec, worker};
use crate::{Input, StubSpec};

/// A native Mac as worker 1, stub 1 that asks for its GPU and stub 2 that does not.
fn on_a_mac(on_battery: OnBattery) -> TestEnv {
    let mut env = TestEnv::new();
    env.define(StubSpec { gpu: GpuRequest::parse("MPS", 1), ..stub_spec(1) });
    env.define(stub_spec(2));
    let mut mac = mac(1, 1, "M3", "Max");
    mac.offer.on_battery = on_battery;
    env.connect(mac);
    env
}

fn condition(env: &mut TestEnv, thermal: Thermal, power: Power) {
    env.ok(Input::WorkerCondition {
        worker: worker(1),
        session: SessionId(1),
        thermal: Some(thermal),
        power: Some(power),
    });
}

fn submit(env: &mut TestEnv, number: u64, of: u64) {
    env.ok(Input::Submit(task_spec(number, of)));
}

fn idle_gpu_container(env: &mut TestEnv) -> Given {
    env.submit(1);
    let given = env.given();
    env.started(given);
    env.finish(given);
    given
}

#[test]
fn a_hot_machine_begins_no_gpu_job_and_others_go_on() {
    let mut env = on_a_mac(OnBattery::Run);
    env.submit(1);
    let running = env.given();
    condition(&mut env, Thermal::Heavy, Power::Ac);
    env.nothing();
    env.submit(2);
    assert_eq!(
        env.waiting(task(2)),
        "waiting: the only worker that can run it is too hot to begin more"
    );
    submit(&mut env, 3, 2);
    assert_eq!(env.given().task, task(3), "a job without a gpu begins");
    env.finish(running);
    env.nothing();
    condition(&mut env, Thermal::Moderate, Power::Ac);
    assert_eq!(env.waiting(task(2)), "");
    assert_eq!(env.given().task, task(2));
}

#[test]
fn a_container_that_holds_a_gpu_takes_no_further_call_while_it_is_hot() {
    let mut env = on_a_mac(OnBattery::Run);
    let first = idle_gpu_container(&mut env);
    condition(&mut env, Thermal::Heavy, Power::Ac);
    env.submit(2);
    env.waiting(task(2));
    env.nothing();
    condition(&mut env, Thermal::Nominal, Power::Ac);
    env.waiting(task(2));
    let second = env.given();
    assert_eq!((second.container, second.fresh), (first.container, false));
}

#[test]
fn nothing_begins_on_a_machine_that_is_about_to_stop_everything() {
    let mut env = on_a_mac(OnBattery::Run);
    condition(&mut env, Thermal::Trapping, Power::Ac);
    submit(&mut env, 1, 2);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: the only worker that can run it is too hot to begin more"
    );
    condition(&mut env, Thermal::Heavy, Power::Ac);
    env.waiting(task(1));
    env.given();
}

#[test]
fn what_a_machine_does_on_battery_is_its_owners_choice() {
    let hint = |what| {
        format!(
            "waiting: the only worker that can run it is on battery, on which it begins no {what} \
             (`worker.on_battery`)"
        )
    };
    for choice in [OnBattery::Run, OnBattery::NoGpu, OnBattery::Rest] {
        let mut env = on_a_mac(choice);
        condition(&mut env, Thermal::Nominal, Power::Battery);
        submit(&mut env, 1, 1);
        submit(&mut env, 2, 2);
        match choice {
            OnBattery::Run => assert_eq!(env.all_given().len(), 2),
            OnBattery::NoGpu => {
                assert_eq!(env.waiting(task(1)), hint("gpu jobs"));
                assert_eq!(env.given().task, task(2));
            }
            OnBattery::Rest => {
                assert_eq!(env.waiting(task(1)), hint("gpu jobs"));
                assert_eq!(env.waiting(task(2)), hint("jobs"));
                condition(&mut env, Thermal::Nominal, Power::Ac);
                env.actions.retain(|action| matches!(action, crate::Action::Assign { .. }));
                assert_eq!(env.actions.len(), 2);
                env.actions.clear();
            }
        }
    }
}

#[test]
fn a_machine_that_is_hot_when_it_connects_is_spared_from_the_start() {
    let mut env = TestEnv::new();
    env.define(StubSpec { gpu: GpuRequest::parse("MPS", 1), ..stub_spec(1) });
    let mut hot = mac(1, 1, "M3", "");
    hot.thermal = Some(Thermal::Heavy);
    env.connect(hot.clone());
    env.submit(1);
    env.waiting(task(1));
    env.nothing();
    // A session that says nothing of it counts as cool.
    env.disconnect(1, 1);
    (hot.session, hot.thermal) = (SessionId(2), None);
    env.connect(hot);
    env.waiting(task(1));
    env.given();
}

#[test]
fn an_old_sessions_word_on_it_does_not_count() {
    let mut env = on_a_mac(OnBattery::Run);
    let stale = env.input(Input::WorkerCondition {
        worker: worker(1),
        session: SessionId(7),
        thermal: Some(Thermal::Trapping),
        power: None,
    });
    assert!(stale.is_err());
    env.submit(1);
    env.given();
}

#[test]
fn a_promise_of_a_gpu_ends_when_that_is_to_rest() {
    let mut env = on_a_mac(OnBattery::Run);
    let first = idle_gpu_container(&mut env);
    env.define(StubSpec { gpu: GpuRequest::parse("MPS", 1), ..stub_spec(3) });
    submit(&mut env, 2, 3);
    assert_eq!(env.stopped_container(), first.container);
    condition(&mut env, Thermal::Heavy, Power::Ac);
    env.gone(first.container);
    env.millis(250);
    assert_eq!(
        env.waiting(task(2)),
        "waiting: the only worker that can run it is too hot to begin more"
    );
    condition(&mut env, Thermal::Nominal, Power::Ac);
    env.waiting(task(2));
    env.given();
}
