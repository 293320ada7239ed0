//! Frames on the socket between worker and runner: a length of four bytes, then MessagePack.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::runner::messages::{FromRunner, ToRunner};

/// The largest frame either side may send, in bytes without the length.
pub(crate) const MAX_FRAME_BYTES: usize = 20 * 1024 * 1024;

const LENGTH_BYTES: usize = 4;

/// A buffer that has grown beyond this is given back after its frame.
const KEEP_BYTES: usize = 1024 * 1024;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a message of {0} bytes is larger than the limit of {MAX_FRAME_BYTES}")]
    TooLarge(usize),
    #[error("the socket ended in the middle of a message")]
    Torn,
    #[error("a message could not be written as MessagePack")]
    Encode(#[source] rmp_serde::encode::Error),
    #[error("a message could not be understood")]
    Decode(#[source] rmp_serde::decode::Error),
    #[error("the socket to the runner failed")]
    Socket(#[source] io::Error),
}

/// The whole frame of a message.
pub(crate) fn encode(message: &ToRunner) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; LENGTH_BYTES];
    rmp_serde::encode::write_named(&mut frame, message).map_err(FrameError::Encode)?;
    let length = frame.len() - LENGTH_BYTES;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_FRAME_BYTES => {
            frame[..LENGTH_BYTES].copy_from_slice(&prefix.to_be_bytes());
            Ok(frame)
        }
        _ => Err(FrameError::TooLarge(length)),
    }
}

/// Takes one message off the front of `buffer`, if all of it is there.
pub(crate) fn decode(buffer: &mut BytesMut) -> Result<Option<FromRunner>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = u32::from_be_bytes(*prefix) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    let Some(body) = buffer.get(LENGTH_BYTES..LENGTH_BYTES + length) else {
        buffer.reserve(LENGTH_BYTES + length - buffer.len());
        return Ok(None);
    };
    let message = rmp_serde::from_slice(body).map_err(FrameError::Decode)?;
    buffer.advance(LENGTH_BYTES + length);
    if buffer.is_empty() && buffer.capacity() > KEEP_BYTES {
        *buffer = BytesMut::new();
    }
    Ok(Some(message))
}

/// Reads messages; what was read of an unfinished one is kept if [`FrameReader::next`] is dropped.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    socket: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(socket: R) -> Self {
        Self { socket, buffer: BytesMut::new() }
    }

    /// The next message; nothing at the socket's end.
    pub(crate) async fn next(&mut self) -> Result<Option<FromRunner>, FrameError> {
        loop {
            if let Some(message) = decode(&mut self.buffer)? {
                return Ok(Some(message));
            }
            self.buffer.reserve(4096);
            let read = self.socket.read_buf(&mut self.buffer).await.map_err(FrameError::Socket)?;
            if read == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::Torn) };
            }
        }
    }
}

#[cfg(test)]
mod tests;
