//! GetOrCreateVolume, ListVolumes and DeleteVolume.

use metal9_proto::beta9::volume as wire;
use metal9_store::VolumeRow;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::{Shared, SharedRef};
use crate::timestamps::to_proto;
use crate::validate::shown;
use crate::volumes::{self, volume_or_new};

pub(in crate::grpc) async fn get_or_create(
    shared: &Shared,
    caller: &Caller,
    request: wire::GetOrCreateVolumeRequest,
) -> Result<wire::GetOrCreateVolumeResponse, ApiError> {
    // A job finds those of functions that it calls; it gets at no files by this.
    let row = volume_or_new(shared, caller, &request.name).await?;
    let volume = Some(instance(caller, row));
    Ok(wire::GetOrCreateVolumeResponse { ok: true, err_msg: String::new(), volume })
}

pub(in crate::grpc) async fn list(
    shared: &Shared,
    caller: &Caller,
    _: wire::ListVolumesRequest,
) -> Result<wire::ListVolumesResponse, ApiError> {
    let rows = shared.store.list_volumes(caller.workspace).await?;
    let volumes = rows.into_iter().map(|row| instance(caller, row)).collect();
    Ok(wire::ListVolumesResponse { ok: true, err_msg: String::new(), volumes })
}

/// Takes the volume away at once, and its files soon.
pub(in crate::grpc) async fn delete(
    shared: &SharedRef,
    caller: &Caller,
    request: wire::DeleteVolumeRequest,
) -> Result<wire::DeleteVolumeResponse, ApiError> {
    let by = shared.store.by(&caller.actor);
    let deleted = by.delete_volume(caller.workspace, &request.name).await?;
    if deleted.is_none() {
        return Err(ApiError::NotFound { kind: "volume", id: shown(&request.name) });
    }
    let shared = SharedRef::clone(shared);
    metal9_tasks::spawn_infallible("remove a volume", async move {
        // What fails now is done again with the next round of removing.
        if let Err(error) = volumes::tidy(&shared).await {
            tracing::warn!(%error, "could not remove a volume's files");
        }
    });
    Ok(wire::DeleteVolumeResponse { ok: true, err_msg: String::new() })
}

/// A volume as clients see it. Its size is not counted: that would read the whole directory.
fn instance(caller: &Caller, row: VolumeRow) -> wire::VolumeInstance {
    wire::VolumeInstance {
        id: row.id.to_string(),
        name: row.name,
        created_at: Some(to_proto(row.created_at)),
        updated_at: Some(to_proto(row.updated_at)),
        workspace_id: row.workspace.to_string(),
        workspace_name: caller.workspace_name.clone(),
        ..Default::default()
    }
}
