//! Where things are in the cache, and how they get there in one step.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::{NamedTempFile, TempDir};

use crate::RootfsError;
use crate::digest::Digest;

/// The directory of a cache, and everything's place in it. One process has it at a time.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Layers, unpacked, by diff id, and beside each how large it is.
    pub(crate) layers: PathBuf,
    /// What is on its way here from a registry, by digest.
    pub(crate) blobs: PathBuf,
    /// What images are made of, by the digest of their manifest.
    pub(crate) images: PathBuf,
    /// Which image a name stood for when it was last asked for.
    pub(crate) names: PathBuf,
    /// Which image a build made, by what went into it.
    pub(crate) builds: PathBuf,
    /// Buildah's own storage.
    pub(crate) storage: PathBuf,
    /// What is not finished. Emptied at the start.
    pub(crate) temporary: PathBuf,
    _lock: File,
}

impl Layout {
    /// Opens a cache, which is made if it is not there, and removes what a killed process left
    /// unfinished.
    pub(crate) fn open(root: &Path) -> Result<Self, RootfsError> {
        make(root)?;
        // Paths of layers are handed out, and the process may have another directory then.
        let root = &root.canonicalize().map_err(RootfsError::files("open", root))?;
        let lock = lock(&root.join("lock"))?;
        let layout = Self {
            layers: root.join("layers"),
            blobs: root.join("blobs"),
            images: root.join("images"),
            names: root.join("names"),
            builds: root.join("builds"),
            storage: root.join("buildah"),
            temporary: root.join("tmp"),
            _lock: lock,
        };
        if layout.temporary.exists() {
            remove(&layout.temporary)?;
        }
        let Self { layers, blobs, images, names, builds, storage, temporary, .. } = &layout;
        [layers, blobs, images, names, builds, storage, temporary]
            .into_iter()
            .try_for_each(|path| make(path))?;
        Ok(layout)
    }

    /// Where a layer is, or would be.
    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers.join(diff_id.file_name())
    }

    /// How many bytes a layer has on the disk; nothing if it is not there.
    pub(crate) fn layer_bytes(&self, diff_id: &Digest) -> Option<u64> {
        let path = self.layer(diff_id);
        if !path.is_dir() {
            return None;
        }
        Some(read(&self.layer_note(diff_id)).unwrap_or_else(|| disk_bytes(&path)))
    }

    pub(crate) fn layer_note(&self, diff_id: &Digest) -> PathBuf {
        self.layers.join(format!("{}.json", diff_id.file_name()))
    }

    /// Makes an unpacked layer one that is used.
    pub(crate) fn keep_layer(&self, made: TempDir, diff_id: &Digest) -> Result<(), RootfsError> {
        let bytes = disk_bytes(made.path());
        // Beside a layer that is not there it is nothing.
        self.write(&self.layer_note(diff_id), &bytes)?;
        let target = self.layer(diff_id);
        fs::rename(made.path(), &target).map_err(RootfsError::files("keep", &target))?;
        let _ = made.keep();
        sync(&self.layers)
    }

    /// Takes something away in one step, and then removes it.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), RootfsError> {
        let aside = self.aside()?;
        fs::rename(path, aside.path().join("gone")).map_err(RootfsError::files("remove", path))?;
        let aside = aside.keep();
        remove(&aside)
    }

    /// A directory for what is not finished.
    pub(crate) fn aside(&self) -> Result<TempDir, RootfsError> {
        let failed = RootfsError::files("make a directory in", &self.temporary);
        tempfile::tempdir_in(&self.temporary).map_err(failed)
    }

    /// Writes a note in one step.
    pub(crate) fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), RootfsError> {
        let attempt = || {
            let mut file = NamedTempFile::new_in(&self.temporary)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok::<_, io::Error>(())
        };
        attempt().map_err(RootfsError::files("write", path))?;
        path.parent().map_or(Ok(()), sync)
    }
}

/// Reads a note; one that cannot be read is as good as none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Notes that something was used now.
pub(crate) fn touch(path: &Path) {
    let now = fs::FileTimes::new().set_modified(std::time::SystemTime::now());
    // Then it is removed somewhat earlier than it should be.
    let _ = File::options().write(true).open(path).and_then(|file| file.set_times(now));
}

/// The names of what is in a directory.
pub(crate) fn names(directory: &Path) -> Result<Vec<String>, RootfsError> {
    let failed = || RootfsError::files("list", directory);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        names.extend(entry.map_err(failed())?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Bytes on disk of all below a directory.
pub(crate) fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::HashSet::new();
    let mut bytes = 0;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        // What disappears meanwhile takes no room.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            if facts.is_dir() {
                open.push(entry.path());
            }
            if facts.is_dir() || facts.nlink() == 1 || seen.insert((facts.dev(), facts.ino())) {
                bytes += facts.blocks() * 512;
            }
        }
    }
    bytes
}

/// Removes a directory with all in it.
pub(crate) fn remove(path: &Path) -> Result<(), RootfsError> {
    metal9_removal::remove_all(path, metal9_removal::Permissions::Keep)
        .map_err(RootfsError::files("remove", path))
}

/// Nobody else looks in: layers have programs that run as whoever they belong to.
fn make(path: &Path) -> Result<(), RootfsError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(RootfsError::files("create", path))
}

fn sync(directory: &Path) -> Result<(), RootfsError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(RootfsError::files("sync", directory))
}

fn lock(path: &Path) -> Result<File, RootfsError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = opened.map_err(RootfsError::files("open", path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(RootfsError::InUse(path.parent().unwrap_or(path).to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(RootfsError::files("lock", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_the_cache_and_the_next_finds_it_tidy() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::open(root.path()).unwrap();
        fs::create_dir(layout.temporary.join("half")).unwrap();
        assert!(matches!(Layout::open(root.path()), Err(RootfsError::InUse(_))));
        drop(layout);
        let layout = Layout::open(root.path()).unwrap();
        assert!(names(&layout.temporary).unwrap().is_empty());
    }

    #[test]
    fn a_layer_is_there_only_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::open(root.path()).unwrap();
        let diff_id = Digest::of(b"layer");
        let aside = layout.aside().unwrap();
        fs::write(aside.path().join("file"), [1; 5000]).unwrap();
        assert_eq!(layout.layer_bytes(&diff_id), None);
        layout.write(&layout.layer_note(&diff_id), &7_u64).unwrap();
        assert_eq!(layout.layer_bytes(&diff_id), None);
        layout.keep_layer(aside, &diff_id).unwrap();
        assert!(layout.layer_bytes(&diff_id).is_some_and(|bytes| bytes >= 5000));
        layout.discard(&layout.layer(&diff_id)).unwrap();
        assert_eq!(layout.layer_bytes(&diff_id), None);
        assert!(names(&layout.temporary).unwrap().is_empty());
    }
}
