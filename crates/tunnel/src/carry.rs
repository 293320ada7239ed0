//! Moving the bytes.

use std::fmt::Display;
use std::io;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, pin_mut};
use metal9_proto::worker::TunnelMessage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::credit::{Credit, Debt, TUNNEL_WINDOW};

/// Bytes in one message.
const PIECE: usize = 64 * 1024;

/// So much is passed on before it is told, unless nothing else waits.
const TELL: usize = TUNNEL_WINDOW / 4;

/// Why a tunnel ended before both sides had said all.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The connection here.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The messages ended.
    #[error("the other side is gone: {0}")]
    Gone(String),
    /// The other side does not keep to its window.
    #[error("the other side sent more than it may")]
    Overrun,
}

/// Carries bytes between `io` and the other side until both have said all.
///
/// # Errors
/// When either side goes before that. What is dropped then is the end of the tunnel.
pub async fn carry<IO, M, E>(
    io: IO,
    messages: M,
    out: mpsc::Sender<TunnelMessage>,
) -> Result<(), TunnelError>
where
    IO: AsyncRead + AsyncWrite,
    M: Stream<Item = Result<TunnelMessage, E>>,
    E: Display,
{
    let (reader, writer) = tokio::io::split(io);
    let (credit, debt) = (Credit::new(), Debt::default());
    // Bounded by the window: what is more than that ends the tunnel.
    let (pieces, queued) = mpsc::unbounded_channel();
    let sending = send(reader, &credit, &out);
    let receiving = receive(messages, &credit, &debt, pieces);
    let passing = pass_on(writer, queued, &debt, &out);
    pin_mut!(sending, receiving, passing);
    let (mut sent, mut passed) = (false, false);
    // The messages are read as long as anything is sent, for the credit that they bring.
    while !(sent && passed) {
        tokio::select! {
            result = &mut sending, if !sent => { result?; sent = true; }
            result = &mut passing, if !passed => { result?; passed = true; }
            error = &mut receiving => return Err(error),
        }
    }
    Ok(())
}

/// Sends what is read here.
async fn send(
    mut reader: impl AsyncRead + Unpin,
    credit: &Credit,
    out: &mpsc::Sender<TunnelMessage>,
) -> Result<(), TunnelError> {
    let mut buffer = BytesMut::new();
    loop {
        let most = credit.available().await.min(PIECE);
        buffer.reserve(most);
        let read = (&mut reader).take(most as u64).read_buf(&mut buffer).await?;
        credit.spend(read);
        let data = buffer.split().freeze();
        let message = TunnelMessage { data, end: read == 0, ..Default::default() };
        out.send(message).await.map_err(|_| TunnelError::Gone("it does not listen".to_owned()))?;
        if read == 0 {
            return Ok(());
        }
    }
}

/// Takes what the other side sends, at once. Returns when it is gone.
async fn receive<E: Display>(
    messages: impl Stream<Item = Result<TunnelMessage, E>>,
    credit: &Credit,
    debt: &Debt,
    pieces: mpsc::UnboundedSender<Bytes>,
) -> TunnelError {
    let mut pieces = Some(pieces);
    pin_mut!(messages);
    loop {
        let message = match messages.next().await {
            Some(Ok(message)) => message,
            // It had said all, so nothing of what it sent is missing.
            _ if pieces.is_none() => return std::future::pending().await,
            Some(Err(error)) => return TunnelError::Gone(error.to_string()),
            None => return TunnelError::Gone("it ended".to_owned()),
        };
        if message.consumed > 0 && !credit.refund(message.consumed as usize) {
            return TunnelError::Overrun;
        }
        if !message.data.is_empty() {
            if !debt.add(message.data.len()) {
                return TunnelError::Overrun;
            }
            // Data after the end is dropped, as is data that nobody takes any more.
            if let Some(pieces) = &pieces {
                let _ = pieces.send(message.data);
            }
        }
        if message.end {
            pieces = None;
        }
    }
}

/// Writes here what the other side has sent, and tells it how much.
async fn pass_on(
    mut writer: impl AsyncWrite + Unpin,
    mut pieces: mpsc::UnboundedReceiver<Bytes>,
    debt: &Debt,
    out: &mpsc::Sender<TunnelMessage>,
) -> Result<(), TunnelError> {
    let mut untold = 0;
    while let Some(piece) = pieces.recv().await {
        writer.write_all(&piece).await?;
        debt.pay(piece.len());
        untold += piece.len();
        if untold >= TELL {
            let consumed = u32::try_from(std::mem::take(&mut untold)).unwrap_or(u32::MAX);
            // One that does not listen any more sends nothing either.
            let _ = out.send(TunnelMessage { consumed, ..Default::default() }).await;
        }
        if pieces.is_empty() {
            writer.flush().await?;
        }
    }
    writer.shutdown().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    type Ended = tokio::task::JoinHandle<Result<(), TunnelError>>;

    fn side(
        io: DuplexStream,
        from: mpsc::Receiver<TunnelMessage>,
        to: mpsc::Sender<TunnelMessage>,
    ) -> Ended {
        let messages = ReceiverStream::new(from).map(Ok::<_, String>);
        #[expect(clippy::disallowed_methods, reason = "a test")]
        tokio::spawn(carry(io, messages, to))
    }

    /// Both ends of a tunnel, and what came of its sides.
    fn tunnel() -> (DuplexStream, DuplexStream, Ended, Ended) {
        let (one, near) = duplex(1024);
        let (other, far) = duplex(1024);
        let (to_far, from_near) = mpsc::channel(4);
        let (to_near, from_far) = mpsc::channel(4);
        let first = side(near, from_far, to_far);
        let second = side(far, from_near, to_near);
        (one, other, first, second)
    }

    #[tokio::test]
    async fn more_than_a_window_arrives_in_order_in_both_directions() {
        let (mut one, mut other, first, second) = tunnel();
        let sent: Vec<u8> = (0..3 * TUNNEL_WINDOW + 7).map(|at| (at % 251) as u8).collect();
        let (echoed, heard) = tokio::join!(
            async {
                let (mut reader, mut writer) = tokio::io::split(&mut other);
                tokio::io::copy(&mut reader, &mut writer).await.unwrap();
                writer.shutdown().await
            },
            async {
                let (mut reader, mut writer) = tokio::io::split(&mut one);
                let mut heard = Vec::new();
                let (written, read) = tokio::join!(
                    async {
                        writer.write_all(&sent).await.unwrap();
                        writer.shutdown().await
                    },
                    reader.read_to_end(&mut heard)
                );
                written.unwrap();
                read.unwrap();
                heard
            }
        );
        echoed.unwrap();
        assert!(heard == sent, "{} bytes of {}", heard.len(), sent.len());
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_slow_reader_costs_one_window() {
        let (mut one, other, _first, _second) = tunnel();
        let mut written = 0;
        let piece = [7; 4096];
        // Whatever the buffers on the way take, it comes to a halt.
        let quiet = std::time::Duration::from_millis(200);
        while let Ok(result) = tokio::time::timeout(quiet, one.write_all(&piece)).await {
            result.unwrap();
            written += piece.len();
            assert!(written < 2 * TUNNEL_WINDOW, "nothing holds it back");
        }
        assert!(written >= TUNNEL_WINDOW / 2);
        drop(other);
    }

    #[tokio::test]
    async fn when_one_end_goes_the_other_hears_of_it() {
        let (mut one, other, _first, second) = tunnel();
        drop(other);
        let end = one.read(&mut [0; 1]).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        drop(one);
        let _ = second.await.unwrap();
    }

    #[tokio::test]
    async fn who_sends_more_than_a_window_is_cut_off() {
        let (_io, near) = duplex(16);
        let (to, from) = mpsc::channel(64);
        let (out, _replies) = mpsc::channel(64);
        let ended = side(near, from, out);
        for _ in 0..20 {
            let data = Bytes::from(vec![0; 64 * 1024]);
            if to.send(TunnelMessage { data, ..Default::default() }).await.is_err() {
                break;
            }
        }
        assert!(matches!(ended.await.unwrap(), Err(TunnelError::Overrun)));
    }
}
