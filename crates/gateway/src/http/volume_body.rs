//! Reading the body of an upload: in pieces, hashed, within bounds.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt;
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::shared::SharedRef;
use crate::validate::refuse;

/// How long a client may be silent in the middle.
const SILENCE: Duration = Duration::from_secs(60);
/// How often the disk is looked at, in bytes.
const LOOK_EVERY: u64 = 64 * 1024 * 1024;

/// A body's bytes.
pub(super) struct Pieces {
    shared: SharedRef,
    stream: BodyDataStream,
    hash: Sha256,
    /// How many bytes there must be, where that is known.
    length: Option<u64>,
    came: u64,
    unlooked: u64,
}

impl Pieces {
    pub(super) fn new(shared: &SharedRef, body: Body, length: Option<u64>) -> Self {
        let shared = SharedRef::clone(shared);
        let (stream, hash) = (body.into_data_stream(), Sha256::new());
        Self { shared, stream, hash, length, came: 0, unlooked: LOOK_EVERY }
    }

    /// The next bytes; nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let hint = "send it again";
        let next = tokio::time::timeout(SILENCE, self.stream.next()).await.map_err(|_| {
            refuse(format!("the upload stood still for {} s", SILENCE.as_secs()), hint)
        })?;
        let Some(bytes) = next else {
            return match self.length {
                Some(length) if length != self.came => Err(self.wrong_length(length)),
                _ => Ok(None),
            };
        };
        let bytes =
            bytes.map_err(|error| refuse(format!("the upload broke off: {error}"), hint))?;
        self.came += bytes.len() as u64;
        self.unlooked += bytes.len() as u64;
        if let Some(length) = self.length.filter(|length| self.came > *length) {
            return Err(self.wrong_length(length));
        }
        if self.unlooked >= LOOK_EVERY {
            self.unlooked = 0;
            self.shared.disk.room_for("the file", LOOK_EVERY)?;
        }
        self.hash.update(&bytes);
        Ok(Some(bytes))
    }

    /// A name for the content, in hex.
    pub(super) fn etag(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn wrong_length(&self, length: u64) -> ApiError {
        let what = format!("the part must have {length} bytes, and {} came", self.came);
        refuse(what, "send the bytes that the upload was begun with")
    }
}
