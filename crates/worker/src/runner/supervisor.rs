//! Who watches over a runner's processes.

use std::io;

use metal9_sandbox::{Exit, GroupLimits, Process, Tally};

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

    /// Holds the container to these limits; returns whether the kernel holds it to its memory.
    pub(crate) fn limit(&self, limits: &GroupLimits) -> io::Result<bool> {
        match self {
            Self::Process(process) => process.limit(limits),
            #[cfg(test)]
            Self::Scripted(scripted) => Ok(scripted.limit(limits)),
        }
    }

    /// What the kernel did because of the limits.
    pub(crate) fn tally(&self) -> Tally {
        match self {
            Self::Process(process) => process.tally(),
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.tally(),
        }
    }

    /// As [`Supervisor::tally`], with nothing but memory.
    pub(crate) fn memory_tally(&self) -> Tally {
        match self {
            Self::Process(process) => process.memory_tally(),
            #[cfg(test)]
            Self::Scripted(scripted) => scripted.tally(),
        }
    }

    /// Bytes of files that the container's programs have mapped, where a cgroup counts them.
    pub(crate) fn mapped_files(&self) -> u64 {
        match self {
            Self::Process(process) => process.mapped_files(),
            #[cfg(test)]
            Self::Scripted(_) => 0,
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
