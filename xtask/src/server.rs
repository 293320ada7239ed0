//! A `metal9 dev` for as long as a chore needs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::run;

/// How long a start may take: it includes fetching uv the first time.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// How long a stop may take before it becomes a kill.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A running `metal9 dev`. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// What it wrote into `dev.json`.
    pub(crate) facts: Value,
}

impl Server {
    /// Starts `binary` with its state below `directory`, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// If it does not get ready; the message has the end of its log.
    pub(crate) fn start(binary: &Path, directory: &Path, path: &str) -> Result<Self> {
        let state = directory.join("state");
        let log = directory.join("metal9.log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(binary)
            .args(["dev", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state"])
            .arg(&state)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut server = Self { child, log, facts: Value::Null };
        server.facts = server.wait_until_ready(&state.join("dev.json"))?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, ready: &Path) -> Result<Value> {
        let until = Instant::now() + READY_LIMIT;
        while Instant::now() < until {
            if let Ok(text) = fs::read_to_string(ready) {
                return serde_json::from_str(&text)
                    .with_context(|| format!("{} is not JSON", ready.display()));
            }
            if let Some(status) = run::wait(&mut self.child, Duration::from_millis(50))? {
                bail!("metal9 dev ended with {status} before it was ready:\n{}", self.tail());
            }
        }
        bail!("metal9 dev was not ready in {} s:\n{}", READY_LIMIT.as_secs(), self.tail())
    }

    /// The end of what it logged.
    pub(crate) fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    ///
    /// If it has to be killed, or does not end well.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("the process id is out of range")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("cannot signal metal9 dev")?;
        match run::wait(&mut self.child, STOP_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("metal9 dev ended with {status}:\n{}", self.tail()),
            None => bail!("metal9 dev did not end in {} s:\n{}", STOP_LIMIT.as_secs(), self.tail()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail harmlessly if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
