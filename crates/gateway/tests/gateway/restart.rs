//! A gateway that stops and comes back on the same state.

use anyhow::Result;
use metal9_gateway::start;
use metal9_proto::worker::gateway_message::Message;
use metal9_testkit::{Client, StubOptions};

use crate::fixture::{fresh, options, run};

#[tokio::test]
async fn a_running_job_goes_on_and_its_result_reaches_the_client_that_reattaches() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let mut call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    worker.started(assign.attempt_id).await?;
    worker.output(assign.attempt_id, 1, "before\n").await?;
    assert_eq!(call.output().await?, "before\n");
    let task = call.task.clone();
    fixture.running.stop().await?;
    assert!(call.end().await.is_err(), "the stream must break, not end");
    drop(worker);

    let gateway = run(start(options(fixture.dir.path())).await?);
    let client = Client::connect(gateway.grpc, &fixture.token).await?;
    let call = client.reattach(&task, "before\n".len()).await?;
    let mine = [(assign.attempt_id, task.as_str(), assign.container_id)];
    let containers = [(assign.container_id, stub.as_str())];
    let mut worker = fixture.worker.connect(gateway.grpc, &mine, &containers).await?;
    assert_eq!(worker.welcome.drop_attempts, Vec::<u64>::new());
    // The acknowledgement of the first chunk may have been lost: it is sent again.
    worker.output(assign.attempt_id, 1, "before\n").await?;
    worker.output(assign.attempt_id, 2, "after\n").await?;
    worker.returned(assign.attempt_id, b"value").await?;
    let end = call.end().await?;
    assert_eq!((end.output.as_str(), &end.result[..]), ("after\n", &b"value"[..]));
    assert!(matches!(worker.next().await?, Message::FinishedAck(_)));
    gateway.stop().await
}

#[tokio::test]
async fn what_waited_before_waits_again_and_what_ended_stays_ended() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let done = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    worker.returned(assign.attempt_id, b"value").await?;
    let ended = done.task.clone();
    done.end().await?;
    drop(worker);
    let waiting = client.invoke(&stub, b"arguments", true).await?;
    let task = waiting.task.clone();
    fixture.running.stop().await?;

    let mut options = options(fixture.dir.path());
    options.worker_lost_seconds = 0.2;
    let gateway = run(start(options).await?);
    let client = Client::connect(gateway.grpc, &fixture.token).await?;
    assert_eq!(client.status(&ended).await?, "COMPLETE");
    let mut worker = fixture.worker.connect(gateway.grpc, &[], &[]).await?;
    let assign = worker.assignment().await?;
    assert_eq!(
        (assign.task_id.as_str(), &assign.arguments[..]),
        (task.as_str(), &b"arguments"[..])
    );
    worker.returned(assign.attempt_id, b"late").await?;
    let end = client.reattach(&task, 0).await?.end().await?;
    assert_eq!(&end.result[..], b"late");
    gateway.stop().await
}

#[tokio::test]
async fn what_a_worker_kept_warm_serves_again_after_a_restart() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    worker.returned(assign.attempt_id, b"value").await?;
    call.end().await?;
    fixture.running.stop().await?;
    drop(worker);

    let gateway = run(start(options(fixture.dir.path())).await?);
    let containers = [(assign.container_id, stub.as_str())];
    // No task of the stub is left, but the container is counted and used all the same.
    let mut worker = fixture.worker.connect(gateway.grpc, &[], &containers).await?;
    assert_eq!(worker.welcome.drop_containers, Vec::<u64>::new());
    let client = Client::connect(gateway.grpc, &fixture.token).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let again = worker.assignment().await?;
    assert_eq!((again.container_id, again.container), (assign.container_id, None));
    worker.returned(again.attempt_id, b"again").await?;
    assert_eq!(&call.end().await?.result[..], b"again");
    gateway.stop().await
}

#[tokio::test]
async fn a_worker_that_was_silent_for_too_long_must_connect_again() -> Result<()> {
    let fixture = fresh().await?;
    fixture.running.stop().await?;
    let mut options = options(fixture.dir.path());
    options.worker_lost_seconds = 0.3;
    let gateway = run(start(options).await?);
    let mut silent = fixture.worker.connect(gateway.grpc, &[], &[]).await?;
    // In its old session the scheduler would never hear it again.
    let end = silent.next().await.unwrap_err();
    assert_eq!(end.to_string(), "the session ended");
    fixture.worker.connect(gateway.grpc, &[], &[]).await?;
    gateway.stop().await
}
