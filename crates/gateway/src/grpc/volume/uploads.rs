//! CreateMultipartUpload, CompleteMultipartUpload, AbortMultipartUpload and CreatePresignedURL.

use metal9_proto::beta9::volume as wire;
use metal9_store::UploadRow;
use metal9_types::UploadId;
use metal9_volume::VolumePath;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::parts;
use crate::shared::Shared;
use crate::validate::{refuse, shown};
use crate::volumes::{drop_upload, file_address, volume_of};

/// Bytes of one file at most.
const MOST_BYTES: u64 = 4 << 40;
/// How long the addresses of parts are good for: as long as an upload is kept.
const PART_SECONDS: u32 = 24 * 3600;

pub(in crate::grpc) async fn begin(
    shared: &Shared,
    caller: &Caller,
    request: wire::CreateMultipartUploadRequest,
) -> Result<wire::CreateMultipartUploadResponse, ApiError> {
    let wire::CreateMultipartUploadRequest { volume_name, volume_path, chunk_size, file_size } =
        request;
    let volume = volume_of(shared, caller, &volume_name).await?;
    let path = file_path(&volume_path)?;
    if file_size > MOST_BYTES {
        return Err(refuse("a file in a volume may have 4 TiB", "split it"));
    }
    let numbers = parts::numbers(file_size, chunk_size)?;
    shared.disk.room_for("the file", file_size)?;
    let begun = shared.store.begin_upload(&volume, path.as_str(), file_size, chunk_size).await?;
    let addresses = numbers.map(|number| {
        let (start, length) = parts::place(begun.size, begun.chunk, number).unwrap_or_default();
        let url = part_address(shared, begun.id, number, PART_SECONDS)?;
        Ok(wire::FileUploadPart { number, start, end: start + length, url })
    });
    Ok(wire::CreateMultipartUploadResponse {
        ok: true,
        upload_id: begun.id.to_string(),
        file_upload_parts: addresses.collect::<Result<_, ApiError>>()?,
        ..Default::default()
    })
}

/// Puts the file to its place. All parts must have come, each with the etag that the client was
/// told, so that a part which was sent twice cannot be another than the client believes.
pub(in crate::grpc) async fn complete(
    shared: &Shared,
    caller: &Caller,
    request: wire::CompleteMultipartUploadRequest,
) -> Result<wire::CompleteMultipartUploadResponse, ApiError> {
    let upload = own_upload(shared, caller, &request.upload_id).await?;
    let came = shared.store.upload_parts(upload.id).await?;
    let mut told: Vec<(u32, String)> = request
        .completed_parts
        .into_iter()
        .map(|part| (part.number, part.etag.trim_matches('"').to_owned()))
        .collect();
    told.sort_unstable();
    let wanted = if upload.size == 0 { 0 } else { upload.size.div_ceil(upload.chunk.max(1)) };
    if came.len() as u64 != wanted || told != came {
        let what = format!("{} of {wanted} parts have come as they were told", came.len());
        return Err(refuse(what, "send the missing parts, and complete the upload then"));
    }
    let path = file_path(&upload.path)?;
    let (id, size) = (upload.id, upload.size);
    let volume = shared.store.volume(caller.workspace, upload.volume).await?;
    let volume = volume.ok_or(ApiError::NotFound { kind: "volume", id: request.volume_name })?;
    let place = move |files: &metal9_volume::Files, staging: &metal9_volume::Staging| {
        files.place(staging.whole(&id.to_string(), size)?, &path)
    };
    shared.volumes.with(volume.id, place).await?;
    shared.store.end_upload(upload.id).await?;
    shared.store.touch_volume(volume.id).await?;
    Ok(wire::CompleteMultipartUploadResponse { ok: true, err_msg: String::new() })
}

pub(in crate::grpc) async fn abort(
    shared: &Shared,
    caller: &Caller,
    request: wire::AbortMultipartUploadRequest,
) -> Result<wire::AbortMultipartUploadResponse, ApiError> {
    let upload = own_upload(shared, caller, &request.upload_id).await?;
    drop_upload(shared, upload.id).await?;
    Ok(wire::AbortMultipartUploadResponse { ok: true, err_msg: String::new() })
}

pub(in crate::grpc) async fn presign(
    shared: &Shared,
    caller: &Caller,
    request: wire::CreatePresignedUrlRequest,
) -> Result<wire::CreatePresignedUrlResponse, ApiError> {
    use wire::PresignedUrlMethod as Method;
    let volume = volume_of(shared, caller, &request.volume_name).await?;
    let method = match request.method() {
        Method::GetObject => "GET",
        Method::HeadObject => "HEAD",
        Method::PutObject => "PUT",
        Method::UploadPart => {
            let params = request.params.unwrap_or_default();
            let upload = own_upload(shared, caller, &params.upload_id).await?;
            let url = part_address(shared, upload.id, params.part_number, request.expires)?;
            return Ok(wire::CreatePresignedUrlResponse { ok: true, url, ..Default::default() });
        }
    };
    let path = file_path(&request.volume_path)?;
    if method != "PUT" {
        let asked = path.clone();
        shared.volumes.with(volume.id, move |files, _| files.read(&asked).map(drop)).await?;
    }
    let url = file_address(shared, &volume, method, &path, request.expires)?;
    Ok(wire::CreatePresignedUrlResponse { ok: true, url, ..Default::default() })
}

fn part_address(
    shared: &Shared,
    upload: UploadId,
    number: u32,
    seconds: u32,
) -> Result<String, ApiError> {
    shared.presign("PUT", &format!("/volume/part/{upload}/{number}"), seconds)
}

fn file_path(text: &str) -> Result<VolumePath, ApiError> {
    let path = VolumePath::parse(text)?;
    if path.is_root() {
        return Err(refuse("the path of the file is missing", "name one, as `volume/file`"));
    }
    Ok(path)
}

async fn own_upload(shared: &Shared, caller: &Caller, id: &str) -> Result<UploadRow, ApiError> {
    let missing = || ApiError::NotFound { kind: "upload", id: shown(id) };
    let upload = shared.store.upload(id.parse().map_err(|_| missing())?).await?;
    upload.filter(|upload| upload.workspace == caller.workspace).ok_or_else(missing)
}
