//! A gateway and a worker for one run.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use metal9_tasks::CancellationToken;
use serde_json::Value;

use crate::client::http::Http;
use crate::context::Context;
use crate::failure::Failure;
use crate::ready::Ready;
use crate::serving::{Running, Serving, ended_early, finish};
use crate::settings::Settings;
use crate::worker_process::{self, WorkerProcess};

/// How long the worker may take until it is connected. Where there is no uv, it fetches one first.
const CONNECT_WITHIN: Duration = Duration::from_secs(180);

/// Lines of the worker's log that go into a failure.
const LOG_LINES: usize = 15;

/// A running gateway.
pub(super) struct Gateway {
    running: Running,
    shutdown: CancellationToken,
    store: metal9_store::Store,
    /// How it is reached.
    pub(super) ready: Ready,
    /// Its state.
    pub(super) state: PathBuf,
}

/// A worker that is connected.
pub(super) struct Worker {
    process: WorkerProcess,
    /// Its state.
    pub(super) state: PathBuf,
    log: PathBuf,
    /// What the gateway says about it.
    pub(super) status: Value,
}

impl Gateway {
    /// Starts one whose state is below `directory`, on free ports of the loopback address.
    pub(super) async fn start(settings: &Settings, directory: &Path) -> Result<Self, Failure> {
        let mut options = settings.gateway().map_err(Failure::usage)?;
        let state = directory.join("gateway");
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        (options.state_dir, options.grpc, options.http) = (state.clone(), free, free);
        options.tls = metal9_gateway::Tls::Off;
        (options.tls_cert, options.tls_key, options.advertise_host) = (None, None, None);
        let serving = Serving::start(options, directory).await?;
        let (ready, store) = (serving.ready(), serving.store().clone());
        let shutdown = CancellationToken::new();
        Ok(Self { running: serving.run(shutdown.clone()), shutdown, store, ready, state })
    }

    /// Does something while the gateway serves.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            ended = &mut self.running => Err(ended_early(ended)),
            done = work => Ok(done),
        }
    }

    /// Starts the worker, with these settings beside the others, and waits until it is connected. One
    /// that was started before has ended.
    pub(super) async fn add_worker(
        &mut self,
        context: &Context,
        directory: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Worker, Failure> {
        let (state, log) = (directory.join("worker"), directory.join("worker.log"));
        let (store, ready) = (self.store.clone(), self.ready.clone());
        let to = log.clone();
        let starting = async move {
            let base = format!("http://{}", ready.http);
            let http = Http::new(base, Some(ready.token.clone()), None)?;
            // What an earlier one was given is not to be given to it again.
            let gone = worker_process::connected(&http, false);
            tokio::time::timeout(CONNECT_WITHIN, gone).await.map_err(Failure::ours)??;
            worker_process::join(&store, &state, &ready.grpc, "").await?;
            let file = File::create(&to).context("cannot write the worker's log");
            let file = file.map_err(Failure::ours)?;
            let (grpc, log) = (&ready.grpc, file.into());
            let mut process = WorkerProcess::start(context, &state, grpc, &[], variables, log)?;
            tokio::select! {
                connected = worker_process::connected(&http, true) => connected?,
                failure = process.ended() => return Err(failure),
                () = tokio::time::sleep(CONNECT_WITHIN) => {
                    let limit = CONNECT_WITHIN.as_secs();
                    return Err(Failure::ours(anyhow!("it did not connect within {limit} s")));
                }
            }
            let answer = tokio::task::spawn_blocking(move || http.get("/api/v1/status")).await;
            let status = answer.map_err(Failure::ours)??["workers"][0].clone();
            Ok(Worker { process, state, log: to, status })
        };
        let started = self.during(starting).await?;
        started.map_err(|failure| failure.context(format!("the worker's log:\n{}", end_of(&log))))
    }

    /// Ends the gateway.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        self.shutdown.cancel();
        finish(&mut self.running).await
    }
}

impl Worker {
    /// Ends the worker with all its jobs.
    pub(super) async fn stop(self) {
        self.process.stop().await;
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        end_of(&self.log)
    }
}

fn end_of(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
