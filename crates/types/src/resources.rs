//! What a job asks of a machine, and what a machine has.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Processor time and memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a processor core.
    pub cpu_millicores: u64,
    /// Mebibytes of memory.
    pub memory_mib: u64,
}

impl Resources {
    /// `true` if `ask` fits into what is here.
    #[must_use]
    pub fn fits(self, ask: Self) -> bool {
        ask.cpu_millicores <= self.cpu_millicores && ask.memory_mib <= self.memory_mib
    }

    /// What is left after taking `part`, or nothing if it does not fit.
    #[must_use]
    pub fn checked_sub(self, part: Self) -> Option<Self> {
        Some(Self {
            cpu_millicores: self.cpu_millicores.checked_sub(part.cpu_millicores)?,
            memory_mib: self.memory_mib.checked_sub(part.memory_mib)?,
        })
    }

    /// The sum; stops at the largest number there is.
    #[must_use]
    pub fn saturating_add(self, more: Self) -> Self {
        Self {
            cpu_millicores: self.cpu_millicores.saturating_add(more.cpu_millicores),
            memory_mib: self.memory_mib.saturating_add(more.memory_mib),
        }
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} millicores and {} MiB", self.cpu_millicores, self.memory_mib)
    }
}
