//! CopyPathStream: one file, in pieces, for clients that are told not to use addresses.

use metal9_proto::beta9::volume as wire;
use tonic::Streaming;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::grpc::pieces;
use crate::shared::Shared;
use crate::validate::refuse;
use crate::volumes::place_of;

/// How often the disk is looked at, in bytes.
const LOOK_EVERY: u64 = 64 * 1024 * 1024;

/// Stores a file; it exists only once it is whole.
pub(in crate::grpc) async fn copy(
    shared: &Shared,
    caller: &Caller,
    mut stream: Streaming<wire::CopyPathRequest>,
) -> Result<wire::CopyPathResponse, ApiError> {
    let mut begun = None;
    let mut unlooked = LOOK_EVERY;
    while let Some(piece) = pieces::next(&mut stream, "copy").await? {
        let (volume, path, staged) = match begun.take() {
            Some(begun) => begun,
            None => {
                let (volume, path) = place_of(shared, caller, &piece.path).await?;
                (volume, path, shared.volumes.stage(|staging| staging.file()).await?)
            }
        };
        unlooked += piece.content.len() as u64;
        if unlooked >= LOOK_EVERY {
            unlooked = 0;
            shared.disk.room_for("the file", LOOK_EVERY)?;
        }
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
