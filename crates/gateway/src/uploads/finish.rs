//! Making an object of what has come.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek, SeekFrom};

use bytes::{Bytes, BytesMut};
use metal9_archive::{Bounds, merge};
use metal9_types::{ObjectId, UploadId};
use tokio::io::AsyncReadExt as _;

use super::{Upload, failed};
use crate::archives::{MAX_ARCHIVE_BYTES, Refused, look_through_content, too_large};
use crate::error::ApiError;
use crate::shared::Shared;

/// Bytes that are copied at a time.
const CHUNK: usize = 1024 * 1024;

/// Ends an upload: makes the archive, looks it through and keeps it. Whatever comes of it, the
/// upload is gone. The object's id, and the archive's bytes.
pub(crate) async fn finish(
    shared: &Shared,
    id: UploadId,
    removed: HashSet<String>,
) -> Result<(ObjectId, u64), ApiError> {
    let missing = || ApiError::NotFound { kind: "upload", id: id.to_string() };
    let (upload, came) = shared.uploads.take(id).ok_or_else(missing)?;
    let came = came.map_err(|source| failed("read", &shared.uploads.dir, source))?;
    let archive = match upload.base {
        None => came,
        Some(base) => {
            let gone = ApiError::NotFound { kind: "object", id: base.to_string() };
            let base = shared.store.object_file(upload.workspace, base).await?.ok_or(gone)?;
            let size = base.metadata().map_or(0, |metadata| metadata.len());
            shared.disk.room_for("the project", size.saturating_add(upload.size))?;
            let scratch = shared.uploads.scratch();
            let scratch = scratch.map_err(|source| failed("make", &shared.uploads.dir, source))?;
            blocking(move || {
                let bounds = Bounds::default();
                merge(base, came, &removed, scratch, bounds).map_err(Refused::Archive)
            })
            .await?
        }
    };
    let size = archive.metadata().map_or(0, |metadata| metadata.len());
    if size > MAX_ARCHIVE_BYTES {
        return Err(too_large());
    }
    let kept = keep(shared, &upload, archive, size).await?;
    if upload.base.is_none() && kept != upload.object {
        let text = "the same project was sent in another way at the same time\nhint: run it again";
        return Err(ApiError::Conflict(text.to_owned()));
    }
    Ok((kept, size))
}

/// Copies the archive to the objects, where nobody writes to it any more, and looks it through
/// there.
async fn keep(
    shared: &Shared,
    upload: &Upload,
    mut archive: File,
    size: u64,
) -> Result<ObjectId, ApiError> {
    shared.disk.room_for("the project", size)?;
    let (workspace, hash) = (upload.workspace, upload.hash.clone());
    let store = &shared.store;
    let mut object = store.put_object_as(workspace, upload.object, &hash, upload.announced).await?;
    let unreadable = |source| failed("read", &shared.uploads.dir, source);
    archive.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut archive = tokio::fs::File::from_std(archive);
    loop {
        let mut piece = BytesMut::with_capacity(CHUNK);
        if archive.read_buf(&mut piece).await.map_err(unreadable)? == 0 {
            break;
        }
        object.write(Bytes::from(piece)).await?;
    }
    Ok(object.finish_if(move |file| look_through_content(file, &hash)).await?)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(ApiError::Unavailable("the work on the archive was cut off")),
    }
}
