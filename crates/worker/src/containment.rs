//! What this worker holds its containers with: cgroups where it may have any.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use metal9_sandbox::{Cgroups, Cleaned, Controller, Layout};
use metal9_types::Resources;

use crate::options::Options;

/// Most processes and threads of a container if nobody says otherwise: more than any sensible
/// program has, few enough that the machine goes on.
const PIDS: u64 = 4096;

/// What the worker's containers are held to beside their own requests.
#[derive(Debug, Default)]
pub(crate) struct Containment {
    pub(crate) cgroups: Cgroups,
    /// The most of the processor that a container gets, in percent of its request.
    pub(crate) cpu_limit_percent: Option<u64>,
    /// Most processes and threads of a container; for messages.
    pub(crate) pids: Option<u64>,
    /// Where the directories of the cgroups are noted.
    record: PathBuf,
}

impl Containment {
    /// Makes the worker's own cgroups and notes where they are, for the case that it is killed.
    pub(crate) fn open(
        options: &Options,
        worker: &str,
        capacity: Resources,
        record: &Path,
    ) -> Self {
        let pids = Some(options.pids.unwrap_or(PIDS)).filter(|most| *most > 0);
        let cpu_limit_percent = options.cpu_limit_percent.filter(|percent| *percent > 0);
        let cgroups = if options.cgroups {
            let read = |file| fs::read_to_string(file).unwrap_or_default();
            let layout = Layout::read(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
            Cgroups::open(&layout, &group_name(worker), pids, capacity.cpu_millicores)
        } else {
            Cgroups::none()
        };
        if let Err(error) = note(record, &cgroups.directories()) {
            tracing::warn!(%error, "could not note where the cgroups are");
        }
        let containment = Self { cgroups, cpu_limit_percent, pids, record: record.to_owned() };
        containment.log();
        containment
    }

    /// Says once what there is, and what there is not and why.
    fn log(&self) {
        let held = self.cgroups.describe();
        tracing::info!(held, pids = self.pids, "containers are held by cgroups");
        for (controller, why) in self.cgroups.missing() {
            let controller = controller.name();
            tracing::info!(controller, why, "not held by a cgroup");
        }
        if !self.cgroups.has(Controller::Memory) {
            tracing::info!("memory is looked at from time to time instead");
        }
    }

    /// Removes the cgroups and the note of them.
    pub(crate) fn close(&self) {
        let Cleaned { processes, .. } = self.cgroups.close();
        if processes > 0 {
            tracing::warn!(processes, "processes of jobs were still there at the end");
        }
        let _ = fs::remove_file(&self.record);
    }
}

/// The name of the worker's own group: one for each worker of this machine.
fn group_name(worker: &str) -> String {
    format!("metal9-{worker}")
}

fn note(record: &Path, directories: &[PathBuf]) -> io::Result<()> {
    fs::write(record, serde_json::to_vec(directories)?)
}

/// The cgroups that a worker which was killed has noted; only such as a worker makes.
pub(crate) fn noted(record: &Path) -> Vec<PathBuf> {
    let text = fs::read(record).unwrap_or_default();
    let mut noted: Vec<PathBuf> = serde_json::from_slice(&text).unwrap_or_default();
    noted.retain(|directory| {
        let name = directory.file_name().and_then(|name| name.to_str());
        directory.is_absolute() && name.is_some_and(|name| name.starts_with("metal9-"))
    });
    noted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_that_a_worker_made_are_believed_to_be_its_own() {
        let root = tempfile::tempdir().unwrap();
        let record = root.path().join("cgroups.json");
        assert!(noted(&record).is_empty());
        let wrong = ["/sys/fs/cgroup", "metal9-x", "/sys/fs/cgroup/user.slice", "/"];
        let right = "/sys/fs/cgroup/metal9-1";
        let all: Vec<PathBuf> = wrong.iter().chain([&right]).map(PathBuf::from).collect();
        note(&record, &all).unwrap();
        assert_eq!(noted(&record), [PathBuf::from(right)]);
        fs::write(&record, "nonsense").unwrap();
        assert!(noted(&record).is_empty());
    }
}
