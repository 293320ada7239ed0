//! A runner: the Python process inside a container, its socket, its outputs and its directory.

mod account;
mod cdi;
mod directory;
pub(crate) mod frames;
mod gpu;
mod isolation;
mod launch;
mod messages;
mod networks;
mod oci;
mod relay;
mod shape;
mod supervisor;

#[cfg(test)]
pub(crate) mod scripted;

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use futures::FutureExt;
use metal9_env::Lease;
use metal9_sandbox::Exit;
use metal9_types::Failure;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::container::Addresses;
use crate::memory::{Excess, MemoryWatch};
use crate::output::Pump;
use crate::volumes::Copies;
pub use account::AccountError;
pub(crate) use cdi::Gpus;
pub(crate) use directory::ContainerDirectory;
pub(crate) use frames::FrameError;
use frames::FrameReader;
pub use gpu::gpu_obstacle;
pub use isolation::IsolationError;
pub(crate) use isolation::{Described, Guard};
pub(crate) use launch::{Base, LaunchError, Launcher};
pub(crate) use messages::{CallFrame, CancelReason, FromRunner, Load, ToRunner};
pub(crate) use networks::OwnNetwork;
pub use oci::{Containers, OciError, containers};
pub(crate) use relay::Relay;
pub(crate) use shape::{Early, Shape};
pub(crate) use supervisor::Supervisor;

/// How long after a program's end its last messages are waited for. They are in the socket already:
/// this only bounds what happens if something else holds the other end open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A runner that has said it is ready. Dropping it kills its processes, in the background.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) supervisor: Supervisor,
    pub(crate) pump: Pump,
    pub(crate) directory: ContainerDirectory,
    /// Where its OCI runtime keeps what it knows, if it has one.
    pub(crate) aside: Option<ContainerDirectory>,
    /// Its container's network.
    pub(crate) own_network: Option<OwnNetwork>,
    pub(crate) memory: MemoryWatch,
    /// Its Python version, as `3.11.7`.
    pub(crate) python: String,
    /// Its copies of volumes that are on another machine, and what the others stand on.
    pub(crate) copies: Copies,
    /// Keeps its environment.
    pub(crate) environment: Lease,
    /// Keeps its root filesystem.
    pub(crate) root: Option<metal9_rootfs::Lease>,
    /// Where its own network is listened on for connections to the gateway.
    pub(crate) listeners: Vec<TcpListener>,
    /// Carries them there, once it is known where that is.
    relay: Option<Relay>,
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Runner {
    /// A runner that has yet to say it is ready.
    pub(crate) fn new(
        supervisor: Supervisor,
        channel: UnixStream,
        pump: Pump,
        directory: ContainerDirectory,
    ) -> Self {
        let (reader, writer) = channel.into_split();
        let reader = FrameReader::new(reader);
        let (memory, python) = (MemoryWatch::unlimited(), String::new());
        Self {
            supervisor,
            pump,
            directory,
            aside: None,
            own_network: None,
            memory,
            python,
            copies: Copies::default(),
            environment: Lease::default(),
            root: None,
            listeners: Vec::new(),
            relay: None,
            reader,
            writer,
        }
    }

    /// Where the job reaches a gateway at these addresses: at them, or at a relay.
    pub(crate) fn addresses(&mut self, gateway: &Addresses) -> io::Result<Addresses> {
        if let Ok(listeners) = std::mem::take(&mut self.listeners).try_into() {
            self.relay = Some(Relay::start(listeners, gateway)?);
        }
        Ok(self.relay.as_ref().map_or(gateway, |relay| &relay.addresses).clone())
    }

    /// Sends a message. Must not be dropped half-way unless the runner is given up.
    pub(crate) async fn send(&mut self, message: &ToRunner) -> Result<(), FrameError> {
        let frame = frames::encode(message)?;
        self.writer.write_all(&frame).await.map_err(FrameError::Socket)
    }

    /// What happens next. Messages sent before the program ended come first. Can be dropped and
    /// called again.
    pub(crate) async fn happens(&mut self) -> Happening {
        tokio::select! {
            biased;
            message = self.reader.next() => match message {
                Ok(Some(message)) => Happening::Message(message),
                Ok(None) => Happening::Closed,
                Err(error) => Happening::Broken(error),
            },
            excess = self.memory.exceeded(&self.supervisor) => Happening::Memory(excess),
            exit = self.supervisor.wait() => Happening::Exit(exit),
            () = self.copies.ground.lost() => Happening::VolumesLost,
        }
    }

    /// A message that the program sent just before it ended.
    pub(crate) async fn last_words(&mut self) -> Option<FromRunner> {
        tokio::time::timeout(LAST_WORDS, self.reader.next()).await.ok()?.ok()?
    }

    /// Why a call failed: for want of memory if the kernel says so, else as it looked.
    pub(crate) fn explain(&self, looked_like: Failure) -> Failure {
        let killed = self.memory.killed(&self.supervisor);
        match killed {
            Some(excess) => self.memory.failure(excess),
            None => self.memory.suspect(&looked_like).unwrap_or(looked_like),
        }
    }

    /// `true` if the program has ended already.
    pub(crate) fn has_ended(&self) -> bool {
        self.supervisor.wait().now_or_never().is_some()
    }
}

/// What a runner does.
#[derive(Debug)]
pub(crate) enum Happening {
    Message(FromRunner),
    /// The runner closed its socket; its end follows, or it is up to something.
    Closed,
    /// What it sent makes no sense.
    Broken(FrameError),
    /// It wants more memory than it asked for.
    Memory(Excess),
    Exit(Exit),
    /// What its volumes stand on is gone. Happens once.
    VolumesLost,
}
