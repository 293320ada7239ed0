//! Accelerators: how many jobs at a time, how much memory, who uses them.

use std::time::Duration;

use metal9_types::{CallOutcome, GpuRequest, Machine, Platform, Runtime, Vendor};

use super::env::{
    TestEnv, device, hello, mac, stub, stub_spec, task, task_spec, worker, workspace,
};
use crate::{Action, Input, StubSpec, TaskSpec, WorkerHello};

fn gpu_stub(number: u64, gpu: &str, memory_mib: u64) -> StubSpec {
    let mut spec = StubSpec { gpu: GpuRequest::parse(gpu, 1), ..stub_spec(number) };
    spec.resources.memory_mib = memory_mib;
    spec
}

/// A Mac whose GPU takes two jobs at a time and has 24 000 MiB.
fn shared_mac(number: u64, session: u64) -> WorkerHello {
    let mut mac = mac(number, session, "M3", "Max");
    mac.offer.devices[0].slots = 2;
    mac.offer.capacity.memory_mib = 65_536;
    mac
}

fn submit_of(env: &mut TestEnv, number: u64, of: u64) {
    env.ok(Input::Submit(task_spec(number, of)));
}

#[test]
fn a_gpu_with_two_slots_takes_two_jobs_and_no_third() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 1000));
    env.connect(shared_mac(1, 1));
    for number in 1..=3 {
        env.submit(number);
    }
    let given = env.all_given();
    assert_eq!(given.len(), 2);
    let users = &env.core.workers()[0].device_users;
    assert_eq!(*users, [vec![given[0].container, given[1].container]]);
    env.finish(given[0]);
    assert_eq!(env.given().task, task(3));
}

#[test]
fn jobs_that_share_a_gpu_share_its_memory_budget() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 13_000));
    env.define(gpu_stub(2, "MPS", 11_000));
    env.connect(shared_mac(1, 1));
    env.submit(1);
    env.submit(2);
    let first = env.given();
    // The machine would have room for the second, its GPU has not.
    assert!(env.core.workers()[0].free.memory_mib > 13_000);
    env.nothing();
    submit_of(&mut env, 3, 2);
    assert_eq!(env.given().task, task(3), "a smaller one fits beside it");
    env.millis_alive(10_000, &[(1, 1)]);
    assert_eq!(
        env.waiting(task(2)),
        "waiting: the GPU of `w1` is busy with `f1` and `f2`; it is next"
    );
    env.finish(first);
    assert_eq!(env.waiting(task(2)), "");
    assert_eq!(env.given().task, task(2));
}

#[test]
fn who_shares_a_gpu_is_told_what_leaves_too_little_memory() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 13_000));
    env.connect(shared_mac(1, 1));
    env.submit(1);
    env.submit(2);
    let first = env.given();
    env.millis_alive(10_000, &[(1, 1)]);
    assert_eq!(
        env.waiting(task(2)),
        "waiting: the GPU of `w1` has too little memory left beside `f1`; it is next"
    );
    env.finish(first);
    assert_eq!(env.waiting(task(2)), "");
    env.given();
}

#[test]
fn an_nvidia_gpu_with_slots_does_not_count_host_memory_as_its_own() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "H100", 13_000));
    let mut server = hello(1, 1, 8, 65_536);
    server.offer.devices = vec![device(Vendor::Nvidia, "H100", "")];
    server.offer.devices[0].slots = 2;
    env.connect(server);
    env.submit(1);
    env.submit(2);
    assert_eq!(env.all_given().len(), 2);
}

#[test]
fn an_assignment_says_which_devices_a_fresh_container_gets() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "H100", 100));
    let mut server = hello(1, 1, 8, 65_536);
    server.offer.devices =
        vec![device(Vendor::Nvidia, "A10G", ""), device(Vendor::Nvidia, "H100", "")];
    env.connect(server);
    env.submit(1);
    let Some(Action::Assign { devices, .. }) = env.actions.front() else { panic!() };
    assert_eq!(*devices, [1]);
    let first = env.given();
    env.finish(first);
    env.submit(2);
    let Some(Action::Assign { devices, fresh: false, .. }) = env.actions.front() else { panic!() };
    assert!(devices.is_empty(), "a container that is there has them");
    env.given();
}

#[test]
fn a_worker_that_comes_back_says_which_device_its_containers_have() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "H100", 100));
    let mut server = hello(1, 1, 8, 65_536);
    server.offer.devices = vec![device(Vendor::Nvidia, "H100", ""); 3];
    env.connect(server.clone());
    env.submit(1);
    let first = env.given();
    env.started(first);
    // After a restart of the gateway nothing else tells.
    let mut later = TestEnv::with(crate::Config { epoch: 2, ..crate::Config::default() });
    later.define(gpu_stub(1, "H100", 100));
    later.ok(Input::Submit(TaskSpec {
        recovered: Some(Duration::ZERO),
        attempts_used: 1,
        ..task_spec(1, 1)
    }));
    server.attempts = vec![first.reattach()];
    server.containers = vec![(first.container, stub(1))];
    server.devices = [(first.container, vec![2])].into();
    later.connect(server);
    later.transition();
    assert_eq!(later.core.workers()[0].device_users, [vec![], vec![], vec![first.container]]);
}

#[test]
fn a_busy_gpu_is_told_by_what() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 100));
    env.define(gpu_stub(2, "MPS", 100));
    env.connect(mac(1, 1, "M3", ""));
    env.submit(1);
    env.given();
    submit_of(&mut env, 2, 2);
    env.millis_alive(10_000, &[(1, 1)]);
    assert_eq!(env.waiting(task(2)), "waiting: the GPU of `w1` is busy with `f1`; it is next");
    assert_eq!(env.sentence(2), "waiting: the GPU of `w1` is busy with `f1`; it is next");
}

#[test]
fn what_other_workspaces_run_is_not_told_by_name() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 100));
    env.define(gpu_stub(2, "MPS", 100));
    env.connect(mac(1, 1, "M3", ""));
    env.connect(mac(2, 2, "M3", ""));
    env.submit(1);
    env.ok(Input::Submit(TaskSpec { workspace: workspace(2), ..task_spec(2, 2) }));
    assert_eq!(env.all_given().len(), 2);
    submit_of(&mut env, 3, 1);
    env.millis_alive(10_000, &[(1, 1), (2, 2)]);
    assert_eq!(
        env.waiting(task(3)),
        "waiting: the GPUs of 2 workers are busy with `f1` and a call of another workspace; \
         it is next"
    );
}

#[test]
fn a_full_machine_is_not_said_to_have_a_busy_gpu() {
    let mut env = TestEnv::new();
    env.define(stub_spec(1));
    env.define(gpu_stub(2, "MPS", 100));
    let mut small = mac(1, 1, "M3", "");
    small.offer.capacity.cpu_millicores = 1000;
    env.connect(small);
    env.submit(1);
    env.given();
    submit_of(&mut env, 2, 2);
    env.millis_alive(10_000, &[(1, 1)]);
    assert_eq!(env.waiting(task(2)), "waiting: the only worker is busy; it is next");
}

#[test]
fn a_device_that_was_promised_is_kept_when_its_container_is_idle() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 100));
    env.define(gpu_stub(2, "MPS", 100));
    env.define(StubSpec { keep_warm: Duration::ZERO, ..stub_spec(3) });
    env.connect(mac(1, 1, "M3", ""));
    // Stub 1 has a queue that never ends, beside a job that needs no GPU.
    for number in 1..=20 {
        env.submit(number);
    }
    submit_of(&mut env, 50, 3);
    let (mut gpu, beside) = (env.given(), env.given());
    env.started(gpu);
    env.started(beside);
    env.millis(100);
    env.finish(gpu);
    gpu = env.given();
    env.started(gpu);
    env.ok(Input::Submit(TaskSpec { workspace: workspace(2), ..task_spec(60, 2) }));
    env.millis_alive(3000, &[(1, 1)]);
    // Room appears beside the GPU while that is in use: the promise is made now.
    env.report(beside.attempt, CallOutcome::Returned, false);
    env.ended(beside.task);
    assert_eq!(env.stopped_container(), beside.container);
    env.gone(beside.container);
    env.finish(gpu);
    assert_eq!(env.stopped_container(), gpu.container);
    env.gone(gpu.container);
    assert_eq!(env.given().task, task(60));
    env.actions.clear();
}

#[test]
fn each_reason_why_there_is_no_metal_has_its_sentence() {
    let guest = || {
        let mut guest = hello(1, 1, 4, 16_384);
        guest.offer.platform = Platform::Aarch64Linux;
        guest.offer.machine = Machine { is_guest_on_mac: true, ..Machine::default() };
        guest
    };
    let boxed = || {
        let mut boxed = mac(2, 2, "M3", "");
        boxed.offer.runtimes = vec![Runtime::Runc];
        boxed
    };
    let blind = |notes: &[&str]| {
        let mut blind = mac(3, 3, "M3", "");
        blind.offer.devices.clear();
        blind.offer.machine.notes = notes.iter().map(|&note| note.to_owned()).collect();
        blind
    };
    let note = "the Metal probe ended with signal 11.";
    let cases: [(Vec<WorkerHello>, &str); 6] = [
        (vec![], "none is connected"),
        (vec![guest()], "1 worker is a Linux guest on a Mac, which cannot reach Metal"),
        (vec![boxed()], "1 worker on a Mac runs in a container, which cannot reach Metal"),
        (
            vec![guest(), boxed()],
            "1 worker on a Mac runs in a container, which cannot reach Metal; \
             1 worker is a Linux guest on a Mac, which cannot reach Metal",
        ),
        (vec![blind(&[])], "worker `w3` is one, but reports no gpu"),
        (vec![blind(&[note])], "worker `w3` says: the Metal probe ended with signal 11"),
    ];
    for (workers, sentence) in cases {
        let mut env = TestEnv::new();
        env.define(gpu_stub(1, "MPS", 100));
        for hello in workers {
            env.connect(hello);
        }
        env.submit(1);
        assert_eq!(
            env.waiting(task(1)),
            format!("waiting: gpu \"MPS\" needs a native worker on a Mac; {sentence}")
        );
    }
}

#[test]
fn of_several_notes_the_one_about_what_is_asked_for_is_told() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "T4", 1));
    let mut server = hello(1, 1, 4, 16_384);
    let notes =
        ["NVIDIA device 1 (unknown) is not offered: lost", "T4 (GPU-7) is not offered: so."];
    server.offer.machine.notes = notes.map(str::to_owned).to_vec();
    env.connect(server);
    env.submit(1);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: gpu \"T4\" is on no worker; there is no gpu at all; worker `w1` says: T4 (GPU-7) is \
         not offered: so"
    );
}

#[test]
fn a_mixed_list_is_told_what_there_is_and_why_not_metal() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "M4,H100", 100));
    let mut guest = hello(1, 1, 4, 16_384);
    guest.offer.machine = Machine { is_guest_on_mac: true, ..Machine::default() };
    env.connect(guest);
    let mut server = hello(2, 2, 4, 16_384);
    server.offer.devices = vec![device(Vendor::Nvidia, "T4", "")];
    env.connect(server);
    env.submit(1);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: gpu \"M4\" or \"H100\" is on no worker; there is T4; \
         1 worker is a Linux guest on a Mac, which cannot reach Metal"
    );
    let mut ultra = mac(3, 3, "M4", "Ultra");
    ultra.offer.hostname = "studio".into();
    env.connect(ultra);
    env.waiting(task(1));
    assert_eq!(env.given().worker, worker(3));
}

#[test]
fn only_the_gpus_asked_for_count_as_the_largest() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "M3", 30_000));
    let mut mixed = mac(1, 1, "M3", "");
    mixed
        .offer
        .devices
        .push(metal9_types::Device { memory_mib: 90_000, ..device(Vendor::Nvidia, "H100", "") });
    env.connect(mixed);
    env.submit(1);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: needs 30000 MiB of memory; the largest gpu \"M3\" may use 24000"
    );
}

#[test]
fn a_mac_that_gets_nothing_new_is_told_as_such() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 100));
    env.connect(mac(1, 1, "M3", ""));
    env.ok(Input::Cordon { worker: worker(1), on: true });
    env.submit(1);
    assert_eq!(env.waiting(task(1)), "waiting: the only worker that can run it is cordoned");
    env.ok(Input::Cordon { worker: worker(1), on: false });
    env.waiting(task(1));
    let given = env.given();
    env.ok(Input::Drain { worker: worker(1), within: Duration::from_secs(60) });
    env.submit(2);
    assert_eq!(env.waiting(task(2)), "waiting: the only worker that can run it is being drained");
    env.finish(given);
    env.stopped_container();
    env.actions.clear();
}
