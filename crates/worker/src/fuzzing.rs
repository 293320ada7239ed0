//! Doors for the fuzzer to what is private. Compiled by it only.

use std::path::Path;

use bytes::BytesMut;

use crate::code::unpack::{Bounds, unpack};
use crate::runner::frames::decode;

/// Unpacks a code archive.
///
/// # Errors
/// When the archive is refused.
pub fn unpack_archive(
    archive: &Path,
    target: &Path,
    entries: usize,
    bytes: u64,
) -> Result<(), String> {
    unpack(archive, target, Bounds { entries, bytes }).map_err(|error| error.to_string())
}

/// The messages in a runner's bytes that come in pieces, and what is wrong with the rest.
#[must_use]
pub fn runner_messages(pieces: &[&[u8]]) -> Vec<String> {
    let mut said = Vec::new();
    let mut buffer = BytesMut::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decode(&mut buffer) {
                Ok(Some(message)) => said.push(format!("{message:?}")),
                Ok(None) => break,
                Err(error) => {
                    said.push(error.to_string());
                    return said;
                }
            }
        }
    }
    said
}
