//! What files a volume has, and what is in them.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, SystemTime};

use cap_std::fs::{Dir, Metadata, MetadataExt};
use sha2::{Digest, Sha256};

use crate::files::if_there;
use crate::{Files, VolumeError, VolumePath};

/// Files of a volume that can be worked with as a copy, at most.
const MOST_FILES: usize = 100_000;
/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stamp {
    size: u64,
    inode: u64,
    changed: (i64, i64),
    executable: bool,
}

impl Stamp {
    /// Whether the file's owner may execute it.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        self.executable
    }

    /// Whether the file has been left alone for so long, at a time.
    #[must_use]
    pub fn is_still(&self, now: SystemTime, quiet: Duration) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let seconds = u64::try_from(self.changed.0).unwrap_or_default();
        let nanos = u32::try_from(self.changed.1).unwrap_or_default();
        let changed = Duration::from_secs(seconds) + Duration::from_nanos(nanos.into());
        now.checked_sub(changed).is_some_and(|age| age >= quiet)
    }
}

/// A regular file of a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Where.
    pub path: VolumePath,
    /// Bytes.
    pub size: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// The same for as long as the file is not changed.
    pub stamp: Stamp,
}

impl Files {
    /// Every regular file, in order. Links, pipes and directories without files are left out, and
    /// so is what has a name that is no text or too long.
    ///
    /// # Errors
    /// When there are too many, or a directory cannot be read.
    pub fn scan(&self) -> Result<Vec<Found>, VolumeError> {
        let mut found = Vec::new();
        let mut below = vec![VolumePath::default()];
        while let Some(directory) = below.pop() {
            let failed = || VolumeError::io("list", directory.as_str());
            let listed = match Dir::read_dir(self.dir(), directory.relative()) {
                // It has gone since it was found.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listed => listed.map_err(failed())?,
            };
            for entry in listed {
                let entry = entry.map_err(failed())?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = directory.join(&name);
                if !VolumePath::parse(path.as_str()).is_ok_and(|read| read == path) {
                    continue;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    below.push(path);
                } else if metadata.is_file() {
                    found.push(of(path, &metadata));
                }
                if found.len() + below.len() > MOST_FILES {
                    return Err(VolumeError::TooMany(MOST_FILES));
                }
            }
        }
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// A regular file as it is now; nothing if there is none.
    ///
    /// # Errors
    /// When something else is there.
    pub fn find(&self, path: &VolumePath) -> Result<Option<Found>, VolumeError> {
        match if_there(path, self.dir().symlink_metadata(path.relative()))? {
            Some(metadata) if metadata.is_file() => Ok(Some(of(path.clone(), &metadata))),
            Some(_) => Err(VolumeError::Kind { path: path.to_string(), is: "no regular file" }),
            None => Ok(None),
        }
    }

    /// The name of a file's content.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn hash(&self, path: &VolumePath) -> Result<String, VolumeError> {
        let (file, _) = self.read(path)?;
        hash(file).map_err(VolumeError::io("read", path.as_str()))
    }
}

fn of(path: VolumePath, metadata: &Metadata) -> Found {
    let (size, executable) = (metadata.len(), metadata.mode() & 0o100 != 0);
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    let stamp = Stamp { size, inode: metadata.ino(), changed, executable };
    Found { path, size, executable, stamp }
}

/// SHA-256, in hex.
fn hash(mut file: File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Bytes in hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn regular_files_are_found_with_what_changes_with_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/empty")).unwrap();
        fs::write(root.path().join("a/one"), "1").unwrap();
        fs::write(root.path().join("two"), "22").unwrap();
        std::os::unix::fs::symlink("two", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("out")).unwrap();
        let files = Files::open(root.path()).unwrap();
        let before = files.scan().unwrap();
        let names: Vec<_> = before.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(names, ["a/one", "two"]);
        assert_eq!(files.scan().unwrap(), before);
        fs::write(root.path().join("two"), "2x").unwrap();
        let after = files.scan().unwrap();
        assert_eq!(after[0], before[0]);
        assert_ne!(after[1].stamp, before[1].stamp);
        let (stamp, second) = (after[1].stamp, Duration::from_secs(1));
        let later = SystemTime::now() + Duration::from_secs(60);
        assert!(stamp.is_still(later, second) && !stamp.is_still(later, 120 * second));
        assert!(!stamp.is_still(SystemTime::UNIX_EPOCH, Duration::ZERO), "the clock was set back");
        let hash = files.hash(&after[0].path).unwrap();
        assert!(hash.starts_with("6b86b273ff34fce1") && hash.len() == 64, "{hash}");
        assert!(files.find(&VolumePath::parse("link").unwrap()).is_err());
        assert_eq!(files.find(&VolumePath::parse("no/thing").unwrap()).unwrap(), None);
    }
}
