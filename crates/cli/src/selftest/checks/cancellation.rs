//! A call that is cancelled ends, and its process with it.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use super::Found;
use super::gone::{left, pid};
use crate::selftest::client::Ask;
use crate::selftest::jobs::Jobs;

/// The exit code of a cancelled call.
const CANCELLED: i32 = 130;

/// Cancels a call that would go on for ever.
pub(in crate::selftest) async fn cancellation(jobs: &Jobs) -> Result<Found> {
    let mut call = jobs.start(&Ask::new("hold"), json!({ "file": "x" })).await?;
    let pid = pid(&call.said(1).await?["pid"])?;
    let begun = Instant::now();
    jobs.client.cancel(&call.task).await?;
    let end = call.end().await?;
    let took = begun.elapsed();
    if end.exit_code != CANCELLED {
        let code = end.exit_code;
        return Ok(Found::fail(format!("a cancelled call ended with exit code {code}")));
    }
    if let Some(pid) = left(&[pid]).await {
        return Ok(Found::fail(format!("process {pid} of a cancelled call is still there")));
    }
    Ok(Found::ok(format!("a running call ended {} ms after it was cancelled", took.as_millis())))
}
