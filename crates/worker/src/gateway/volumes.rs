//! The calls for copies of volumes.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use metal9_proto::worker as wire;
use metal9_types::VolumeId;
use metal9_volume::{Found, VolumeError, VolumePath, hex};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use tonic::Code;

use super::{Gateway, PIECE_BYTES, TransferError, retry};

/// Files of a volume at most.
const MOST_FILES: usize = 200_000;

/// A file of a volume on the gateway's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    pub(crate) path: VolumePath,
    /// The name of its content.
    pub(crate) hash: String,
    pub(crate) executable: bool,
}

impl Gateway {
    /// What files a volume has.
    pub(crate) async fn volume_manifest(
        &self,
        volume: VolumeId,
    ) -> Result<Vec<RemoteFile>, TransferError> {
        retry(|| self.try_volume_manifest(volume)).await
    }

    async fn try_volume_manifest(
        &self,
        volume: VolumeId,
    ) -> Result<Vec<RemoteFile>, TransferError> {
        let request = wire::VolumeManifestRequest { volume_id: volume.to_string() };
        let answer =
            self.client.clone().volume_manifest(request).await.map_err(TransferError::of)?;
        let mut parts = answer.into_inner();
        let mut files = Vec::new();
        while let Some(part) = parts.message().await.map_err(TransferError::of)? {
            if files.len() + part.files.len() > MOST_FILES {
                return Err(TransferError::TooMany(MOST_FILES));
            }
            files.extend(part.files.into_iter().filter_map(|file| {
                // A gateway that sends a path which is none is not ours.
                let path = VolumePath::parse(&file.path).ok().filter(|path| !path.is_root())?;
                Some(RemoteFile { path, hash: file.hash, executable: file.executable })
            }));
        }
        Ok(files)
    }

    /// Writes a file of a volume to `target`. Returns the name of its content; nothing if the volume
    /// does not have it.
    pub(crate) async fn fetch_volume_file(
        &self,
        volume: VolumeId,
        path: &VolumePath,
        target: &Path,
    ) -> Result<Option<String>, TransferError> {
        retry(|| self.try_fetch_volume_file(volume, path, target)).await
    }

    async fn try_fetch_volume_file(
        &self,
        volume: VolumeId,
        path: &VolumePath,
        target: &Path,
    ) -> Result<Option<String>, TransferError> {
        let failed = |source| TransferError::File { path: target.to_owned(), source };
        let request =
            wire::FetchVolumeFileRequest { volume_id: volume.to_string(), path: path.to_string() };
        let answer = match self.client.clone().fetch_volume_file(request).await {
            // The path as well as the volume: then the list, which comes next, says so.
            Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => {
                return Ok(None);
            }
            answer => answer.map_err(TransferError::of)?,
        };
        let mut chunks = answer.into_inner();
        let mut file = tokio::fs::File::create(target).await.map_err(failed)?;
        let mut hash = Sha256::new();
        while let Some(chunk) = chunks.message().await.map_err(TransferError::of)? {
            hash.update(&chunk.data);
            file.write_all(&chunk.data).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(Some(hex(&hash.finalize())))
    }

    /// Sends a file that a job has changed, which began with `base`. Returns where the file is now
    /// that somebody else had written meanwhile, empty if nobody had; and the name of what was sent,
    /// which may have been changed again since it was looked at.
    pub(crate) async fn push_volume_file(
        &self,
        volume: VolumeId,
        found: &Found,
        base: &str,
        open: impl Fn(&VolumePath) -> Result<File, VolumeError>,
    ) -> Result<(String, String), TransferError> {
        retry(|| async {
            let file = open(&found.path).map_err(TransferError::Volume)?;
            self.try_push_volume_file(volume, found, base, file).await
        })
        .await
    }

    async fn try_push_volume_file(
        &self,
        volume: VolumeId,
        found: &Found,
        base: &str,
        file: File,
    ) -> Result<(String, String), TransferError> {
        let first = wire::VolumeFilePiece {
            volume_id: volume.to_string(),
            path: found.path.to_string(),
            base_hash: base.to_owned(),
            executable: found.executable,
            ..Default::default()
        };
        let file = tokio::fs::File::from_std(file);
        let pieces = ReaderStream::with_capacity(file, PIECE_BYTES);
        // What cannot be read cuts the stream off, and must not be taken for the whole file.
        let (broken, is_broken) = tokio::sync::oneshot::channel();
        let mut broken = Some(broken);
        let sent = Arc::new(Mutex::new(Sha256::new()));
        let hash = Arc::clone(&sent);
        let pieces = pieces.filter_map(move |piece| {
            let piece = match piece {
                Ok(data) => {
                    hash.lock().unwrap_or_else(PoisonError::into_inner).update(&data);
                    Some(wire::VolumeFilePiece { data, ..Default::default() })
                }
                Err(error) => {
                    if let Some(broken) = broken.take() {
                        let _ = broken.send(error);
                    }
                    None
                }
            };
            std::future::ready(piece)
        });
        let pieces = tokio_stream::once(first).chain(pieces);
        let mut client = self.client.clone();
        tokio::select! {
            biased;
            Ok(source) = is_broken => {
                Err(TransferError::File { path: found.path.as_str().into(), source })
            }
            pushed = client.push_volume_file(pieces) => {
                let aside = pushed.map_err(TransferError::of)?.into_inner().conflict_path;
                let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Ok((aside, hex(&sent.finalize())))
            }
        }
    }

    /// Tells that a job has deleted a file, which it began with as `base`; `true` if somebody else
    /// has changed it meanwhile, and it stays.
    pub(crate) async fn remove_volume_file(
        &self,
        volume: VolumeId,
        path: &VolumePath,
        base: &str,
    ) -> Result<bool, TransferError> {
        let request = wire::RemoveVolumeFileRequest {
            volume_id: volume.to_string(),
            path: path.to_string(),
            base_hash: base.to_owned(),
        };
        retry(|| async {
            let answer = self.client.clone().remove_volume_file(request.clone()).await;
            answer.map(|answer| answer.into_inner().kept).map_err(TransferError::of)
        })
        .await
    }
}
