//! A call that is cancelled ends, and its process with it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::json;

use super::Found;
use crate::selftest::client::Ask;
use crate::selftest::jobs::Jobs;

/// How long the process may be there after the call has ended.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How often to look for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The exit code of a cancelled call.
const CANCELLED: i32 = 130;

/// Cancels a call that would go on for ever.
pub(in crate::selftest) async fn cancellation(jobs: &Jobs) -> Result<Found> {
    let mut call = jobs.start(&Ask::new("hold"), json!({ "file": "x" })).await?;
    let said = call.said(1).await?;
    let pid = said["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.filter(|pid| *pid > 1).context("the job did not say its process id")?;
    let begun = Instant::now();
    jobs.client.cancel(&call.task).await?;
    let end = call.end().await?;
    let took = begun.elapsed();
    if end.exit_code != CANCELLED {
        let code = end.exit_code;
        return Ok(Found::fail(format!("a cancelled call ended with exit code {code}")));
    }
    while kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH) {
        if begun.elapsed() > GONE_WITHIN {
            return Ok(Found::fail(format!("process {pid} of a cancelled call is still there")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(Found::ok(format!("a running call ended {} ms after it was cancelled", took.as_millis())))
}
