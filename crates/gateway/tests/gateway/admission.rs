//! A workspace that floods the gateway is refused in words, and loses nothing.

use anyhow::{Context as _, Result};
use metal9_gateway::start;
use metal9_proto::beta9::gateway as wire;
use metal9_proto::gateway_client;
use metal9_testkit::{Client, StubOptions, within};
use tonic::{Code, Status};

use crate::fixture::{Fixture, fresh_with, options, run};

fn refusal(error: &anyhow::Error) -> Result<&Status> {
    let status = error.downcast_ref::<Status>().context("not a gRPC status")?;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("hint: "), "{status:?}");
    assert!(status.metadata().contains_key("retry-after"), "{status:?}");
    Ok(status)
}

async fn stub(fixture: &Fixture, client: &Client) -> Result<String> {
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    worker.while_building(client.stub(&StubOptions::default())).await
}

#[tokio::test]
async fn a_limit_on_calls_survives_a_restart_and_ends_with_the_calls() -> Result<()> {
    let fixture = fresh_with(|options| options.max_tasks_per_workspace = 3).await?;
    let client = fixture.client().await?;
    let stub = stub(&fixture, &client).await?;
    let mut tasks = Vec::new();
    for _ in 0..2 {
        tasks.push(client.invoke(&stub, b"", true).await?.task);
    }
    let named = [("x-beta9-request-id", "the third")];
    tasks.push(client.invoke_with(&stub, b"", true, &named).await?.task);
    let error = client.invoke(&stub, b"", true).await.unwrap_err();
    assert!(refusal(&error)?.message().contains("3 calls"), "{error}");
    // What was accepted is still known by its name.
    assert_eq!(client.invoke_with(&stub, b"", true, &named).await?.task, tasks[2]);

    let Fixture { dir, running, token, .. } = fixture;
    running.stop().await?;
    let mut again = options(dir.path());
    again.max_tasks_per_workspace = 3;
    let running = run(start(again).await?);
    let client = Client::connect(running.grpc, &token).await?;
    refusal(&client.invoke(&stub, b"", true).await.unwrap_err())?;
    client.stop(&tasks[0]).await?;
    client.invoke(&stub, b"", true).await?;
    refusal(&client.invoke(&stub, b"", true).await.unwrap_err())?;
    running.stop().await
}

#[tokio::test]
async fn arguments_that_wait_are_limited_and_counted_again_after_a_restart() -> Result<()> {
    let fixture = fresh_with(|options| options.max_argument_mib_per_workspace = 2).await?;
    let client = fixture.client().await?;
    let stub = stub(&fixture, &client).await?;
    let large = vec![7; 1536 * 1024];
    let first = client.invoke(&stub, &large, true).await?.task;
    let error = client.invoke(&stub, &large, true).await.unwrap_err();
    assert!(refusal(&error)?.message().contains("2 MiB"), "{error}");
    client.invoke(&stub, b"small", true).await?;

    let Fixture { dir, running, token, .. } = fixture;
    running.stop().await?;
    let mut again = options(dir.path());
    again.max_argument_mib_per_workspace = 2;
    let running = run(start(again).await?);
    let client = Client::connect(running.grpc, &token).await?;
    refusal(&client.invoke(&stub, &large, true).await.unwrap_err())?;
    client.stop(&first).await?;
    client.invoke(&stub, &large, true).await?;
    running.stop().await
}

#[tokio::test]
async fn streams_are_limited_and_given_back() -> Result<()> {
    let fixture = fresh_with(|options| options.max_streams_per_workspace = 2).await?;
    let client = fixture.client().await?;
    let stub = stub(&fixture, &client).await?;
    let one = client.invoke(&stub, b"", false).await?;
    let two = client.reattach(&one.task, 0).await?;
    let error = client.reattach(&one.task, 0).await.unwrap_err();
    assert!(refusal(&error)?.message().contains("2 open streams"), "{error}");
    drop(two);
    let task = one.task.clone();
    metal9_testkit::until("a stream that was left to be given back", || async {
        client.reattach(&task, 0).await.map_err(|error| error.to_string())
    })
    .await?;
    fixture.running.stop().await
}

#[tokio::test]
async fn nothing_is_accepted_that_the_disk_has_no_room_for() -> Result<()> {
    let fixture = fresh_with(|options| options.min_free_disk_mib = u64::MAX >> 24).await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let error = worker.while_building(client.stub(&StubOptions::default())).await.unwrap_err();
    assert!(refusal(&error)?.message().contains("MiB free"), "{error}");
    let objects = std::fs::read_dir(fixture.dir.path().join("objects"))?.count();
    assert_eq!(objects, 0, "something was kept of what was refused");
    fixture.running.stop().await
}

fn piece(content: &'static [u8], size: i64) -> wire::PutObjectRequest {
    wire::PutObjectRequest {
        object_content: bytes::Bytes::from_static(content),
        object_metadata: Some(wire::ObjectMetadata { name: "x".into(), size }),
        hash: "abc".into(),
        overwrite: false,
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_or_left_keeps_no_file() -> Result<()> {
    let fixture = fresh_with(|_| {}).await?;
    let client = fixture.client().await?;
    for (piece, word) in [
        (piece(b"no archive", 0), "not a whole zip archive"),
        (piece(b"", i64::MAX), "larger than"),
        (piece(b"", -1), "-1 bytes"),
    ] {
        let request = client.request(tokio_stream::once(piece))?;
        let mut gateway = gateway_client(client.channel());
        let refused = gateway.put_object_stream(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let text = refused.message();
        assert!(text.contains(word) && text.contains("hint: "), "{word}: {text}");
    }
    // One that begins, and whose client goes away in the middle.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let request = client.request(stream)?;
    let mut gateway = gateway_client(client.channel());
    let uploading = metal9_tasks::spawn_infallible("an upload", async move {
        let _ = gateway.put_object_stream(request).await;
    });
    let objects = fixture.dir.path().join("objects");
    let files = || {
        let shelves = std::fs::read_dir(&objects).into_iter().flatten().filter_map(Result::ok);
        shelves.flat_map(|shelf| std::fs::read_dir(shelf.path()).into_iter().flatten()).count()
    };
    sender.send(piece(b"PK", 0)).await?;
    metal9_testkit::until("the upload to begin", || async {
        (files() == 1).then_some(()).ok_or_else(|| files().to_string())
    })
    .await?;
    uploading.abort();
    let _ = within("the upload to be left", uploading).await?;
    metal9_testkit::until("its file to be gone", || async {
        (files() == 0).then_some(()).ok_or_else(|| files().to_string())
    })
    .await?;
    fixture.running.stop().await
}
