//! A job is kept from files that are not its own.

use std::path::{Path, PathBuf};

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
    let name = format!("metal9-selftest-{}-was-here", std::process::id());
    let wanted = json!({ "files": files, "directories": directories, "name": name });
    let ended = jobs.run(&Ask::new("reach"), wanted).await;
    // While the other job is there, whose directory goes with it.
    let written = left_in(&directories, &name);
    jobs.client.cancel(&other.task).await?;
    other.end().await?;
    let end = ended?;
    let said = found(&end.output, 1)
        .with_context(|| format!("the job did not get to its end: {}", tail(&end.output)))?;
    let told = said["reached"].as_array().into_iter().flatten();
    let told = told.filter_map(|it| it.as_str()).map(str::to_owned);
    let reached: Vec<String> = told.chain(written).collect();
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

/// In which of the directories a job could leave a file of this name, which is removed.
fn left_in(directories: &[PathBuf], name: &str) -> Vec<String> {
    let left = |directory: &&PathBuf| std::fs::remove_file(directory.join(name)).is_ok();
    let tell = |directory: &Path| format!("write into {}", directory.display());
    directories.iter().filter(left).map(|directory| tell(directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_has_left_is_found_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let directories = ["kept", "open", "gone"].map(|name| root.path().join(name));
        for directory in &directories[..2] {
            std::fs::create_dir(directory).unwrap();
        }
        std::fs::write(directories[1].join("here"), "").unwrap();
        let expected = [format!("write into {}", directories[1].display())];
        assert_eq!(left_in(&directories, "here"), expected);
        assert!(!directories[1].join("here").exists());
        assert!(left_in(&directories, "here").is_empty());
    }
}
