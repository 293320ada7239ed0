//! The code cache: archives fetched once, unpacked once, copied for each container.

mod collect;
mod copy;

use std::collections::HashMap;
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use metal9_archive::{ArchiveError, Bounds};
use metal9_types::ObjectId;
use tokio::sync::OnceCell;
use tokio::task::JoinError;

use crate::code::copy::CopyError;
use crate::gateway::{Gateway, TransferError};

/// Why the code of a container could not be made ready. Everyone who waits for one object gets its
/// error.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum CodeError {
    #[error("the code archive `{object}` could not be fetched")]
    Fetch { object: ObjectId, source: Arc<TransferError> },
    #[error("the code archive `{object}` could not be unpacked")]
    Unpack { object: ObjectId, source: Arc<ArchiveError> },
    #[error("the code could not be copied")]
    Copy(#[source] Arc<CopyError>),
    #[error("could not work with `{}`", path.display())]
    Files { path: PathBuf, source: Arc<io::Error> },
    #[error("the work on the code was cut off")]
    CutOff(#[source] Arc<JoinError>),
}

impl CodeError {
    /// `true` if it is not the code's fault: another try may succeed.
    pub(crate) fn is_platform(&self) -> bool {
        match self {
            Self::Fetch { source, .. } => matches!(**source, TransferError::Unreachable(_)),
            Self::Unpack { source, .. } => source.is_local(),
            Self::Copy(_) | Self::Files { .. } | Self::CutOff(_) => true,
        }
    }
}

/// How often an object that is removed at once is fetched again.
const ATTEMPTS: u32 = 3;

type Flight = Arc<OnceCell<PathBuf>>;

/// The cache. An object's directory is complete if it is there at all.
#[derive(Debug)]
pub(crate) struct CodeCache {
    directory: PathBuf,
    temporary: PathBuf,
    gateway: Gateway,
    flights: Mutex<HashMap<ObjectId, Flight>>,
    counter: AtomicU64,
}

impl CodeCache {
    pub(crate) fn new(directory: PathBuf, temporary: PathBuf, gateway: Gateway) -> Self {
        let flights = Mutex::default();
        Self { directory, temporary, gateway, flights, counter: AtomicU64::new(0) }
    }

    /// The objects that are there.
    pub(crate) fn cached(&self) -> Vec<ObjectId> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    fn path(&self, object: ObjectId) -> PathBuf {
        self.directory.join(object.to_string())
    }

    /// The directory of the object's files, which must not be changed. Concurrent requests fetch
    /// it once.
    pub(crate) async fn ensure(&self, object: ObjectId) -> Result<Code, CodeError> {
        // It may be removed before it is held, but hardly again and again.
        for _ in 0..ATTEMPTS {
            let path = self.there(object).await?;
            if let Some(code) = Code::hold(path) {
                return Ok(code);
            }
        }
        let source = io::Error::other("it was removed as soon as it was there");
        Err(CodeError::Files { path: self.path(object), source: source.into() })
    }

    async fn there(&self, object: ObjectId) -> Result<PathBuf, CodeError> {
        let path = self.path(object);
        if path.is_dir() {
            return Ok(path);
        }
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            flights.entry(object).or_default().clone()
        };
        let result = flight.get_or_try_init(|| self.fetch(object)).await.cloned();
        // The directory answers from now on; after a failure the next request tries again.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&object);
        result
    }

    async fn fetch(&self, object: ObjectId) -> Result<PathBuf, CodeError> {
        let target = self.path(object);
        if target.is_dir() {
            return Ok(target);
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let fresh = Scratch(self.temporary.join(format!("code-{number}")));
        let archive = fresh.0.join("archive.zip");
        let files = fresh.0.join("files");
        let failed = |source| CodeError::Files { path: fresh.0.clone(), source: Arc::new(source) };
        tokio::fs::create_dir_all(&fresh.0).await.map_err(failed)?;
        self.gateway
            .fetch_object(object, &archive)
            .await
            .map_err(|source| CodeError::Fetch { object, source: Arc::new(source) })?;
        let work = move || {
            metal9_faults::point_blocking("worker-disk");
            metal9_archive::unpack(&archive, &files, Bounds::default())
                .map_err(|source| CodeError::Unpack { object, source: Arc::new(source) })?;
            fs::rename(&files, &target).map_err(|source| CodeError::Files {
                path: target.clone(),
                source: source.into(),
            })?;
            drop(fresh);
            Ok(target)
        };
        blocking(work).await
    }

    /// Copies the object's files into `target`, an empty directory; the copies are writable.
    pub(crate) async fn copy(source: Code, target: PathBuf) -> Result<(), CodeError> {
        blocking(move || {
            metal9_faults::point_blocking("worker-disk");
            copy::tree(&source.path, &target).map_err(|error| CodeError::Copy(error.into()))
        })
        .await
    }

    /// Bytes of all objects.
    pub(crate) async fn disk_bytes(&self) -> u64 {
        let directory = self.directory.clone();
        tokio::task::spawn_blocking(move || collect::size(&directory)).await.unwrap_or(0)
    }

    /// Removes objects, those not used for longest first, until the rest takes no more than
    /// `budget` bytes or only those in use are left. Returns how many.
    pub(crate) async fn collect(&self, budget: u64) -> Result<usize, CodeError> {
        let (directory, temporary) = (self.directory.clone(), self.temporary.clone());
        blocking(move || {
            collect::oldest(&directory, &temporary, budget).map_err(|source| CodeError::Files {
                path: directory.clone(),
                source: source.into(),
            })
        })
        .await
    }
}

/// An object's files. They are not removed for as long as this is there.
#[derive(Debug)]
pub(crate) struct Code {
    path: PathBuf,
    _share: File,
}

impl Code {
    /// Holds the files in a directory, and notes that they are used; nothing if they are gone, or
    /// about to be.
    fn hold(path: PathBuf) -> Option<Self> {
        let share = File::open(&path).ok()?;
        share.try_lock_shared().ok()?;
        let _ = share.set_times(FileTimes::new().set_modified(SystemTime::now()));
        path.is_dir().then_some(Self { path, _share: share })
    }

    /// The directory, in which nothing may be changed.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Runs slow work on files on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CodeError> + Send + 'static,
) -> Result<T, CodeError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(CodeError::CutOff(Arc::new(error))))
}

/// A directory that is removed when nobody needs it any more.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "could not remove a directory");
        }
        _ => {}
    }
}
