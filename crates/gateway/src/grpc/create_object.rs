//! CreateObject and CompleteObjectUpload: a code archive that comes over HTTP.

use std::collections::BTreeMap;

use metal9_proto::beta9::gateway as wire;
use metal9_types::{ObjectId, UploadId};
use uuid::Uuid;

use crate::archives::{MAX_ARCHIVE_BYTES, announced, too_large};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::parts;
use crate::shared::Shared;
use crate::uploads::{self, LIFE, Upload};
use crate::validate::{refuse, shown};

/// Characters of a SHA-256 in hex.
const HASH_CHARACTERS: usize = 64;

/// Begins an upload: in parts if the client can send them, else in one piece.
pub(super) async fn create(
    shared: &Shared,
    caller: &Caller,
    request: wire::CreateObjectRequest,
) -> Result<wire::CreateObjectResponse, ApiError> {
    caller.require_client()?;
    let hash = content_hash(request.hash)?;
    let size = archive_bytes(request.size)?;
    let in_parts = request.multipart_part_size > 0;
    if in_parts && request.multipart_total_size != request.size {
        let what = format!(
            "the parts together have {} bytes, and the archive {size}",
            request.multipart_total_size
        );
        return Err(refuse(what, "send the archive, and nothing else, in parts"));
    }
    // The client goes on with the id that it is told here, so the same content must have the same.
    let known = shared.store.object_id(caller.workspace, &hash).await?;
    let known = known.or_else(|| shared.uploads.told(caller.workspace, &hash));
    let object = known.unwrap_or_else(|| ObjectId(Uuid::now_v7()));
    let mut upload = Upload::new(caller.workspace, object, hash, size);
    upload.announced = announced(request.object_metadata.map_or(0, |metadata| metadata.size))?;
    if in_parts {
        upload.chunk = u64::try_from(request.multipart_part_size).unwrap_or(size).min(size);
    }
    let numbers = parts::numbers(upload.size, upload.chunk)?;
    shared.disk.room_for("the project", size)?;
    let id = shared.uploads.begin(upload.clone())?;
    let mut answer = wire::CreateObjectResponse {
        ok: true,
        object_id: object.to_string(),
        upload_id: id.to_string(),
        ..Default::default()
    };
    if !in_parts {
        answer.presigned_url = whole_address(shared, id)?;
        return Ok(answer);
    }
    for number in numbers {
        let (start, length) = upload.part(number).unwrap_or_default();
        let url = address(shared, &format!("/object/part/{id}/{number}"))?;
        let (start, end) = (signed(start), signed(start + length));
        answer.upload_parts.push(wire::ObjectUploadPart { number, start, end, url });
    }
    Ok(answer)
}

/// Makes the object of the parts. All must have come, each with the etag that the client was told.
pub(super) async fn complete(
    shared: &Shared,
    caller: &Caller,
    request: wire::CompleteObjectUploadRequest,
) -> Result<wire::CompleteObjectUploadResponse, ApiError> {
    caller.require_client()?;
    let missing = || ApiError::NotFound { kind: "upload", id: shown(&request.upload_id) };
    let id: UploadId = request.upload_id.parse().map_err(|_| missing())?;
    let upload = shared.uploads.get(id).ok_or_else(missing)?;
    let is_meant = upload.workspace == caller.workspace && upload.base.is_none();
    if !is_meant || upload.object.to_string() != request.object_id {
        return Err(missing());
    }
    let told: BTreeMap<u32, String> = request
        .parts
        .into_iter()
        .map(|part| (part.number, part.etag.trim_matches('"').to_owned()))
        .collect();
    upload.require_whole(Some(&told))?;
    uploads::finish(shared, id, Default::default()).await?;
    Ok(wire::CompleteObjectUploadResponse { ok: true, error_msg: String::new() })
}

/// The hash of an archive's content, which is looked at when it has come.
pub(super) fn content_hash(text: String) -> Result<String, ApiError> {
    let is_hex = text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == HASH_CHARACTERS && is_hex {
        return Ok(text);
    }
    let what = format!("`{}` is no SHA-256", shown(&text));
    Err(refuse(what, "name the project's files by their hash, in 64 hexadecimal digits"))
}

/// The bytes of an archive as a client announces them.
pub(super) fn archive_bytes(size: i64) -> Result<u64, ApiError> {
    match u64::try_from(size) {
        Ok(bytes @ 1..=MAX_ARCHIVE_BYTES) => Ok(bytes),
        Ok(1..) => Err(too_large()),
        _ => Err(refuse(format!("an archive cannot have {size} bytes"), "announce its bytes")),
    }
}

/// Where an upload's one piece is sent.
pub(super) fn whole_address(shared: &Shared, id: UploadId) -> Result<String, ApiError> {
    address(shared, &format!("/object/whole/{id}"))
}

fn address(shared: &Shared, path: &str) -> Result<String, ApiError> {
    shared.presign("PUT", path, u32::try_from(LIFE.as_secs()).unwrap_or(u32::MAX))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
