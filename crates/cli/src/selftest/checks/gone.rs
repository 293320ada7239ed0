//! Whether processes of a job are gone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;

/// How long a process may be there after its call has ended.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How often to look for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The process id that a job has said.
pub(super) fn pid(said: &Value) -> Result<Pid> {
    let pid = said.as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.filter(|pid| *pid > 1).map(Pid::from_raw).context("the job did not say its process id")
}

/// The first of these processes that does not go; nothing if all are gone.
pub(super) async fn left(pids: &[Pid]) -> Option<Pid> {
    let deadline = Instant::now() + GONE_WITHIN;
    for pid in pids {
        while kill(*pid, None) != Err(Errno::ESRCH) {
            if Instant::now() > deadline {
                return Some(*pid);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    None
}
