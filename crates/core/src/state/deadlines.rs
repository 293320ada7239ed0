//! Moments at which something is due.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{AttemptId, ContainerId, Moment, StubId, TaskId, WorkerId};

use super::GroupKey;

/// What may become due. Each has at most one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Deadline {
    /// Recovered tasks wait no longer for the workers that may be running them.
    Recovery,
    /// A worker may have been silent for too long.
    Worker(WorkerId),
    /// A task was not begun in time.
    Ttl(TaskId),
    /// An attempt has run too long.
    Timeout(AttemptId),
    /// A task that crashed is tried again.
    Retry(TaskId),
    /// The running calls of a worker are to be made elsewhere.
    Drain(WorkerId),
    /// A container may have been idle for too long.
    KeepWarm(ContainerId),
    /// A stub's running calls may have become long enough to start more containers.
    Scale(StubId),
    /// Tasks of a group may have waited long enough to be told why.
    Tell(GroupKey),
    /// The set of workers has changed: the reasons why tasks wait may have too.
    Reasons,
}

/// All armed deadlines.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    order: BTreeSet<(Moment, Deadline)>,
    moments: BTreeMap<Deadline, Moment>,
}

impl Deadlines {
    /// Arms a deadline, or moves it. The far end of the clock is never.
    pub(crate) fn arm(&mut self, deadline: Deadline, at: Moment) {
        self.disarm(deadline);
        if at != Moment(u64::MAX) {
            self.moments.insert(deadline, at);
            self.order.insert((at, deadline));
        }
    }

    /// Arms a deadline unless it already comes as soon.
    pub(crate) fn arm_by(&mut self, deadline: Deadline, at: Moment) {
        if self.moments.get(&deadline).is_none_or(|armed| *armed > at) {
            self.arm(deadline, at);
        }
    }

    pub(crate) fn disarm(&mut self, deadline: Deadline) {
        if let Some(at) = self.moments.remove(&deadline) {
            self.order.remove(&(at, deadline));
        }
    }

    pub(crate) fn get(&self, deadline: Deadline) -> Option<Moment> {
        self.moments.get(&deadline).copied()
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the first deadline that is due.
    pub(crate) fn pop(&mut self, now: Moment) -> Option<Deadline> {
        let (at, deadline) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.disarm(deadline);
        Some(deadline)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Moment, Deadline)> + '_ {
        self.order.iter().copied()
    }

    pub(crate) fn is_balanced(&self) -> bool {
        self.order.len() == self.moments.len()
    }
}
