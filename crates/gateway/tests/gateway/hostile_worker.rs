//! A worker that says nonsense costs its own session at most.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use bytes::Bytes;
use metal9_proto::worker as wire;
use metal9_proto::{PROTOCOL_VERSION, worker_client};
use metal9_testkit::{FakeWorker, StubOptions, until};
use tonic::transport::Channel;
use tonic::{Code, Request};
use wire::worker_message::Message;

use crate::fixture::fresh;

fn hello() -> wire::Hello {
    wire::Hello {
        protocol_version: PROTOCOL_VERSION,
        hostname: "hostile".into(),
        platform: "x86_64-linux".into(),
        cpu_millicores: 1000,
        memory_mib: 1024,
        runtimes: vec!["native".into()],
        ..Default::default()
    }
}

#[tokio::test]
async fn nonsense_in_a_session_changes_nothing_and_the_next_call_runs() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    for id in [0, 7, u64::MAX] {
        worker.started(id).await?;
        worker.output(id, u64::MAX, "lies").await?;
        worker.failed(id, "gremlins", i32::MIN).await?;
        let text = "\0".repeat(1000);
        for message in [
            Message::Hello(hello()),
            Message::AttemptProgress(wire::AttemptProgress { attempt_id: id, text: text.clone() }),
            Message::ContainerGone(wire::ContainerGone { container_id: id, reason: text.clone() }),
            Message::BuildProgress(wire::BuildProgress { build_id: id, text }),
            Message::BuildFinished(wire::BuildFinished { build_id: id, ..Default::default() }),
        ] {
            worker.say(message).await?;
        }
        ensure!(matches!(
            worker.next().await?,
            wire::gateway_message::Message::FinishedAck(ack) if ack.attempt_id == id
        ));
    }
    let mut call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    worker.started(assign.attempt_id).await?;
    // Numbers that go back are repetitions; those that go ahead are taken.
    worker.output(assign.attempt_id, 5, "five\n").await?;
    assert_eq!(call.output().await?, "five\n");
    worker.output(assign.attempt_id, 2, "two\n").await?;
    worker.output(assign.attempt_id, u64::MAX, "last\n").await?;
    worker.returned(assign.attempt_id, b"value").await?;
    let end = call.end().await?;
    assert_eq!((end.output.as_str(), &end.result[..]), ("last\n", &b"value"[..]));
    fixture.running.stop().await
}

/// What the gateway answers to such a Hello.
async fn refused(fixture: &crate::fixture::Fixture, hello: wire::Hello) -> Result<tonic::Status> {
    let grpc = fixture.running.grpc;
    let channel = Channel::from_shared(format!("http://{grpc}"))?.connect().await?;
    let first = wire::WorkerMessage { message: Some(Message::Hello(hello)) };
    let mut request = Request::new(tokio_stream::once(first));
    let bearer = format!("Bearer {}", fixture.worker.credential());
    request.metadata_mut().insert("authorization", bearer.parse()?);
    let answer = worker_client(channel).session(request).await;
    Ok(answer.err().unwrap_or_else(|| tonic::Status::ok("it was let in")))
}

#[tokio::test]
async fn a_hello_that_makes_no_sense_is_refused_and_leaves_no_worker_behind() -> Result<()> {
    let fixture = fresh().await?;
    let bad_id =
        wire::RunningAttempt { attempt_id: 1, task_id: "../../etc/passwd".into(), container_id: 1 };
    let bad_stub =
        wire::LiveContainer { container_id: 1, stub_id: "\0".into(), ..Default::default() };
    let devices = vec![wire::DeviceInfo { vendor: "acme".into(), ..Default::default() }];
    let hellos = [
        ("millicores", wire::Hello { cpu_millicores: u64::MAX, ..hello() }),
        ("memory", wire::Hello { memory_mib: u64::MAX, ..hello() }),
        ("platform", wire::Hello { platform: "toaster".into(), ..hello() }),
        ("acme", wire::Hello { devices, ..hello() }),
        ("etc/passwd", wire::Hello { attempts: vec![bad_id], ..hello() }),
        ("", wire::Hello { containers: vec![bad_stub], ..hello() }),
        (
            "labels",
            wire::Hello {
                labels: (0..2000)
                    .map(|n| (n.to_string(), String::new()))
                    .collect::<HashMap<_, _>>(),
                ..hello()
            },
        ),
    ];
    for (word, hello) in hellos {
        let status = refused(&fixture, hello).await?;
        assert_eq!(status.code(), Code::InvalidArgument, "{word}: {status:?}");
        assert!(status.message().contains(word), "{word}: {status:?}");
    }
    // An image build would be given to a worker that looks connected, and wait for ever.
    let client = fixture.client().await?;
    let waiting = client.stub(&StubOptions::default()).await.unwrap_err();
    assert!(waiting.to_string().contains("no worker connected"), "{waiting}");
    fixture.running.stop().await
}

fn gpu() -> wire::DeviceInfo {
    wire::DeviceInfo { vendor: "apple".into(), family: "M3".into(), ..Default::default() }
}

#[tokio::test]
async fn a_machine_or_a_device_that_makes_no_sense_is_refused_with_a_sentence() -> Result<()> {
    let fixture = fresh().await?;
    let device = |device| wire::Hello { devices: vec![device], ..hello() };
    let machine = |machine| wire::Hello { machine: Some(machine), ..hello() };
    let condition = |condition| wire::Hello { condition: Some(condition), ..hello() };
    let held = wire::LiveContainer {
        container_id: 1,
        stub_id: "00000000-0000-0000-0000-000000000001".into(),
        devices: vec![7],
    };
    let hellos = [
        (
            "start it with --allow-simulated-devices",
            device(wire::DeviceInfo { simulated: true, ..gpu() }),
        ),
        ("simulated devices", machine(wire::MachineInfo { simulated: true, ..Default::default() })),
        ("a device has no family", device(wire::DeviceInfo { family: String::new(), ..gpu() })),
        (
            "a device's family is 100000 bytes long (limit 200)",
            device(wire::DeviceInfo { family: "x".repeat(100_000), ..gpu() }),
        ),
        ("is not one line", device(wire::DeviceInfo { variant: "\x1b[2J".into(), ..gpu() })),
        ("MiB of memory", device(wire::DeviceInfo { memory_mib: u64::MAX, ..gpu() })),
        ("slots", device(wire::DeviceInfo { slots: u32::MAX, ..gpu() })),
        ("65 devices (limit 64)", wire::Hello { devices: vec![gpu(); 65], ..hello() }),
        (
            "notes",
            machine(wire::MachineInfo { notes: vec![String::new(); 21], ..Default::default() }),
        ),
        (
            "a machine's note is 1001 bytes long",
            machine(wire::MachineInfo { notes: vec!["n".repeat(1001)], ..Default::default() }),
        ),
        (
            "`lukewarm` is not a thermal pressure",
            condition(wire::Condition { thermal: "lukewarm".into(), ..Default::default() }),
        ),
        (
            "1 devices are in use, of 0 that there are",
            condition(wire::Condition {
                devices: vec![wire::DeviceUse::default()],
                ..Default::default()
            }),
        ),
        ("`pedals` is not", wire::Hello { on_battery: "pedals".into(), ..hello() }),
        ("device 7, of 0 that there are", wire::Hello { containers: vec![held], ..hello() }),
    ];
    for (sentence, hello) in hellos {
        let status = refused(&fixture, hello).await?;
        assert_eq!(status.code(), Code::InvalidArgument, "{sentence}: {status:?}");
        assert!(status.message().contains(sentence), "{sentence}: {status:?}");
    }
    fixture.running.stop().await
}

#[tokio::test]
async fn a_condition_that_makes_no_sense_ends_the_session() -> Result<()> {
    let fixture = fresh().await?;
    let mut session = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let condition = wire::Condition { thermal: "lukewarm".into(), ..Default::default() };
    let condition = Some(condition);
    session.say(Message::Heartbeat(wire::Heartbeat { condition, ..Default::default() })).await?;
    assert!(session.next().await.is_err(), "the session goes on");
    fixture.running.stop().await
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_session_and_not_the_gateway() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    let text = "x".repeat(metal9_proto::MAX_FRAME_BYTES + 1);
    // Whichever side notices first: nothing of it arrives.
    let _ = worker.output(assign.attempt_id, 1, &text).await;
    until("the session to end", || async {
        worker
            .output(assign.attempt_id, 1, "x")
            .await
            .err()
            .map(drop)
            .ok_or_else(|| "it goes on".to_owned())
    })
    .await?;
    let attempt = (assign.attempt_id, call.task.as_str(), assign.container_id);
    let containers = [(assign.container_id, stub.as_str())];
    let again = fixture.worker.connect(fixture.running.grpc, &[attempt], &containers).await?;
    again.returned(assign.attempt_id, b"value").await?;
    assert_eq!(&call.end().await?.result[..], b"value");
    fixture.running.stop().await
}

#[tokio::test]
async fn a_worker_cannot_end_the_call_of_another() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;

    let thief = FakeWorker::join(fixture.running.grpc, &fixture.second_join).await?;
    let mut session = thief.connect(fixture.running.grpc, &[], &[]).await?;
    session.returned(assign.attempt_id, b"stolen").await?;
    assert!(matches!(session.next().await?, wire::gateway_message::Message::FinishedAck(_)));
    let container_id = assign.container_id;
    let gone = wire::ContainerGone { container_id, reason: "stolen".into() };
    session.say(Message::ContainerGone(gone)).await?;
    session.output(assign.attempt_id, 1, "stolen\n").await?;
    worker.output(assign.attempt_id, 1, "mine\n").await?;
    let finished = wire::Finished {
        attempt_id: assign.attempt_id,
        result: Bytes::from_static(b"mine"),
        ..Default::default()
    };
    worker.say(Message::Finished(finished)).await?;
    let end = call.end().await?;
    assert_eq!((end.output.as_str(), &end.result[..]), ("mine\n", &b"mine"[..]));
    fixture.running.stop().await
}

/// What the gateway answers to a worker that wants the code and the arguments of an attempt.
async fn fetched(
    fixture: &crate::fixture::Fixture,
    worker: &FakeWorker,
    assign: &wire::Assign,
) -> Result<[Code; 2]> {
    let grpc = fixture.running.grpc;
    let channel = Channel::from_shared(format!("http://{grpc}"))?.connect().await?;
    let mut client = worker_client(channel);
    let bearer = format!("Bearer {}", worker.credential());
    let object_id = assign.container.clone().unwrap_or_default().object_id;
    let mut object = Request::new(wire::FetchObjectRequest { object_id });
    object.metadata_mut().insert("authorization", bearer.parse()?);
    let mut arguments = Request::new(wire::FetchArgumentsRequest { attempt_id: assign.attempt_id });
    arguments.metadata_mut().insert("authorization", bearer.parse()?);
    let code = |answer: Option<tonic::Status>| answer.map_or(Code::Ok, |status| status.code());
    Ok([
        code(client.fetch_object(object).await.err()),
        code(client.fetch_arguments(arguments).await.err()),
    ])
}

#[tokio::test]
async fn a_worker_gets_the_code_and_the_arguments_of_its_own_calls_only() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"secret", false).await?;
    let assign = worker.assignment().await?;
    let thief = FakeWorker::join(fixture.running.grpc, &fixture.second_join).await?;
    let _session = thief.connect(fixture.running.grpc, &[], &[]).await?;

    assert_eq!(fetched(&fixture, &thief, &assign).await?, [Code::NotFound, Code::NotFound]);
    assert_eq!(fetched(&fixture, &fixture.worker, &assign).await?, [Code::Ok, Code::Ok]);
    worker.returned(assign.attempt_id, b"value").await?;
    call.end().await?;
    fixture.running.stop().await
}
