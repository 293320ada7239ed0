//! Why tasks wait.

use metal9_types::GpuRequest;

use super::env::{TestEnv, hello, mac, stub_spec, task, task_spec};
use crate::{Action, Input, StubSpec};

#[test]
fn a_busy_fleet_is_mentioned_only_after_a_while() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.hello(2, 2, 1);
    for number in 1..=5 {
        env.submit(number);
    }
    assert_eq!(env.all_given().len(), 2);
    env.millis_alive(9999, &[(1, 1), (2, 2)]);
    env.nothing();
    env.millis(1);
    assert_eq!(env.waiting(task(3)), "waiting: all 2 workers are busy; it is next");
    assert_eq!(env.waiting(task(4)), "waiting: all 2 workers are busy; 1 task is ahead");
    assert_eq!(env.waiting(task(5)), "waiting: all 2 workers are busy; 2 tasks are ahead");
    env.millis(2000);
    assert_eq!(env.sentence(5), "waiting: all 2 workers are busy; 2 tasks are ahead");
}

#[test]
fn each_task_is_told_once_and_again_only_when_the_reason_changes() {
    let mut env = TestEnv::new().stub();
    env.submit(1);
    env.waiting(task(1));
    env.millis(10_000);
    let mut tiny = hello(1, 1, 1, 100);
    tiny.offer.capacity.memory_mib = 100;
    env.connect(tiny);
    env.millis(250);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: needs 128 MiB of memory; the largest worker has 100"
    );
    env.disconnect(1, 1);
    env.millis(250);
    env.nothing();
}

#[test]
fn workers_that_are_not_connected_are_told_apart_from_those_that_cannot() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    let mut tiny = hello(2, 2, 1, 100);
    tiny.offer.capacity.memory_mib = 100;
    env.connect(tiny);
    env.disconnect(1, 1);
    env.submit(1);
    let sentence = "waiting: the only worker that can run it is not connected";
    assert_eq!(env.waiting(task(1)), sentence);
    let explanation = env.core.explain(env.now, task(1)).unwrap();
    assert_eq!(explanation.sentence, sentence);
    assert_eq!(
        explanation.detail,
        ["2 workers looked at", "1 worker: less than 128 MiB of memory", "1 worker: not connected",]
    );
    env.disconnect(2, 2);
    assert_eq!(env.sentence(1), "waiting: no worker is connected");
}

#[test]
fn a_long_queue_is_told_in_portions() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(0);
    env.given();
    for number in 1..=1000 {
        env.submit(number);
    }
    env.now = env.now.after(std::time::Duration::from_secs(10));
    env.ok(Input::Timer);
    assert_eq!(env.actions.len(), 256);
    env.millis(100);
    assert_eq!(env.actions.len(), 1000);
    let all = std::mem::take(&mut env.actions);
    for (index, action) in all.into_iter().enumerate() {
        let Action::Waiting { task: told, .. } = action else { panic!("{action:?}") };
        assert_eq!(told, task(index as u64 + 1));
    }
}

#[test]
fn the_details_say_what_ruled_out_whom() {
    let mut env = TestEnv::new();
    let gpu = GpuRequest::parse("MPS", 1);
    env.define(StubSpec { gpu, pool: Some("lab".into()), ..stub_spec(1) });
    env.hello(1, 1, 4);
    let mut plain = hello(2, 2, 4, 16_384);
    plain.offer.pool = "lab".into();
    env.connect(plain);
    let mut guest = mac(3, 3, "M2", "");
    guest.offer.pool = "lab".into();
    guest.offer.runtimes = vec![metal9_types::Runtime::Runc];
    env.connect(guest);
    env.submit(1);
    let sentence = env.waiting(task(1));
    assert_eq!(
        sentence,
        "waiting: gpu \"MPS\" needs a native worker on a Mac; \
         1 worker on a Mac runs in a container, which cannot reach Metal"
    );
    let explanation = env.core.explain(env.now, task(1)).unwrap();
    assert_eq!(explanation.sentence, sentence);
    assert_eq!(
        explanation.detail,
        [
            "3 workers looked at",
            "1 worker: not in pool \"lab\"",
            "1 worker: on a Mac, but in a container or a guest, which cannot reach Metal",
            "1 worker: without gpu \"MPS\"",
        ]
    );
}

#[test]
fn each_requirement_has_its_sentence() {
    let cases: [(&str, u32, u64, u64, &str); 6] = [
        ("MPS", 1, 1, 1, "waiting: gpu \"MPS\" needs a native worker on a Mac; none is connected"),
        ("H100", 1, 1, 1, "waiting: gpu \"H100\" is on no worker; there is M3 Max (simulated)"),
        ("M3Max", 2, 1, 1, "waiting: needs 2 × gpu \"M3 Max\"; no worker has as many"),
        ("M4", 1, 1, 1, "waiting: gpu \"M4\" is on no worker; there is M3 Max (simulated)"),
        ("", 0, 8, 1, "waiting: needs 8000 millicores; the largest worker has 4000"),
        ("", 0, 1, 64, "waiting: needs 65536 MiB of memory; the largest worker has 16384"),
    ];
    for (gpu, count, cores, gibibytes, sentence) in cases {
        let mut env = TestEnv::new();
        let mut spec = StubSpec { gpu: GpuRequest::parse(gpu, count), ..stub_spec(1) };
        spec.resources.cpu_millicores = cores * 1000;
        spec.resources.memory_mib = gibibytes * 1024;
        env.define(spec);
        let mut hello = hello(1, 1, 4, 16_384);
        if gpu != "MPS" {
            hello.offer.devices = mac(1, 1, "M3", "Max").offer.devices;
            hello.offer.devices[0].simulated = true;
        }
        env.connect(hello);
        env.submit(1);
        assert_eq!(env.waiting(task(1)), sentence);
    }
}

#[test]
fn a_running_task_is_explained_too_and_an_ended_one_is_not() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 1);
    env.submit(1);
    let given = env.given();
    assert_eq!(env.sentence(1), "starting on worker `w1`");
    env.started(given);
    assert_eq!(env.sentence(1), "running on worker `w1`");
    env.finish(given);
    assert_eq!(env.core.explain(env.now, task(1)), None);
}

#[test]
fn tasks_of_one_group_wait_behind_a_few_containers_and_are_told_so() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 8);
    env.submit(1);
    let first = env.given();
    env.started(first);
    env.millis(5);
    env.finish(first);
    env.submit(2);
    env.given();
    env.ok(Input::Submit(task_spec(3, 1)));
    assert_eq!(env.sentence(3), "waiting: 1 container is working the queue off; it is next");
}
