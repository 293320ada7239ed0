//! Queues that have been kept waiting too long are promised room that others are about to reuse.
//!
//! A stub with a long queue reuses its containers the moment they are free, so nothing ever
//! becomes idle for somebody else. A queue that has found no room for a while may therefore take
//! such a container's place, if whoever used it holds more than the queue's own workspace (or, in
//! one workspace, stub). Where one container's room is not enough, the promise stands and takes
//! in what becomes idle on that worker until it is.

use std::time::Duration;

use metal9_types::{ContainerId, Moment, WorkerId};

use super::Round;
use crate::Action;
use crate::core::Core;
use crate::place;
use crate::state::{Container, GroupKey, Reservation, Worker};

/// How long a queue waits before it takes others' places; at least twice what starting its
/// container takes, so that machines do not do nothing but start containers.
const PATIENCE: Duration = Duration::from_secs(1);

/// A worker on which no place could be taken is left alone for this long: with many queues, the
/// look costs more than the call that ended.
const LEAVE_ALONE: Duration = Duration::from_millis(100);

impl Core {
    pub(super) fn claim_room(&mut self, now: Moment, round: &Round, actions: &mut Vec<Action>) {
        let mut workers: Vec<WorkerId> = round.rooms.iter().copied().collect();
        for &worker in &workers {
            self.cover(now, worker, actions);
        }
        workers.retain(|id| self.workers.get(id).is_some_and(|worker| may_look(now, worker)));
        if workers.is_empty() || self.exhausted.is_empty() {
            return;
        }
        for key in self.impatient(now) {
            let claimed = workers.iter().find_map(|&id| {
                let worker = self.workers.get(&id)?;
                Some((id, self.claimable(key, worker)?))
            });
            if let Some((worker, devices)) = claimed {
                self.claim(now, key, worker, devices, actions);
            }
        }
        for id in workers {
            if let Some(worker) = self.workers.get_mut(&id).filter(|w| !w.idle.is_empty()) {
                worker.looked_at = Some(now);
            }
        }
    }

    /// Queues that have waited long enough, those that waited longest first.
    fn impatient(&self, now: Moment) -> Vec<GroupKey> {
        let mut keys: Vec<_> = self
            .exhausted
            .iter()
            .filter_map(|key| {
                let group = self.groups.get(key)?;
                let since = group.blocked_since.filter(|_| group.reservations.is_empty())?;
                if now.since(since) < PATIENCE {
                    return None;
                }
                let stub = self.stubs.get(&key.stub)?;
                let patience = PATIENCE.max(stub.start_time.saturating_mul(2));
                (now.since(since) >= patience && stub.wants_container(now)).then_some((since, *key))
            })
            .collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// The devices the group would take on this worker, if it may claim room there.
    fn claimable(&self, key: GroupKey, worker: &Worker) -> Option<Vec<usize>> {
        let victims: Vec<&Container> = self.victims(worker, key).collect();
        if victims.is_empty() {
            return None;
        }
        let spec = &self.stubs.get(&key.stub)?.spec;
        let comes = |device: usize| self.device_comes_free(worker, device);
        let enough = worker.coming().fits(spec.resources)
            && place::pick_devices(spec, worker, comes).is_some();
        if enough || place::obstacle(spec, worker).is_some() {
            return None;
        }
        let spot = place::pick_devices(spec, worker, |device| {
            comes(device) || victims.iter().any(|victim| victim.devices.contains(&device))
        })?;
        Some(spot.devices)
    }

    fn claim(
        &mut self,
        now: Moment,
        key: GroupKey,
        worker: WorkerId,
        devices: Vec<usize>,
        actions: &mut Vec<Action>,
    ) {
        let Some(resources) = self.stubs.get(&key.stub).map(|stub| stub.spec.resources) else {
            return;
        };
        let Some(host) = self.workers.get(&worker) else { return };
        let holders: Vec<ContainerId> = self
            .victims(host, key)
            .filter(|victim| victim.devices.iter().any(|device| devices.contains(device)))
            .map(|victim| victim.id)
            .collect();
        self.reserve(worker, Reservation { group: key, resources, devices });
        for holder in holders {
            self.stop_container(now, holder, actions);
        }
        self.cover(now, worker, actions);
    }

    /// Ends idle containers of a worker until all that was promised on it is covered.
    fn cover(&mut self, now: Moment, id: WorkerId, actions: &mut Vec<Action>) {
        loop {
            let Some(worker) = self.workers.get(&id) else { return };
            if !worker.is_overdrawn() {
                return;
            }
            let victim = worker
                .reservations
                .iter()
                .find_map(|promise| self.victims(worker, promise.group).next());
            let Some(victim) = victim.map(|victim| victim.id) else { return };
            self.stop_container(now, victim, actions);
        }
    }

    /// The idle containers of a worker whose place the group may take, the longest idle first.
    fn victims<'a>(
        &'a self,
        worker: &'a Worker,
        key: GroupKey,
    ) -> impl Iterator<Item = &'a Container> {
        worker
            .idle
            .iter()
            .filter_map(|(_, id)| self.containers.get(id))
            .filter(move |victim| victim.stub != key.stub && self.may_take(key, victim))
    }

    /// `true` if the container's user holds so much more than the group's that taking one from
    /// the former does not just turn the tables.
    fn may_take(&self, key: GroupKey, victim: &Container) -> bool {
        let Some(user) = victim.workspace else { return true };
        let (mine, theirs) = if user == key.workspace {
            let calls = |stub| self.stubs.get(&stub).map_or(0, |stub| stub.calls.len());
            (calls(key.stub), calls(victim.stub) + 1)
        } else {
            let held = |workspace| self.held.get(&workspace).copied().unwrap_or(0);
            (held(key.workspace), held(user) + 1)
        };
        mine == 0 || mine + 1 < theirs
    }
}

fn may_look(now: Moment, worker: &Worker) -> bool {
    let lately = worker.looked_at.is_some_and(|looked_at| now.since(looked_at) < LEAVE_ALONE);
    !lately && !worker.idle.is_empty()
}
