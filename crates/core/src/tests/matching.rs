//! Which worker a task goes to.

use metal9_types::{GpuRequest, Platform, RootSource, Runtime, Vendor};

use super::env::{TestEnv, device, hello, mac, stub_spec, task, task_spec, worker};
use crate::{Input, StubSpec};

fn gpu_stub(number: u64, gpu: &str, count: u32) -> StubSpec {
    StubSpec { gpu: GpuRequest::parse(gpu, count), ..stub_spec(number) }
}

#[test]
fn metal_jobs_go_to_native_workers_on_macs_only() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 1));
    let mut guest = mac(1, 1, "M3", "Max");
    guest.offer.platform = Platform::Aarch64Linux;
    let mut boxed = mac(2, 2, "M3", "Max");
    boxed.offer.runtimes = vec![Runtime::Runc];
    env.connect(guest);
    env.connect(boxed);
    env.submit(1);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: gpu \"MPS\" needs a native worker on a Mac; \
         2 workers on Macs run in containers, which cannot reach Metal"
    );
    env.connect(mac(3, 3, "M1", ""));
    env.waiting(task(1));
    assert_eq!(env.given().worker, worker(3));
}

#[test]
fn an_image_that_is_a_root_goes_to_containers_that_can_have_it() {
    let mut env = TestEnv::new();
    env.define(StubSpec { root: RootSource::Pulled, ..stub_spec(1) });
    env.define(StubSpec { root: RootSource::Built, ..stub_spec(2) });
    env.hello(1, 1, 4);
    env.submit(1);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: the image is the root of a container, which takes a worker with containers \
         (`runtime = \"runc\"` or \"runsc\"); 1 worker has none"
    );
    let mut pulls = hello(2, 2, 4, 16_384);
    pulls.offer.root = RootSource::Pulled;
    env.connect(pulls);
    env.waiting(task(1));
    assert_eq!(env.given().worker, worker(2));
    env.ok(Input::Submit(task_spec(2, 2)));
    let sentence = env.waiting(task(2));
    assert!(sentence.contains("and buildah; 2 workers have none"), "{sentence}");
    let mut builds = hello(3, 3, 4, 16_384);
    builds.offer.root = RootSource::Built;
    env.connect(builds);
    env.waiting(task(2));
    assert_eq!(env.given().worker, worker(3));
}

#[test]
fn a_stub_with_an_allow_list_goes_only_where_it_is_held_to_it() {
    let mut env = TestEnv::new();
    env.define(StubSpec { allow_list: true, ..stub_spec(1) });
    env.hello(1, 1, 4);
    env.submit(1);
    let sentence = env.waiting(task(1));
    assert!(sentence.contains("has an `allow_list`, which takes a worker whose"), "{sentence}");
    assert!(sentence.ends_with("; 1 worker has none"), "{sentence}");
    let mut able = hello(2, 2, 4, 16_384);
    able.offer.runtimes = vec![Runtime::Runc];
    able.offer.allow_lists = true;
    env.connect(able);
    env.waiting(task(1));
    assert_eq!(env.given().worker, worker(2));
}

#[test]
fn a_stub_goes_only_to_the_runtime_that_it_asks_for() {
    let mut env = TestEnv::new();
    let pool = Some("default".to_owned());
    env.define(StubSpec { runtime: Some(Runtime::Runsc), pool, ..stub_spec(1) });
    env.hello(1, 1, 4);
    let with = |number, runtime| {
        let mut hello = hello(number, number, 4, 16_384);
        hello.offer.runtimes = vec![runtime];
        hello
    };
    env.connect(with(2, Runtime::Runc));
    env.submit(1);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: needs runtime \"runsc\"; 2 workers of pool \"default\" have native or runc"
    );
    env.connect(with(3, Runtime::Runsc));
    env.waiting(task(1));
    let given = env.given();
    assert_eq!(given.worker, worker(3));
    // Neither is its container anybody's but who may be there.
    env.finish(given);
    env.define(StubSpec { runtime: Some(Runtime::Native), ..stub_spec(2) });
    env.ok(Input::Submit(task_spec(2, 2)));
    assert_eq!(env.given().worker, worker(1));
}

#[test]
fn a_simulated_device_counts_wherever_it_is() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "M3-Max", 1));
    let mut simulated = hello(1, 1, 4, 16_384);
    simulated.offer.devices = vec![device(Vendor::Apple, "M3", "Max")];
    simulated.offer.devices[0].simulated = true;
    env.connect(simulated);
    env.submit(1);
    assert_eq!(env.given().worker, worker(1));
}

#[test]
fn an_apple_gpu_takes_one_job_at_a_time() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS", 1));
    env.connect(mac(1, 1, "M3", "Max"));
    env.submit(1);
    env.submit(2);
    let first = env.given();
    env.nothing();
    env.finish(first);
    assert_eq!(env.given().task, task(2));
}

#[test]
fn several_nvidia_gpus_are_counted() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "H100", 2));
    let mut server = hello(1, 1, 16, 65_536);
    server.offer.devices = vec![device(Vendor::Nvidia, "H100", ""); 3];
    env.connect(server);
    env.submit(1);
    let first = env.given();
    env.submit(2);
    env.nothing();
    env.finish(first);
    assert_eq!(env.given().task, task(2));
}

#[test]
fn the_first_choice_is_taken_if_it_is_free_and_the_second_otherwise() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS,H100", 1));
    let mut server = hello(1, 1, 8, 65_536);
    server.offer.devices = vec![device(Vendor::Nvidia, "H100", "")];
    env.connect(server);
    env.connect(mac(2, 2, "M3", ""));
    env.submit(1);
    let first = env.given();
    assert_eq!(first.worker, worker(2));
    env.submit(2);
    let second = env.given();
    assert_eq!(second.worker, worker(1));
    env.finish(second);
    env.finish(first);
    env.submit(3);
    assert_eq!(env.given().worker, worker(2));
    env.submit(4);
    let fourth = env.given();
    assert_eq!((fourth.worker, fourth.fresh), (worker(1), false));
}

#[test]
fn a_free_first_choice_comes_before_a_warm_second_choice() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS,H100", 1));
    let mut server = hello(1, 1, 8, 65_536);
    server.offer.devices = vec![device(Vendor::Nvidia, "H100", "")];
    env.connect(server);
    env.submit(1);
    let first = env.given();
    env.finish(first);
    env.connect(mac(2, 2, "M3", ""));
    env.submit(2);
    env.submit(3);
    let (second, third) = (env.given(), env.given());
    assert_eq!((second.worker, second.fresh), (worker(2), true));
    assert_eq!((third.container, third.fresh), (first.container, false));
}

#[test]
fn a_warm_second_choice_is_taken_where_no_further_container_is_worth_starting() {
    let mut env = TestEnv::new();
    env.define(gpu_stub(1, "MPS,H100", 1));
    let mut server = hello(1, 1, 8, 65_536);
    server.offer.devices = vec![device(Vendor::Nvidia, "H100", ""); 2];
    env.connect(server);
    env.submit(1);
    env.submit(2);
    for given in env.all_given() {
        env.started(given);
        env.finish(given);
    }
    env.submit(3);
    assert!(!env.given().fresh);
    env.connect(mac(2, 2, "M3", ""));
    env.submit(4);
    let given = env.given();
    assert_eq!((given.worker, given.fresh), (worker(1), false));
}

#[test]
fn an_apple_gpus_memory_budget_counts_beside_the_hosts() {
    let mut env = TestEnv::new();
    let mut spec = gpu_stub(1, "MPS", 1);
    spec.resources.memory_mib = 30_000;
    env.define(spec);
    env.connect(mac(1, 1, "M3", "Max"));
    env.submit(1);
    assert_eq!(
        env.waiting(task(1)),
        "waiting: needs 30000 MiB of memory; the largest gpu \"MPS\" may use 24000"
    );
}

#[test]
fn a_pool_is_kept_to() {
    let mut env = TestEnv::new();
    env.define(StubSpec { pool: Some("mps".into()), ..stub_spec(1) });
    env.hello(1, 1, 4);
    env.submit(1);
    assert_eq!(env.waiting(task(1)), "waiting: pool \"mps\" has no workers");
    let mut other = hello(2, 2, 4, 16_384);
    other.offer.pool = "mps".into();
    env.connect(other);
    env.waiting(task(1));
    assert_eq!(env.given().worker, worker(2));
}

#[test]
fn a_worker_with_the_image_and_code_is_preferred() {
    let mut env = TestEnv::new().stub();
    env.hello(1, 1, 4);
    let mut cached = hello(2, 2, 4, 16_384);
    cached.cached = vec!["image".into()];
    env.connect(cached);
    let mut more = hello(3, 3, 4, 16_384);
    more.cached = vec!["image".into(), "object-1".into()];
    env.connect(more);
    env.submit(1);
    assert_eq!(env.given().worker, worker(3));
}

#[test]
fn a_worker_that_has_started_a_stub_has_its_caches() {
    let mut env = TestEnv::new().stub();
    env.hello(2, 2, 2);
    env.submit(1);
    let first = env.given();
    env.started(first);
    env.hello(1, 1, 2);
    env.submit(2);
    assert_eq!(env.given().worker, worker(2));
}

#[test]
fn the_tightest_fit_is_taken_and_accelerators_are_spared() {
    let mut env = TestEnv::new().stub();
    env.connect(mac(1, 1, "M3", "Max"));
    env.hello(2, 2, 16);
    env.hello(3, 3, 4);
    env.submit(1);
    assert_eq!(env.given().worker, worker(3));
}

#[test]
fn memory_is_never_over_committed() {
    let mut env = TestEnv::new();
    let mut spec = stub_spec(1);
    spec.resources.memory_mib = 1000;
    env.define(spec);
    env.connect(hello(1, 1, 8, 2999));
    for number in 1..=3 {
        env.ok(Input::Submit(task_spec(number, 1)));
    }
    assert_eq!(env.all_given().len(), 2);
    assert_eq!(env.core.workers()[0].free.memory_mib, 999);
}
