//! A job is kept from files that are not its own.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Found;
use crate::selftest::client::{Ask, found, tail};
use crate::selftest::jobs::Jobs;

/// What another job keeps.
const OWN_FILE: &str = "own.txt";

/// What a job must not get at.
#[derive(Clone, Debug)]
pub(in crate::selftest) struct Forbidden {
    /// Must neither be read nor show in their directories.
    pub(in crate::selftest) files: Vec<PathBuf>,
    /// Nothing must be left in them.
    pub(in crate::selftest) directories: Vec<PathBuf>,
}

/// Runs a job that tries, while another one has something to lose.
pub(in crate::selftest) async fn files(jobs: &Jobs, forbidden: Forbidden) -> Result<Found> {
    let Forbidden { mut files, mut directories } = forbidden;
    for file in &files {
        // What is not there cannot be read by anybody.
        std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    }
    let mut other = jobs.start(&Ask::new("hold"), json!({ "file": OWN_FILE })).await?;
    let said = other.said(1).await?;
    let theirs = PathBuf::from(said["directory"].as_str().context("the job has no directory")?);
    files.push(theirs.join(OWN_FILE));
    directories.push(theirs);
    let wanted = json!({ "files": files, "directories": directories });
    let ended = jobs.run(&Ask::new("reach"), wanted).await;
    jobs.client.cancel(&other.task).await?;
    other.end().await?;
    let end = ended?;
    let said = found(&end.output, 1)
        .with_context(|| format!("the job did not get to its end: {}", tail(&end.output)))?;
    let reached: Vec<&str> =
        said["reached"].as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect();
    let attempts = 2 * files.len() + directories.len();
    if reached.is_empty() {
        return Ok(Found::ok(format!(
            "{attempts} attempts at the home, the state and another job, none went through"
        )));
    }
    Ok(Found::fail(format!("a job could {}", reached.join(", "))).fix(
        "see `isolation` in `metal9 doctor`, and the settings worker.isolation, worker.readable \
         and worker.writable in `metal9 config dump`",
    ))
}
