//! A copy of a volume that is on another machine: made before a call, written back during and after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metal9_types::VolumeId;
use metal9_volume::{Files, Found, Staging, Stamp, VolumeError, VolumePath};

use super::blobs::Blobs;
use crate::gateway::{Gateway, RemoteFile, TransferError};

/// Why a copy could not be made or written back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("volume `{volume}` could not be {doing}")]
    Transfer { volume: String, doing: &'static str, source: TransferError },
    #[error("the copy of volume `{volume}` could not be worked with")]
    Files { volume: String, source: VolumeError },
    #[error("the work on the copy of volume `{volume}` was cut off")]
    CutOff { volume: String, source: tokio::task::JoinError },
}

/// What the job begins a file with.
#[derive(Clone, Debug)]
struct Base {
    hash: String,
    stamp: Stamp,
}

/// A container's copy of a volume; removed when dropped.
#[derive(Debug)]
pub(crate) struct VolumeCopy {
    volume: VolumeId,
    /// For messages.
    name: String,
    gateway: Gateway,
    blobs: Arc<Blobs>,
    files: Arc<Files>,
    staging: Arc<Staging>,
    bases: BTreeMap<VolumePath, Base>,
    /// What was gone when it was looked at last, while programs ran.
    missing: BTreeSet<VolumePath>,
    /// It was just made, and needs no look at what others have changed.
    fresh: bool,
}

/// What is to be done so that a copy has what the volume has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Update {
    fetch: Vec<RemoteFile>,
    delete: Vec<VolumePath>,
}

/// What a job has done to a copy.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    written: Vec<Found>,
    deleted: Vec<VolumePath>,
}

/// What came of sending a job's changes.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// What the user has to be told.
    pub(crate) notes: Vec<String>,
    /// Something was left for later.
    pub(crate) left: bool,
}

impl VolumeCopy {
    /// Copies a volume into a directory of the container's.
    pub(crate) async fn make(
        volume: VolumeId,
        name: &str,
        directory: PathBuf,
        gateway: Gateway,
        blobs: Arc<Blobs>,
    ) -> Result<Self, CopyError> {
        let failed = |source| CopyError::Files { volume: name.to_owned(), source };
        let files = Files::open(&directory).map_err(failed)?;
        let staging = directory.with_extension("staging");
        let staging = Staging::open_for_copies(&staging).map_err(failed)?;
        let mut copy = Self {
            volume,
            name: name.to_owned(),
            gateway,
            blobs,
            files: Arc::new(files),
            staging: Arc::new(staging),
            bases: BTreeMap::new(),
            missing: BTreeSet::new(),
            fresh: false,
        };
        copy.refresh().await?;
        copy.fresh = true;
        Ok(copy)
    }

    /// Takes over what others have changed since it was last asked for, but not where the job has changes
    /// that were not sent yet; `true` if there was anything.
    pub(crate) async fn refresh(&mut self) -> Result<bool, CopyError> {
        if std::mem::take(&mut self.fresh) {
            return Ok(false);
        }
        let remote = self.gateway.volume_manifest(self.volume).await;
        let remote = remote.map_err(|source| self.transfer("read", source))?;
        let update = update(&self.bases, remote);
        let mut changed = false;
        for path in update.delete {
            if self.is_changed(&path).await? {
                continue;
            }
            changed = true;
            self.bases.remove(&path);
            let files = Arc::clone(&self.files);
            // The job may have made something else of it.
            self.work(move || Ok(files.delete_one(&path).ok())).await?;
        }
        for file in update.fetch {
            if self.is_changed(&file.path).await? {
                continue;
            }
            changed = true;
            self.fetch(file).await?;
        }
        Ok(changed)
    }

    async fn fetch(&mut self, file: RemoteFile) -> Result<(), CopyError> {
        let fetched = self.blobs.ensure(&self.gateway, self.volume, &file).await;
        let Some((blob, hash)) = fetched.map_err(|source| self.transfer("copied", source))? else {
            // It was deleted since the list was made.
            return Ok(());
        };
        let (files, staging) = (Arc::clone(&self.files), Arc::clone(&self.staging));
        let path = file.path.clone();
        let stamp = self
            .work(move || {
                let mut staged = staging.file()?;
                staged.copy_from(blob)?;
                staged.set_executable(file.executable)?;
                files.place(staged, &file.path)?;
                Ok(files.find(&file.path)?.map(|found| found.stamp))
            })
            .await?;
        if let Some(stamp) = stamp {
            self.bases.insert(path, Base { hash, stamp });
        }
        Ok(())
    }

    /// Whether the job has done something there that was not sent yet: sending it settles what is to
    /// become of it.
    async fn is_changed(&mut self, path: &VolumePath) -> Result<bool, CopyError> {
        let files = Arc::clone(&self.files);
        let place = path.clone();
        let found = match self.work(move || files.find(&place)).await {
            Err(CopyError::Files { source: VolumeError::Kind { .. }, .. }) => return Ok(true),
            found => found?,
        };
        match (self.bases.get(path), found) {
            (None, found) => Ok(found.is_some()),
            (Some(_), None) => Ok(true),
            (Some(base), Some(found)) if base.stamp == found.stamp => Ok(false),
            (Some(_), Some(found)) => Ok(!self.is_only_touched(&found).await?),
        }
    }

    /// Whether a file has the content that the job began with, and may be executed as it could.
    async fn is_only_touched(&mut self, found: &Found) -> Result<bool, CopyError> {
        let alike = |base: &&Base| base.stamp.is_executable() == found.stamp.is_executable();
        let Some(base) = self.bases.get(&found.path).filter(alike) else { return Ok(false) };
        let (files, path) = (Arc::clone(&self.files), found.path.clone());
        let hash = match self.work(move || files.hash(&path)).await {
            Err(CopyError::Files { source, .. }) if has_gone(&source) => return Ok(false),
            hash => hash?,
        };
        let same = base.hash == hash;
        if same {
            self.bases.insert(found.path.clone(), Base { hash, stamp: found.stamp });
        }
        Ok(same)
    }

    /// Sends what the job has changed: all of it, or while programs go on working with the copy what
    /// they have left alone for so long.
    pub(crate) async fn write_back(&mut self, quiet: Option<Duration>) -> Result<Sent, CopyError> {
        let files = Arc::clone(&self.files);
        let found = self.work(move || files.scan()).await?;
        let mut changes = changes(&self.bases, found);
        let mut sent = Sent::default();
        if let Some(quiet) = quiet {
            sent.left = changes.leave(SystemTime::now(), quiet, &mut self.missing);
        }
        for found in changes.written {
            sent.notes.extend(self.push(found).await?);
        }
        for path in changes.deleted {
            sent.notes.extend(self.remove(path).await?);
        }
        Ok(sent)
    }

    async fn push(&mut self, found: Found) -> Result<Option<String>, CopyError> {
        // A file that was only touched is not sent, unless it may be executed now, or not any more.
        if self.is_only_touched(&found).await? {
            return Ok(None);
        }
        let (path, stamp) = (found.path.clone(), found.stamp);
        let known = self.bases.get(&path).map(|base| base.hash.clone()).unwrap_or_default();
        let files = Arc::clone(&self.files);
        let open = move |path: &VolumePath| files.read(path).map(|(file, _)| file);
        let pushed = self.gateway.push_volume_file(self.volume, &found, &known, open).await;
        let (aside, hash) = match pushed {
            // A program that goes on has deleted it since.
            Err(TransferError::Volume(error)) if has_gone(&error) => return Ok(None),
            pushed => pushed.map_err(|source| self.transfer("written", source))?,
        };
        let note = (!aside.is_empty()).then(|| {
            format!(
                "volume `{}`: `{path}` was changed by somebody else during the call; theirs is \
                 kept as `{aside}`",
                self.name
            )
        });
        self.bases.insert(path, Base { hash, stamp });
        Ok(note)
    }

    async fn remove(&mut self, path: VolumePath) -> Result<Option<String>, CopyError> {
        let Some(base) = self.bases.get(&path) else { return Ok(None) };
        let removed = self.gateway.remove_volume_file(self.volume, &path, &base.hash).await;
        let kept = removed.map_err(|source| self.transfer("written", source))?;
        self.bases.remove(&path);
        Ok(kept.then(|| {
            format!(
                "volume `{}`: `{path}`, which the function deleted, was changed by somebody else \
                 during the call and is kept",
                self.name
            )
        }))
    }

    fn transfer(&self, doing: &'static str, source: TransferError) -> CopyError {
        CopyError::Transfer { volume: self.name.clone(), doing, source }
    }

    /// Works with files, on a thread for slow work.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, CopyError> {
        let volume = || self.name.clone();
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|source| CopyError::CutOff { volume: volume(), source })?
            .map_err(|source| CopyError::Files { volume: volume(), source })
    }
}

/// Whether an error says that a file is not there any more.
fn has_gone(error: &VolumeError) -> bool {
    matches!(error, VolumeError::Missing(_) | VolumeError::Kind { .. })
}

impl Changes {
    /// Leaves for later what programs that go on may be in the middle of: files that were changed just
    /// now, and those that were not `missing` yet the last time, as they may be made anew. `true` if
    /// there is anything.
    fn leave(
        &mut self,
        now: SystemTime,
        quiet: Duration,
        missing: &mut BTreeSet<VolumePath>,
    ) -> bool {
        let all = self.written.len() + self.deleted.len();
        self.written.retain(|file| file.stamp.is_still(now, quiet));
        let before = std::mem::replace(missing, self.deleted.iter().cloned().collect());
        self.deleted.retain(|path| before.contains(path));
        self.written.len() + self.deleted.len() < all
    }
}

fn update(bases: &BTreeMap<VolumePath, Base>, remote: Vec<RemoteFile>) -> Update {
    let mut update = Update::default();
    let mut gone: BTreeSet<&VolumePath> = bases.keys().collect();
    for file in remote {
        gone.remove(&file.path);
        let same = bases.get(&file.path).is_some_and(|base| {
            base.hash == file.hash && base.stamp.is_executable() == file.executable
        });
        if !same {
            update.fetch.push(file);
        }
    }
    update.delete = gone.into_iter().cloned().collect();
    update
}

fn changes(bases: &BTreeMap<VolumePath, Base>, found: Vec<Found>) -> Changes {
    let mut changes = Changes::default();
    let mut gone: BTreeSet<&VolumePath> = bases.keys().collect();
    for file in found {
        gone.remove(&file.path);
        if bases.get(&file.path).is_none_or(|base| base.stamp != file.stamp) {
            changes.written.push(file);
        }
    }
    changes.deleted = gone.into_iter().cloned().collect();
    changes
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_job_did_is_seen_and_what_it_left_alone_is_not() {
        let root = tempfile::tempdir().unwrap();
        for name in ["same", "changed", "deleted"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let files = Files::open(root.path()).unwrap();
        let base = |found: Found| (found.path, Base { hash: String::new(), stamp: found.stamp });
        let bases: BTreeMap<_, _> = files.scan().unwrap().into_iter().map(base).collect();
        assert_eq!(changes(&bases, files.scan().unwrap()), Changes::default());
        fs::write(root.path().join("changed"), "anew").unwrap();
        fs::write(root.path().join("new"), "new").unwrap();
        fs::remove_file(root.path().join("deleted")).unwrap();
        let changes = changes(&bases, files.scan().unwrap());
        let written: Vec<_> = changes.written.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(written, ["changed", "new"]);
        assert_eq!(changes.deleted, [VolumePath::parse("deleted").unwrap()]);
    }

    #[test]
    fn what_a_program_may_be_in_the_middle_of_is_left_for_later() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("new"), "new").unwrap();
        let files = Files::open(root.path()).unwrap();
        let stamp = files.scan().unwrap()[0].stamp;
        let gone = VolumePath::parse("gone").unwrap();
        let bases = BTreeMap::from([(gone, Base { hash: String::new(), stamp })]);
        let (mut missing, quiet) = (BTreeSet::new(), Duration::from_secs(60));
        let mut look = |now| {
            let mut changes = changes(&bases, files.scan().unwrap());
            let left = changes.leave(now, quiet, &mut missing);
            (changes.written.len(), changes.deleted.len(), left)
        };
        assert_eq!(look(SystemTime::now()), (0, 0, true));
        assert_eq!(look(SystemTime::now()), (0, 1, true), "gone twice");
        assert_eq!(look(SystemTime::now() + quiet), (1, 1, false));
    }

    #[test]
    fn what_others_did_is_taken_over() {
        let root = tempfile::tempdir().unwrap();
        for name in ["same", "changed", "deleted"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let files = Files::open(root.path()).unwrap();
        let base = |found: Found| {
            let hash = found.path.to_string();
            (found.path, Base { hash, stamp: found.stamp })
        };
        let bases: BTreeMap<_, _> = files.scan().unwrap().into_iter().map(base).collect();
        let remote = |path: &str, hash: &str| RemoteFile {
            path: VolumePath::parse(path).unwrap(),
            hash: hash.to_owned(),
            executable: false,
        };
        let listed = vec![remote("same", "same"), remote("changed", "other"), remote("new", "new")];
        let update = update(&bases, listed);
        let fetched: Vec<_> = update.fetch.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(fetched, ["changed", "new"]);
        assert_eq!(update.delete, [VolumePath::parse("deleted").unwrap()]);
    }
}
