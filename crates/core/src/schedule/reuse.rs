//! Idle containers take the next task of their stub.

use metal9_types::{ContainerId, Moment, TaskId};

use super::Round;
use crate::Action;
use crate::core::Core;
use crate::place;
use crate::state::{GroupKey, Stub};

impl Core {
    pub(super) fn reuse_idle(&mut self, now: Moment, round: &Round, actions: &mut Vec<Action>) {
        for &key in &round.groups {
            while let Some((container, task)) = self.reusable(now, key) {
                self.assign(now, task, container, false, actions);
            }
        }
    }

    /// The container that the group's first task should go to, if it should wait for no other.
    pub(super) fn reusable(&self, now: Moment, key: GroupKey) -> Option<(ContainerId, TaskId)> {
        let stub = self.stubs.get(&key.stub)?;
        let container = last_used(stub)?;
        let task = self.first_call(key)?;
        if !self.is_within_rules(key) {
            return None;
        }
        let rank = self.containers.get(&container)?.rank;
        // A free accelerator higher up in the list comes before a warm container further down.
        if rank > 0
            && !stub.is_at_limit()
            && stub.wants_container(now)
            && self.has_spot_above(key, rank)
        {
            return None;
        }
        Some((container, task))
    }

    /// The first of the group's tasks that is a call. Few are not.
    pub(super) fn first_call(&self, key: GroupKey) -> Option<TaskId> {
        let mut waiting = self.groups.get(&key)?.tasks.values().map(|waiting| waiting.task);
        waiting.find(|id| self.tasks.get(id).is_some_and(|task| !task.spec.warm_up))
    }

    fn has_spot_above(&self, key: GroupKey, rank: usize) -> bool {
        let Some(stub) = self.stubs.get(&key.stub) else { return false };
        let classes = self.shapes[stub.shape].classes.iter();
        classes.filter_map(|number| self.classes.get(number)).any(|class| {
            class.free_devices.iter().filter_map(|(_, id)| self.workers.get(id)).any(|worker| {
                worker.takes_work()
                    && worker.starting < worker.start_limit(&self.config)
                    && place::spot(&stub.spec, worker, key).is_some_and(|spot| spot.rank < rank)
            })
        })
    }
}

/// The idle container used last, among those with the most preferred accelerators: its caches are
/// the warmest, and the others get their chance to end.
fn last_used(stub: &Stub) -> Option<ContainerId> {
    let &(rank, _, _) = stub.idle.first()?;
    let &(last_rank, _, last) = stub.idle.last()?;
    if last_rank == rank {
        return Some(last);
    }
    let of_rank =
        (rank, Moment::ZERO, ContainerId(0))..=(rank, Moment(u64::MAX), ContainerId(u64::MAX));
    stub.idle.range(of_rank).next_back().map(|&(_, _, id)| id)
}
