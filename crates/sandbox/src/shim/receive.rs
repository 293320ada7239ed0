//! The control socket, seen from the supervisor.

use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recv, recvmsg};

use crate::launch::Launch;
use crate::wire::{LAUNCH_FDS, MAX_LAUNCH_BYTES, Reply, WireLaunch};

/// The program's descriptors: its channel, standard output and standard error.
pub(super) type ProgramFds = [OwnedFd; LAUNCH_FDS];

/// Standard input, which the worker made a socket.
pub(super) struct Control(UnixStream);

impl Control {
    /// To be called once.
    pub(super) fn standard_input() -> Self {
        // SAFETY: descriptor 0 is open, because Rust's start-up opens it if nobody else has, and
        // the supervisor uses its standard input in no other way.
        Self(UnixStream::from(unsafe { OwnedFd::from_raw_fd(libc::STDIN_FILENO) }))
    }

    pub(super) fn receive_launch(&self) -> io::Result<(Launch, ProgramFds)> {
        let (length, fds) = self.receive_length()?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        if length > MAX_LAUNCH_BYTES {
            return Err(invalid("the launch description is too long"));
        }
        let mut json = vec![0; length];
        (&self.0).read_exact(&mut json)?;
        let launch: WireLaunch = serde_json::from_slice(&json)?;
        Ok((launch.into(), fds))
    }

    fn receive_length(&self) -> io::Result<(u32, ProgramFds)> {
        let mut length = [0; 4];
        let mut space = cmsg_space!([RawFd; LAUNCH_FDS]);
        let mut buffers = [IoSliceMut::new(&mut length)];
        let message = recvmsg::<()>(
            self.0.as_raw_fd(),
            &mut buffers,
            Some(&mut space),
            super::host::RECEIVE_FLAGS,
        )?;
        let mut fds = Vec::new();
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = part {
                // SAFETY: the kernel has just made these descriptors for this process, and nothing
                // else knows them.
                fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        if message.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if message.bytes != length.len() {
            return Err(invalid("the launch description has no length"));
        }
        let fds = fds.try_into().map_err(|_| invalid("the program's descriptors are missing"))?;
        Ok((u32::from_be_bytes(length), fds))
    }

    pub(super) fn send(&self, reply: Reply) -> io::Result<()> {
        (&self.0).write_all(&reply.encode())
    }

    /// The requests that have come, as bytes; none at all when the worker's end is closed.
    pub(super) fn receive_requests<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        loop {
            match (&self.0).read(buffer) {
                Ok(count) => return &buffer[..count],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return &[],
            }
        }
    }

    /// Whether the worker's end is closed.
    pub(super) fn is_closed(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(self.0.as_raw_fd(), &mut [0], flags) {
            Ok(count) => count == 0,
            Err(error) => error != Errno::EAGAIN,
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a reply and descriptors with it, also from a process that has yet to become the program.
pub(super) fn send_with(control: &OwnedFd, reply: Reply, fds: &[OwnedFd]) -> io::Result<()> {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    let bytes = reply.encode();
    let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    let with = if fds.is_empty() { &[][..] } else { &rights };
    let buffers = [io::IoSlice::new(&bytes)];
    let sent = sendmsg::<()>(control.as_raw_fd(), &buffers, with, MsgFlags::empty(), None)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
