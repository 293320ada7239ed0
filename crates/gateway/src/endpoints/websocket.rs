//! Connections that become something else than HTTP: WebSockets.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::http::Method;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use metal9_types::FailureKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use super::exchange::{Exchange, Stop};

/// `true` if a request wants to become a WebSocket.
pub(super) fn is_wanted(parts: &Parts) -> bool {
    let has = |name, wanted: &str| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(wanted))
    };
    parts.method == Method::GET && has(CONNECTION, "upgrade") && has(UPGRADE, "websocket")
}

/// Carries bytes both ways until both sides have ended, in the background.
pub(super) fn carry(client: OnUpgrade, upstream: OnUpgrade, mut exchange: Exchange, stop: Stop) {
    metal9_tasks::spawn_infallible("websocket", async move {
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(%error, "a connection did not become a WebSocket");
                return;
            }
        };
        exchange.tell();
        let mut client = Heard::new(TokioIo::new(client));
        let mut upstream = Heard::new(TokioIo::new(upstream));
        let carried = copy_bidirectional(&mut client, &mut upstream);
        tokio::select! {
            carried = carried => match carried {
                Ok(_) if upstream.broke_off(&client) => {
                    let (kind, why) = exchange.why_ended().await.unwrap_or_else(|| {
                        (FailureKind::Crash, "the container closed the connection in the middle".into())
                    });
                    exchange.ends(Some((kind, &why)));
                }
                Ok(_) => {
                    exchange.is_clean();
                    exchange.ends(None);
                }
                Err(error) => {
                    tracing::debug!(%error, "a WebSocket broke off");
                    exchange.ends(Some((FailureKind::Cancelled, "the connection broke off")));
                }
            },
            why = stop => exchange.ends(Some((FailureKind::Cancelled, why))),
        }
    });
}

/// What a server's close frame has at most: two bytes of its head, and 125 (RFC 6455, 5.5).
const LONGEST_CLOSE: usize = 127;
/// The first byte of a close frame that is whole.
const CLOSE: u8 = 0x88;

/// One side of a connection, and how it ended.
struct Heard<S> {
    stream: S,
    /// The last bytes that came from it.
    tail: VecDeque<u8>,
    /// When it ended.
    ended: Option<Instant>,
}

impl<S> Heard<S> {
    fn new(stream: S) -> Self {
        Self { stream, tail: VecDeque::with_capacity(LONGEST_CLOSE), ended: None }
    }

    fn hear(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.ended.get_or_insert_with(Instant::now);
        }
        let last = &bytes[bytes.len().saturating_sub(LONGEST_CLOSE)..];
        let over = (self.tail.len() + last.len()).saturating_sub(LONGEST_CLOSE);
        self.tail.drain(..over);
        self.tail.extend(last);
    }

    /// Whether a server's last frame said that it closes.
    fn said_close(&self) -> bool {
        let tail = &self.tail;
        (2..=tail.len()).any(|length| {
            let start = tail.len() - length;
            tail[start] == CLOSE && usize::from(tail[start + 1]) == length - 2
        })
    }

    /// Whether this, a server, ended before its client did and without a word.
    fn broke_off<C>(&self, client: &Heard<C>) -> bool {
        let first = match (self.ended, client.ended) {
            (Some(own), Some(theirs)) => own <= theirs,
            (own, _) => own.is_some(),
        };
        first && !self.said_close()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.hear(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn a_server_that_says_that_it_closes_does_not_break_off() {
        let server = |pieces: &[&[u8]]| {
            let mut server = Heard::new(());
            pieces.iter().for_each(|piece| server.hear(piece));
            server.hear(&[]);
            server
        };
        let client = Heard::new(());
        let long = [b"x".repeat(500), [&[CLOSE, 4][..], b"\x03\xe8by"].concat()].concat();
        let halves: [&[u8]; 2] = [b"\x81\x02hi\x88", b"\x02\x03\xe8"];
        for closed in [server(&[&[CLOSE, 0]]), server(&[&long]), server(&halves)] {
            assert!(!closed.broke_off(&client));
        }
        for cut in [server(&[]), server(&[b"\x81\x02hi"]), server(&[&[CLOSE, 5], b"half"])] {
            assert!(cut.broke_off(&client));
        }
        // A client that goes without a word was there first.
        let mut gone = Heard::new(());
        gone.hear(&[]);
        assert!(!server(&[b"\x81\x02hi"]).broke_off(&gone));
    }

    #[test]
    fn only_a_whole_handshake_is_one() {
        let parts = |connection: &str, upgrade: &str| {
            let request = Request::get("/").header("connection", connection);
            request.header("upgrade", upgrade).body(()).unwrap().into_parts().0
        };
        assert!(is_wanted(&parts("keep-alive, Upgrade", "WebSocket")));
        assert!(!is_wanted(&parts("keep-alive", "websocket")));
        assert!(!is_wanted(&parts("upgrade", "h2c")));
    }
}
