//! The waiting tasks of one stub in one workspace.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{Moment, StubId, TaskId, WorkerId, WorkspaceId};

use super::Queued;

/// Names a group. Tasks of a group are alike to placement, so what is found out for one holds for
/// all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKey {
    pub(crate) workspace: WorkspaceId,
    pub(crate) stub: StubId,
}

impl GroupKey {
    /// None comes after it.
    pub(crate) const LAST: Self =
        Self { workspace: WorkspaceId(uuid::Uuid::max()), stub: StubId(uuid::Uuid::max()) };
}

/// Why the tasks of a group wait, as far as the set of workers goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// No worker that is there could take them. Told at once.
    Unplaceable(String),
    /// Some worker could, but is busy. Told after a while.
    Busy,
}

/// A queue's place among those of its workspace, the lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// When its first task was handed in, moved by its priority.
    pub(crate) due: i64,
    /// The first task's place in the queue.
    pub(crate) order: i64,
    pub(crate) key: GroupKey,
    pub(crate) shape: usize,
}

/// A task in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) task: TaskId,
    /// When it was handed in.
    pub(crate) arrived: Moment,
}

/// The waiting tasks of one stub in one workspace; never empty.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// By place in the queue. Places grow across all groups, so they tell who came first.
    pub(crate) tasks: BTreeMap<i64, Waiting>,
    /// The stub's shape.
    pub(crate) shape: usize,
    /// Those that were not told the present reason.
    pub(crate) untold: BTreeSet<i64>,
    /// The reason found last.
    pub(crate) reason: Option<Reason>,
    /// Its place among the blocked queues of its workspace, while it is one.
    pub(crate) listed: Option<Place>,
    /// Since when no worker has had room; counts anew after each success.
    pub(crate) blocked_since: Option<Moment>,
    /// The workers on which room is being made for it; one may be there several times.
    pub(crate) reservations: Vec<WorkerId>,
    /// Calls that were charged when room was promised to them.
    pub(crate) paid: usize,
    /// Tasks that ever left the front, less those that came back to it.
    departed: i64,
    /// Tasks that ever joined at the back.
    arrived: i64,
}

impl Group {
    /// An empty queue of a stub of this shape.
    pub(crate) fn of(shape: usize) -> Self {
        Self { shape, ..Self::default() }
    }

    /// Adds a task at the back.
    pub(crate) fn push_back(&mut self, order: i64, task: Waiting, since: Moment) -> Queued {
        let position = self.arrived;
        self.arrived += 1;
        self.insert(order, task);
        Queued { order, position, since }
    }

    /// Adds a task at the front; `order` must be lower than any other.
    pub(crate) fn push_front(&mut self, order: i64, task: Waiting, since: Moment) -> Queued {
        self.departed -= 1;
        self.insert(order, task);
        Queued { order, position: self.departed, since }
    }

    fn insert(&mut self, order: i64, task: Waiting) {
        self.tasks.insert(order, task);
        self.untold.insert(order);
    }

    pub(crate) fn remove(&mut self, order: i64) {
        self.departed += i64::from(self.tasks.remove(&order).is_some());
        self.untold.remove(&order);
    }

    /// About how many tasks are ahead; exact unless some left from the middle of the queue.
    pub(crate) fn ahead(&self, queued: Queued) -> usize {
        let ahead = usize::try_from(queued.position - self.departed).unwrap_or(0);
        ahead.min(self.tasks.len().saturating_sub(1))
    }
}
