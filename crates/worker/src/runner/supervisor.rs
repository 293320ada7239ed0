//! Who watches over a runner's processes.

use std::io;

use metal9_sandbox::{Exit, Process};

/// The real supervisor, or in tests one that is told what to say.
#[derive(Debug)]
pub(crate) enum Supervisor {
    Process(Process),
    #[cfg(test)]
    Scripted(crate::runner::scripted::Scripted),
}

impl Supervisor {
    /// Processes that exist now belong to the container.
    pub(crate) async fn mark(&self) -> io::Result<()> {
        match self {
            Self::Process(process) => process.mark().await,
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.mark(),
        }
    }

    /// Kills what was started since the mark and returns how many that were.
    pub(crate) async fn reap(&self) -> io::Result<u32> {
        match self {
            Self::Process(process) => process.reap().await,
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.reap(),
        }
    }

    /// Kills everything and returns when it is gone.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        match self {
            Self::Process(process) => process.kill().await,
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.kill(),
        }
    }

    /// Waits for the end of the program.
    pub(crate) async fn wait(&self) -> Exit {
        match self {
            Self::Process(process) => process.wait().await,
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.wait().await,
        }
    }

    /// Bytes used by everything in the container, quickly.
    pub(crate) fn memory(&self) -> io::Result<u64> {
        match self {
            Self::Process(process) => process.memory(),
            #[cfg(test)]
            Self::Scripted(scripted) => Ok(scripted.memory().0),
        }
    }

    /// Bytes used by everything in the container, with shared memory counted once.
    pub(crate) fn memory_exact(&self) -> io::Result<u64> {
        match self {
            Self::Process(process) => process.memory_exact(),
            #[cfg(test)]
            Self::Scripted(scripted) => Ok(scripted.memory().1),
        }
    }
}
