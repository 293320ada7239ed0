use metal9_types::{
    Condition, DeviceUse, Failure, FailureKind, Machine, OnBattery, Phase, Platform, Power,
    Resources, Runtime, Thermal,
};

use super::*;
use crate::machine::Usage;
use crate::report::{Ended, LiveContainer};

fn assign(container: Option<wire::ContainerSpec>) -> wire::Assign {
    wire::Assign {
        attempt_id: 5,
        task_id: "task".into(),
        container_id: 6,
        container,
        arguments: Bytes::from_static(b"args"),
        fetch_arguments: false,
        timeout_millis: 0,
        job_token: "token".into(),
        attempt_number: 1,
        warm_up: false,
    }
}

fn gateway(message: Inbound) -> wire::GatewayMessage {
    wire::GatewayMessage { message: Some(message) }
}

fn a_welcome() -> wire::Welcome {
    wire::Welcome {
        worker_id: "w".into(),
        protocol_version: PROTOCOL_VERSION,
        heartbeat_millis: 1000,
        drop_attempts: vec![1],
        drop_containers: vec![2],
        gateway_grpc: "[::1]:1993".into(),
        gateway_http: "host:1994".into(),
        only_wheels: true,
    }
}

fn spec() -> wire::ContainerSpec {
    wire::ContainerSpec {
        stub_id: "00000000-0000-0000-0000-000000000007".into(),
        object_id: "00000000-0000-0000-0000-000000000008".into(),
        lock: Some(wire::Lock {
            platform: "x86_64-linux".into(),
            python: "3.11".into(),
            requirements: "a==1".into(),
            macos: String::new(),
            root: None,
        }),
        ..wire::ContainerSpec::default()
    }
}

#[test]
fn an_assignment_is_read_with_its_container() {
    let Ok(Order::Assign { container, spec: Some(spec), call }) =
        order(gateway(Inbound::Assign(assign(Some(spec())))))
    else {
        panic!("expected an assignment with a container");
    };
    assert_eq!(container, ContainerId(6));
    assert_eq!(call.arguments, Arguments::Here(Bytes::from_static(b"args")));
    assert_eq!(call.timeout, None, "0 is no limit");
    assert_eq!(spec.lock.map(|lock| lock.platform), Some(Platform::X86_64Linux));
}

#[test]
fn an_assignment_that_cannot_be_read_keeps_its_ids() {
    let broken = [
        wire::ContainerSpec { stub_id: "x".into(), ..spec() },
        wire::ContainerSpec { object_id: "x".into(), ..spec() },
        wire::ContainerSpec { lock: Some(wire::Lock::default()), ..spec() },
    ];
    for spec in broken {
        match order(gateway(Inbound::Assign(assign(Some(spec))))) {
            Ok(Order::Unreadable { attempt: AttemptId(5), container: ContainerId(6), .. }) => {}
            other => panic!("expected an unreadable assignment, got {other:?}"),
        }
    }
}

#[test]
fn a_welcome_names_where_jobs_reach_the_gateway() {
    let welcome = welcome(gateway(Inbound::Welcome(a_welcome()))).unwrap();
    assert!(welcome.only_wheels);
    assert_eq!(welcome.grpc, ("[::1]".to_owned(), "1993".to_owned()));
    assert_eq!(welcome.http, ("host".to_owned(), "1994".to_owned()));
    assert_eq!(welcome.drop_attempts, [AttemptId(1)]);
}

#[test]
fn a_welcome_of_another_version_or_without_addresses_is_refused() {
    let other = wire::Welcome { protocol_version: PROTOCOL_VERSION + 1, ..a_welcome() };
    assert!(matches!(welcome(gateway(Inbound::Welcome(other))), Err(ConvertError::Version(_))));
    let nowhere = wire::Welcome { gateway_http: "host".into(), ..a_welcome() };
    assert!(matches!(welcome(gateway(Inbound::Welcome(nowhere))), Err(ConvertError::Address(_))));
    let ping = gateway(Inbound::Ping(wire::Ping {}));
    assert!(matches!(welcome(ping), Err(ConvertError::NotWelcome)));
}

#[test]
fn a_message_of_an_unknown_kind_is_told_apart_from_a_broken_session() {
    let empty = wire::GatewayMessage { message: None };
    assert!(matches!(order(empty), Err(ConvertError::Empty)));
    let second = gateway(Inbound::Welcome(a_welcome()));
    assert!(matches!(order(second), Err(ConvertError::SecondWelcome)));
}

fn finished(report: Report) -> wire::Finished {
    match super::report(report).message {
        Some(Outbound::Finished(finished)) => finished,
        other => panic!("expected the end of an attempt, got {other:?}"),
    }
}

#[test]
fn a_failure_goes_out_under_the_name_it_has_in_the_protocol() {
    let failure = Failure::new(FailureKind::ResultTooLarge, "too large");
    let phases = vec![Phase { name: "call".into(), micros: 3 }];
    let ended = Ended::failed(failure, phases);
    let finished = finished(Report::Finished {
        attempt: AttemptId(5),
        ended,
        result_pushed: false,
        last_sequence: 2,
        started_unsaid: false,
    });
    let failure = finished.failure.unwrap();
    assert_eq!((failure.kind.as_str(), failure.exit_code), ("result_too_large", 1));
    assert_eq!((finished.last_sequence, finished.container_reusable), (2, false));
    assert_eq!(finished.phases[0].micros, 3);
}

#[test]
fn a_pushed_result_is_not_sent_twice() {
    let ended =
        Ended { outcome: Ok(Bytes::from_static(b"pickle")), phases: Vec::new(), reusable: true };
    let report = |result_pushed| Report::Finished {
        attempt: AttemptId(5),
        ended: ended.clone(),
        result_pushed,
        last_sequence: 0,
        started_unsaid: false,
    };
    assert_eq!(finished(report(false)).result, Bytes::from_static(b"pickle"));
    let pushed = finished(report(true));
    assert!(pushed.result.is_empty() && pushed.result_pushed && pushed.failure.is_none());
}

#[test]
fn a_build_tells_its_lock_or_its_error() {
    let built = |outcome| match report(Report::Built { build: 1, outcome }).message {
        Some(Outbound::BuildFinished(built)) => built,
        other => panic!("expected the end of a build, got {other:?}"),
    };
    let refused = built(Err(NotBuilt { text: "no".into(), is_final: true }));
    assert!(refused.error == "no" && refused.is_final);
    let lock = EnvLock {
        platform: Platform::Aarch64Darwin,
        python: "3.12".into(),
        requirements: String::new(),
        macos: None,
        root: None,
    };
    let built = built(Ok(lock));
    assert!(built.error.is_empty());
    assert_eq!(built.lock.unwrap().platform, "aarch64-apple-darwin");
}

#[test]
fn a_hello_tells_what_the_worker_has() {
    let offer = Offer {
        hostname: "host".into(),
        pool: "default".into(),
        platform: Platform::X86_64Linux,
        capacity: Resources { cpu_millicores: 2000, memory_mib: 1024 },
        machine: Machine::default(),
        devices: Vec::new(),
        on_battery: OnBattery::Run,
        runtimes: vec![Runtime::Native],
        root: metal9_types::RootSource::Pulled,
        allow_lists: true,
        pythons: vec!["3.11".into()],
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        version: "0.1.0".into(),
    };
    let presence = Presence {
        interruption: "the machine rebooted".into(),
        attempts: vec![(AttemptId(1), "task".into(), ContainerId(2))],
        containers: vec![LiveContainer {
            container: ContainerId(2),
            stub: StubId(Default::default()),
            devices: vec![1],
        }],
        condition: Condition { power: Some(Power::Battery), ..Condition::default() },
        environments: vec!["hash".into()],
        objects: Vec::new(),
        mounts_juicefs: true,
    };
    let isolation = Described { words: "landlock 7".into(), own_networks: true };
    let Some(Outbound::Hello(hello)) = hello(&offer, &isolation, presence).message else {
        panic!("expected a hello");
    };
    assert_eq!(hello.protocol_version, PROTOCOL_VERSION);
    assert!(hello.mounts_juicefs);
    assert_eq!(hello.root_source, "pulled");
    assert!(hello.allow_lists && hello.own_networks);
    assert_eq!(hello.isolation, "landlock 7");
    assert_eq!((hello.platform.as_str(), hello.runtimes), ("x86_64-linux", vec!["native".into()]));
    assert_eq!((hello.cpu_millicores, hello.memory_mib), (2000, 1024));
    assert_eq!(hello.attempts[0].container_id, 2);
    assert_eq!(hello.interruption, "the machine rebooted");
    assert_eq!((hello.containers.len(), hello.containers[0].devices.as_slice()), (1, &[1][..]));
    assert_eq!(hello.condition.unwrap().power, "battery");
    assert_eq!(hello.on_battery, "run");
}

#[test]
fn a_heartbeat_tells_how_busy_the_machine_is() {
    let usage = Usage { memory_used_mib: 10, cpu_percent: 50.0 };
    let gpu = DeviceUse { busy_percent: Some(70), memory_used_mib: Some(3072) };
    let condition = Condition { thermal: Some(Thermal::Heavy), power: None, devices: vec![gpu] };
    let Some(Outbound::Heartbeat(beat)) = report(Report::Heartbeat(usage, condition)).message
    else {
        panic!("expected a heartbeat");
    };
    assert_eq!(beat.memory_used_mib, 10);
    let condition = beat.condition.unwrap();
    assert_eq!((condition.thermal.as_str(), condition.power.as_str()), ("heavy", ""));
    let gpu = condition.devices[0];
    assert_eq!((gpu.busy_percent, gpu.memory_used_mib), (Some(70), Some(3072)));
}
