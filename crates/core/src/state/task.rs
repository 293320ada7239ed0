//! A task that has not ended.

use metal9_types::{AttemptId, ContainerId, Moment, StubId, TaskId, TaskStatus, WorkerId};

use super::GroupKey;
use crate::TaskSpec;

/// A task that has not ended.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) spec: TaskSpec,
    /// Attempts begun so far.
    pub(crate) attempts_used: u32,
    /// When it was handed in.
    pub(crate) arrived: Moment,
    /// `true` once it was given to a worker.
    pub(crate) begun: bool,
    /// Attempts in a row that ended in a crash.
    pub(crate) crashes: u32,
    /// When it is too late for the first attempt.
    pub(crate) begin_by: Moment,
    /// `true` if somebody was told why it waits.
    pub(crate) told: bool,
    pub(crate) state: TaskState,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// Read back from the store; a worker may be running it.
    Recovering,
    /// In the queue of its group.
    Queued(Queued),
    /// On a worker.
    Assigned(Assigned),
    /// After several crashes, until it is tried again.
    Resting(Moment),
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    /// The key in the group's queue.
    pub(crate) order: i64,
    /// Tells, with the group's counter, how many tasks are ahead.
    pub(crate) position: i64,
    /// Since when.
    pub(crate) since: Moment,
}

/// A live attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) attempt: AttemptId,
    pub(crate) worker: WorkerId,
    pub(crate) container: ContainerId,
    /// When it was assigned.
    pub(crate) since: Moment,
    /// When the user's code started.
    pub(crate) started: Option<Moment>,
    /// `true` if a worker said that it has the attempt, and `started` is when it said so.
    pub(crate) adopted: bool,
}

impl Task {
    pub(crate) fn group(&self) -> GroupKey {
        GroupKey { workspace: self.spec.workspace, stub: self.spec.stub }
    }

    pub(crate) fn id(&self) -> TaskId {
        self.spec.task
    }

    pub(crate) fn stub(&self) -> StubId {
        self.spec.stub
    }

    /// `true` if a failed attempt may be followed by another.
    pub(crate) fn has_attempts_left(&self) -> bool {
        self.attempts_used <= self.spec.max_retries
    }

    pub(crate) fn assigned(&self) -> Option<Assigned> {
        match self.state {
            TaskState::Assigned(assigned) => Some(assigned),
            _ => None,
        }
    }

    pub(crate) fn queued(&self) -> Option<Queued> {
        match self.state {
            TaskState::Queued(queued) => Some(queued),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> TaskStatus {
        match self.state {
            TaskState::Assigned(_) => TaskStatus::Running,
            _ if self.begun => TaskStatus::Retry,
            _ => TaskStatus::Pending,
        }
    }
}
