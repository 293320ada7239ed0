//! Where things are below the state directory.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::leftovers::Leftovers;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PathsError {
    /// A directory could not be made or emptied.
    #[error("could not {action} `{}`", path.display())]
    Directory {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another worker runs on it.
    #[error("`{}` is in use by another worker (pid {pid})", path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
        /// The other worker's process as it wrote itself down; `unknown` if it has not yet.
        pid: String,
    },
}

/// The state directory.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        // Jobs run elsewhere, so a path that is relative to the daemon's directory means nothing.
        Self { root: std::path::absolute(root).unwrap_or_else(|_| root.to_owned()) }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.root.join("worker.json")
    }

    pub(crate) fn environments(&self) -> PathBuf {
        self.root.join("env")
    }

    /// What every program that builds an environment is told to use.
    pub(crate) fn build_cache(&self) -> PathBuf {
        self.environments().join("uv-cache")
    }

    pub(crate) fn code(&self) -> PathBuf {
        self.root.join("code")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    pub(crate) fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    pub(crate) fn runner(&self) -> PathBuf {
        self.root.join("runner")
    }

    /// The note of where the worker's cgroups are.
    pub(crate) fn cgroups(&self) -> PathBuf {
        self.root.join("cgroups.json")
    }

    /// The note of which jobs run.
    pub(crate) fn running(&self) -> PathBuf {
        self.root.join("running.json")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Ends and removes what an earlier daemon has left, and makes the directories.
    ///
    /// The lock lasts as long as the file that is returned.
    pub(crate) fn claim(&self) -> Result<File, PathsError> {
        make(&self.root)?;
        let lock = self.lock()?;
        Leftovers::remove(self).map_err(|(path, source)| PathsError::Directory {
            action: "remove",
            path,
            source,
        })?;
        for directory in [
            self.containers(),
            self.outbox(),
            self.temporary(),
            self.code(),
            self.runner(),
            self.volumes(),
        ] {
            make(&directory)?;
        }
        Ok(lock)
    }

    /// Removes what is left of containers: a spare that was being made when the daemon ended.
    pub(crate) fn clear_containers(&self) {
        for entry in fs::read_dir(self.containers()).into_iter().flatten().flatten() {
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                let path = entry.path();
                tracing::debug!(path = %path.display(), %error, "left to the next start");
            }
        }
    }

    /// Removes the note of which jobs run: none does.
    pub(crate) fn clear_running(&self) {
        let _ = fs::remove_file(self.running());
    }

    fn lock(&self) -> Result<File, PathsError> {
        let path = self.root.join("worker.lock");
        let failed = |source| PathsError::Directory { action: "lock", path: path.clone(), source };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                let pid = std::process::id().to_string();
                file.set_len(0).and_then(|()| file.write_all(pid.as_bytes())).map_err(failed)?;
                Ok(file)
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.take(20).read_to_string(&mut pid);
                if read.is_err() || pid.trim().is_empty() {
                    "unknown".clone_into(&mut pid);
                }
                Err(PathsError::InUse { path: self.root.clone(), pid })
            }
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

fn make(path: &Path) -> Result<(), PathsError> {
    fs::create_dir_all(path).map_err(|source| PathsError::Directory {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_removes_leftovers_and_keeps_the_caches() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        fs::create_dir_all(paths.containers().join("1/code")).unwrap();
        fs::create_dir_all(paths.code().join("object")).unwrap();
        let _lock = paths.claim().unwrap();
        assert!(!paths.containers().join("1").exists());
        assert!(paths.containers().exists());
        assert!(paths.code().join("object").exists());
    }

    #[test]
    fn two_workers_cannot_share_a_state_directory() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let lock = paths.claim().unwrap();
        let refused = paths.claim().unwrap_err().to_string();
        assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
        drop(lock);
        paths.claim().unwrap();
    }
}
