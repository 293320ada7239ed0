//! PutObjectStream: a code archive, in pieces.

use metal9_proto::beta9::gateway::{PutObjectRequest, PutObjectResponse};
use tonic::Streaming;

use super::pieces;
use crate::archives::{self, MAX_ARCHIVE_BYTES, look_through, too_large};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::inflow::Room;
use crate::shared::Shared;
use crate::validate::refuse;

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
        if total > MAX_ARCHIVE_BYTES {
            return Err(too_large());
        }
        room.take(&shared.disk, piece.object_content.len())?;
        upload.write(piece.object_content).await?;
    }
    let upload = upload.ok_or_else(|| {
        refuse("the archive is missing", "send at least one message with the archive's bytes")
    })?;
    let object = upload.finish_if(look_through).await?;
    Ok(PutObjectResponse { ok: true, object_id: object.to_string(), ..Default::default() })
}

/// The size that a client announces with the first piece.
fn announced(piece: &PutObjectRequest) -> Result<i64, ApiError> {
    if piece.hash.is_empty() {
        let hint = "name the archive's content by a hash";
        return Err(refuse("the archive's hash is missing", hint));
    }
    archives::announced(piece.object_metadata.as_ref().map_or(0, |metadata| metadata.size))
}
