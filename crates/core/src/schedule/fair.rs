//! Whose turn it is: deficit round robin between workspaces.
//!
//! In its turn a workspace may use so much of the fleet, in proportion to its weight. What it is
//! given is charged by what the container costs and the time a call of the stub is expected to
//! take; what is left over is kept for the next turn, what was used beyond it is owed. So a
//! workspace of large or long calls gets fewer of them, and nobody's queue, however long, keeps
//! another's from its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use metal9_types::{Moment, WorkspaceId};

use super::Round;
use crate::core::Core;
use crate::state::{GroupKey, Place};

/// Whose turn it is, and how it came to it.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) workspace: WorkspaceId,
    /// So many times all had their part before.
    rounds: i64,
    /// `true` if it has something left of its part.
    goes_on: bool,
}

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

    /// The workspace whose turn it is. Nothing is settled before it was served: what it cannot use
    /// now must not move the turn on.
    pub(super) fn next_in_turn(&self, contest: &Contest) -> Option<Turn> {
        let of = |workspace, rounds, goes_on| Some(Turn { workspace, rounds, goes_on });
        let current = self.turn.filter(|current| contest.workspaces.contains(current));
        if let Some(current) = current.filter(|current| self.deficit(*current) > 0) {
            return of(current, 0, true);
        }
        // Once round grants each its part; if all are in debt then, so many times round as it takes
        // for one of them to come out of it.
        let rounds =
            |id: &WorkspaceId| self.deficit(*id).saturating_neg().max(-1) / self.quantum(*id);
        let rounds = contest.workspaces.iter().map(rounds).min()?;
        let next = self.in_order(contest).find(|id| {
            let grant = self.quantum(*id).saturating_mul(rounds.saturating_add(1));
            self.deficit(*id).saturating_add(grant) > 0
        });
        of(next?, rounds, false)
    }

    /// The workspace was served: whoever had its turn on the way there got its part.
    pub(super) fn settle_turn(&mut self, turn: Turn, contest: &Contest) {
        if turn.goes_on {
            return;
        }
        let order: Vec<_> = self.in_order(contest).collect();
        let mut passed = false;
        for id in order {
            let rounds = turn.rounds + i64::from(!passed);
            passed |= id == turn.workspace;
            self.grant(id, rounds);
        }
        self.turn = Some(turn.workspace);
    }

    /// The workspaces of the contest, beginning after the one whose turn it was last.
    fn in_order<'a>(&self, contest: &'a Contest) -> impl Iterator<Item = WorkspaceId> + 'a {
        let start = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let first = contest.workspaces.range((start, Bound::Unbounded));
        let rest = self.turn.map(|turn| contest.workspaces.range(..=turn));
        first.chain(rest.into_iter().flatten()).copied()
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
