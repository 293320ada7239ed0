//! Images on Macs: told when they are made, or when a stub asks for a Mac.

use anyhow::{Result, ensure};
use metal9_proto::beta9::image::{BuildImageRequest, VerifyImageBuildRequest};
use metal9_proto::image_client;
use metal9_proto::worker as wire;
use metal9_testkit::{Client, FakeWorker, StubOptions, within};

use crate::fixture::{Fixture, fresh};

const REASON: &str = "triton>=2.0.0 has no wheels with a matching platform tag";

fn gpu(names: &str) -> StubOptions {
    StubOptions { gpu: names.into(), ..StubOptions::default() }
}

/// All that a build says, the last message's text included.
async fn build(client: &Client) -> Result<(String, bool)> {
    let request = BuildImageRequest { python_version: "python3".into(), ..Default::default() };
    let mut images = image_client(client.channel());
    let mut stream = images.build_image(client.request(request)?).await?.into_inner();
    let mut said = String::new();
    while let Some(message) = within("an image build", stream.message()).await?? {
        said += &message.msg;
        if message.done {
            return Ok((said, message.success));
        }
    }
    anyhow::bail!("BuildImage ended without a last message")
}

async fn exists(client: &Client) -> Result<bool> {
    let request =
        VerifyImageBuildRequest { python_version: "python3".into(), ..Default::default() };
    let request = client.request(request)?;
    Ok(image_client(client.channel()).verify_image_build(request).await?.into_inner().exists)
}

async fn connect_mac(fixture: &Fixture) -> Result<metal9_testkit::Session> {
    connect_mac_with(fixture, &fixture.second_join, "").await
}

async fn connect_mac_with(
    fixture: &Fixture,
    join: &str,
    system: &str,
) -> Result<metal9_testkit::Session> {
    let mac = FakeWorker::join(fixture.running.grpc, join).await?;
    let machine = wire::MachineInfo { os: system.into(), ..Default::default() };
    let hello = wire::Hello {
        platform: "aarch64-apple-darwin".into(),
        machine: Some(machine),
        ..FakeWorker::hello()
    };
    mac.connect_with(fixture.running.grpc, hello).await
}

#[tokio::test]
async fn a_stub_for_macs_only_is_refused_if_its_image_cannot_be_had_there() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    worker.unresolvable = Some(REASON.into());
    let refused = worker.while_building(client.stub(&gpu("M3Max,MPS"))).await.unwrap_err();
    let text = format!("{refused:#}");
    ensure!(text.contains(REASON) && text.contains("macOS 14.0"), "{text}");
    ensure!(text.contains("hint: "), "{text}");
    // Others can run it, too; and nobody has asked for a Mac.
    worker.while_building(client.stub(&gpu("MPS,H100"))).await?;
    worker.while_building(client.stub(&gpu("any"))).await?;
    assert_eq!(worker.resolved_for, ["14.0"], "the reason was not remembered");
    fixture.running.stop().await
}

#[tokio::test]
async fn a_stub_for_macs_has_its_lock_before_any_mac_is_there() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let stub = worker.while_building(client.stub(&gpu("MPS"))).await?;
    let again = worker.while_building(client.stub(&gpu("MPS"))).await?;
    assert_eq!(stub, again);
    assert_eq!(worker.resolved_for, ["14.0"]);
    fixture.running.stop().await
}

#[tokio::test]
async fn a_build_warns_of_macs_that_are_there_and_is_asked_for_when_the_first_comes() -> Result<()>
{
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let (said, success) = worker.while_building(build(&client)).await?;
    ensure!(success && !said.contains("Mac"), "{said}");
    assert!(exists(&client).await?);

    let mut mac = connect_mac(&fixture).await?;
    assert!(!exists(&client).await?, "nobody knows of Macs yet");
    mac.unresolvable = Some(REASON.into());
    let building = worker.while_building(build(&client));
    let (said, success) = Box::pin(mac.while_building(building)).await?;
    ensure!(success && said.contains(REASON) && said.contains("come to a Mac"), "{said}");
    assert_eq!(mac.resolved_for, ["14.0"], "whoever is a Mac is asked first");
    assert!(exists(&client).await?, "it is known what Macs can have");
    fixture.running.stop().await
}

#[tokio::test]
async fn an_image_for_macs_only_is_made_on_the_mac() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    worker.unresolvable = Some("pyobjc is for macOS".into());
    let mut mac = connect_mac(&fixture).await?;
    worker.unbuildable = true;
    let building = worker.while_building(build(&client));
    let (said, success) = Box::pin(mac.while_building(building)).await?;
    ensure!(success && said.contains("not on x86_64-linux: pyobjc is for macOS"), "{said}");
    fixture.running.stop().await
}

#[tokio::test]
async fn a_stub_for_a_pool_is_resolved_for_the_macs_of_that_pool() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    let mut worker = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    // Nothing is known of Macs when the image is made.
    worker.while_building(client.stub(&gpu(""))).await?;
    let mut old = connect_mac_with(&fixture, &fixture.second_join, "macOS 14.0").await?;
    let mut new = connect_mac_with(&fixture, &fixture.new_join, "macOS 26.0").await?;
    old.unresolvable = Some(REASON.into());
    new.unresolvable = Some(REASON.into());

    let pooled = |pool: &str| StubOptions { pool: pool.into(), ..gpu("MPS") };
    for (pool, macos) in [("new", "26.0"), ("default", "14.0"), ("", "14.0"), ("none", "14.0")] {
        let options = pooled(pool);
        let asking = worker.while_building(client.stub(&options));
        let asking = Box::pin(old.while_building(asking));
        let refused = Box::pin(new.while_building(asking)).await.unwrap_err();
        let text = format!("{refused:#}");
        ensure!(text.contains(&format!("macOS {macos} and later")), "{pool}: {text}");
    }
    let mut asked = [worker.resolved_for, old.resolved_for, new.resolved_for].concat();
    asked.sort();
    asked.dedup();
    assert_eq!(asked, ["14.0", "26.0"]);
    fixture.running.stop().await
}
