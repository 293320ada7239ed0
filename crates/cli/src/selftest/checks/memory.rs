//! A job that uses more memory than it asked for is ended.

use anyhow::Result;
use serde_json::json;

use super::Found;
use crate::selftest::client::{Ask, tail};
use crate::selftest::jobs::Jobs;

/// What the job asks for, in MiB.
const ASKED: i64 = 128;

/// What it uses, unless it is stopped.
const USED: i64 = 768;

/// The exit code of what was killed for its memory.
const KILLED: i32 = 137;

/// Runs a job that uses too much.
pub(in crate::selftest) async fn memory(jobs: &Jobs) -> Result<Found> {
    let ask = Ask { memory: ASKED, ..Ask::new("hog") };
    let end = jobs.run(&ask, json!({ "mebibytes": USED })).await?;
    Ok(if end.exit_code == KILLED && end.output.contains("memory limit") {
        Found::ok(format!("a job that asked for {ASKED} MiB was ended before it had {USED} MiB"))
    } else {
        let last = tail(&end.output);
        Found::fail(format!(
            "a job that asked for {ASKED} MiB and used {USED} MiB ended with exit code {}: {last}",
            end.exit_code
        ))
    })
}
