//! The worker of `metal9 dev`: a child process that ends with its parent.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use metal9_store::{Store, WorkerRow};
use metal9_worker::JoinOptions;
use serde_json::Value;
use tokio::process::{Child, ChildStdin, Command};

use crate::client::http::Http;
use crate::context::Context;
use crate::environment;
use crate::failure::Failure;

/// How long the worker may take to stop its jobs and itself.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How long a join token lives that is used at once.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// How often to look whether the worker is there.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A running worker. Dropping it kills it.
pub(crate) struct WorkerProcess {
    child: Child,
    /// Held here because waiting for a child closes a pipe that it still has.
    lifeline: Option<ChildStdin>,
}

impl WorkerProcess {
    /// Starts this program again as a worker, with these variables beside its own, which logs to
    /// `log`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(crate) fn start(
        context: &Context,
        state: &Path,
        gateway: &str,
        simulated: &[String],
        variables: &[(&str, &str)],
        log: Stdio,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .context("cannot find this program's own file")
            .map_err(Failure::ours)?;
        let mut command = Command::new(program);
        if let Some(config) = &context.config {
            command.arg("--config").arg(config);
        }
        command
            .args(["worker", "run", "--exit-with-stdin", "--gateway", gateway, "--state"])
            .arg(state)
            .args(simulated.iter().flat_map(|name| ["--simulate-device", name]))
            .env(environment::LOG, context.log().unwrap_or("warn"))
            .envs(variables.iter().copied())
            // The end of this pipe is the end of the worker, however its parent ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // A Ctrl-C is for the parent, which stops the worker before the gateway.
            .process_group(0)
            .kill_on_drop(true);
        let mut child =
            command.spawn().context("cannot start the worker").map_err(Failure::ours)?;
        let lifeline = child.stdin.take();
        Ok(Self { child, lifeline })
    }

    /// Resolves when the worker ends by itself.
    pub(crate) async fn ended(&mut self) -> Failure {
        let what = match self.child.wait().await {
            Ok(status) => anyhow!("it ended with {status}"),
            Err(error) => anyhow!(error),
        };
        Failure::ours(what).context("the worker stopped")
    }

    /// Lets the worker stop its jobs and end; kills it if that takes too long.
    pub(crate) async fn stop(mut self) {
        drop(self.lifeline.take());
        match tokio::time::timeout(STOP_LIMIT, self.child.wait()).await {
            Ok(ended) => {
                tracing::debug!(ended = ?ended.map(|status: ExitStatus| status.code()), "worker stopped")
            }
            Err(_) => {
                tracing::warn!("the worker does not stop; killing it");
                if let Err(error) = self.child.kill().await {
                    tracing::error!(%error, "cannot kill the worker");
                }
            }
        }
    }
}

/// Makes sure that the worker whose state is in `state` may connect.
///
/// # Errors
///
/// If it cannot join.
pub(crate) async fn join(
    store: &Store,
    state: &Path,
    gateway: &str,
    pool: &str,
) -> Result<(), Failure> {
    let (workspace, _) = store
        .default_workspace()
        .await
        .map_err(Failure::ours)?
        .ok_or_else(|| Failure::ours(anyhow!("there is no workspace")))?;
    let known = store.list_workers(workspace).await.map_err(Failure::ours)?;
    if is_known(state, &known) {
        return Ok(());
    }
    let pool = if pool.is_empty() { "default" } else { pool };
    let token =
        store.create_join_token(workspace, pool, JOIN_LIMIT, true).await.map_err(Failure::ours)?;
    let options = JoinOptions {
        gateway: gateway.to_owned(),
        fingerprint: None,
        token,
        pool: pool.to_owned(),
        state_dir: state.to_owned(),
    };
    metal9_worker::join(&options).await.map_err(Failure::ours)?;
    Ok(())
}

/// True if the gateway knows who the worker was last time.
fn is_known(state: &Path, known: &[WorkerRow]) -> bool {
    let Ok(text) = std::fs::read_to_string(state.join("worker.json")) else { return false };
    let identity: Value = serde_json::from_str(&text).unwrap_or_default();
    known
        .iter()
        .any(|worker| worker.revoked_at.is_none() && identity["worker_id"] == worker.id.to_string())
}

/// Resolves when the gateway has a connected worker, or has none, as `wanted`.
///
/// # Errors
///
/// If the gateway cannot be asked.
pub(crate) async fn connected(http: &Http, wanted: bool) -> Result<(), Failure> {
    loop {
        let asking = http.clone();
        // The HTTP client is a blocking one.
        let answer = tokio::task::spawn_blocking(move || asking.get("/api/v1/status")).await;
        let status = answer.map_err(Failure::ours)??;
        let mut workers = status["workers"].as_array().into_iter().flatten();
        if workers.any(|worker| worker["connected"] == true) == wanted {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
