//! What the token of a running job is not good for.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use metal9_proto::beta9::gateway as wire;
use metal9_proto::beta9::image::VerifyImageBuildRequest;
use metal9_proto::beta9::secret::secret_service_client::SecretServiceClient;
use metal9_proto::beta9::volume::volume_service_client::VolumeServiceClient;
use metal9_proto::beta9::volume::{CopyPathRequest, GetOrCreateVolumeRequest};
use metal9_proto::worker::FetchArgumentsRequest;
use metal9_proto::{function_client, gateway_client, image_client, worker_client};
use metal9_testkit::{Call, Client, Session, StubOptions, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use crate::fixture::{Fixture, fresh};

/// A job that runs.
struct Job {
    fixture: Fixture,
    /// The client that shows the job's token.
    job: Client,
    token: String,
    attempt: u64,
    stub: String,
    /// Kept so that it goes on.
    _running: (Session, Call),
}

async fn running() -> Result<Job> {
    let fixture = fresh().await?;
    let token = fixture.token.clone();
    running_in(fixture, &token).await
}

/// In the workspace of this token.
async fn running_in(fixture: Fixture, token: &str) -> Result<Job> {
    let client = Client::connect(fixture.running.grpc, token).await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&StubOptions::default())).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let assign = worker.assignment().await?;
    let job = Client::connect(fixture.running.grpc, &assign.job_token).await?;
    job.becomes(&call.task, "RUNNING").await?;
    let (token, attempt) = (assign.job_token, assign.attempt_id);
    Ok(Job { fixture, job, token, attempt, stub, _running: (worker, call) })
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

fn all_refused(refusals: &[String]) {
    for (number, refusal) in refusals.iter().enumerate() {
        let said = ["a running job may not", "may not manage"].iter().any(|r| refusal.contains(r));
        assert!(said, "call {number} was answered {refusal:?}");
    }
}

/// Makes a call with a default message, or the one given; the sentence with which it was refused.
macro_rules! asked {
    ($job:ident, $client:ident.$method:ident) => {
        asked!($job, $client.$method(Default::default()), |answer| &answer.err_msg)
    };
    ($job:ident, $client:ident.$method:ident($message:expr), $sentence:expr) => {
        refusal($client.$method($job.request($message)?).await, $sentence)
    };
}

#[tokio::test]
async fn a_job_may_not_manage_its_workspace() -> Result<()> {
    let Job { fixture, job, attempt, .. } = &running().await?;
    let mut api = gateway_client(job.channel());
    let mut images = image_client(job.channel());
    let mut secrets = SecretServiceClient::new(job.channel());
    let mut functions = function_client(job.channel());
    let object = futures::stream::iter([wire::PutObjectRequest::default()]);
    let anew = VerifyImageBuildRequest { force_rebuild: true, ..Default::default() };
    all_refused(&[
        asked!(job, api.list_tokens),
        asked!(job, api.create_token),
        asked!(job, api.toggle_token),
        asked!(job, api.delete_token),
        asked!(job, api.list_workers),
        asked!(job, api.cordon_worker),
        asked!(job, api.uncordon_worker),
        asked!(job, api.drain_worker),
        asked!(job, api.list_machines),
        asked!(job, api.create_machine),
        asked!(job, api.delete_machine),
        asked!(job, api.list_pools),
        asked!(job, api.list_private_pools),
        asked!(job, api.list_pool_machines),
        asked!(job, api.create_pool),
        asked!(job, api.delete_pool),
        asked!(job, api.get_pool_join_command),
        asked!(job, api.list_containers(Default::default()), |answer| &answer.error_msg),
        asked!(job, api.stop_container(Default::default()), |answer| &answer.error_msg),
        asked!(job, api.stop_tasks),
        asked!(job, api.get_or_create_stub),
        asked!(job, api.put_object_stream(object), |answer| &answer.error_msg),
        asked!(job, api.create_object(Default::default()), |answer| &answer.error_msg),
        asked!(job, api.complete_object_upload(Default::default()), |answer| &answer.error_msg),
        asked!(job, api.create_object_delta(Default::default()), |answer| &answer.error_msg),
        asked!(job, api.commit_object_delta(Default::default()), |answer| &answer.error_msg),
        asked!(job, api.deploy_stub),
        asked!(job, api.list_deployments),
        asked!(job, api.start_deployment),
        asked!(job, api.stop_deployment),
        asked!(job, api.scale_deployment),
        asked!(job, api.delete_deployment),
        asked!(job, api.get_url),
        asked!(job, functions.function_schedule),
        asked!(job, secrets.get_secret),
        asked!(job, secrets.list_secrets),
        asked!(job, secrets.create_secret),
        asked!(job, secrets.update_secret),
        asked!(job, secrets.delete_secret),
        asked!(job, images.verify_image_build(anew), |_| ""),
        asked!(job, images.build_image(Default::default()), |_| ""),
    ]);
    // Neither may it show its token where workers show theirs.
    let request = job.request(FetchArgumentsRequest { attempt_id: *attempt })?;
    let refused = worker_client(job.channel()).fetch_arguments(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let _ = fixture;
    Ok(())
}

#[tokio::test]
async fn a_job_reaches_volumes_only_as_its_directories() -> Result<()> {
    let Job { job, .. } = &running().await?;
    let mut volumes = VolumeServiceClient::new(job.channel());
    let copy = futures::stream::iter([CopyPathRequest::default()]);
    all_refused(&[
        asked!(job, volumes.get_or_create_volume),
        asked!(job, volumes.delete_volume),
        asked!(job, volumes.list_volumes),
        asked!(job, volumes.list_path),
        asked!(job, volumes.delete_path),
        asked!(job, volumes.move_path),
        asked!(job, volumes.stat_path),
        asked!(job, volumes.copy_path_stream(copy), |answer| &answer.err_msg),
        asked!(job, volumes.get_file_service_info),
        asked!(job, volumes.create_presigned_url),
        asked!(job, volumes.create_multipart_upload),
        asked!(job, volumes.complete_multipart_upload),
        asked!(job, volumes.abort_multipart_upload),
    ]);
    Ok(())
}

/// What the SDK does before it calls a function or puts into a queue.
#[tokio::test]
async fn a_job_finds_what_is_there_for_its_calls_and_makes_nothing() -> Result<()> {
    let Job { fixture, job, token, stub: own, .. } = &running().await?;
    let client = Client::connect(fixture.running.grpc, &fixture.token).await?;
    let mut api = gateway_client(job.channel());

    let same = |python: &str| VerifyImageBuildRequest {
        python_version: python.to_owned(),
        ..Default::default()
    };
    let mut images = image_client(job.channel());
    let image = images.verify_image_build(job.request(same("python3"))?).await?.into_inner();
    assert!(image.exists, "{image:?}");
    let other = images.verify_image_build(job.request(same("python3.9"))?).await?.into_inner();
    assert!(!other.exists, "{other:?}");

    let changed = wire::HeadObjectRequest { hash: "0".repeat(64), ..Default::default() };
    let code = api.head_object(job.request(changed.clone())?).await?.into_inner();
    assert!(code.exists, "its own code, to which it may have added something: {code:?}");
    let clients = client.request(changed)?;
    let unknown = gateway_client(client.channel()).head_object(clients).await?.into_inner();
    assert!(!unknown.exists, "{unknown:?}");

    let wanted = |handler: &str| wire::GetOrCreateStubRequest {
        object_id: code.object_id.clone(),
        image_id: image.image_id.clone(),
        stub_type: "function".into(),
        name: format!("function/{handler}"),
        app_name: "another".into(),
        handler: handler.to_owned(),
        ..Default::default()
    };
    let found = api.get_or_create_stub(job.request(wanted("app:f"))?).await?.into_inner();
    assert_eq!((found.ok, &found.stub_id), (true, own), "{found:?}");
    let mut volumes = VolumeServiceClient::new(client.channel());
    let named = || GetOrCreateVolumeRequest { name: "there".into() };
    volumes.get_or_create_volume(client.request(named())?).await?;
    let mut volumes = VolumeServiceClient::new(job.channel());
    let volume = volumes.get_or_create_volume(job.request(named())?).await?.into_inner();
    assert!(volume.ok && volume.volume.is_some(), "{volume:?}");

    let queue = || wire::GetOrCreateStubRequest {
        stub_type: "taskqueue".into(),
        name: "taskqueue/app:f".into(),
        ..wanted("app:f")
    };
    let forced = wire::GetOrCreateStubRequest { force_create: true, ..wanted("app:f") };
    let foreign = wire::GetOrCreateStubRequest { object_id: own.clone(), ..wanted("app:f") };
    let new = GetOrCreateVolumeRequest { name: "new".into() };
    all_refused(&[
        asked!(job, api.get_or_create_stub(queue()), |answer| &answer.err_msg),
        asked!(job, api.get_or_create_stub(forced), |answer| &answer.err_msg),
        asked!(job, api.get_or_create_stub(foreign), |answer| &answer.err_msg),
        asked!(job, api.get_or_create_stub(wanted("app:g")), |answer| &answer.err_msg),
        asked!(job, volumes.get_or_create_volume(new), |answer| &answer.err_msg),
    ]);
    // As it was deployed, it is found too.
    let deployed = wire::GetOrCreateStubRequest {
        stub_type: "taskqueue/deployment".into(),
        name: "taskqueue/deployment/app:f".into(),
        force_create: true,
        ..queue()
    };
    let mut owners = gateway_client(client.channel());
    let deployed = owners.get_or_create_stub(client.request(deployed)?).await?.into_inner();
    let found = api.get_or_create_stub(job.request(queue())?).await?.into_inner();
    assert_eq!((found.ok, &found.stub_id), (true, &deployed.stub_id), "{found:?}");

    let gateway = fixture.running.http;
    let address = |kind: &str, id: &str| format!("/api/v1/{kind}/{id}/url");
    let answer = http(gateway, token, "GET", &address("stub", own), "").await?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for kind in ["stub", "deployment"] {
        let path = address(kind, "00000000-0000-0000-0000-000000000007");
        let answer = http(gateway, token, "GET", &path, "").await?;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    Ok(())
}

/// The answer to an HTTP request: its head and body.
async fn http(
    http: SocketAddr,
    token: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Result<String> {
    let mut connection = tokio::net::TcpStream::connect(http).await?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {http}\r\nauthorization: Bearer {token}\r\n\
         connection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len(),
    );
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    within("an answer", connection.read_to_string(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn a_job_may_not_manage_anything_over_http_either() -> Result<()> {
    let Job { fixture, token, .. } = &running().await?;
    let id = "00000000-0000-0000-0000-000000000007";
    let worker = format!("/api/v1/worker/{id}");
    for (method, path) in [
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/token"),
        ("POST", "/api/v1/token"),
        ("GET", "/api/v1/workspace"),
        ("GET", "/api/v1/workspace/current/callback-key"),
        ("POST", "/api/v1/workspace"),
        ("PUT", "/api/v1/workspace/default/limits"),
        ("GET", "/api/v1/worker"),
        ("GET", "/api/v1/worker/join-tokens"),
        ("POST", "/api/v1/worker/join-tokens"),
        ("DELETE", &format!("/api/v1/worker/join-tokens/{id}")),
        ("DELETE", &worker),
        ("POST", &format!("{worker}/revoke")),
        ("POST", &format!("{worker}/rotate")),
        ("POST", &format!("{worker}/cordon")),
        ("POST", &format!("{worker}/uncordon")),
        ("POST", &format!("{worker}/drain")),
    ] {
        let body = match (method, path) {
            ("GET", _) => "",
            ("POST", "/api/v1/workspace") => r#"{"name":"mine"}"#,
            _ => "{}",
        };
        let answer = http(fixture.running.http, token, method, path, body).await?;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{method} {path}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_job_is_told_the_real_name_of_its_workspace() -> Result<()> {
    let fixture = fresh().await?;
    let (gateway, owner) = (fixture.running.http, fixture.token.clone());
    let made = http(gateway, &owner, "POST", "/api/v1/workspace", r#"{"name":"team"}"#).await?;
    let made = answer_of(&made)?;
    let token = made["token"].as_str().context("the new workspace's token")?;

    let Job { token: job, .. } = &running_in(fixture, token).await?;
    let path = "/api/v1/workspace/current";
    let answer = http(gateway, job, "GET", path, "").await?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let told = answer_of(&answer)?;
    assert_eq!(told["name"], "team", "{told}");
    assert_eq!(answer_of(&http(gateway, token, "GET", path, "").await?)?, told);
    Ok(())
}

fn answer_of(answer: &str) -> Result<serde_json::Value> {
    Ok(serde_json::from_str(body(answer))?)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
