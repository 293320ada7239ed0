//! A container's copy of a bucket.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use metal9_volume::{Files, Staging, VolumeError, VolumePath};

use super::listing::{Listing, Object};
use super::source::Source;
use super::{Bucket, BucketError};
use crate::caches;
use crate::volumes::blobs::Blobs;

/// Bytes of a bucket at most.
const MOST_BYTES: u64 = 256 * 1024 * 1024 * 1024;
/// How long a bucket may take to be here.
const LIMIT: Duration = Duration::from_secs(3600);
/// Objects that are fetched at a time.
const AT_ONCE: usize = 8;
/// Names of objects that a note shows.
const SHOWN: usize = 5;

/// Where the contents of objects are kept, and whether a job may have them without a copy.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) blobs: Arc<Blobs>,
    /// `true` if nothing that the job does can change them.
    pub(crate) shared: bool,
}

/// A container's copy of a bucket. Nothing is ever sent back.
#[derive(Debug)]
pub(crate) struct BucketCopy {
    source: Source,
    kept: Kept,
    files: Arc<Files>,
    staging: Arc<Staging>,
    /// The version of each file that is there.
    held: BTreeMap<VolumePath, String>,
    /// What the user was told.
    told: Option<String>,
    /// It was just made, and needs no look at what has changed.
    fresh: bool,
}

/// What a look at the bucket has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Whether there are other files now.
    pub(crate) changed: bool,
    /// What the user has to be told.
    pub(crate) note: Option<String>,
}

/// What is to be done so that a copy has what the bucket has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Update {
    fetch: Vec<(VolumePath, Object)>,
    delete: Vec<VolumePath>,
}

impl BucketCopy {
    /// Copies a bucket into a directory of the container's.
    pub(crate) async fn make(
        bucket: Bucket,
        directory: PathBuf,
        kept: Kept,
    ) -> Result<(Self, News), BucketError> {
        let name = bucket.name.clone();
        let failed = |source| BucketError::Files { bucket: name.clone(), source };
        let files = Files::open(&directory).map_err(failed)?;
        let staging = directory.with_extension("staging");
        let staging = Staging::open_for_copies(&staging).map_err(failed)?;
        let mut copy = Self {
            source: Source::open(bucket)?,
            kept,
            files: Arc::new(files),
            staging: Arc::new(staging),
            held: BTreeMap::new(),
            told: None,
            fresh: false,
        };
        let news = copy.refresh().await?;
        copy.fresh = true;
        Ok((copy, news))
    }

    pub(crate) fn bucket(&self) -> &Bucket {
        self.source.bucket()
    }

    /// Takes over what has changed in the bucket since the last call.
    pub(crate) async fn refresh(&mut self) -> Result<News, BucketError> {
        if std::mem::take(&mut self.fresh) {
            return Ok(News::default());
        }
        let name = self.name();
        let in_time = tokio::time::timeout(LIMIT, self.update()).await;
        in_time.map_err(|_| BucketError::TooSlow { bucket: name, seconds: LIMIT.as_secs() })?
    }

    async fn update(&mut self) -> Result<News, BucketError> {
        let objects = self.source.list().await?;
        let prefix = &self.source.bucket().prefix;
        let listing = Listing::of(objects, prefix, cfg!(target_os = "macos"));
        let bytes = listing.bytes();
        if bytes > MOST_BYTES {
            return Err(BucketError::TooLarge { bucket: self.name(), bytes, most: MOST_BYTES });
        }
        let note = note(&self.source.bucket().name, &listing);
        let update = update(&self.held, listing);
        self.check_room(&update)?;
        let changed = update != Update::default();
        for path in update.delete {
            self.held.remove(&path);
            let files = Arc::clone(&self.files);
            self.work(move || files.delete_one(&path)).await?;
        }
        let fetching: Vec<_> = update
            .fetch
            .into_iter()
            .map(|(path, object)| {
                let known = self.held.contains_key(&path);
                (path, object, known)
            })
            .collect();
        // A failure leaves what is already there unknown: it is then fetched from the cache again.
        let this = &*self;
        let placed: Vec<_> = futures::stream::iter(fetching)
            .map(|(path, object, known)| this.fetch(path, object, known))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        self.held.extend(placed.into_iter().flatten());
        let note = note.filter(|note| self.told.as_ref() != Some(note));
        if note.is_some() {
            self.told.clone_from(&note);
        }
        Ok(News { changed, note })
    }

    /// Fetches one object, and puts it where it belongs; nothing if it is gone.
    async fn fetch(
        &self,
        path: VolumePath,
        object: Object,
        known: bool,
    ) -> Result<Option<(VolumePath, String)>, BucketError> {
        let Some((content, name, version)) = self.content(&object).await? else {
            return Ok(None);
        };
        let (files, staging) = (Arc::clone(&self.files), Arc::clone(&self.staging));
        let shared = self.kept.shared.then(|| self.kept.blobs.directory().to_owned());
        let target = path.clone();
        self.work(move || {
            // What a job without isolation has made there, or an empty directory.
            if !known && files.stat(&target)?.is_some_and(|there| there.is_dir) {
                files.delete_one(&target)?;
            }
            // A content that has just gone from the cache can still be copied: the file is open.
            let linked = shared.and_then(|directory| staging.linked(&directory, &name).ok());
            let staged = match linked {
                Some(staged) => staged,
                None => {
                    let mut staged = staging.file()?;
                    staged.copy_from(content)?;
                    staged.set_read_only()?;
                    staged
                }
            };
            files.place(staged, &target)
        })
        .await?;
        Ok(Some((path, version)))
    }

    /// The content of an object, its name in the cache and its version.
    async fn content(
        &self,
        object: &Object,
    ) -> Result<Option<(File, String, String)>, BucketError> {
        let blobs = &self.kept.blobs;
        let name = self.source.name(object, &object.version);
        if let Some(content) = blobs.open(&name) {
            return Ok(Some((content, name, object.version.clone())));
        }
        let fresh = blobs.scratch();
        let Some(fetched) = self.source.fetch(object, fresh.path()).await? else {
            return Ok(None);
        };
        // It may have changed since it was listed.
        let name = self.source.name(object, &fetched.version);
        let kept = blobs.keep(fresh, &name);
        let content = kept.map_err(|source| BucketError::Cache { bucket: self.name(), source })?;
        Ok(Some((content, name, fetched.version)))
    }

    /// Refuses what would fill the disk.
    fn check_room(&self, update: &Update) -> Result<(), BucketError> {
        let missing = update.fetch.iter().filter(|(_, object)| {
            let name = self.source.name(object, &object.version);
            !(self.kept.shared && self.kept.blobs.has(&name))
        });
        let bytes = missing.map(|(_, object)| object.size).fold(0, u64::saturating_add);
        // Without sharing there is one in the cache and one for the job.
        let bytes = bytes.saturating_mul(if self.kept.shared { 1 } else { 2 });
        match caches::room(self.kept.blobs.directory()) {
            Some(room) if bytes > room => {
                Err(BucketError::NoRoom { bucket: self.name(), bytes, room })
            }
            _ => Ok(()),
        }
    }

    fn name(&self) -> String {
        self.source.bucket().name.clone()
    }

    /// Works with files, on a thread for slow work.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, BucketError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|source| BucketError::Cancelled { bucket: self.name(), source })?
            .map_err(|source| BucketError::Files { bucket: self.name(), source })
    }
}

fn update(held: &BTreeMap<VolumePath, String>, listing: Listing) -> Update {
    let gone = held.keys().filter(|path| !listing.files.contains_key(*path));
    let delete = gone.cloned().collect();
    let stale = |(path, object): &(VolumePath, Object)| held.get(path) != Some(&object.version);
    let fetch = listing.files.into_iter().filter(stale).collect();
    Update { fetch, delete }
}

/// What is said about objects that are left out.
fn note(bucket: &str, listing: &Listing) -> Option<String> {
    let count = listing.left_out.len();
    if count == 0 {
        return None;
    }
    let clean =
        |name: &String| -> String { name.chars().filter(|c| !c.is_control()).take(60).collect() };
    let names: Vec<_> = listing.left_out.iter().take(SHOWN).map(clean).collect();
    let more = if count > SHOWN { ", …" } else { "" };
    Some(format!(
        "cloud bucket `{bucket}`: {count} of its objects cannot be files and are left out: {}{more}",
        names.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    fn listing(objects: &[(&str, &str)]) -> Listing {
        let object = |(key, version): &(&str, &str)| Object {
            key: Path::from(*key),
            size: 1,
            version: (*version).to_owned(),
        };
        Listing::of(objects.iter().map(object).collect(), &VolumePath::default(), false)
    }

    #[test]
    fn only_what_has_changed_is_fetched() {
        let path = |text: &str| VolumePath::parse(text).unwrap();
        let held = [("same", "1"), ("changed", "1"), ("gone", "1")];
        let held = held.into_iter().map(|(name, version)| (path(name), version.to_owned()));
        let update =
            update(&held.collect(), listing(&[("same", "1"), ("changed", "2"), ("new", "1")]));
        let fetched: Vec<_> = update.fetch.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(fetched, ["changed", "new"]);
        assert_eq!(update.delete, [path("gone")]);
    }

    #[test]
    fn a_note_names_a_few_of_what_is_left_out() {
        assert_eq!(note("b", &listing(&[("a", "1")])), None);
        let names: Vec<_> = (0..9).map(|index| format!("d{index}")).collect();
        let below: Vec<_> = names.iter().map(|name| format!("{name}/x")).collect();
        let all: Vec<_> = names.iter().chain(&below).map(|name| (name.as_str(), "1")).collect();
        let note = note("b", &listing(&all)).unwrap();
        assert!(note.contains("9 of its objects") && note.ends_with("d4, …"), "{note}");
    }
}
