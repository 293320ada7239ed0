//! Workspaces take turns to start containers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use metal9_types::{ContainerId, Moment, Resources, WorkerId, WorkspaceId};

use super::Round;
use crate::Action;
use crate::core::Core;
use crate::place::{self, Candidate, Clearing, Score, Spot};
use crate::state::{Deadline, GroupKey, Reservation, Worker};

/// Workers looked at before the best of them is taken; the bound keeps a single task on a large
/// idle fleet from costing a look at all of it.
const AT_MOST: usize = 256;

/// Workers that may take one more container of a group, the best first. Entries are as of when
/// they were made: one that no longer holds is scored again when it comes up.
pub(super) struct Candidates {
    best: BinaryHeap<Reverse<(Score, WorkerId)>>,
    /// `true` if there may be more.
    cut: bool,
}

/// How a turn ended.
enum Turn {
    /// A task was given away.
    Served,
    /// Room is being made for a task.
    Reserved,
    /// The containers there are will do.
    Enough,
    /// There is no room.
    NoRoom,
}

impl Core {
    pub(super) fn start_containers(
        &mut self,
        now: Moment,
        round: &mut Round,
        actions: &mut Vec<Action>,
    ) {
        self.measure_reach(round);
        let mut turns = self.turns(round);
        while !turns.is_empty() {
            let mut next = Vec::with_capacity(turns.len());
            for (workspace, mut groups) in turns {
                // The first task of the workspace that can be served is; those that cannot do not
                // stand in the way.
                while let Some((_, key)) = groups.pop_first() {
                    if self.take_turn_or_pass(now, key, round, actions) {
                        self.served = Some(workspace);
                        if let Some(order) = self.head(key) {
                            groups.insert(order, key);
                        }
                        break;
                    }
                }
                if !groups.is_empty() {
                    next.push((workspace, groups));
                }
            }
            turns = next;
        }
    }

    /// The groups worth a look, by workspace in order of turns, each workspace's by who came first.
    fn turns(&self, round: &Round) -> Vec<(WorkspaceId, BTreeMap<i64, GroupKey>)> {
        let mut keys = round.groups.clone();
        keys.extend(&round.promised);
        if !round.reach.is_empty() {
            let within_reach = |key: &&GroupKey| self.is_within_reach(**key, round);
            keys.extend(self.exhausted.iter().filter(within_reach));
        }
        let keys = self.by_turn(&keys);
        let mut turns: Vec<(WorkspaceId, BTreeMap<i64, GroupKey>)> = Vec::new();
        for key in keys {
            let Some(order) = self.head(key) else { continue };
            match turns.last_mut() {
                Some((workspace, groups)) if *workspace == key.workspace => {
                    groups.insert(order, key);
                }
                _ => turns.push((key.workspace, BTreeMap::from([(order, key)]))),
            }
        }
        turns
    }

    /// Finds out for which of the queues that found no room before another look is worth while.
    fn measure_reach(&self, round: &mut Round) {
        round.reach.clear();
        round.promised.clear();
        for worker in round.rooms.iter().filter_map(|id| self.workers.get(id)) {
            if !worker.takes_work() || worker.starting >= worker.start_limit(&self.config) {
                continue;
            }
            round.promised.extend(worker.reservations.iter().map(|promise| promise.group));
            let idle = worker.idle.iter().filter_map(|(_, id)| self.containers.get(id));
            let reach = idle.fold(worker.coming(), |sum, idle| sum.saturating_add(idle.resources));
            if self.room_in_full || reach.cpu_millicores > 0 && reach.memory_mib > 0 {
                round.reach.push(reach);
            }
        }
    }

    /// `true` if a queue that found no room before may find some now.
    fn is_within_reach(&self, key: GroupKey, round: &Round) -> bool {
        if round.promised.contains(&key) {
            return true;
        }
        !round.reach.is_empty()
            && self
                .stubs
                .get(&key.stub)
                .is_some_and(|stub| round.reach.iter().any(|reach| reach.fits(stub.spec.resources)))
    }

    fn head(&self, key: GroupKey) -> Option<i64> {
        self.groups.get(&key)?.tasks.first_key_value().map(|(order, _)| *order)
    }

    /// Serves the first task of a group, or takes note of why not.
    fn take_turn_or_pass(
        &mut self,
        now: Moment,
        key: GroupKey,
        round: &mut Round,
        actions: &mut Vec<Action>,
    ) -> bool {
        if self.exhausted.contains(&key) && !self.is_within_reach(key, round) {
            return false;
        }
        match self.take_turn(now, key, round, actions) {
            Turn::Served | Turn::Reserved => {
                self.measure_reach(round);
                return true;
            }
            Turn::Enough => {
                self.exhausted.remove(&key);
                if let Some(group) = self.groups.get_mut(&key) {
                    group.blocked_since = None;
                }
                self.arm_scale(key);
            }
            Turn::NoRoom => {
                self.exhausted.insert(key);
                if let Some(group) = self.groups.get_mut(&key) {
                    group.blocked_since.get_or_insert(now);
                }
            }
        }
        false
    }

    fn take_turn(
        &mut self,
        now: Moment,
        key: GroupKey,
        round: &mut Round,
        actions: &mut Vec<Action>,
    ) -> Turn {
        if let Some((container, task)) = self.reusable(now, key) {
            self.assign(now, task, container, false, actions);
            return Turn::Served;
        }
        let Some(stub) = self.stubs.get(&key.stub) else { return Turn::NoRoom };
        if !stub.wants_container(now) {
            return Turn::Enough;
        }
        if let Some((worker, spot)) = self.best(key, round) {
            self.start_on(now, key, worker, spot, actions);
            let score = self.workers.get(&worker).and_then(|worker| self.score(key, worker));
            if let (Some(score), Some(found)) = (score, round.candidates.get_mut(&key)) {
                found.best.push(Reverse((score, worker)));
            }
            return Turn::Served;
        }
        if self.make_room(now, key, round, actions) { Turn::Reserved } else { Turn::NoRoom }
    }

    /// The best worker for one more container of the group, and where on it.
    fn best(&self, key: GroupKey, round: &mut Round) -> Option<(WorkerId, Spot)> {
        if !round.candidates.contains_key(&key) {
            let found = self.candidates(key, round);
            round.candidates.insert(key, found);
        }
        let found = round.candidates.get_mut(&key)?;
        loop {
            if let Some(best) = self.pop(key, &mut found.best) {
                return Some(best);
            }
            if !found.cut {
                return None;
            }
            *found = self.collect(key, self.roomy.iter());
        }
    }

    fn pop(
        &self,
        key: GroupKey,
        heap: &mut BinaryHeap<Reverse<(Score, WorkerId)>>,
    ) -> Option<(WorkerId, Spot)> {
        while let Some(Reverse((score, id))) = heap.pop() {
            let Some(worker) = self.workers.get(&id) else { continue };
            let Some(present) = self.score(key, worker) else { continue };
            if present > score {
                heap.push(Reverse((present, id)));
            } else {
                return Some((id, self.spot(key, worker)?));
            }
        }
        None
    }

    fn candidates(&self, key: GroupKey, round: &Round) -> Candidates {
        if self.exhausted.contains(&key) {
            self.collect(key, round.rooms.iter())
        } else {
            self.collect(key, self.roomy.iter())
        }
    }

    fn collect<'a>(
        &self,
        key: GroupKey,
        workers: impl Iterator<Item = &'a WorkerId>,
    ) -> Candidates {
        let mut scores = workers
            .filter_map(|id| self.workers.get(id))
            .filter_map(|worker| Some(Reverse((self.score(key, worker)?, worker.id))));
        let best: BinaryHeap<_> = scores.by_ref().take(AT_MOST).collect();
        Candidates { cut: best.len() == AT_MOST, best }
    }

    /// The workers on which a group may have room made that it did not find before.
    fn to_look_at<'a>(
        &'a self,
        key: GroupKey,
        round: &'a Round,
    ) -> Box<dyn Iterator<Item = &'a Worker> + 'a> {
        if self.exhausted.contains(&key) {
            Box::new(round.rooms.iter().filter_map(|id| self.workers.get(id)))
        } else {
            Box::new(self.workers.values())
        }
    }

    fn spot(&self, key: GroupKey, worker: &Worker) -> Option<Spot> {
        if !worker.takes_work() || worker.starting >= worker.start_limit(&self.config) {
            return None;
        }
        place::spot(&self.stubs.get(&key.stub)?.spec, worker, key)
    }

    fn score(&self, key: GroupKey, worker: &Worker) -> Option<Score> {
        let spot = self.spot(key, worker)?;
        Some(place::score(&self.stubs.get(&key.stub)?.spec, worker, &spot))
    }

    /// Starts a container on the worker for the first task of the group.
    fn start_on(
        &mut self,
        now: Moment,
        key: GroupKey,
        worker: WorkerId,
        spot: Spot,
        actions: &mut Vec<Action>,
    ) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        let Some((_, &task)) = group.tasks.first_key_value() else { return };
        group.blocked_since = None;
        if let Some(host) = self.workers.get(&worker) {
            let same = |r: &Reservation| r.group == key && r.devices == spot.devices;
            let own = host.reservations.iter().position(same);
            let own = own.or_else(|| host.reservations.iter().position(|r| r.group == key));
            if let Some(index) = own {
                self.remove_reservation(worker, index);
            }
        }
        let container = self.ids.container();
        self.add_container(now, container, key.stub, worker, spot);
        self.assign(now, task, container, true, actions);
        self.note_room(worker);
    }

    /// When the calls that run now turn out long, more containers may be worth starting.
    fn arm_scale(&mut self, key: GroupKey) {
        if let Some(at) = self.stubs.get(&key.stub).and_then(|stub| stub.wants_container_at()) {
            let soonest = self.now.after(std::time::Duration::from_millis(1));
            self.deadlines.arm_by(Deadline::Scale(key.stub), at.max(soonest));
        }
    }

    /// Has idle containers of other stubs ended so that one more task of the group has room, and
    /// reserves it.
    fn make_room(
        &mut self,
        now: Moment,
        key: GroupKey,
        round: &Round,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(group) = self.groups.get(&key) else { return false };
        if group.reservations.len() >= group.tasks.len() {
            return false;
        }
        let best = self
            .to_look_at(key, round)
            .filter(|worker| self.may_make_room(worker))
            .filter_map(|worker| {
                let (clearing, victims) = self.clearing(key, worker)?;
                let last_used = victims.iter().filter_map(|id| self.containers.get(id));
                let last_used = last_used.map(|container| container.since).max();
                Some(((clearing.spot.rank, victims.len(), last_used, worker.id), clearing, victims))
            })
            .min_by(|(left, ..), (right, ..)| left.cmp(right));
        let Some(((.., worker), clearing, victims)) = best else { return false };
        let Some(stub) = self.stubs.get(&key.stub) else { return false };
        let resources = stub.spec.resources;
        self.reserve(worker, Reservation { group: key, resources, devices: clearing.spot.devices });
        for victim in victims {
            self.stop_container(now, victim, actions);
        }
        true
    }

    /// A worker that starts as many containers as it may needs no room made now.
    fn may_make_room(&self, worker: &Worker) -> bool {
        let stopping = worker.returning != Resources::default();
        worker.takes_work()
            && worker.starting < worker.start_limit(&self.config)
            && (stopping || !worker.idle.is_empty())
    }

    /// Which idle containers of a worker to end for one more task of the group.
    fn clearing(&self, key: GroupKey, worker: &Worker) -> Option<(Clearing, Vec<ContainerId>)> {
        let spec = &self.stubs.get(&key.stub)?.spec;
        if spec.pool.as_ref().is_some_and(|pool| *pool != worker.offer.pool) {
            return None;
        }
        let idle: Vec<_> = worker
            .idle
            .iter()
            .filter_map(|(_, id)| self.containers.get(id))
            .filter(|container| container.stub != key.stub)
            .collect();
        let candidates: Vec<Candidate> = idle
            .iter()
            .map(|idle| Candidate { resources: idle.resources, devices: idle.devices.clone() })
            .collect();
        let coming = worker.coming();
        let is_coming = |device: usize| self.device_comes_free(worker, device);
        let clearing = place::clearing(spec, worker, &candidates, coming, is_coming)?;
        let victims = clearing.victims.iter().map(|&index| idle[index].id).collect();
        Some((clearing, victims))
    }

    /// `true` if nobody holds or will take the device once stopping containers are gone.
    pub(super) fn device_comes_free(&self, worker: &Worker, device: usize) -> bool {
        let reserved = worker.reservations.iter().any(|r| r.devices.contains(&device));
        let holder = worker.holders.get(device).copied().flatten();
        let held = holder
            .and_then(|id| self.containers.get(&id))
            .is_some_and(|container| container.state != crate::state::ContainerState::Stopping);
        !reserved && !held
    }
}
