//! What a worker that was killed has left behind: found and removed at the next start.
//!
//! Its supervisors end everything when they see it die. This is for what they could not end because
//! they were killed too, and for files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use metal9_removal::Permissions;

use crate::containment;
use crate::paths::Paths;

#[cfg(target_os = "linux")]
mod linux;

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Processes of jobs and builds, which were killed.
    pub(crate) processes: usize,
    pub(crate) cgroups: usize,
    pub(crate) mounts: usize,
    /// Directories of containers.
    pub(crate) containers: usize,
    /// Files of outputs that were not sent, and files on their way into a cache.
    pub(crate) files: usize,
}

impl Leftovers {
    /// Removes everything that means nothing to a new worker; blocks until it is gone.
    ///
    /// The state directory must be ours alone. Returns the first place that could not be emptied.
    pub(crate) fn remove(paths: &Paths) -> Result<Self, (PathBuf, io::Error)> {
        let cleaned = metal9_sandbox::clean(&containment::noted(&paths.cgroups()));
        let mut found = Self {
            processes: cleaned.processes,
            cgroups: cleaned.groups,
            containers: entries(&paths.containers()),
            files: entries(&paths.outbox()) + entries(&paths.temporary()),
            ..Self::default()
        };
        #[cfg(target_os = "linux")]
        {
            found.processes += linux::end_strays(&[&paths.containers(), &paths.build_cache()]);
            found.mounts = linux::unmount_below(&paths.containers());
        }
        #[cfg(not(target_os = "linux"))]
        {
            let directories = [paths.containers(), paths.build_cache()];
            let directories = directories.each_ref().map(PathBuf::as_path);
            found.processes += metal9_sandbox::end_strays(&directories);
        }
        for directory in fs::read_dir(paths.containers()).into_iter().flatten().flatten() {
            // Those of the group are gone already.
            let states = fs::read_dir(directory.path().join("state"));
            for state in states.into_iter().flatten().flatten() {
                let id = state.file_name();
                found.cgroups += usize::from(metal9_sandbox::remove_cgroups(&id.to_string_lossy()));
            }
        }
        if let Err(error) = remove_all(&paths.containers()) {
            // Names of containers are never used again: what stays takes room, and nothing else.
            let path = paths.containers();
            tracing::warn!(path = %path.display(), %error, "could not remove files of jobs");
        }
        for stale in [paths.outbox(), paths.temporary()] {
            remove_all(&stale).map_err(|error| (stale, error))?;
        }
        if found != Self::default() {
            let Self { processes, cgroups, mounts, containers, files } = found;
            tracing::warn!(
                processes,
                cgroups,
                mounts,
                containers,
                files,
                "cleaned up what an earlier run of this worker had left"
            );
        }
        Ok(found)
    }
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

/// Removes a directory with everything in it, also where a job has taken the permission away. Nobody
/// may be at work in it.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    match metal9_removal::remove_all(path, Permissions::Restore) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_counted_and_removed() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        assert_eq!(Leftovers::remove(&paths).unwrap(), Leftovers::default());
        fs::create_dir_all(paths.containers().join("1/code")).unwrap();
        fs::create_dir_all(paths.containers().join("2")).unwrap();
        fs::create_dir_all(paths.temporary().join("code-1")).unwrap();
        fs::create_dir_all(paths.outbox()).unwrap();
        fs::write(paths.outbox().join("7"), "unsent").unwrap();
        let found = Leftovers::remove(&paths).unwrap();
        assert_eq!((found.containers, found.files), (2, 2));
        assert!(!paths.containers().exists() && !paths.outbox().exists());
    }

    #[test]
    fn directories_of_a_job_are_removed_however_deep_they_are() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        // A job makes them step by step; this is as deep as one path goes.
        fs::create_dir_all(paths.containers().join("1").join("d/".repeat(1_900))).unwrap();
        let small = std::thread::Builder::new().stack_size(128 * 1024);
        let emptied = paths.containers();
        small.spawn(move || remove_all(&emptied).unwrap()).unwrap().join().unwrap();
        assert!(!paths.containers().exists());
    }
}
