//! What worker and supervisor say to each other.
//!
//! The worker first sends the [`Launch`] (length and JSON; the program's descriptors travel with the
//! length), then requests of one byte each. The supervisor answers in order with replies of
//! [`REPLY_BYTES`] bytes; [`Reply::Exited`] and [`Reply::Signalled`] come unasked.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::cgroup::{Group, WirePlaces};
use crate::isolation::Isolation;
use crate::launch::{Launch, Limits};
use crate::oci::Container;

/// A launch description longer than this is refused by the supervisor.
pub(crate) const MAX_LAUNCH_BYTES: usize = 8 << 20;

/// How many descriptors travel with the launch: channel, standard output, standard error.
pub(crate) const LAUNCH_FDS: usize = 3;

/// Most descriptors that travel with a reply.
pub(crate) const MAX_LISTENERS: usize = 2;

/// The length of every reply.
pub(crate) const REPLY_BYTES: usize = 5;

/// [`Launch`] as it is sent: every path as an `OsString`, which JSON can hold whatever its bytes.
#[derive(Serialize, Deserialize)]
pub(crate) struct WireLaunch {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: OsString,
    pub(crate) limits: Limits,
    pub(crate) group: Option<WirePlaces>,
    pub(crate) account: Option<Account>,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) container: Option<Container>,
}

impl From<Launch> for WireLaunch {
    fn from(launch: Launch) -> Self {
        let Launch { program, args, env, cwd, limits, group, account, isolation, container } =
            launch;
        let (program, cwd) = (program.into(), cwd.into());
        let group = group.map(|group| group.to_wire());
        Self { program, args, env, cwd, limits, group, account, isolation, container }
    }
}

impl From<WireLaunch> for Launch {
    fn from(launch: WireLaunch) -> Self {
        let WireLaunch { program, args, env, cwd, limits, group, account, isolation, container } =
            launch;
        let (program, cwd) = (PathBuf::from(program), PathBuf::from(cwd));
        let group = group.map(Group::from_wire);
        Self { program, args, env, cwd, limits, group, account, isolation, container }
    }
}

/// What the worker may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Remember the processes that exist now.
    Mark,
    /// Kill those that are not remembered.
    Reap,
    /// Send SIGTERM to the program.
    Terminate,
    /// Kill everything and end; has no reply but the end of the socket.
    Kill,
}

impl Request {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Mark => b'm',
            Self::Reap => b'r',
            Self::Terminate => b't',
            Self::Kill => b'k',
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Mark, Self::Reap, Self::Terminate, Self::Kill]
            .into_iter()
            .find(|request| request.to_byte() == byte)
    }
}

/// What the supervisor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The program runs, with this process id.
    Started(i32),
    /// The working directory cannot be entered: errno.
    NoDirectory(i32),
    /// The program cannot be executed: errno.
    NoExec(i32),
    /// The program's cgroup cannot be entered: errno.
    NoGroup(i32),
    /// The program cannot be isolated: step and errno, as [`crate::Step::of`] reads them.
    NotIsolated(i32),
    /// The container could not be made: the code with which its runtime ended, which has told why on
    /// the program's standard error, or the negative of an errno.
    NoContainer(i32),
    /// So many listening sockets of the program's own network come with this.
    Listening(i32),
    /// A request is done; for a reap, how many processes were killed.
    Done(i32),
    /// A request failed: errno.
    Failed(i32),
    /// The program ended with this code.
    Exited(i32),
    /// This signal ended the program.
    Signalled(i32),
}

impl Reply {
    pub(crate) fn encode(self) -> [u8; REPLY_BYTES] {
        let (tag, value) = match self {
            Self::Started(value) => (b's', value),
            Self::NoDirectory(value) => (b'w', value),
            Self::NoExec(value) => (b'n', value),
            Self::NoGroup(value) => (b'c', value),
            Self::NotIsolated(value) => (b'i', value),
            Self::NoContainer(value) => (b'o', value),
            Self::Listening(value) => (b'l', value),
            Self::Done(value) => (b'd', value),
            Self::Failed(value) => (b'f', value),
            Self::Exited(value) => (b'x', value),
            Self::Signalled(value) => (b'g', value),
        };
        let [a, b, c, d] = value.to_be_bytes();
        [tag, a, b, c, d]
    }

    pub(crate) fn decode([tag, a, b, c, d]: [u8; REPLY_BYTES]) -> io::Result<Self> {
        let value = i32::from_be_bytes([a, b, c, d]);
        Ok(match tag {
            b's' => Self::Started(value),
            b'w' => Self::NoDirectory(value),
            b'n' => Self::NoExec(value),
            b'c' => Self::NoGroup(value),
            b'i' => Self::NotIsolated(value),
            b'o' => Self::NoContainer(value),
            b'l' => Self::Listening(value),
            b'd' => Self::Done(value),
            b'f' => Self::Failed(value),
            b'x' => Self::Exited(value),
            b'g' => Self::Signalled(value),
            other => {
                let message = format!("unknown reply {other:#04x} from the supervisor");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_survives_the_wire() {
        for reply in [
            Reply::Started(7),
            Reply::NoDirectory(2),
            Reply::NoExec(13),
            Reply::NoGroup(2),
            Reply::NotIsolated(3 << 16 | 1),
            Reply::NoContainer(-1),
            Reply::Listening(2),
            Reply::Done(0),
            Reply::Failed(-1),
            Reply::Exited(255),
            Reply::Signalled(9),
        ] {
            assert_eq!(Reply::decode(reply.encode()).unwrap(), reply);
        }
        assert!(Reply::decode([0; REPLY_BYTES]).is_err());
    }

    #[test]
    fn every_request_survives_the_wire() {
        for request in [Request::Mark, Request::Reap, Request::Terminate, Request::Kill] {
            assert_eq!(Request::from_byte(request.to_byte()), Some(request));
        }
        assert_eq!(Request::from_byte(0), None);
    }
}
