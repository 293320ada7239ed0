//! Where things are below the root, and what makes a directory an environment.
//!
//! An environment is built under its final name, since scripts inside it name their Python by its
//! full path. It counts only once the marker file is there, which is written last: whatever kills a
//! build leaves a directory without marker, which the next build or start removes.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::hold;
use crate::{EnvError, Environment, Lease};

/// The file that makes a directory an environment; its time is that of the last use.
const MARKER: &str = ".complete";
/// Length of an environment's name, in hex digits.
const HASH_LENGTH: usize = 32;
/// The directory of packages whose Python is somewhere else.
const PACKAGES: &str = "packages";

/// Places below the root.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) tools: PathBuf,
    pub(crate) pythons: PathBuf,
    pub(crate) uv_cache: PathBuf,
    pub(crate) envs: PathBuf,
    locks: PathBuf,
}

impl Layout {
    /// Makes the directories that are not there.
    pub(crate) fn create(root: &Path) -> Result<Self, EnvError> {
        let absolute =
            std::path::absolute(root).map_err(|error| EnvError::files("find", root, error))?;
        let layout = Self {
            tools: absolute.join("tools"),
            pythons: absolute.join("pythons"),
            uv_cache: absolute.join("uv-cache"),
            envs: absolute.join("envs"),
            locks: absolute.join("envs/.locks"),
            root: absolute,
        };
        for directory in [&layout.tools, &layout.uv_cache, &layout.locks] {
            fs::create_dir_all(directory)
                .map_err(|error| EnvError::files("create", directory, error))?;
        }
        Ok(layout)
    }

    /// Where the environment of this name is, built or not.
    pub(crate) fn environment(&self, hash: &str) -> Environment {
        let dir = self.envs.join(hash);
        let python = dir.join("bin/python");
        Environment { hash: hash.to_owned(), python, dir, lease: Lease::default() }
    }

    /// Where the packages of this name are, installed or not: for root filesystems that have a Python
    /// of their own, in the place of which stands the directory that it finds them in.
    pub(crate) fn packages(&self, hash: &str) -> Environment {
        let environment = self.environment(hash);
        Environment { python: environment.dir.join(PACKAGES), ..environment }
    }

    /// The file whose lock the builder of this environment holds.
    pub(crate) fn lock_file(&self, hash: &str) -> PathBuf {
        self.locks.join(hash)
    }

    /// Names of the environments that are ready, in order.
    pub(crate) fn ready(&self) -> Vec<String> {
        let mut ready = self.names();
        ready.retain(|hash| is_ready(&self.environment(hash)));
        ready
    }

    /// Names of the environments that are ready, the one not used for longest first.
    pub(crate) fn by_last_use(&self) -> Vec<String> {
        let last_use = |hash: &String| {
            let marker = self.environment(hash).dir.join(MARKER);
            fs::metadata(marker)
                .and_then(|facts| facts.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let mut ready = self.ready();
        ready.sort_by_cached_key(last_use);
        ready
    }

    /// Removes what killed builds have left; a build that still runs somewhere is let be.
    pub(crate) fn remove_leftovers(&self) {
        for hash in self.names() {
            let environment = self.environment(&hash);
            if is_ready(&environment) {
                continue;
            }
            match hold::try_acquire(&self.lock_file(&hash)) {
                // Somebody may have completed it before the lock was ours.
                Ok(Some(_held)) if !is_ready(&environment) => {
                    if let Err(error) = remove(&environment) {
                        tracing::warn!(%error, "could not remove an unfinished environment");
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "could not look at an unfinished environment"),
            }
        }
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.envs).into_iter().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| {
                name.len() == HASH_LENGTH && name.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
            .collect();
        names.sort();
        names
    }
}

/// `true` if the environment is complete and its base Python, if it has one, still on the machine.
pub(crate) fn is_ready(environment: &Environment) -> bool {
    let dir = &environment.dir;
    dir.join(MARKER).exists() && (environment.python.exists() || dir.join(PACKAGES).is_dir())
}

/// `true` if it is packages alone, whose Python is somewhere else.
pub(crate) fn is_packages(environment: &Environment) -> bool {
    environment.python.ends_with(PACKAGES)
}

/// Notes that the environment is used now.
pub(crate) fn touch(environment: &Environment) {
    let marker = environment.dir.join(MARKER);
    let touched = OpenOptions::new()
        .write(true)
        .open(&marker)
        .and_then(|file| file.set_times(FileTimes::new().set_modified(SystemTime::now())));
    if let Err(error) = touched {
        tracing::warn!(path = %marker.display(), %error, "could not note the use of an environment");
    }
}

/// Makes a built directory an environment.
pub(crate) fn complete(environment: &Environment) -> Result<(), EnvError> {
    protect(&environment.dir)
        .map_err(|error| EnvError::files("protect", &environment.dir, error))?;
    let marker = environment.dir.join(MARKER);
    File::create(&marker)
        .and_then(|file| file.sync_all())
        .map_err(|error| EnvError::files("create", &marker, error))
}

/// Removes an environment, complete or not. The marker goes first, so that one half removed does
/// not count.
pub(crate) fn remove(environment: &Environment) -> Result<(), EnvError> {
    let missing_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    missing_is_fine(fs::remove_file(environment.dir.join(MARKER)))
        .and_then(|()| missing_is_fine(fs::remove_dir_all(&environment.dir)))
        .map_err(|error| EnvError::files("remove", &environment.dir, error))
}

/// Takes the write permission from all files below: they are hard links into uv's cache where the
/// file system has no clones, so writing into one would change every other environment too.
/// Directories stay writable, so that an environment can be removed by ordinary means; keeping jobs
/// from adding files is the sandbox's part.
fn protect(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            protect(&entry.path())?;
        } else if kind.is_file() {
            let mode = entry.metadata()?.permissions().mode();
            if mode & 0o222 != 0 {
                fs::set_permissions(entry.path(), PermissionsExt::from_mode(mode & !0o222))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef";

    fn unfinished(layout: &Layout) -> Environment {
        let environment = layout.environment(HASH);
        fs::create_dir_all(environment.dir.join("bin")).unwrap();
        fs::write(&environment.python, "").unwrap();
        environment
    }

    #[test]
    fn only_a_directory_with_marker_and_python_is_ready() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::create(root.path()).unwrap();
        let environment = unfinished(&layout);
        assert!(layout.ready().is_empty());
        complete(&environment).unwrap();
        assert_eq!(layout.ready(), [HASH]);
        fs::remove_file(&environment.python).unwrap();
        assert!(layout.ready().is_empty());
    }

    #[test]
    fn leftovers_are_removed_unless_their_build_still_runs() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::create(root.path()).unwrap();
        let environment = unfinished(&layout);
        let held = hold::try_acquire(&layout.lock_file(HASH)).unwrap().unwrap();
        layout.remove_leftovers();
        assert!(environment.dir.exists());
        drop(held);
        layout.remove_leftovers();
        assert!(!environment.dir.exists());
    }

    #[test]
    fn files_of_an_environment_are_read_only_and_it_can_still_be_removed() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::create(root.path()).unwrap();
        let environment = unfinished(&layout);
        complete(&environment).unwrap();
        let mode = fs::metadata(&environment.python).unwrap().permissions().mode();
        assert_eq!(mode & 0o222, 0);
        touch(&environment);
        remove(&environment).unwrap();
        assert!(!environment.dir.exists());
        remove(&environment).unwrap();
    }
}
