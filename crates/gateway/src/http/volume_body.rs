//! Reading the body of an upload: in pieces, hashed, within bounds.

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::TryStreamExt;
use metal9_volume::hex;
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::inflow::{self, Room};
use crate::shared::SharedRef;
use crate::validate::refuse;

/// A body's bytes.
pub(super) struct Pieces {
    shared: SharedRef,
    stream: BodyDataStream,
    hash: Sha256,
    /// How many bytes there must be, where that is known.
    length: Option<u64>,
    came: u64,
    room: Room,
}

impl Pieces {
    pub(super) fn new(shared: &SharedRef, body: Body, length: Option<u64>) -> Self {
        let shared = SharedRef::clone(shared);
        let (stream, hash) = (body.into_data_stream(), Sha256::new());
        Self { shared, stream, hash, length, came: 0, room: Room::new("the file") }
    }

    /// The next bytes; nothing at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Some(bytes) = inflow::next("upload", self.stream.try_next()).await? else {
            return match self.length {
                Some(length) if length != self.came => Err(self.wrong_length(length)),
                _ => Ok(None),
            };
        };
        self.came += bytes.len() as u64;
        if let Some(length) = self.length.filter(|length| self.came > *length) {
            return Err(self.wrong_length(length));
        }
        self.room.take(&self.shared.disk, bytes.len())?;
        self.hash.update(&bytes);
        Ok(Some(bytes))
    }

    /// A name for the content, in hex.
    pub(super) fn etag(self) -> String {
        hex(&self.hash.finalize())
    }

    fn wrong_length(&self, length: u64) -> ApiError {
        let what = format!("the part must have {length} bytes, and {} came", self.came);
        refuse(what, "send the bytes that the upload was begun with")
    }
}
