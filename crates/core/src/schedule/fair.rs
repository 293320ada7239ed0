//! Whose turn it is: deficit round robin between workspaces.
//!
//! In its turn a workspace may use so much of the fleet, in proportion to its weight. What it is
//! given is charged by what the container costs and the time a call of the stub is expected to
//! take; what is left over is kept for the next turn, what was used beyond it is owed. So a
//! workspace of large or long calls gets fewer of them, and nobody's queue, however long, keeps
//! another's from its turn.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{Moment, WorkspaceId};

use crate::core::Core;
use crate::state::GroupKey;

/// A queue's place among those of its workspace, the lowest first: when its first task was handed
/// in, moved by its priority, and then its place in the queue.
pub(crate) type Place = (i64, i64, GroupKey);

/// The queues that are worth a look, by workspace.
#[derive(Default)]
pub(super) struct Contest {
    queues: BTreeMap<WorkspaceId, BTreeSet<Place>>,
}

impl Contest {
    pub(super) fn enter(&mut self, place: Place) {
        self.queues.entry(place.2.workspace).or_default().insert(place);
    }

    /// Takes out the first queue of a workspace.
    pub(super) fn first_of(&mut self, workspace: WorkspaceId) -> Option<GroupKey> {
        let queues = self.queues.get_mut(&workspace)?;
        let first = queues.pop_first();
        if queues.is_empty() {
            self.queues.remove(&workspace);
        }
        first.map(|(_, _, key)| key)
    }
}

impl Core {
    /// The place of a queue among those of its workspace.
    pub(crate) fn place(&self, key: GroupKey) -> Option<Place> {
        let (&order, first) = self.groups.get(&key)?.tasks.first_key_value()?;
        let priority = self.stubs.get(&key.stub)?.spec.priority;
        Some((self.due(first.arrived, priority), order, key))
    }

    /// When a task handed in at `arrived` would have been, were all priorities the same: each step
    /// of priority is worth the same time of waiting, so a low one is late but not forgotten.
    pub(crate) fn due(&self, arrived: Moment, priority: i32) -> i64 {
        let step = i64::try_from(self.config.ageing.as_micros()).unwrap_or(i64::MAX);
        let arrived = i64::try_from(arrived.0).unwrap_or(i64::MAX);
        arrived.saturating_sub(step.saturating_mul(i64::from(priority)))
    }

    /// The workspace whose turn it is.
    pub(super) fn next_in_turn(&mut self, contest: &Contest) -> Option<WorkspaceId> {
        if contest.queues.len() <= 1 {
            let only = contest.queues.keys().next().copied();
            if let Some(only) = only
                && self.deficit(only) <= 0
            {
                self.grant(only, 1);
            }
            self.turn = only.or(self.turn);
            return only;
        }
        if let Some(current) = self.turn.filter(|current| contest.queues.contains_key(current))
            && self.deficit(current) > 0
        {
            return Some(current);
        }
        // Once round grants each its part; if all are in debt then, so many times round as it takes
        // for one of them to come out of it.
        loop {
            let after = |id: &&WorkspaceId| self.turn.is_none_or(|turn| **id > turn);
            let (mut order, rest): (Vec<_>, Vec<_>) = contest.queues.keys().partition(after);
            order.extend(rest);
            for &id in order {
                self.grant(id, 1);
                if self.deficit(id) > 0 {
                    self.turn = Some(id);
                    return Some(id);
                }
            }
            let rounds = |id: &WorkspaceId| self.deficit(*id).saturating_neg() / self.quantum(*id);
            let rounds = contest.queues.keys().map(rounds).min().unwrap_or(0);
            for &id in contest.queues.keys() {
                self.grant(id, rounds);
            }
        }
    }

    /// The workspace whose turn it is has had what it can have for now.
    pub(super) fn end_turn(&mut self, workspace: WorkspaceId) {
        if let Some(share) = self.shares.get_mut(&workspace) {
            share.deficit = share.deficit.min(0);
        }
    }

    fn deficit(&self, workspace: WorkspaceId) -> i64 {
        self.shares.get(&workspace).map_or(0, |share| share.deficit)
    }

    fn grant(&mut self, workspace: WorkspaceId, rounds: i64) {
        let quantum = self.quantum(workspace);
        if let Some(share) = self.shares.get_mut(&workspace) {
            let more = share.deficit.saturating_add(quantum.saturating_mul(rounds));
            // Nobody saves up for more than one turn.
            share.deficit = more.min(quantum);
        }
    }
}
