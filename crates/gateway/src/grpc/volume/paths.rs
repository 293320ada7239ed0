//! ListPath, DeletePath, MovePath and StatPath.

use std::time::UNIX_EPOCH;

use metal9_proto::beta9::volume as wire;
use metal9_volume::{Entry, VolumePath};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;
use crate::timestamps::to_proto;
use crate::validate::refuse;
use crate::volumes::place_of;

/// Bytes of paths that one answer names at most.
const LISTED_BYTES: usize = 12 * 1024 * 1024;

pub(in crate::grpc) async fn list(
    shared: &Shared,
    caller: &Caller,
    request: wire::ListPathRequest,
) -> Result<wire::ListPathResponse, ApiError> {
    let (volume, path) = place_of(shared, caller, &request.path).await?;
    let entries = shared.volumes.with(volume.id, move |files, _| files.list(&path)).await?;
    if entries.iter().map(|entry| entry.path.as_str().len()).sum::<usize>() > LISTED_BYTES {
        let hint = "name a directory below, or a narrower pattern";
        return Err(refuse("the names are too long to be listed at once", hint));
    }
    let path_infos = entries.into_iter().map(info).collect();
    Ok(wire::ListPathResponse { ok: true, err_msg: String::new(), path_infos })
}

pub(in crate::grpc) async fn delete(
    shared: &Shared,
    caller: &Caller,
    request: wire::DeletePathRequest,
) -> Result<wire::DeletePathResponse, ApiError> {
    let (volume, path) = place_of(shared, caller, &request.path).await?;
    let deleted = shared.volumes.with(volume.id, move |files, _| files.delete(&path)).await?;
    shared.store.touch_volume(volume.id).await?;
    let deleted = deleted.into_iter().map(|path| path.to_string()).collect();
    Ok(wire::DeletePathResponse { ok: true, err_msg: String::new(), deleted })
}

pub(in crate::grpc) async fn rename(
    shared: &Shared,
    caller: &Caller,
    request: wire::MovePathRequest,
) -> Result<wire::MovePathResponse, ApiError> {
    let (volume, from) = place_of(shared, caller, &request.original_path).await?;
    let (name, to) = VolumePath::parse_with_volume(&request.new_path)?;
    if name != volume.name {
        let what =
            format!("`{from}` is in volume `{}`, and cannot be moved to another", volume.name);
        return Err(refuse(what, "copy it with `beta9 cp`, and delete it here"));
    }
    let moved = shared.volumes.with(volume.id, move |files, _| files.rename(&from, &to)).await?;
    shared.store.touch_volume(volume.id).await?;
    let new_path = format!("{}/{moved}", volume.name);
    Ok(wire::MovePathResponse { ok: true, err_msg: String::new(), new_path })
}

/// A path that is not there is no failure here: the SDK reads `err_msg` beside `ok`.
pub(in crate::grpc) async fn stat(
    shared: &Shared,
    caller: &Caller,
    request: wire::StatPathRequest,
) -> Result<wire::StatPathResponse, ApiError> {
    let (volume, path) = place_of(shared, caller, &request.path).await?;
    let missing = format!("`{path}` does not exist");
    let found = shared.volumes.with(volume.id, move |files, _| files.stat(&path)).await?;
    let err_msg = if found.is_some() { String::new() } else { missing };
    Ok(wire::StatPathResponse { ok: true, err_msg, path_info: found.map(info) })
}

fn info(entry: Entry) -> wire::PathInfo {
    let since = entry.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    wire::PathInfo {
        path: entry.path.to_string(),
        size: entry.size,
        mod_time: Some(to_proto(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))),
        is_dir: entry.is_dir,
    }
}
