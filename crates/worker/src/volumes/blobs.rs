//! Contents of files of volumes, fetched once and kept by their names.

use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use metal9_types::VolumeId;

use crate::caches::shrink;
use crate::gateway::{Gateway, RemoteFile, TransferError};

/// A file that is not in the cache yet; removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is not there if it was kept.
        let _ = fs::remove_file(&self.0);
    }
}

/// The cache of contents.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
    temporary: PathBuf,
    counter: AtomicU64,
}

impl Blobs {
    pub(crate) fn new(directory: PathBuf, temporary: PathBuf) -> Self {
        Self { directory, temporary, counter: AtomicU64::new(0) }
    }

    /// A file's content and its name, which is another than was listed if the file was changed
    /// since; nothing if the file was deleted.
    pub(crate) async fn ensure(
        &self,
        gateway: &Gateway,
        volume: VolumeId,
        file: &RemoteFile,
    ) -> Result<Option<(File, String)>, TransferError> {
        if let Some(blob) = self.open(&file.hash) {
            return Ok(Some((blob, file.hash.clone())));
        }
        let fresh = self.scratch();
        let fetched = gateway.fetch_volume_file(volume, &file.path, fresh.path());
        let Some(hash) = fetched.await? else {
            return Ok(None);
        };
        let path = fresh.path().to_owned();
        let blob = self.keep(fresh, &hash);
        let blob = blob.map_err(|source| TransferError::File { path, source })?;
        Ok(Some((blob, hash)))
    }

    /// A place for a content that is on its way here.
    pub(crate) fn scratch(&self) -> Scratch {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        Scratch(self.temporary.join(format!("volume-file-{number}")))
    }

    /// Takes a content that is here in full, under its name.
    pub(crate) fn keep(&self, fresh: Scratch, name: &str) -> io::Result<File> {
        // Open before it is in the cache, from which it may be removed at any time.
        let blob = File::open(fresh.path())?;
        blob.set_permissions(Permissions::from_mode(0o444))?;
        fs::rename(fresh.path(), self.directory.join(name))?;
        Ok(blob)
    }

    /// Whether there is a content of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.directory.join(name).is_file()
    }

    /// Where the contents are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The content of a name; nothing if it is not here.
    pub(crate) fn open(&self, hash: &str) -> Option<File> {
        // What a gateway says is no path.
        if hash.is_empty() || !hash.chars().all(|c| c.is_ascii_hexdigit()) {
            return None;
        }
        let blob = File::open(self.directory.join(hash)).ok()?;
        let _ = blob.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Some(blob)
    }

    /// Bytes of all contents.
    pub(crate) async fn disk_bytes(&self) -> u64 {
        let directory = self.directory.clone();
        let sum = move || -> io::Result<u64> {
            Ok(all(&directory)?.iter().map(|(_, bytes, _)| bytes).sum())
        };
        tokio::task::spawn_blocking(sum).await.map_or(0, Result::unwrap_or_default)
    }

    /// Removes contents, those not used for longest first, until the rest takes no more than
    /// `budget` bytes. Returns how many.
    pub(crate) async fn collect(&self, budget: u64) -> io::Result<usize> {
        let directory = self.directory.clone();
        tokio::task::spawn_blocking(move || oldest(&directory, budget))
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

/// When each content was last used, its bytes and its path.
fn all(directory: &Path) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
    let mut blobs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        blobs.push((metadata.modified()?, metadata.len(), entry.path()));
    }
    Ok(blobs)
}

fn oldest(directory: &Path, budget: u64) -> io::Result<usize> {
    shrink(all(directory)?, budget, |path| fs::remove_file(path).map(|()| true))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let root = tempfile::tempdir().unwrap();
        for (name, age) in [("a", 30), ("b", 10), ("c", 20)] {
            fs::write(root.path().join(name), [0; 100]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(age);
            let file = File::options().write(true).open(root.path().join(name)).unwrap();
            file.set_modified(used).unwrap();
        }
        assert_eq!(oldest(root.path(), 300).unwrap(), 0);
        assert_eq!(oldest(root.path(), 150).unwrap(), 2);
        assert!(root.path().join("b").exists());
    }

    #[test]
    fn a_name_that_is_a_path_is_not_looked_for() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("secret"), "x").unwrap();
        let blobs = Blobs::new(root.path().join("blobs"), root.path().to_owned());
        assert!(blobs.open("../secret").is_none() && blobs.open("").is_none());
    }
}
