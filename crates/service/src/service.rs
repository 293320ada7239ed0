//! What is to run, and the text that says so.

use std::path::PathBuf;
use std::time::Duration;

use crate::place::{Manager, Place};
use crate::{launchd, systemd};

/// A worker that a service manager is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where it is installed.
    pub place: Place,
    /// The `metal9` program.
    pub program: PathBuf,
    /// The configuration file that was named, if one was.
    pub config: Option<PathBuf>,
    /// The worker's state directory.
    pub state: PathBuf,
    /// Directories to look for programs in, uv and the Pythons among them.
    pub path: Vec<PathBuf>,
    /// Settings that were given as environment variables.
    pub variables: Vec<(String, String)>,
    /// How long running calls may go on once the worker was told to end.
    pub drain: Duration,
    /// Whether an OCI runtime makes containers of its jobs.
    pub makes_containers: bool,
}

/// How much longer than its calls the worker itself may take to end: to stop what is left, to tell
/// the gateway and to clean up.
const END_WITHIN: Duration = Duration::from_secs(20);

impl Service {
    /// The program and its arguments.
    pub(crate) fn command(&self) -> Vec<String> {
        let mut words = vec![self.program.to_string_lossy().into_owned()];
        if let Some(config) = &self.config {
            words.extend(["--config".to_owned(), config.to_string_lossy().into_owned()]);
        }
        words.extend(["worker", "run", "--state"].map(str::to_owned));
        words.push(self.state.to_string_lossy().into_owned());
        words
    }

    /// The search path for programs.
    pub(crate) fn search_path(&self) -> String {
        let directories = self.path.iter().map(|directory| directory.to_string_lossy());
        directories.collect::<Vec<_>>().join(":")
    }

    /// After how many seconds the service manager kills a worker that was told to end.
    pub(crate) fn kill_after(&self) -> u64 {
        let within = self.drain.saturating_add(END_WITHIN);
        within.as_secs() + u64::from(within.subsec_nanos() > 0)
    }

    /// Where a worker under launchd writes its log; systemd keeps one itself.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state.join("worker.log")
    }
}

/// The text of the plist or unit.
#[must_use]
pub fn definition(service: &Service) -> String {
    match service.place.manager {
        Manager::Launchd => launchd::plist(service),
        Manager::Systemd => systemd::unit(service),
    }
}
