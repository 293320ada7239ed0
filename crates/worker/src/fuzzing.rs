//! Doors for the fuzzer to what is private. Compiled by it only.

use bytes::BytesMut;

use crate::runner::frames::decode;

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
