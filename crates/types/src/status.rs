//! The states of a task as clients see them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A task's state. The texts are the client API's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskStatus {
    /// Accepted, not yet running.
    Pending,
    /// Given to a worker.
    Running,
    /// Lost or crashed, waiting for its next attempt.
    Retry,
    /// Ended with a result.
    Complete,
    /// Ended with a failure.
    Error,
    /// Ended because somebody asked for it.
    Cancelled,
    /// Ended because it took too long, or was not begun in time.
    Timeout,
}

impl TaskStatus {
    /// Every state, in the order of a task's life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Running,
        Self::Retry,
        Self::Complete,
        Self::Error,
        Self::Cancelled,
        Self::Timeout,
    ];

    /// `true` for states that a task never leaves.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Error | Self::Cancelled | Self::Timeout)
    }

    /// The state's name in the client API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Retry => "RETRY",
            Self::Complete => "COMPLETE",
            Self::Error => "ERROR",
            Self::Cancelled => "CANCELLED",
            Self::Timeout => "TIMEOUT",
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaskStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("`{text}` is not a task status"))
    }
}
