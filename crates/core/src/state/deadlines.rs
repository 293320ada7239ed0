//! Moments at which something is due.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use metal9_types::{AttemptId, ContainerId, Moment, StubId, TaskId, WorkerId};

use super::{GroupKey, Map};

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
///
/// Most are disarmed long before they are due, so an entry of the heap is left where it is until
/// it comes up or there are too many of its kind.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// Entries that hold, and stale ones; the first holds.
    order: BinaryHeap<Reverse<(Moment, Deadline)>>,
    moments: Map<Deadline, Moment>,
}

/// Stale entries that are kept however few hold.
const FEW: usize = 1024;

impl Deadlines {
    /// Arms a deadline, or moves it. The far end of the clock is never.
    pub(crate) fn arm(&mut self, deadline: Deadline, at: Moment) {
        if at == Moment(u64::MAX) {
            self.disarm(deadline);
            return;
        }
        let before = self.moments.insert(deadline, at);
        if before != Some(at) {
            self.order.push(Reverse((at, deadline)));
        }
        if before.is_some() {
            self.tidy();
        }
    }

    /// Arms a deadline unless it already comes as soon.
    pub(crate) fn arm_by(&mut self, deadline: Deadline, at: Moment) {
        if self.moments.get(&deadline).is_none_or(|armed| *armed > at) {
            self.arm(deadline, at);
        }
    }

    pub(crate) fn disarm(&mut self, deadline: Deadline) {
        if self.moments.remove(&deadline).is_some() {
            self.tidy();
        }
    }

    /// Removes stale entries in front, and all of them once they are most.
    fn tidy(&mut self) {
        while let Some(Reverse((at, deadline))) = self.order.peek()
            && self.moments.get(deadline) != Some(at)
        {
            self.order.pop();
        }
        if self.order.len() > 2 * self.moments.len() + FEW {
            let moments = &self.moments;
            self.order.retain(|Reverse((at, deadline))| moments.get(deadline) == Some(at));
        }
    }

    pub(crate) fn get(&self, deadline: Deadline) -> Option<Moment> {
        self.moments.get(&deadline).copied()
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out the first deadline that is due.
    pub(crate) fn pop(&mut self, now: Moment) -> Option<Deadline> {
        let &Reverse((at, deadline)) = self.order.peek()?;
        if at > now {
            return None;
        }
        self.disarm(deadline);
        Some(deadline)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Moment, Deadline)> + '_ {
        self.moments.iter().map(|(deadline, at)| (*at, *deadline))
    }

    /// `true` if every armed deadline will come up, the first of them first.
    pub(crate) fn is_balanced(&self) -> bool {
        let entries: BTreeSet<_> = self.order.iter().map(|Reverse(entry)| *entry).collect();
        let holds = self.order.peek().is_none_or(|Reverse((at, d))| self.get(*d) == Some(*at));
        holds && self.iter().all(|entry| entries.contains(&entry))
    }
}
