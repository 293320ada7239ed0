//! What a job has left running ends with its call, however it has detached itself.

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Pid;
use serde_json::json;

use super::Found;
use super::gone::{left, pid};
use crate::selftest::client::Ask;
use crate::selftest::jobs::Jobs;

/// How many processes each job leaves: one that made a session, one in that of a process that died.
const EACH: usize = 2;

/// Lets jobs leave processes in sessions of their own, by a call that returns and one that is cancelled.
pub(in crate::selftest) async fn detached(jobs: &Jobs) -> Result<Found> {
    for (stay, end) in [(false, "returned"), (true, "was cancelled")] {
        let mut call = jobs.start(&Ask::new("scatter"), json!({ "stay": stay })).await?;
        let said = call.said(1).await?;
        let pids = said["pids"].as_array().context("the job left no processes")?;
        let pids: Vec<Pid> = pids.iter().map(pid).collect::<Result<_>>()?;
        ensure!(pids.len() == EACH, "the job left {} processes instead of {EACH}", pids.len());
        if stay {
            jobs.client.cancel(&call.task).await?;
        }
        call.end().await?;
        if let Some(pid) = left(&pids).await {
            return Ok(Found::fail(format!(
                "process {pid} is still there, which a job forked into another session before \
                 it {end}"
            )));
        }
    }
    Ok(Found::ok("what jobs forked into other sessions ended with their calls"))
}
