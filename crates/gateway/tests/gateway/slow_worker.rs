//! A worker that does not read what it is told.

use anyhow::{Context as _, Result, bail};
use metal9_proto::beta9::gateway::ListWorkersRequest;
use metal9_proto::gateway_client;
use metal9_testkit::{Client, FakeWorker, Session, StubOptions};
use tonic::transport::Channel;

use crate::fixture::fresh;

/// Far more answers than the gateway queues for a worker and the connection holds.
const TOO_MANY: u64 = 1_000_000;

/// Bytes that may be on their way to the worker.
const WINDOW: u32 = 65_535;

async fn worker_states(client: &Client) -> Result<Vec<String>> {
    let request = client.request(ListWorkersRequest::default())?;
    let listed = gateway_client(client.channel()).list_workers(request).await?.into_inner();
    Ok(listed.workers.into_iter().map(|worker| worker.status).collect())
}

/// Reports ends of attempts that nobody knows; each is answered. Waits for ever once nobody listens.
async fn flood(worker: &Session, said: &mut u64) -> Result<()> {
    while *said < TOO_MANY {
        if worker.returned(u64::MAX - *said, b"").await.is_err() {
            return std::future::pending().await;
        }
        *said += 1;
    }
    bail!("the gateway still listens after {said} reports whose answers nobody reads")
}

/// Returns once the gateway counts the worker as gone.
async fn is_gone(client: &Client) -> Result<()> {
    while worker_states(client).await?.iter().any(|state| state == "available") {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_worker_that_never_reads_is_cut_off_and_can_come_back() -> Result<()> {
    let fixture = fresh().await?;
    let client = fixture.client().await?;
    // A narrow way, so that little is on it.
    let narrow = Channel::from_shared(format!("http://{}", fixture.running.grpc))?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let narrow = narrow.connect().await?;
    let mut deaf = fixture.worker.connect_over(narrow, FakeWorker::hello()).await?;
    let stub = deaf.while_building(client.stub(&StubOptions::default())).await?;

    let mut said = 0;
    tokio::select! {
        flooded = flood(&deaf, &mut said) => flooded?,
        gone = is_gone(&client) => gone?,
    }
    // What was on its way is still there; behind it is the end.
    let mut read = 0;
    while deaf.next().await.is_ok() {
        read += 1;
    }
    assert!(read < said, "{read} answers of {said} were kept");

    let mut back = fixture.worker.connect(fixture.running.grpc, &[], &[]).await?;
    let call = client.invoke(&stub, b"", false).await?;
    let assign = back.assignment().await.context("work for the worker that is back")?;
    back.started(assign.attempt_id).await?;
    back.returned(assign.attempt_id, b"value").await?;
    assert_eq!(&call.end().await?.result[..], b"value");
    fixture.running.stop().await
}
