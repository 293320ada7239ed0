//! A gateway in this process, with a client and a worker.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use metal9_gateway::{Gateway, Options, start};
use metal9_tasks::CancellationToken;
use metal9_testkit::{Client, FakeWorker, within};
use tokio::task::JoinHandle;

/// A running gateway.
pub(crate) struct Running {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<()>,
}

pub(crate) fn options(dir: &Path) -> Options {
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut options = Options::new(dir.to_path_buf());
    options.grpc = any;
    options.http = any;
    options.build_wait_seconds = 1;
    options
}

pub(crate) fn run(gateway: Gateway) -> Running {
    let (grpc, http) = (gateway.grpc_addr(), gateway.http_addr());
    let shutdown = CancellationToken::new();
    let ended = metal9_tasks::spawn("gateway", metal9_tasks::OnError::Log, {
        gateway.run(shutdown.clone())
    });
    Running { grpc, http, shutdown, ended }
}

impl Running {
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(within("the gateway to stop", self.ended).await??)
    }
}

/// A fresh gateway with its first token and a worker that has joined.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) running: Running,
    pub(crate) token: String,
    /// A single-use join token, used by `worker`.
    pub(crate) join: String,
    /// Another one, which nobody has used.
    pub(crate) second_join: String,
    /// A third, for the pool `new`.
    pub(crate) new_join: String,
    pub(crate) worker: FakeWorker,
}

pub(crate) async fn fresh() -> Result<Fixture> {
    fresh_with(|_| {}).await
}

/// The same with other settings.
pub(crate) async fn fresh_with(change: impl FnOnce(&mut Options)) -> Result<Fixture> {
    let dir = tempfile::tempdir()?;
    let mut options = options(dir.path());
    change(&mut options);
    let gateway = start(options).await?;
    let first = gateway.store().bootstrap().await?.context("a fresh store has no workspace")?;
    let ttl = Duration::from_secs(60);
    let join = gateway.store().create_join_token(first.workspace, "default", ttl, true).await?;
    let second_join =
        gateway.store().create_join_token(first.workspace, "default", ttl, true).await?;
    let new_join = gateway.store().create_join_token(first.workspace, "new", ttl, true).await?;
    let running = run(gateway);
    let worker = FakeWorker::join(running.grpc, &join).await?;
    let token = first.token.clone();
    Ok(Fixture { dir, running, token, join, second_join, new_join, worker })
}

impl Fixture {
    pub(crate) async fn client(&self) -> Result<Client> {
        Client::connect(self.running.grpc, &self.token).await
    }
}
