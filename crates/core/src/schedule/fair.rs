//! Whose turn it is: deficit round robin between workspaces.
//!
//! In its turn a workspace may use so much of the fleet, in proportion to its weight. What it is
//! given is charged by what the container costs and the time a call of the stub is expected to
//! take; what is left over is kept for the next turn, what was used beyond it is owed. So a
//! workspace of large or long calls gets fewer of them, and nobody's queue, however long, keeps
//! another's from its turn.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{Moment, WorkspaceId};

use super::Round;
use crate::core::Core;
use crate::state::{GroupKey, Place};

/// The queues that are worth a look.
#[derive(Default)]
pub(super) struct Contest {
    /// Workspaces that may have one.
    workspaces: BTreeSet<WorkspaceId>,
    /// Queues that are known to be worth it.
    queues: BTreeMap<WorkspaceId, BTreeSet<Place>>,
    /// `true` if any blocked queue whose shape fits is worth it too; there are too many of them to
    /// look at each.
    pub(super) open: bool,
    /// Those that were looked at in vain.
    passed: BTreeSet<GroupKey>,
}

impl Contest {
    pub(super) fn enter(&mut self, place: Place) {
        self.workspaces.insert(place.key.workspace);
        self.queues.entry(place.key.workspace).or_default().insert(place);
    }

    pub(super) fn admit(&mut self, workspace: WorkspaceId) {
        self.workspaces.insert(workspace);
    }

    pub(super) fn pass(&mut self, key: GroupKey) {
        self.passed.insert(key);
    }

    /// The first known queue of a workspace.
    fn first_known(&self, workspace: WorkspaceId) -> Option<Place> {
        self.queues.get(&workspace)?.first().copied()
    }

    fn take(&mut self, place: Place) {
        if let Some(queues) = self.queues.get_mut(&place.key.workspace) {
            queues.remove(&place);
        }
    }
}

impl Core {
    /// The place of a queue among those of its workspace.
    pub(crate) fn place(&self, key: GroupKey) -> Option<Place> {
        let group = self.groups.get(&key)?;
        let (&order, first) = group.tasks.first_key_value()?;
        let priority = self.stubs.get(&key.stub)?.spec.priority;
        Some(Place { due: self.due(first.arrived, priority), order, key, shape: group.shape })
    }

    /// Takes out the first queue of a workspace that is worth a look.
    pub(super) fn first_of(
        &self,
        workspace: WorkspaceId,
        contest: &mut Contest,
        round: &Round,
    ) -> Option<GroupKey> {
        let known = contest.first_known(workspace);
        let other = self.shares.get(&workspace).filter(|_| contest.open).and_then(|share| {
            share
                .blocked
                .iter()
                .take_while(|place| known.is_none_or(|known| **place < known))
                .find(|place| round.fits(place.shape) && !contest.passed.contains(&place.key))
        });
        match other.copied().or(known) {
            Some(place) => {
                contest.take(place);
                Some(place.key)
            }
            None => {
                contest.workspaces.remove(&workspace);
                None
            }
        }
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
        if contest.workspaces.len() <= 1 {
            let only = contest.workspaces.first().copied();
            if let Some(only) = only
                && self.deficit(only) <= 0
            {
                self.grant(only, 1);
            }
            self.turn = only.or(self.turn);
            return only;
        }
        if let Some(current) = self.turn.filter(|current| contest.workspaces.contains(current))
            && self.deficit(current) > 0
        {
            return Some(current);
        }
        // Once round grants each its part; if all are in debt then, so many times round as it takes
        // for one of them to come out of it.
        loop {
            let after = |id: &&WorkspaceId| self.turn.is_none_or(|turn| **id > turn);
            let (mut order, rest): (Vec<_>, Vec<_>) = contest.workspaces.iter().partition(after);
            order.extend(rest);
            for &id in order {
                self.grant(id, 1);
                if self.deficit(id) > 0 {
                    self.turn = Some(id);
                    return Some(id);
                }
            }
            let rounds = |id: &WorkspaceId| self.deficit(*id).saturating_neg() / self.quantum(*id);
            let rounds = contest.workspaces.iter().map(rounds).min().unwrap_or(0);
            for &id in &contest.workspaces {
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
