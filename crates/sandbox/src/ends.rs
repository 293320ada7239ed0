use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;

use crate::wire::LAUNCH_FDS;

/// Everything between the worker and a new program.
pub(crate) struct Ends {
    pub(crate) control: UnixStream,
    pub(crate) channel: UnixStream,
    pub(crate) stdout: Receiver,
    pub(crate) stderr: Receiver,
    /// The supervisor's end of the control socket, in which the program's descriptors and the
    /// length of the launch description already wait.
    pub(crate) shim_end: OwnedFd,
}

impl Ends {
    pub(crate) fn make(description_bytes: usize) -> io::Result<Self> {
        let length = u32::try_from(description_bytes).map_err(io::Error::other)?;
        let (control, shim_end) = StdStream::pair()?;
        let (channel, program_channel) = StdStream::pair()?;
        let (stdout, program_stdout) = io::pipe()?;
        let (stderr, program_stderr) = io::pipe()?;

        let fds: [_; LAUNCH_FDS] =
            [program_channel.as_raw_fd(), program_stdout.as_raw_fd(), program_stderr.as_raw_fd()];
        let length = length.to_be_bytes();
        let sent = sendmsg::<()>(
            control.as_raw_fd(),
            &[IoSlice::new(&length)],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::empty(),
            None,
        )?;
        if sent != length.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }

        control.set_nonblocking(true)?;
        channel.set_nonblocking(true)?;
        Ok(Self {
            control: UnixStream::from_std(control)?,
            channel: UnixStream::from_std(channel)?,
            stdout: Receiver::from_owned_fd(stdout.into())?,
            stderr: Receiver::from_owned_fd(stderr.into())?,
            shim_end: shim_end.into(),
        })
    }
}
