//! One call from registration to its last message.

use anyhow::Result;
use metal9_proto::worker::gateway_message::Message;
use metal9_testkit::StubOptions;

use crate::fixture::fresh;

#[tokio::test]
async fn a_call_streams_its_output_and_ends_with_its_result() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let mut call = client.invoke(&stub, b"arguments", false).await?;
    client.becomes(&call.task, "RUNNING").await?;

    let assign = worker.assignment().await?;
    assert_eq!(&assign.arguments[..], b"arguments");
    assert_eq!((assign.task_id.as_str(), assign.attempt_number), (call.task.as_str(), 1));
    let spec = assign.container.clone().expect("a first call makes its container");
    assert!(spec.container_name.starts_with("function-"));
    worker.started(assign.attempt_id).await?;
    worker.output(assign.attempt_id, 1, "one\n").await?;
    assert_eq!(call.output().await?, "one\n");
    worker.output(assign.attempt_id, 1, "one\n").await?;
    worker.output(assign.attempt_id, 2, "two\n").await?;
    worker.returned(assign.attempt_id, b"value").await?;

    let task = call.task.clone();
    let end = call.end().await?;
    assert_eq!((end.output.as_str(), end.exit_code), ("two\n", 0));
    assert_eq!(&end.result[..], b"value");
    assert_eq!(client.status(&task).await?, "COMPLETE");
    assert!(matches!(worker.next().await?, Message::FinishedAck(_)));

    // The container is warm: the next call goes to it.
    let second = client.invoke(&stub, b"", false).await?;
    let again = worker.assignment().await?;
    assert_eq!((again.container_id, again.container), (assign.container_id, None));
    worker.returned(again.attempt_id, b"v2").await?;
    assert_eq!(&second.end().await?.result[..], b"v2");
    fixture.running.stop().await
}

#[tokio::test]
async fn an_ended_task_is_replayed_from_any_offset() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let task = call.task.clone();
    let assign = worker.assignment().await?;
    worker.output(assign.attempt_id, 1, "grüße\n").await?;
    worker.returned(assign.attempt_id, b"value").await?;
    call.end().await?;
    for (offset, rest) in [(0, "grüße\n"), (4, "ße\n"), (8, ""), (99, "")] {
        let end = client.reattach(&task, offset).await?.end().await?;
        assert_eq!((end.output.as_str(), &end.result[..]), (rest, &b"value"[..]), "{offset}");
    }
    fixture.running.stop().await
}

#[tokio::test]
async fn one_request_id_is_one_task() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let headers = [("x-beta9-request-id", "the-same")];
    let first = client.invoke_with(&stub, b"", false, &headers).await?;
    let second = client.invoke_with(&stub, b"", false, &headers).await?;
    assert_eq!(first.task, second.task);
    let assign = worker.assignment().await?;
    worker.returned(assign.attempt_id, b"once").await?;
    assert_eq!(&first.end().await?.result[..], b"once");
    assert_eq!(&second.end().await?.result[..], b"once");
    assert!(matches!(worker.next().await?, Message::FinishedAck(_)));
    fixture.running.stop().await
}

#[tokio::test]
async fn a_crash_is_retried_and_an_exception_is_not() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let options = StubOptions { retries: 1, ..StubOptions::default() };
    let stub = worker.while_building(client.stub(&options)).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let first = worker.assignment().await?;
    worker.failed(first.attempt_id, "crash", 3).await?;
    let second = loop {
        match worker.next().await? {
            Message::Assign(assign) => break assign,
            Message::FinishedAck(_) | Message::StopContainer(_) => {}
            other => anyhow::bail!("unexpected: {other:?}"),
        }
    };
    assert_eq!(second.attempt_number, 2);
    assert!(second.attempt_id != first.attempt_id && second.task_id == first.task_id);
    worker.failed(second.attempt_id, "exception", 1).await?;
    let task = call.task.clone();
    let end = call.end().await?;
    assert_eq!(end.exit_code, 1);
    assert!(end.output.contains("failed with crash; trying again"), "{}", end.output);
    assert_eq!(client.status(&task).await?, "ERROR");
    fixture.running.stop().await
}

#[tokio::test]
async fn stopping_a_task_ends_its_stream_at_once_and_tells_the_worker() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    client.stop(&call.task).await?;
    let task = call.task.clone();
    let end = call.end().await?;
    assert_eq!((end.exit_code, end.result.len()), (130, 0));
    assert_eq!(client.status(&task).await?, "CANCELLED");
    let Message::StopAttempt(stop) = worker.next().await? else {
        anyhow::bail!("the worker was not told")
    };
    assert_eq!((stop.attempt_id, stop.reason.as_str()), (assign.attempt_id, "cancelled"));
    // Its report comes too late and changes nothing, but is answered.
    worker.returned(assign.attempt_id, b"late").await?;
    assert!(matches!(worker.next().await?, Message::FinishedAck(_)));
    assert_eq!(client.status(&task).await?, "CANCELLED");
    fixture.running.stop().await
}

#[tokio::test]
async fn a_call_that_nobody_can_run_says_why_at_once() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let options = StubOptions { cpu: 64_000, ..StubOptions::default() };
    let stub = worker.while_building(client.stub(&options)).await?;
    let mut call = client.invoke(&stub, b"", false).await?;
    let sentence = call.output().await?;
    assert!(sentence.contains("waiting") && sentence.contains("64000"), "{sentence}");
    client.stop(&call.task).await?;
    assert_eq!(call.end().await?.exit_code, 130);
    fixture.running.stop().await
}

#[tokio::test]
async fn a_lost_session_is_noticed() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    drop(worker);
    let call = client.invoke(&stub, b"", false).await?;
    client.becomes(&call.task, "PENDING").await?;
    let mut back = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let assign = back.assignment().await?;
    back.returned(assign.attempt_id, b"after").await?;
    assert_eq!(&call.end().await?.result[..], b"after");
    fixture.running.stop().await
}
