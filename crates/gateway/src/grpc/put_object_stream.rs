//! PutObjectStream: a code archive, in pieces.

use metal9_proto::beta9::gateway::{PutObjectRequest, PutObjectResponse};
use tonic::Streaming;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// The largest archive that is taken.
const MAX_OBJECT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Stores an archive; it exists only once it is whole.
pub(super) async fn put(
    shared: &Shared,
    caller: &Caller,
    mut stream: Streaming<PutObjectRequest>,
) -> Result<PutObjectResponse, ApiError> {
    caller.require_client()?;
    let mut upload = None;
    let mut total: u64 = 0;
    while let Some(piece) = next(&mut stream).await? {
        let upload = match &mut upload {
            Some(upload) => upload,
            None => {
                if piece.hash.is_empty() {
                    return Err(ApiError::Invalid("the archive's hash is missing".to_owned()));
                }
                let size = piece.object_metadata.as_ref().map_or(0, |metadata| metadata.size);
                let begun = shared.store.put_object(caller.workspace, &piece.hash, size).await?;
                upload.insert(begun)
            }
        };
        total += piece.object_content.len() as u64;
        if total > MAX_OBJECT_BYTES {
            return Err(ApiError::Invalid(format!(
                "the project is larger than {} GiB; leave data out with .beta9ignore",
                MAX_OBJECT_BYTES >> 30
            )));
        }
        upload.write(piece.object_content).await?;
    }
    let upload = upload.ok_or_else(|| ApiError::Invalid("the archive is missing".to_owned()))?;
    let object = upload.finish().await?;
    Ok(PutObjectResponse { ok: true, object_id: object.to_string(), ..Default::default() })
}

async fn next(
    stream: &mut Streaming<PutObjectRequest>,
) -> Result<Option<PutObjectRequest>, ApiError> {
    stream
        .message()
        .await
        .map_err(|status| ApiError::Invalid(format!("the upload broke off: {}", status.message())))
}
