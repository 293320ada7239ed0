//! CopyPathStream: one file, in pieces, for clients that are told not to use addresses.

use metal9_proto::beta9::volume as wire;
use tonic::Streaming;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::grpc::pieces;
use crate::inflow::Room;
use crate::shared::Shared;
use crate::validate::refuse;
use crate::volumes::place_of;

/// Stores a file; it exists only once it is whole.
pub(in crate::grpc) async fn copy(
    shared: &Shared,
    caller: &Caller,
    mut stream: Streaming<wire::CopyPathRequest>,
) -> Result<wire::CopyPathResponse, ApiError> {
    let mut begun = None;
    let mut room = Room::new("the file");
    while let Some(piece) = pieces::next(&mut stream, "copy").await? {
        let (volume, path, staged) = match begun.take() {
            Some(begun) => begun,
            None => {
                let (volume, path) = place_of(shared, caller, &piece.path).await?;
                (volume, path, shared.volumes.stage(|staging| staging.file()).await?)
            }
        };
        room.take(&shared.disk, piece.content.len())?;
        let written = shared.volumes.stage(move |_| {
            let mut staged = staged;
            staged.write(&piece.content)?;
            Ok(staged)
        });
        begun = Some((volume, path, written.await?));
    }
    let (volume, path, staged) = begun.ok_or_else(|| {
        refuse("the file is missing", "send at least one message, with the file's path")
    })?;
    shared.volumes.with(volume.id, move |files, _| files.place(staged, &path)).await?;
    shared.store.touch_volume(volume.id).await?;
    Ok(wire::CopyPathResponse { ok: true, ..Default::default() })
}
