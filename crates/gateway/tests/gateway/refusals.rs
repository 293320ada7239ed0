//! What the gateway refuses, and how it says so.

use anyhow::{Context as _, Result};
use metal9_gateway::start;
use metal9_proto::beta9::disk::ListDisksRequest;
use metal9_proto::beta9::disk::disk_service_client::DiskServiceClient;
use metal9_proto::beta9::gateway::{self as wire, SignPayloadRequest};
use metal9_proto::beta9::secret::GetSecretRequest;
use metal9_proto::beta9::secret::secret_service_client::SecretServiceClient;
use metal9_proto::worker::FetchArgumentsRequest;
use metal9_proto::{gateway_client, image_client, worker_client};
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

/// What a gRPC call came to: refused by its status, or by the sentence in its answer.
fn refusal<T>(
    answer: Result<tonic::Response<T>, tonic::Status>,
    sentence: fn(&T) -> &str,
) -> String {
    match answer {
        Ok(answer) => sentence(answer.get_ref()).to_owned(),
        Err(status) => status.message().to_owned(),
    }
}

#[tokio::test]
async fn a_job_may_do_nothing_that_is_not_its_own_business() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    let job = Client::connect(fixture.running.grpc, &assign.job_token).await?;
    job.becomes(&call.task, "RUNNING").await?;

    let mut api = gateway_client(job.channel());
    let mut images = image_client(job.channel());
    let mut secrets = SecretServiceClient::new(job.channel());
    let object = futures::stream::iter([wire::PutObjectRequest::default()]);
    let named = |name: &str| GetSecretRequest { name: name.into() };
    let refusals = [
        refusal(api.list_tokens(job.request(wire::ListTokensRequest {})?).await, |a| &a.err_msg),
        refusal(api.create_token(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(api.toggle_token(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(api.delete_token(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(api.list_workers(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(api.list_machines(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(api.list_pools(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(api.list_containers(job.request(Default::default())?).await, |a| &a.error_msg),
        refusal(api.stop_container(job.request(Default::default())?).await, |a| &a.error_msg),
        refusal(api.stop_tasks(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(api.get_or_create_stub(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(api.put_object_stream(job.request(object)?).await, |a| &a.error_msg),
        refusal(secrets.get_secret(job.request(named("KEY"))?).await, |a| &a.err_msg),
        refusal(secrets.list_secrets(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(secrets.create_secret(job.request(Default::default())?).await, |a| &a.err_msg),
        refusal(images.verify_image_build(job.request(Default::default())?).await, |_| ""),
        refusal(images.build_image(job.request(Default::default())?).await, |_| ""),
    ];
    for (number, refusal) in refusals.iter().enumerate() {
        let said = ["a running job may not", "may not manage"].iter().any(|r| refusal.contains(r));
        assert!(said, "call {number} was answered {refusal:?}");
    }
    // Neither may it show its token where workers show theirs.
    let request = job.request(FetchArgumentsRequest { attempt_id: assign.attempt_id })?;
    let refused = worker_client(job.channel()).fetch_arguments(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    fixture.running.stop().await
}

#[tokio::test]
async fn an_unserved_call_answers_with_a_sentence() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let request = client.request(ListDisksRequest::default())?;
    let answer = DiskServiceClient::new(client.channel()).list_disks(request).await;
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
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
