//! PutObjectStream: a code archive, in pieces.

use metal9_archive::{ArchiveError, Bounds};
use metal9_proto::beta9::gateway::{PutObjectRequest, PutObjectResponse};
use metal9_store::StoreError;
use tonic::Streaming;

use super::pieces;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::inflow::Room;
use crate::shared::Shared;
use crate::validate::refuse;

/// The largest archive that is taken.
const MAX_OBJECT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Stores an archive; it exists only once it is whole and has been looked through.
pub(super) async fn put(
    shared: &Shared,
    caller: &Caller,
    mut stream: Streaming<PutObjectRequest>,
) -> Result<PutObjectResponse, ApiError> {
    caller.require_client()?;
    let mut upload = None;
    let mut total: u64 = 0;
    // The first piece has a look of its own, before anything is begun.
    let mut room = Room::looked("the project");
    while let Some(piece) = pieces::next(&mut stream, "upload").await? {
        let upload = match &mut upload {
            Some(upload) => upload,
            None => {
                let size = announced(&piece)?;
                shared.disk.room_for("the project", piece.object_content.len() as u64)?;
                let begun = shared.store.put_object(caller.workspace, &piece.hash, size).await?;
                upload.insert(begun)
            }
        };
        total += piece.object_content.len() as u64;
        if total > MAX_OBJECT_BYTES {
            return Err(too_large());
        }
        room.take(&shared.disk, piece.object_content.len())?;
        upload.write(piece.object_content).await?;
    }
    let upload = upload.ok_or_else(|| {
        refuse("the archive is missing", "send at least one message with the archive's bytes")
    })?;
    let object = upload.finish_if(look_through).await.map_err(|refused| match refused {
        Refused::Archive(error) => bad_archive(&error),
        Refused::Store(error) => error.into(),
    })?;
    Ok(PutObjectResponse { ok: true, object_id: object.to_string(), ..Default::default() })
}

/// The size that a client announces, in bytes before compression. It is only kept: what counts is
/// what comes.
fn announced(piece: &PutObjectRequest) -> Result<i64, ApiError> {
    if piece.hash.is_empty() {
        let hint = "name the archive's content by a hash";
        return Err(refuse("the archive's hash is missing", hint));
    }
    let size = piece.object_metadata.as_ref().map_or(0, |metadata| metadata.size);
    match u64::try_from(size) {
        Ok(bytes) if bytes <= Bounds::default().bytes => Ok(size),
        Ok(_) => Err(too_large()),
        Err(_) => {
            let hint = "announce the bytes of all files, or 0";
            Err(refuse(format!("an archive cannot have {size} bytes"), hint))
        }
    }
}

fn too_large() -> ApiError {
    refuse(
        format!(
            "the project is larger than {} GiB, or {} GiB unpacked",
            MAX_OBJECT_BYTES >> 30,
            Bounds::default().bytes >> 30
        ),
        "leave data and environments out with .beta9ignore, and read them from a store",
    )
}

enum Refused {
    Archive(ArchiveError),
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn look_through(file: std::fs::File) -> Result<(), Refused> {
    metal9_archive::inspect(file, Bounds::default()).map(drop).map_err(Refused::Archive)
}

fn bad_archive(error: &ArchiveError) -> ApiError {
    let cause = std::error::Error::source(error).map(|cause| format!(" ({cause})"));
    let cause = cause.unwrap_or_default();
    refuse(format!("the project's archive is not accepted: {error}{cause}"), error.hint())
}
