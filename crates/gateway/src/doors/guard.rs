//! Taking connections: not more than there is room for, and none that says nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use metal9_tls::{Listener, Peer, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// How a peer shows that it speaks the protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    /// By so many bytes.
    Bytes(usize),
    /// By so many bytes, or by having been answered.
    BytesOrAnswer(usize),
}

/// A port.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Listener,
    room: Arc<Semaphore>,
    greeting: Duration,
    proof: Proof,
    turned_away: AtomicU64,
}

impl Door {
    /// A port through which peers come in as long as `room` lasts.
    pub(crate) fn new(
        listener: Listener,
        room: Arc<Semaphore>,
        greeting: Duration,
        proof: Proof,
    ) -> Self {
        Self { listener, room, greeting, proof, turned_away: AtomicU64::new(0) }
    }

    /// The next connection. One for which there is no room is closed at once, so that its peer
    /// knows; those that are in are not disturbed.
    pub(crate) async fn accept(&mut self) -> (Guarded, SocketAddr) {
        loop {
            let (io, peer) = self.listener.next().await;
            let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
                let count = self.turned_away.fetch_add(1, Ordering::Relaxed) + 1;
                ::metrics::counter!(crate::metrics::CONNECTIONS_REFUSED).increment(1);
                if count.is_power_of_two() {
                    tracing::warn!(
                        count,
                        "turned connections away: gateway.max_connections are open"
                    );
                }
                continue;
            };
            let (needed, or_answer) = match self.proof {
                Proof::Bytes(needed) => (needed, false),
                Proof::BytesOrAnswer(needed) => (needed, true),
            };
            let wait = Some(Box::pin(tokio::time::sleep(self.greeting)));
            return (Guarded { io, wait, needed, or_answer, _permit: permit }, peer);
        }
    }
}

/// A connection that ends by itself if its peer does not show in time that it speaks the protocol.
#[derive(Debug)]
pub(crate) struct Guarded {
    io: Stream,
    wait: Option<Pin<Box<Sleep>>>,
    needed: usize,
    or_answer: bool,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                let count = buffer.filled().len() - before;
                self.needed = self.needed.saturating_sub(count);
                if self.needed == 0 {
                    self.wait = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let Some(wait) = &mut self.wait else { return Poll::Pending };
                ready!(wait.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer said nothing")))
            }
        }
    }
}

impl Guarded {
    fn answered(&mut self, written: &Poll<io::Result<usize>>) {
        if self.or_answer && matches!(written, Poll::Ready(Ok(_))) {
            self.wait = None;
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.answered(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.answered(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl Connected for Guarded {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.io.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn door(connections: usize, proof: Proof) -> (Door, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let room = Arc::new(Semaphore::new(connections));
        let listener = Listener::new(listener, None);
        (Door::new(listener, room, Duration::from_millis(50), proof), address)
    }

    #[tokio::test]
    async fn a_peer_that_says_too_little_is_dropped() {
        let (mut door, address) = door(1, Proof::Bytes(4)).await;
        let mut peer = TcpStream::connect(address).await.unwrap();
        let (mut guarded, _) = door.accept().await;
        peer.write_all(b"PRI").await.unwrap();
        let mut read = Vec::new();
        let error = guarded.read_to_end(&mut read).await.unwrap_err();
        assert_eq!((error.kind(), &read[..]), (io::ErrorKind::TimedOut, &b"PRI"[..]));
    }

    #[tokio::test]
    async fn a_peer_that_has_shown_itself_may_be_silent() {
        let (mut door, address) = door(1, Proof::Bytes(4)).await;
        let mut peer = TcpStream::connect(address).await.unwrap();
        let (mut guarded, _) = door.accept().await;
        peer.write_all(b"PRI*").await.unwrap();
        let mut four = [0; 4];
        guarded.read_exact(&mut four).await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(150), guarded.read(&mut four));
        assert!(silence.await.is_err(), "it was dropped although it had said enough");
    }

    #[tokio::test]
    async fn a_peer_without_room_is_closed_and_one_that_left_makes_room() {
        let (mut door, address) = door(1, Proof::Bytes(1)).await;
        let first = TcpStream::connect(address).await.unwrap();
        let inside = door.accept().await;
        let mut second = TcpStream::connect(address).await.unwrap();
        let third = TcpStream::connect(address).await.unwrap();
        let next = tokio::select! {
            _ = door.accept() => panic!("there was no room"),
            read = second.read_u8() => read,
        };
        assert!(next.is_err(), "it was let in");
        drop((first, inside, third));
        let _fourth = TcpStream::connect(address).await.unwrap();
        let _inside = door.accept().await;
    }
}
