//! Where things are below the state directory.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::leftovers::{self, Leftovers};

/// How long the lock of a worker that is gone may be held yet.
const LET_GO_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(20);

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

    /// Layers of container images.
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn code(&self) -> PathBuf {
        self.root.join("code")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Where the file system of volumes is mounted, with what that needs.
    pub(crate) fn juicefs(&self) -> PathBuf {
        self.root.join("juicefs")
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
        metal9_juicefs::remove_leftover(&self.juicefs());
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
            if let Err(error) = leftovers::remove_all(&entry.path()) {
                let path = entry.path();
                tracing::debug!(path = %path.display(), %error, "left to the next start");
            }
        }
    }

    /// Removes the note of which jobs run: none does.
    pub(crate) fn clear_running(&self) {
        let _ = fs::remove_file(self.running());
    }

    /// Takes the lock. Of a worker that was killed it may be held for a moment yet, by a process
    /// that it was about to start.
    fn lock(&self) -> Result<File, PathsError> {
        let path = self.root.join("worker.lock");
        let failed = |source| PathsError::Directory { action: "lock", path: path.clone(), source };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) => {}
            }
            let pid = holder(&mut file);
            if pid.is_none_or(|pid| kill(pid, None) != Err(Errno::ESRCH))
                || begun.elapsed() > LET_GO_WITHIN
            {
                let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                return Err(PathsError::InUse { path: self.root.clone(), pid });
            }
            std::thread::sleep(PAUSE);
        }
        let pid = std::process::id().to_string();
        let written = file.rewind().and_then(|()| file.set_len(0));
        written.and_then(|()| file.write_all(pid.as_bytes())).map_err(failed)?;
        Ok(file)
    }
}

/// Who has noted that the lock is theirs.
fn holder(lock: &mut File) -> Option<Pid> {
    let mut pid = String::new();
    lock.rewind().ok()?;
    lock.take(20).read_to_string(&mut pid).ok()?;
    pid.trim().parse().ok().map(Pid::from_raw)
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

    #[test]
    fn a_lock_that_outlives_its_worker_for_a_moment_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::new(root.path());
        let mut lock = paths.claim().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        lock.rewind().unwrap();
        lock.set_len(0).unwrap();
        lock.write_all(gone.id().to_string().as_bytes()).unwrap();
        let child = std::thread::spawn(move || {
            std::thread::sleep(PAUSE * 5);
            drop(lock);
        });
        let lock = paths.claim().unwrap();
        child.join().unwrap();
        drop(lock);
        assert_eq!(
            fs::read_to_string(root.path().join("worker.lock")).unwrap(),
            std::process::id().to_string()
        );
    }
}
