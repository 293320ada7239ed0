//! Asking Metal in a process of its own.
//!
//! [`ask_metal`] loads Metal, so nothing but a short-lived process that does nothing else may call
//! it: `metal9 probe-metal` ([`COMMAND`]) prints its [`Report`] as JSON. [`run`] starts such a
//! process and reads it; who starts it otherwise, as in the sandbox of a job, gives what it printed
//! to [`read`].

#[cfg(target_os = "macos")]
mod metal;

use std::process::{Command, ExitStatus};
use std::time::Duration;
use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::process::output_within;

/// The hidden command that prints a [`Report`].
pub const COMMAND: &str = "probe-metal";

/// How long a probe may take. It takes some milliseconds, but the first one after a start of the
/// machine waits for the compiler of shaders, and one whose driver hangs would wait for ever.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What Metal says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The devices that it lists.
    pub devices: Vec<MetalDevice>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A device as Metal describes it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MetalDevice {
    /// Its name, as `Apple M3 Max`.
    pub name: String,
    /// The id of its entry in the I/O registry.
    pub registry_id: u64,
    /// `true` if it shares the machine's memory.
    pub has_unified_memory: bool,
    /// How many bytes it can use without getting slower.
    pub recommended_max_working_set: u64,
    /// How many bytes one buffer may have.
    pub max_buffer_length: u64,
    /// Its architecture, as `applegpu_g15s`.
    pub architecture: String,
    /// The families of features that it has, as `apple9`.
    pub families: Vec<String>,
    /// `true` if it has computed something, and rightly: a device that is listed may refuse all else.
    pub computes: bool,
    /// Why it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl MetalDevice {
    /// What is in the way of computing on it; nothing if nothing is.
    pub(crate) fn obstacle(&self) -> Option<String> {
        if self.computes {
            return None;
        }
        Some(match &self.reason {
            Some(reason) => format!("it does not compute: {reason}"),
            None => "it does not compute".to_owned(),
        })
    }
}

impl Report {
    /// Why nothing computes where this was found out; nothing if a device does.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        let obstacles: Option<Vec<String>> = self
            .devices
            .iter()
            .map(|device| Some(format!("{}: {}", device.name, device.obstacle()?)))
            .collect();
        let obstacles = obstacles?;
        if !obstacles.is_empty() {
            return Some(obstacles.join("; "));
        }
        Some(self.reason.clone().unwrap_or_else(|| "Metal lists no device".to_owned()))
    }
}

/// Why a probe told nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// It did not start.
    #[error("the probe cannot be started")]
    Start(#[source] io::Error),
    /// It did not answer in time.
    #[error("the probe did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// It failed.
    #[error("the probe ended with {status}{}", Said(.said))]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to stderr.
        said: String,
    },
    /// What it printed is no report.
    #[error("the probe printed no report")]
    Unreadable(#[source] serde_json::Error),
}

/// The last line of what a process said, where it said something.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim().lines().last() {
            Some(line) => write!(f, ": {line}"),
            None => Ok(()),
        }
    }
}

/// Asks Metal, in this process.
#[must_use]
pub fn ask_metal() -> Report {
    #[cfg(target_os = "macos")]
    return metal::ask();
    #[cfg(not(target_os = "macos"))]
    Report { devices: Vec::new(), reason: Some("Metal exists on macOS only".to_owned()) }
}

/// Runs a command that prints a report, and reads it.
///
/// This waits for the process: call it where waiting is allowed.
///
/// # Errors
///
/// If it does not start, does not answer in time, fails, or prints something else.
pub fn run(command: Command) -> Result<Report, ProbeError> {
    let output = output_within(command, PATIENCE).map_err(ProbeError::Start)?;
    let output = output.ok_or(ProbeError::Silent)?;
    read(output.status, &output.stdout, &output.stderr)
}

/// Runs this program's own [`COMMAND`], outside of any sandbox; see [`run`].
///
/// # Errors
///
/// If it is not known where this program is, and as [`run`].
pub fn run_this_program() -> Result<Report, ProbeError> {
    let mut command = Command::new(std::env::current_exe().map_err(ProbeError::Start)?);
    command.arg(COMMAND);
    run(command)
}

/// Reads what a probe has printed.
///
/// # Errors
///
/// If it failed, or printed something else.
pub fn read(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> Result<Report, ProbeError> {
    if !status.success() {
        let said = String::from_utf8_lossy(stderr).into_owned();
        return Err(ProbeError::Failed { status, said });
    }
    serde_json::from_slice(stdout).map_err(ProbeError::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the probe prints on a Mac, in the shape of what MLX and llama.cpp have logged.
    const PRINTED: &str = r#"{
      "devices": [{
        "name": "Apple M4", "registry_id": 4294968220, "has_unified_memory": true,
        "recommended_max_working_set": 12713115648, "max_buffer_length": 9534832640,
        "architecture": "applegpu_g16g", "families": ["apple9", "mac2", "metal3"],
        "computes": true
      }]
    }"#;

    #[test]
    fn a_report_is_read() {
        let report = read(ExitStatus::default(), PRINTED.as_bytes(), b"").unwrap();
        assert_eq!(report.devices[0].recommended_max_working_set, 12_713_115_648);
        assert_eq!(report.reason, None);
        let again = serde_json::to_vec(&report).unwrap();
        assert_eq!(read(ExitStatus::default(), &again, b"").unwrap(), report);
    }

    #[test]
    fn a_device_that_is_listed_is_none_until_it_has_computed() {
        let report = |text: &str| read(ExitStatus::default(), text.as_bytes(), b"").unwrap();
        assert_eq!(report(PRINTED).obstacle(), None);
        let idle = PRINTED.replace(
            r#""computes": true"#,
            r#""computes": false, "reason": "it makes no command queue""#,
        );
        assert_eq!(
            report(&idle).obstacle().unwrap(),
            "Apple M4: it does not compute: it makes no command queue"
        );
        assert_eq!(report(r#"{"devices": []}"#).obstacle().unwrap(), "Metal lists no device");
        let told = report(r#"{"devices": [], "reason": "it is virtual"}"#);
        assert_eq!(told.obstacle().unwrap(), "it is virtual");
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        let silent = PRINTED.replace(r#""computes": true"#, r#""x": 1"#);
        for text in ["hello", &silent] {
            let read = read(ExitStatus::default(), text.as_bytes(), b"");
            assert!(matches!(read, Err(ProbeError::Unreadable(_))), "{text}");
        }
    }

    #[test]
    fn a_process_is_run_and_its_failure_quoted() {
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            run(command)
        };
        let report = shell(r#"echo '{"devices": [], "reason": "none here"}'"#).unwrap();
        assert_eq!(report.reason.as_deref(), Some("none here"));
        let error = shell("echo first >&2; echo no driver >&2; exit 3").unwrap_err();
        assert_eq!(error.to_string(), "the probe ended with exit status: 3: no driver");
        assert!(matches!(run(Command::new("/not/there")), Err(ProbeError::Start(_))));
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn elsewhere_metal_does_not_exist() {
        let report = ask_metal();
        assert!(report.devices.is_empty());
        assert_eq!(report.reason.as_deref(), Some("Metal exists on macOS only"));
    }
}
