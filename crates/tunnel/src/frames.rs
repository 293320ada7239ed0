//! Messages in a tunnel's bytes: each behind its length.

use std::io;

use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a message at most: a file as large as a client's message may be, and what is around it.
const LONGEST: usize = metal9_proto::MAX_FRAME_BYTES;

/// Why a message could not be had, or sent.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The bytes.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// It is too long.
    #[error("a message of {0} bytes is longer than may be")]
    Long(usize),
    /// It cannot be read.
    #[error("a message makes no sense")]
    Nonsense(#[from] prost::DecodeError),
}

/// Sends a message.
///
/// # Errors
/// When it is too long, or the connection is gone.
pub async fn write_frame(
    io: &mut (impl AsyncWrite + Unpin),
    message: &impl Message,
) -> Result<(), FrameError> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= LONGEST);
    io.write_u32(length.ok_or(FrameError::Long(bytes.len()))?).await?;
    io.write_all(&bytes).await?;
    Ok(io.flush().await?)
}

/// The next message; nothing when the other side has said all.
///
/// # Errors
/// When it is too long or makes no sense, or the connection is gone.
pub async fn read_frame<M: Message + Default>(
    io: &mut (impl AsyncRead + Unpin),
) -> Result<Option<M>, FrameError> {
    let length = match io.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if length > LONGEST {
        return Err(FrameError::Long(length));
    }
    let mut bytes = vec![0; length];
    io.read_exact(&mut bytes).await?;
    Ok(Some(M::decode(&*bytes)?))
}

#[cfg(test)]
mod tests {
    use metal9_proto::worker::WorkspaceAnswer;

    use super::*;

    #[tokio::test]
    async fn messages_come_as_they_were_sent_and_then_the_end() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let sending = async {
            for problem in ["", "no room"] {
                let answer = WorkspaceAnswer { problem: problem.to_owned() };
                write_frame(&mut near, &answer).await.unwrap();
            }
            drop(near);
        };
        let reading = async {
            let mut problems = Vec::new();
            while let Some(WorkspaceAnswer { problem }) = read_frame(&mut far).await.unwrap() {
                problems.push(problem);
            }
            problems
        };
        let ((), problems) = tokio::join!(sending, reading);
        assert_eq!(problems, ["", "no room"]);
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_waited_for() {
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_u32(u32::MAX).await.unwrap();
        let read = read_frame::<WorkspaceAnswer>(&mut far).await;
        assert!(matches!(read, Err(FrameError::Long(_))), "{read:?}");
    }
}
