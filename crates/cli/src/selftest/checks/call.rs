//! A call runs and returns.

use anyhow::Result;
use serde_json::json;

use super::Found;
use crate::selftest::client::{Ask, found, tail};
use crate::selftest::jobs::Jobs;

/// Calls a function with an argument that comes back.
pub(in crate::selftest) async fn call(jobs: &Jobs) -> Result<Found> {
    let end = jobs.run(&Ask::new("hello"), json!({ "name": "metal9" })).await?;
    if end.exit_code != 0 || !end.result {
        let last = tail(&end.output);
        return Ok(Found::fail(format!("the job ended with exit code {}: {last}", end.exit_code)));
    }
    match found(&end.output, 1) {
        Some(said) if said["name"] == "metal9" => {
            let python = said["python"].as_str().unwrap_or("?");
            Ok(Found::ok(format!("a job ran on Python {python} and returned")))
        }
        _ => {
            Ok(Found::fail(format!("the job's output is not what it wrote: {}", tail(&end.output))))
        }
    }
}
