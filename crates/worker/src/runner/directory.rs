//! The directory of one container.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;

use crate::leftovers;

/// `code`, `home` and `tmp` of one container. Removed with its owner.
#[derive(Debug)]
pub(crate) struct ContainerDirectory(PathBuf);

impl ContainerDirectory {
    /// Makes the directory and what is in it.
    pub(crate) fn make(path: PathBuf) -> io::Result<Self> {
        let made = Self(path);
        for below in [made.code(), made.home(), made.temporary()] {
            fs::create_dir_all(below)?;
        }
        Ok(made)
    }

    /// Makes a directory that is empty.
    pub(crate) fn bare(path: PathBuf) -> io::Result<Self> {
        let made = Self(path);
        fs::create_dir_all(&made.0)?;
        Ok(made)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The user's code, which is also the working directory.
    pub(crate) fn code(&self) -> PathBuf {
        self.0.join("code")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.0.join("tmp")
    }

    /// Removes the directory and returns when it is gone.
    pub(crate) async fn remove(mut self) {
        let path = std::mem::take(&mut self.0);
        let _ = tokio::task::spawn_blocking(move || remove(&path)).await;
    }
}

impl Drop for ContainerDirectory {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        if path.as_os_str().is_empty() {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || remove(&path))),
            Err(_) => remove(&path),
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = leftovers::remove_all(path) {
        tracing::warn!(path = %path.display(), %error, "could not remove a container's files");
    }
}
