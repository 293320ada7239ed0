//! The volumes' files: one directory each below a common root, and what is on its way into them.

pub(crate) mod copies;
mod juicefs;

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metal9_store::{StoreError, VolumeRow};
use metal9_types::{UploadId, VolumeId};
use metal9_volume::{Files, Staging, VolumeError, VolumePath, hex};

use crate::auth::{Caller, Rights};
use crate::error::ApiError;
use crate::presigned::encoded;
use crate::shared::Shared;
use crate::timestamps::now;
use crate::validate::shown;
use copies::Copies;
pub(crate) use juicefs::JuiceFs;

/// Uploads that nobody finishes are removed after this long.
const UPLOAD_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long making directories may take.
const MADE_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of the text that shows a worker that it sees the same disk.
const MARKER_BYTES: usize = 32;

/// Where volumes are.
#[derive(Debug)]
pub(crate) struct Volumes {
    root: PathBuf,
    marker: String,
    copies: Arc<Copies>,
    /// What they are on, if that is no directory of this machine.
    juicefs: Option<JuiceFs>,
}

impl Volumes {
    /// Opens the root, and removes what a crash has left of files that were on their way.
    pub(crate) fn open(root: PathBuf, juicefs: Option<JuiceFs>) -> Result<Self, VolumeError> {
        // Workers on this machine are told the path, and have another working directory.
        let root = std::path::absolute(&root).unwrap_or(root);
        staging(&root)?.sweep()?;
        let failed = |doing| {
            let path = root.display().to_string();
            move |source| VolumeError::Io { doing, path, source }
        };
        // Whatever jobs make of their files, nobody but this user gets at them.
        std::fs::set_permissions(&root, Permissions::from_mode(0o700)).map_err(failed("close"))?;
        let mut random = [0; MARKER_BYTES];
        rand::fill(&mut random);
        let marker = hex(&random);
        let path = root.join(".marker");
        let failed =
            |source| VolumeError::Io { doing: "write", path: path.display().to_string(), source };
        std::fs::write(&path, &marker).map_err(failed)?;
        Ok(Self { root, marker, copies: Arc::default(), juicefs })
    }

    /// The directory of a volume.
    pub(crate) fn directory(&self, id: VolumeId) -> PathBuf {
        self.root.join(id.to_string())
    }

    /// Where the volumes are, and what the file `.marker` there says in this run of the gateway:
    /// whoever reads that there sees the same disk.
    pub(crate) fn place(&self) -> (String, String) {
        (self.root.display().to_string(), self.marker.clone())
    }

    /// What the volumes are on, if that is a JuiceFS file system.
    pub(crate) fn juicefs(&self) -> Option<&JuiceFs> {
        self.juicefs.as_ref()
    }

    /// Makes the directories of volumes, so that a job finds them. A file system that does not
    /// answer must not hold up the assignments of others.
    pub(crate) async fn make(&self, ids: impl Iterator<Item = VolumeId>) -> Result<(), ApiError> {
        let directories: Vec<_> = ids.map(|id| self.directory(id)).collect();
        let work = move || directories.iter().try_for_each(|path| Files::open(path).map(drop));
        match tokio::time::timeout(MADE_WITHIN, self.blocking(work)).await {
            Ok(made) => made,
            Err(_) => Err(ApiError::VolumesDown(format!("no answer within {MADE_WITHIN:?}"))),
        }
    }

    /// Works with a volume's files, on a thread for slow work.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        id: VolumeId,
        work: impl FnOnce(&Files, &Staging) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (directory, root) = (self.directory(id), self.root.clone());
        self.blocking(move || work(&Files::open(&directory)?, &staging(&root)?)).await
    }

    /// The same, with what is known of copies of the files.
    pub(crate) async fn with_copies<T: Send + 'static>(
        &self,
        id: VolumeId,
        work: impl FnOnce(&Files, &Copies) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let copies = Arc::clone(&self.copies);
        self.with(id, move |files, _| work(files, &copies)).await
    }

    /// Works with files that are on their way.
    pub(crate) async fn stage<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Staging) -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let root = self.root.clone();
        self.blocking(move || work(&staging(&root)?)).await
    }

    /// Does slow work on a thread for it, unless the file system is known not to be there.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
    ) -> Result<T, ApiError> {
        if let Some(juicefs) = &self.juicefs {
            juicefs.is_up().await?;
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(ApiError::Unavailable("the work on the volume was cut off")),
        }
    }

    async fn remove(&self, id: VolumeId) -> std::io::Result<()> {
        let directory = self.directory(id);
        let removed = tokio::task::spawn_blocking(move || remove_all(&directory)).await;
        removed.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }
}

fn remove_all(directory: &Path) -> std::io::Result<()> {
    match metal9_removal::remove_all(directory, metal9_removal::Permissions::Keep) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The directory of files on their way. It is opened each time: what it is on may be mounted anew.
fn staging(root: &Path) -> Result<Staging, VolumeError> {
    Staging::open(&root.join(".staging"))
}

impl From<VolumeError> for ApiError {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::Io { doing, path, source }
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                tracing::warn!(doing, path, "the disk of the volumes is full");
                Self::Store(StoreError::Full { doing: "write to a volume" })
            }
            error if error.is_callers() => Self::Invalid(crate::error::causes(&error)),
            VolumeError::Io { doing, path, source } if juicefs::is_lost(&source) => {
                tracing::warn!(doing, path, %source, "the file system of the volumes fails");
                Self::VolumesDown(source.to_string())
            }
            VolumeError::Io { doing, path, source } => {
                Self::Store(StoreError::File { doing, path: path.into(), source })
            }
            error => Self::Invalid(error.to_string()),
        }
    }
}

/// The caller's volume of this name.
pub(crate) async fn volume_of(
    shared: &Shared,
    caller: &Caller,
    name: &str,
) -> Result<VolumeRow, ApiError> {
    let volume = shared.store.volume_named(caller.workspace, name).await?;
    volume.ok_or_else(|| ApiError::NotFound { kind: "volume", id: shown(name) })
}

/// The caller's volume and the path in it that a text as `volume/path` names.
pub(crate) async fn place_of(
    shared: &Shared,
    caller: &Caller,
    text: &str,
) -> Result<(VolumeRow, VolumePath), ApiError> {
    let (name, path) = VolumePath::parse_with_volume(text)?;
    Ok((volume_of(shared, caller, name).await?, path))
}

/// The caller's volume of this name, made if there is none and there is room for one. Jobs make none.
pub(crate) async fn volume_or_new(
    shared: &Shared,
    caller: &Caller,
    name: &str,
) -> Result<VolumeRow, ApiError> {
    if let Some(there) = shared.store.volume_named(caller.workspace, name).await? {
        return Ok(there);
    }
    if matches!(caller.rights, Rights::Job(_)) {
        return Err(ApiError::Forbidden("a running job may not make volumes"));
    }
    shared.disk.room_for("the volume", 0)?;
    Ok(shared.store.by(&caller.actor).get_or_create_volume(caller.workspace, name).await?)
}

/// A signed address of a file in a volume, good for one method and so many seconds.
pub(crate) fn file_address(
    shared: &Shared,
    volume: &VolumeRow,
    method: &str,
    path: &VolumePath,
    seconds: u32,
) -> Result<String, ApiError> {
    let path: Vec<_> = path.as_str().split('/').map(encoded).collect();
    let path = format!("/volume/file/{}/{}/{}", volume.workspace, volume.id, path.join("/"));
    shared.presign(method, &path, seconds)
}

/// Ends an upload and removes what has come of it.
pub(crate) async fn drop_upload(shared: &Shared, id: UploadId) -> Result<bool, ApiError> {
    let was = shared.store.end_upload(id).await?;
    shared.volumes.stage(move |staging| staging.forget(&id.to_string())).await?;
    Ok(was)
}

/// Removes files of deleted volumes and uploads that nobody finished.
pub(crate) async fn tidy(shared: &Shared) -> Result<(), ApiError> {
    for id in shared.store.deleted_volumes().await? {
        match shared.volumes.remove(id).await {
            Ok(()) => shared.store.forget_volume(id).await?,
            Err(error) => tracing::warn!(volume = %id, %error, "cannot remove a deleted volume"),
        }
    }
    let life = i64::try_from(UPLOAD_LIFE.as_micros()).unwrap_or(i64::MAX);
    for id in shared.store.stale_uploads(now() - life).await? {
        drop_upload(shared, id).await?;
    }
    Ok(())
}
