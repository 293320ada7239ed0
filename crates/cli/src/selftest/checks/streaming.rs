//! Output comes while a job runs.

use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use super::Found;
use crate::selftest::client::Ask;
use crate::selftest::jobs::Jobs;

/// How long the job waits between two lines, in seconds.
const BETWEEN: f64 = 1.5;

/// How much of that must be left when the first line has come.
const LEFT: f64 = BETWEEN / 3.0;

/// Reads two lines that a job writes at different times.
pub(in crate::selftest) async fn streaming(jobs: &Jobs) -> Result<Found> {
    let mut call = jobs.start(&Ask::new("stream"), json!({ "seconds": BETWEEN })).await?;
    call.said(1).await?;
    let (first, early) = (Instant::now(), !call.has_ended());
    call.said(2).await?;
    let between = first.elapsed().as_secs_f64();
    let end = call.end().await?;
    Ok(if early && between >= LEFT && end.exit_code == 0 {
        Found::ok(format!("the first line came {between:.1} s before the second"))
    } else {
        Found::fail(format!(
            "lines that were written {BETWEEN} s apart came {between:.1} s apart; exit code {}",
            end.exit_code
        ))
    })
}
