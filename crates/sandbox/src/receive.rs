//! Receiving the supervisor's first replies, which may bring sockets.

use std::io::{self, IoSliceMut};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::shim::RECEIVE_FLAGS;
use crate::wire::{MAX_LISTENERS, REPLY_BYTES, Reply};

/// Waits for one reply and what came with it. Loses part of a reply if it is dropped half-way.
pub(crate) async fn receive(control: &UnixStream) -> io::Result<(Reply, Vec<TcpListener>)> {
    let mut bytes = [0; REPLY_BYTES];
    let mut filled = 0;
    let mut sockets = Vec::new();
    while filled < REPLY_BYTES {
        let part = &mut bytes[filled..];
        let read = control.async_io(Interest::READABLE, || part_of(control, part, &mut sockets));
        match read.await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    let listeners = sockets.into_iter().map(TcpListener::from).collect();
    Ok((Reply::decode(bytes)?, listeners))
}

fn part_of(control: &UnixStream, into: &mut [u8], sockets: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = cmsg_space!([RawFd; MAX_LISTENERS]);
    let mut buffers = [IoSliceMut::new(into)];
    let message =
        recvmsg::<()>(control.as_raw_fd(), &mut buffers, Some(&mut space), RECEIVE_FLAGS)?;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = part {
            // SAFETY: the kernel has just made these descriptors for this process, and nothing
            // else knows them.
            sockets.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(message.bytes)
}
