//! Streams for workers that work on copies of volumes.

use futures::StreamExt;
use metal9_proto::worker as wire;
use metal9_store::{StubRow, WorkerRow};
use metal9_types::VolumeId;
use metal9_volume::{Staging, VolumePath, hex};
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;
use tonic::{Response, Status, Streaming};

use super::BoxStream;
use super::grants::stub_at_work;
use crate::error::ApiError;
use crate::inflow::Room;
use crate::shared::Shared;
use crate::validate::shown;
use crate::volumes::copies::Change;

/// Files named in one message.
const FILES: usize = 500;
const CHUNK_BYTES: usize = 256 * 1024;

/// A volume of a stub that the worker has work of.
async fn granted(shared: &Shared, worker: &WorkerRow, id: &str) -> Result<VolumeId, ApiError> {
    let missing = || ApiError::NotFound { kind: "volume", id: shown(id) };
    let volume: VolumeId = id.parse().map_err(|_| missing())?;
    let mounts = |stub: &StubRow| stub.config.volumes.iter().any(|mount| mount.volume == volume);
    let stub = stub_at_work(shared, worker.id, mounts).await?.ok_or_else(missing)?;
    // It may have been deleted since.
    let row = shared.store.volume(stub.workspace, volume).await?;
    row.map(|row| row.id).ok_or_else(missing)
}

pub(super) async fn manifest(
    shared: &Shared,
    worker: &WorkerRow,
    request: &wire::VolumeManifestRequest,
) -> Result<Response<BoxStream<wire::VolumeManifestPart>>, Status> {
    let id = granted(shared, worker, &request.volume_id).await?;
    let listed = shared.volumes.with_copies(id, move |files, copies| copies.manifest(id, files));
    let files: Vec<_> = listed
        .await?
        .into_iter()
        .map(|(found, hash)| wire::VolumeFile {
            path: found.path.to_string(),
            hash,
            size: found.size,
            executable: found.executable,
        })
        .collect();
    let parts: Vec<_> = files
        .chunks(FILES)
        .map(|files| Ok(wire::VolumeManifestPart { files: files.to_vec() }))
        .collect();
    Ok(Response::new(Box::pin(futures::stream::iter(parts))))
}

pub(super) async fn fetch(
    shared: &Shared,
    worker: &WorkerRow,
    request: &wire::FetchVolumeFileRequest,
) -> Result<Response<BoxStream<wire::Chunk>>, Status> {
    let id = granted(shared, worker, &request.volume_id).await?;
    let path = VolumePath::parse(&request.path).map_err(ApiError::from)?;
    let (file, _) = shared.volumes.with(id, move |files, _| files.read(&path)).await?;
    let file = tokio::fs::File::from_std(file);
    let chunks = ReaderStream::with_capacity(file, CHUNK_BYTES).map(|chunk| match chunk {
        Ok(data) => Ok(wire::Chunk { data }),
        Err(error) => Err(Status::internal(format!("cannot read the file: {error}"))),
    });
    Ok(Response::new(Box::pin(chunks)))
}

pub(super) async fn push(
    shared: &Shared,
    worker: &WorkerRow,
    mut stream: Streaming<wire::VolumeFilePiece>,
) -> Result<Response<wire::PushVolumeFileResponse>, Status> {
    let first = stream.message().await?;
    let first = first.ok_or_else(|| Status::invalid_argument("an empty file"))?;
    let id = granted(shared, worker, &first.volume_id).await?;
    let path = VolumePath::parse(&first.path).map_err(ApiError::from)?;
    let mut hash = Sha256::new();
    let mut staged = shared.volumes.stage(|staging| staging.file()).await?;
    let mut room = Room::new("the file");
    let mut piece = Some(first.data);
    while let Some(data) = piece {
        hash.update(&data);
        room.take(&shared.disk, data.len())?;
        let write = move |_: &Staging| {
            staged.write(&data)?;
            Ok(staged)
        };
        staged = shared.volumes.stage(write).await?;
        piece = stream.message().await?.map(|piece| piece.data);
    }
    let change = Change { path, base: first.base_hash, hash: hex(&hash.finalize()) };
    let executable = first.executable;
    let settle = move |files: &metal9_volume::Files, copies: &crate::volumes::copies::Copies| {
        staged.set_executable(executable)?;
        copies.settle(id, files, staged, &change)
    };
    let aside = shared.volumes.with_copies(id, settle).await?;
    shared.store.touch_volume(id).await.map_err(ApiError::from)?;
    let conflict_path = aside.map(|path| path.to_string()).unwrap_or_default();
    Ok(Response::new(wire::PushVolumeFileResponse { conflict_path }))
}

pub(super) async fn remove(
    shared: &Shared,
    worker: &WorkerRow,
    request: wire::RemoveVolumeFileRequest,
) -> Result<Response<wire::RemoveVolumeFileResponse>, Status> {
    let id = granted(shared, worker, &request.volume_id).await?;
    let path = VolumePath::parse(&request.path).map_err(ApiError::from)?;
    let base = request.base_hash;
    let remove =
        shared.volumes.with_copies(id, move |files, copies| copies.remove(id, files, &path, &base));
    let kept = remove.await?;
    shared.store.touch_volume(id).await.map_err(ApiError::from)?;
    Ok(Response::new(wire::RemoveVolumeFileResponse { kept }))
}
