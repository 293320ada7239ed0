//! What is done with the files of one volume.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions, OpenOptionsExt};
use metal9_removal::{Permissions, remove_all_at};

use crate::pattern::{self, Part};
use crate::{Staged, VolumeError, VolumePath};

/// Files that one answer names at most.
const MOST_LISTED: usize = 20_000;

/// Opening a pipe must not wait for somebody at its other end. The same number on Linux is
/// `O_NONBLOCK`; on macOS it is another.
#[cfg(target_os = "macos")]
const NONBLOCK: i32 = 0x4;
#[cfg(not(target_os = "macos"))]
const NONBLOCK: i32 = 0o4000;

/// A file or directory of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where in the volume.
    pub path: VolumePath,
    /// Bytes; 0 for directories.
    pub size: u64,
    /// When it was last changed.
    pub modified: SystemTime,
    /// `true` for a directory.
    pub is_dir: bool,
}

/// The files of one volume.
#[derive(Debug)]
pub struct Files {
    dir: Dir,
}

impl Files {
    /// Opens a volume's directory, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn open(path: &Path) -> Result<Self, VolumeError> {
        open_dir(path).map(|dir| Self { dir })
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// What is at a path; nothing if nothing is.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn stat(&self, path: &VolumePath) -> Result<Option<Entry>, VolumeError> {
        let metadata = if_there(path, self.dir.metadata(path.relative()))?;
        Ok(metadata.map(|metadata| entry(path.clone(), &metadata)))
    }

    /// What is in a directory; a file names itself. With a pattern, what matches it. By name.
    ///
    /// # Errors
    /// When nothing is at a path without a pattern, or there is too much to name.
    pub fn list(&self, path: &VolumePath) -> Result<Vec<Entry>, VolumeError> {
        let parts = pattern::parts(path)?;
        if pattern::has_pattern(&parts) {
            return self.matching(&parts);
        }
        let found = self.stat(path)?.ok_or_else(|| missing(path))?;
        if !found.is_dir {
            return Ok(vec![found]);
        }
        let mut entries = Vec::new();
        for name in self.names(path)? {
            entries.extend(self.look(path.join(&name)));
        }
        Ok(entries)
    }

    /// Deletes a path, a directory with all below it, or everything that matches a pattern. Returns
    /// what was deleted.
    ///
    /// # Errors
    /// When nothing is there, for the volume's directory itself, or a file cannot be deleted.
    pub fn delete(&self, path: &VolumePath) -> Result<Vec<VolumePath>, VolumeError> {
        if path.is_root() {
            let why = "a volume as a whole is deleted with `beta9 volume delete`";
            return Err(VolumeError::Path { path: "/".to_owned(), why });
        }
        let parts = pattern::parts(path)?;
        let found = match pattern::has_pattern(&parts) {
            true => self.matching(&parts)?.into_iter().map(|entry| entry.path).collect(),
            false => vec![path.clone()],
        };
        for path in &found {
            self.delete_one(path)?;
        }
        if found.is_empty() { Err(missing(path)) } else { Ok(found) }
    }

    /// Deletes exactly this, whatever characters are in its name.
    ///
    /// # Errors
    /// When nothing is there, or it cannot be deleted.
    pub fn delete_one(&self, path: &VolumePath) -> Result<(), VolumeError> {
        let failed = || VolumeError::io("delete", path.as_str());
        // A link is deleted, and not what it leads to.
        let metadata = self.dir.symlink_metadata(path.relative()).map_err(failed())?;
        let removed = match metadata.is_dir() {
            true => self.remove_dir(path),
            false => self.dir.remove_file(path.relative()),
        };
        removed.map_err(failed())
    }

    /// Removes a directory with all below it, however deep a job has made it.
    fn remove_dir(&self, path: &VolumePath) -> io::Result<()> {
        let parent = path.parent();
        let parent = match parent.is_root() {
            true => self.dir.try_clone()?,
            false => self.dir.open_dir(parent.relative())?,
        };
        remove_all_at(parent.as_fd(), path.name().as_ref(), Permissions::Keep)
    }

    /// Moves a file or directory: into `to` if that is a directory, else to `to` itself. Returns
    /// where it is then.
    ///
    /// # Errors
    /// When nothing is at `from`, when either is the volume's directory itself, or it cannot be.
    pub fn rename(&self, from: &VolumePath, to: &VolumePath) -> Result<VolumePath, VolumeError> {
        if from.is_root() {
            let why = "a volume as a whole cannot be moved";
            return Err(VolumeError::Path { path: "/".to_owned(), why });
        }
        let target = match self.stat(to)? {
            Some(there) if there.is_dir => to.join(from.name()),
            _ => to.clone(),
        };
        let failed = |doing| VolumeError::io(doing, from.as_str());
        self.dir.symlink_metadata(from.relative()).map_err(failed("move"))?;
        if target != *from && target.as_str().starts_with(&format!("{from}/")) {
            let why = "a directory cannot be moved into itself";
            return Err(VolumeError::Path { path: target.to_string(), why });
        }
        self.make_parent(&target)?;
        self.dir
            .rename(from.relative(), &self.dir, target.relative())
            .map_err(VolumeError::io("move", from.as_str()))?;
        self.sync(&target.parent())?;
        self.sync(&from.parent())?;
        Ok(target)
    }

    /// Makes a directory, and those above it; one that is there is as good.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_dir(&self, path: &VolumePath) -> Result<(), VolumeError> {
        if path.is_root() {
            return Ok(());
        }
        let made = self.dir.create_dir_all(path.relative());
        made.map_err(VolumeError::io("make the directory", path.as_str()))
    }

    /// Moves what is at `from` to `to`, over what is there.
    ///
    /// # Errors
    /// When nothing is at `from`, when either is the whole directory, or it cannot be.
    pub fn replace(&self, from: &VolumePath, to: &VolumePath) -> Result<(), VolumeError> {
        if from.is_root() || to.is_root() {
            let why = "the directory as a whole cannot be moved";
            return Err(VolumeError::Path { path: "/".to_owned(), why });
        }
        let failed = || VolumeError::io("move", from.as_str());
        let moved = self.dir.symlink_metadata(from.relative()).map_err(failed())?;
        let there = self.dir.symlink_metadata(to.relative());
        if from != to && there.is_ok_and(|there| there.is_dir() || moved.is_dir()) {
            self.delete_one(to)?;
        }
        self.make_parent(to)?;
        self.dir.rename(from.relative(), &self.dir, to.relative()).map_err(failed())
    }

    /// Makes a directory an account's own.
    ///
    /// # Errors
    /// When it is none, or the system refuses.
    pub fn give_dir(&self, path: &VolumePath, uid: u32, gid: u32) -> Result<(), VolumeError> {
        let dir = self.dir.open_dir(path.relative());
        dir.and_then(|dir| fchown(dir.into_std_file(), Some(uid), Some(gid)))
            .map_err(VolumeError::io("hand over", path.as_str()))
    }

    /// A file for reading, and its size.
    ///
    /// # Errors
    /// When nothing is there, or something that is no file.
    pub fn read(&self, path: &VolumePath) -> Result<(File, u64), VolumeError> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(NONBLOCK);
        let failed = || VolumeError::io("read", path.as_str());
        let file = self.dir.open_with(path.relative(), &options).map_err(failed())?;
        let metadata = file.metadata().map_err(failed())?;
        if !metadata.is_file() {
            let is = if metadata.is_dir() { "a directory" } else { "no regular file" };
            return Err(VolumeError::Kind { path: path.to_string(), is });
        }
        Ok((file.into_std(), metadata.len()))
    }

    /// Puts a file that is whole and on disk to its place, over what was there.
    ///
    /// # Errors
    /// When a directory is there, or it cannot be put there; then the file is gone.
    pub fn place(&self, staged: Staged, path: &VolumePath) -> Result<(), VolumeError> {
        if path.is_root() {
            return Err(VolumeError::Kind { path: "/".to_owned(), is: "a directory" });
        }
        self.make_parent(path)?;
        let lasting = staged.is_lasting();
        staged.rename(&self.dir, path)?;
        if lasting { self.sync(&path.parent()) } else { Ok(()) }
    }

    fn make_parent(&self, path: &VolumePath) -> Result<(), VolumeError> {
        self.make_dir(&path.parent())
    }

    /// What a directory names is on disk once this returns.
    fn sync(&self, path: &VolumePath) -> Result<(), VolumeError> {
        self.dir
            .open(path.relative())
            .and_then(|dir| dir.sync_all())
            .map_err(VolumeError::io("save", path.as_str()))
    }

    /// The names in a directory, sorted. Those that are no text cannot be asked for, and are left
    /// out.
    fn names(&self, path: &VolumePath) -> Result<Vec<String>, VolumeError> {
        let failed = || VolumeError::io("list", path.as_str());
        let mut names = Vec::new();
        for found in self.dir.read_dir(path.relative()).map_err(failed())? {
            if let Ok(name) = found.map_err(failed())?.file_name().into_string() {
                names.push(name);
            }
            if names.len() > MOST_LISTED {
                return Err(VolumeError::TooMany(MOST_LISTED));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A file or directory. A link that leads nowhere, or out of the volume, is as an empty file,
    /// so that it can be seen and deleted. Nothing for what is gone again.
    fn look(&self, path: VolumePath) -> Option<Entry> {
        let metadata = self
            .dir
            .metadata(path.relative())
            .or_else(|_| self.dir.symlink_metadata(path.relative()))
            .ok()?;
        Some(entry(path, &metadata))
    }

    fn matching(&self, parts: &[Part]) -> Result<Vec<Entry>, VolumeError> {
        let mut paths = vec![VolumePath::default()];
        for part in parts {
            let mut below = Vec::new();
            for path in &paths {
                match part {
                    Part::Name(name) => below.push(path.join(name)),
                    Part::Pattern(pattern) => {
                        // What is no directory has nothing below it.
                        let names = match self.names(path) {
                            Err(error @ VolumeError::TooMany(_)) => return Err(error),
                            names => names.unwrap_or_default(),
                        };
                        let good = names.iter().filter(|name| pattern.matches(name));
                        below.extend(good.map(|name| path.join(name)));
                    }
                }
                if below.len() > MOST_LISTED {
                    return Err(VolumeError::TooMany(MOST_LISTED));
                }
            }
            paths = below;
        }
        Ok(paths.into_iter().filter_map(|path| self.look(path)).collect())
    }
}

/// Opens a directory, which is made if it is not there.
pub(crate) fn open_dir(path: &Path) -> Result<Dir, VolumeError> {
    std::fs::create_dir_all(path)
        .and_then(|()| Dir::open_ambient_dir(path, ambient_authority()))
        .map_err(VolumeError::io("open", path.display().to_string()))
}

/// What was found out about a path; nothing if nothing is there.
pub(crate) fn if_there(
    path: &VolumePath,
    metadata: io::Result<Metadata>,
) -> Result<Option<Metadata>, VolumeError> {
    match metadata {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(VolumeError::io("look at", path.as_str())(error)),
    }
}

fn missing(path: &VolumePath) -> VolumeError {
    VolumeError::Missing(path.to_string())
}

fn entry(path: VolumePath, metadata: &Metadata) -> Entry {
    let is_dir = metadata.is_dir();
    Entry {
        path,
        size: if metadata.is_file() { metadata.len() } else { 0 },
        modified: metadata.modified().map_or(SystemTime::UNIX_EPOCH, |at| at.into_std()),
        is_dir,
    }
}

#[cfg(test)]
mod tests;
