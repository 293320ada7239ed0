//! What workers on other machines need to work on copies of volumes: names of contents, and how a
//! change is settled with what others have done meanwhile.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use metal9_types::VolumeId;
use metal9_volume::{Files, Found, Staged, Stamp, VolumeError, VolumePath};

/// Names of contents that are remembered at most; all are forgotten when there are more.
const MOST_KNOWN: usize = 500_000;
/// Digits of a content's name in the name of a file that was put aside.
const DIGITS: usize = 8;

type Known = HashMap<(VolumeId, VolumePath), (Stamp, String)>;

/// Names of the contents of files, by what changes when a file does.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    known: Mutex<Known>,
    /// One change at a time is compared with what is there and put in its place.
    settling: Mutex<()>,
}

/// A file that comes from a copy.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) path: VolumePath,
    /// What the job began with; empty for nothing.
    pub(crate) base: String,
    /// What it made of it.
    pub(crate) hash: String,
}

impl Copies {
    /// Every file of a volume with the name of its content. One that goes away while it is looked
    /// at is left out.
    pub(crate) fn manifest(
        &self,
        id: VolumeId,
        files: &Files,
    ) -> Result<Vec<(Found, String)>, VolumeError> {
        let mut manifest = Vec::new();
        for found in files.scan()? {
            match self.name(id, files, &found) {
                Ok(hash) => manifest.push((found, hash)),
                Err(VolumeError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(manifest)
    }

    /// Puts a changed file to its place: the last writer wins. What somebody else has written there
    /// meanwhile is kept beside it; tells where.
    pub(crate) fn settle(
        &self,
        id: VolumeId,
        files: &Files,
        staged: Staged,
        change: &Change,
    ) -> Result<Option<VolumePath>, VolumeError> {
        let _one = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let Change { path, base, hash } = change;
        let there = match files.find(path)? {
            Some(found) => Some(self.name(id, files, &found)?),
            None => None,
        };
        let aside = match there {
            Some(there) if there != *base && there != *hash => Some(aside(path, &there)),
            _ => None,
        };
        if let Some(aside) = &aside {
            files.rename(path, aside)?;
        }
        files.place(staged, path)?;
        Ok(aside)
    }

    /// Deletes a file that a job has deleted in its copy; `true` if somebody else has changed it
    /// meanwhile, and it stays.
    pub(crate) fn remove(
        &self,
        id: VolumeId,
        files: &Files,
        path: &VolumePath,
        base: &str,
    ) -> Result<bool, VolumeError> {
        let _one = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = files.find(path)? else { return Ok(false) };
        if self.name(id, files, &found)? != base {
            return Ok(true);
        }
        files.delete_one(path)?;
        Ok(false)
    }

    fn name(&self, id: VolumeId, files: &Files, found: &Found) -> Result<String, VolumeError> {
        let key = (id, found.path.clone());
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((stamp, hash)) = known.get(&key)
                && *stamp == found.stamp
            {
                return Ok(hash.clone());
            }
        }
        let hash = files.hash(&found.path)?;
        // Only if it was not changed while it was read.
        if files.find(&found.path)?.is_some_and(|after| after.stamp == found.stamp) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert(key, (found.stamp, hash.clone()));
        }
        Ok(hash)
    }
}

/// Where a file is put aside: beside itself, named by its content, so that the same one put aside
/// twice is one file.
fn aside(path: &VolumePath, hash: &str) -> VolumePath {
    let name = format!("{}.conflict-{}", path.name(), hash.get(..DIGITS).unwrap_or(hash));
    path.parent().join(&name)
}

#[cfg(test)]
mod tests {
    use metal9_volume::Staging;
    use sha2::{Digest, Sha256};
    use tempfile::TempDir;
    use uuid::Uuid;

    use super::*;

    struct Volume {
        _root: TempDir,
        files: Files,
        staging: Staging,
        copies: Copies,
    }

    const ID: VolumeId = VolumeId(Uuid::nil());

    impl Volume {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let files = Files::open(&root.path().join("volume")).unwrap();
            let staging = Staging::open(&root.path().join("staging")).unwrap();
            Self { _root: root, files, staging, copies: Copies::default() }
        }

        fn names(&self) -> Vec<String> {
            let manifest = self.copies.manifest(ID, &self.files).unwrap();
            manifest.into_iter().map(|(found, _)| found.path.to_string()).collect()
        }

        fn push(&self, content: &str, base: &str) -> Option<VolumePath> {
            let mut staged = self.staging.file().unwrap();
            staged.write(content.as_bytes()).unwrap();
            let path = VolumePath::parse("d/f.txt").unwrap();
            let change = Change { path, base: base.into(), hash: hash_of(content) };
            self.copies.settle(ID, &self.files, staged, &change).unwrap()
        }

        fn text(&self, path: &VolumePath) -> String {
            std::io::read_to_string(self.files.read(path).unwrap().0).unwrap()
        }
    }

    fn hash_of(content: &str) -> String {
        metal9_volume::hex(&Sha256::digest(content))
    }

    #[test]
    fn the_last_writer_wins_and_what_others_wrote_is_kept_beside() {
        let volume = Volume::new();
        assert_eq!(volume.push("one", ""), None);
        assert_eq!(volume.push("two", &hash_of("one")), None);
        // The same once more is what happens when an answer was lost.
        assert_eq!(volume.push("two", &hash_of("one")), None);
        let aside = volume.push("three", &hash_of("one")).unwrap();
        assert!(aside.as_str().starts_with("d/f.txt.conflict-"), "{aside}");
        assert_eq!(volume.text(&aside), "two");
        assert_eq!(volume.text(&VolumePath::parse("d/f.txt").unwrap()), "three");
        assert_eq!(volume.names(), ["d/f.txt", aside.as_str()]);
    }

    #[test]
    fn a_file_that_others_changed_is_not_deleted() {
        let volume = Volume::new();
        let path = VolumePath::parse("d/f.txt").unwrap();
        volume.push("one", "");
        let remove = |base: &str| volume.copies.remove(ID, &volume.files, &path, base).unwrap();
        assert!(remove(&hash_of("other")));
        assert!(!remove(&hash_of("one")));
        assert!(!remove(&hash_of("one")));
        assert!(volume.names().is_empty());
    }
}
