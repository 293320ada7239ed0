//! GET /volume/{workspace}/generate-upload-url/{path} and generate-download-url: signed addresses of
//! files in volumes, as `upload_file` of the SDK's client asks for them.

use axum::Json;
use axum::extract::{Path, State};
use metal9_volume::VolumePath;

use super::error::HttpError;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::SharedRef;
use crate::validate::shown;
use crate::volumes::{file_address, volume_of, volume_or_new};

/// How long an address is good for that a file is sent to.
const UPLOAD_SECONDS: u32 = 3600;
/// How long one is good for that a file is fetched from. It is an argument of calls, which may wait.
const DOWNLOAD_SECONDS: u32 = 24 * 3600;

type Place = Path<(String, String)>;

/// A signed address that a file is sent to with PUT, within an hour. The volume is made if it is not
/// there.
#[utoipa::path(get, path = "/volume/{workspace}/generate-upload-url/{*path}", tag = "files",
    params(("workspace" = String, Path, description = "The workspace's id"),
        ("path" = String, Path, description = "The volume's name and the file's path in it")),
    responses((status = 200, body = String)))]
pub(super) async fn upload(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(place): Place,
) -> Result<Json<String>, HttpError> {
    let (name, path) = file(&caller, &place)?;
    let volume = volume_or_new(&shared, &caller, name).await?;
    Ok(Json(file_address(&shared, &volume, "PUT", &path, UPLOAD_SECONDS)?))
}

/// A signed address that a file is fetched from, within a day.
#[utoipa::path(get, path = "/volume/{workspace}/generate-download-url/{*path}", tag = "files",
    params(("workspace" = String, Path, description = "The workspace's id"),
        ("path" = String, Path, description = "The volume's name and the file's path in it")),
    responses((status = 200, body = String)))]
pub(super) async fn download(
    State(shared): State<SharedRef>,
    caller: Caller,
    Path(place): Place,
) -> Result<Json<String>, HttpError> {
    let (name, path) = file(&caller, &place)?;
    let volume = volume_of(&shared, &caller, name).await?;
    let asked = path.clone();
    if shared.volumes.with(volume.id, move |files, _| files.stat(&asked)).await?.is_none() {
        return Err(ApiError::NotFound { kind: "file", id: shown(&place.1) }.into());
    }
    Ok(Json(file_address(&shared, &volume, "GET", &path, DOWNLOAD_SECONDS)?))
}

/// The volume's name and the file's path. The SDK writes an absolute path of the client's machine
/// behind the volume's name.
fn file<'a>(
    caller: &Caller,
    (workspace, place): &'a (String, String),
) -> Result<(&'a str, VolumePath), ApiError> {
    caller.require_client()?;
    if *workspace != caller.workspace.to_string() {
        return Err(ApiError::NotFound { kind: "workspace", id: shown(workspace) });
    }
    let missing = || ApiError::NotFound { kind: "file", id: shown(place) };
    let (name, path) = place.split_once('/').ok_or_else(missing)?;
    let path = VolumePath::parse(path.trim_start_matches('/')).map_err(|_| missing())?;
    if path.is_root() { Err(missing()) } else { Ok((name, path)) }
}
