//! Locks between processes: one holder of a file at a time, free again when the holder is gone.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::EnvError;
use crate::process::Input;

/// How often a lock that somebody else holds is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// Takes the lock of a file, which is made if it is not there; calls `on_wait` once if somebody
/// else has it. Tries again and again rather than block a thread, so that it can be given up.
pub(crate) async fn acquire(
    path: &Path,
    on_wait: impl Fn() + Send + Sync,
) -> Result<File, EnvError> {
    loop {
        if let Some(file) = acquire_unless(path, &on_wait, || false).await? {
            return Ok(file);
        }
    }
}

/// The same, but gives up waiting, without the lock, once `needless` says so.
pub(crate) async fn acquire_unless(
    path: &Path,
    on_wait: impl Fn() + Send,
    needless: impl Fn() -> bool + Send,
) -> Result<Option<File>, EnvError> {
    let mut told = false;
    while !needless() {
        if let Some(file) = try_acquire(path)? {
            return Ok(Some(file));
        }
        if !told {
            on_wait();
            told = true;
        }
        tokio::time::sleep(RETRY).await;
    }
    Ok(None)
}

/// Takes a share of the lock of a file once nobody has all of it.
pub(crate) async fn acquire_share(path: &Path) -> Result<File, EnvError> {
    loop {
        if let Some(file) = try_share(path)? {
            return Ok(file);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Takes the lock of a file if nobody has it or a share of it.
pub(crate) fn try_acquire(path: &Path) -> Result<Option<File>, EnvError> {
    try_with(path, File::try_lock)
}

/// Takes a share of the lock of a file if nobody has all of it. Others may have shares too.
pub(crate) fn try_share(path: &Path) -> Result<Option<File>, EnvError> {
    try_with(path, File::try_lock_shared)
}

fn try_with(
    path: &Path,
    lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<Option<File>, EnvError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| EnvError::files("open", path, error))?;
    match lock(&file) {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(EnvError::files("lock", path, error)),
    }
}

/// A share of a lock for a program to hold as its standard input: the lock is free only when the
/// program is gone too, also if this process is killed first.
pub(crate) fn share(held: &File) -> Result<Input, EnvError> {
    held.try_clone()
        .map(Input::Held)
        .map_err(|error| EnvError::files("duplicate", Path::new("the lock of a build"), error))
}
