//! Why a task did not return a value.

use serde::{Deserialize, Serialize};

use crate::TaskStatus;

/// Whose doing a failure is; decides the gRPC code, whether a retry helps, and the log level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The user's own code.
    User,
    /// What the caller sent.
    Input,
    /// A limit of the job or the machine.
    Limit,
    /// The platform.
    Platform,
}

/// The kinds of failure a task can end with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The user's function raised, or its module could not be imported.
    Exception,
    /// The user's function raised what its queue is to try again for (`retry_for`).
    RetryFor,
    /// The runner process ended by itself before it returned (`os._exit`, a signal).
    Crash,
    /// The job used more memory than it asked for.
    Memory,
    /// The job ran longer than its timeout.
    Timeout,
    /// The task was not begun before its time to live ended.
    Expired,
    /// Somebody asked for it to stop.
    Cancelled,
    /// The environment or the code could not be made ready.
    Setup,
    /// The result is larger than a message may be.
    ResultTooLarge,
    /// The worker was lost.
    WorkerLost,
    /// The platform failed.
    Internal,
}

impl FailureKind {
    /// Whose doing it is.
    #[must_use]
    pub fn tier(self) -> Tier {
        match self {
            Self::Exception | Self::RetryFor | Self::Crash | Self::Cancelled => Tier::User,
            Self::Setup | Self::ResultTooLarge => Tier::Input,
            Self::Memory | Self::Timeout | Self::Expired => Tier::Limit,
            Self::WorkerLost | Self::Internal => Tier::Platform,
        }
    }

    /// `true` if another attempt may end differently: the container died or was lost, rather than
    /// the user's code answering, or the user said so.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::RetryFor | Self::Crash | Self::WorkerLost | Self::Internal)
    }

    /// The state a task ends in when its last attempt failed like this.
    #[must_use]
    pub fn terminal_status(self) -> TaskStatus {
        match self {
            Self::Timeout | Self::Expired => TaskStatus::Timeout,
            Self::Cancelled => TaskStatus::Cancelled,
            _ => TaskStatus::Error,
        }
    }
}

/// A failure as it is stored and told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// One or more lines for a person; lowercase, no full stop.
    pub message: String,
    /// The exit code told to the client, never 0: the job's own where it had one, 128 + signal
    /// number for a signal, 124 for a timeout, 130 for a cancellation, 137 for memory, else 1.
    pub exit_code: i32,
}

impl Failure {
    /// A failure of this kind with the exit code usual for it.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        let exit_code = match kind {
            FailureKind::Timeout | FailureKind::Expired => 124,
            FailureKind::Cancelled => 130,
            FailureKind::Memory => 137,
            _ => 1,
        };
        Self { kind, message: message.into(), exit_code }
    }

    /// The same failure with the job's own exit code; 0 is kept as 1, since a client takes an exit
    /// code of 0 for success.
    #[must_use]
    pub fn with_exit_code(mut self, code: i32) -> Self {
        self.exit_code = if code == 0 { 1 } else { code };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_looks_like_success() {
        let failure = Failure::new(FailureKind::Crash, "exited with code 0").with_exit_code(0);
        assert_eq!(failure.exit_code, 1);
    }

    #[test]
    fn what_the_user_wrote_is_not_retried_but_a_lost_worker_is() {
        assert!(!FailureKind::Exception.is_retryable());
        assert!(!FailureKind::Memory.is_retryable());
        assert!(FailureKind::WorkerLost.is_retryable());
        assert!(FailureKind::Crash.is_retryable());
    }
}
