//! What the gateway refuses, and how it says so.

use anyhow::{Context as _, Result};
use metal9_gateway::start;
use metal9_proto::beta9::disk::ListDisksRequest;
use metal9_proto::beta9::disk::disk_service_client::DiskServiceClient;
use metal9_proto::beta9::gateway::SignPayloadRequest;
use metal9_proto::gateway_client;
use metal9_testkit::{Client, FakeWorker, StubOptions};
use tonic::Code;

use crate::fixture::{fresh, options};

fn status(error: &anyhow::Error) -> Result<&tonic::Status> {
    error.downcast_ref::<tonic::Status>().context("not a gRPC status")
}

#[tokio::test]
async fn an_unknown_token_is_unauthenticated() -> Result<()> {
    let fixture = fresh().await?;
    let stranger = Client::connect(fixture.running.grpc, "nonsense").await?;
    let error = stranger.invoke("x", b"", false).await.unwrap_err();
    assert_eq!(status(&error)?.code(), Code::Unauthenticated);
    fixture.running.stop().await
}

#[tokio::test]
async fn a_job_token_serves_its_job_and_ends_with_it() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    let job = Client::connect(fixture.running.grpc, &assign.job_token).await?;
    job.becomes(&call.task, "RUNNING").await?;
    let refused = job.stop(&call.task).await.unwrap_err();
    assert!(refused.to_string().contains("running job"), "{refused}");
    worker.returned(assign.attempt_id, b"value").await?;
    let task = call.task.clone();
    call.end().await?;
    let error = job.status(&task).await.unwrap_err();
    assert_eq!(status(&error)?.code(), Code::Unauthenticated);
    // Its callback may still have to be signed.
    let request = job.request(SignPayloadRequest { payload: "{}".into() })?;
    let signed = gateway_client(job.channel()).sign_payload(request).await?.into_inner();
    assert_eq!((signed.ok, signed.signature.len()), (true, 64));
    fixture.running.stop().await
}

#[tokio::test]
async fn an_unserved_call_answers_with_a_sentence() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let request = client.request(ListDisksRequest::default())?;
    let answer = DiskServiceClient::new(client.channel()).list_disks(request).await;
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("disks"), "{}", status.message());
    fixture.running.stop().await
}

#[tokio::test]
async fn a_stub_with_nonsense_in_it_is_refused_with_the_reason() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let options = StubOptions { cpu: -5, ..StubOptions::default() };
    let refused = worker.while_building(client.stub(&options)).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be negative"), "{refused}");
    fixture.running.stop().await
}

#[tokio::test]
async fn an_image_without_a_worker_is_refused_after_a_while() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let refused = client.stub(&StubOptions::default()).await.unwrap_err();
    assert!(refused.to_string().contains("no worker connected"), "{refused}");
    fixture.running.stop().await
}

#[tokio::test]
async fn a_join_token_works_once() -> Result<()> {
    let fixture = fresh().await?;
    for token in ["nonsense", fixture.join.as_str()] {
        let error = FakeWorker::join(fixture.running.grpc, token).await.unwrap_err();
        assert_eq!(status(&error)?.code(), Code::InvalidArgument, "{error}");
    }
    fixture.running.stop().await
}

#[tokio::test]
async fn a_second_gateway_on_one_state_directory_is_refused() -> Result<()> {
    let fixture = fresh().await?;
    let error = start(options(fixture.dir.path())).await.unwrap_err();
    let cause = std::error::Error::source(&error).context("a cause")?.to_string();
    assert!(cause.contains("in use"), "{error}: {cause}");
    let taken = tempfile::tempdir()?;
    let mut options = options(taken.path());
    options.http = fixture.running.http;
    let error = start(options).await.unwrap_err().to_string();
    assert!(error.contains(&fixture.running.http.to_string()), "{error}");
    fixture.running.stop().await
}
