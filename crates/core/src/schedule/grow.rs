//! Workspaces take turns to start containers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use metal9_types::{ContainerId, Moment, Resources, WorkerId, WorkspaceId};

use crate::Action;
use crate::core::Core;
use crate::place::{self, Candidate, Clearing, Score, Spot};
use crate::state::worker::saturating_sub;
use crate::state::{Deadline, GroupKey, Reservation, Worker};

/// Workers that may take one more container of a group, the best first. Entries are as of when
/// they were made: one that no longer holds is scored again when it comes up.
type Candidates = BinaryHeap<Reverse<(Score, WorkerId)>>;

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
    pub(super) fn start_containers(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let mut turns = self.turns();
        let mut candidates: BTreeMap<GroupKey, Candidates> = BTreeMap::new();
        while !turns.is_empty() {
            let mut next = Vec::with_capacity(turns.len());
            for (workspace, mut groups) in turns {
                // The first task of the workspace that can be served is; those that cannot do not
                // stand in the way.
                while let Some((_, key)) = groups.pop_first() {
                    match self.take_turn(now, key, &mut candidates, actions) {
                        Turn::Served | Turn::Reserved => {
                            self.served = Some(workspace);
                            if let Some(order) = self.head(key) {
                                groups.insert(order, key);
                            }
                            break;
                        }
                        Turn::Enough => self.arm_scale(key),
                        Turn::NoRoom => {
                            if let Some(group) = self.groups.get_mut(&key) {
                                group.exhausted = true;
                                group.blocked_since.get_or_insert(now);
                            }
                        }
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
    fn turns(&self) -> Vec<(WorkspaceId, BTreeMap<i64, GroupKey>)> {
        let mut turns: Vec<(WorkspaceId, BTreeMap<i64, GroupKey>)> = Vec::new();
        for key in self.groups_by_turn() {
            let Some(group) = self.groups.get(&key) else { continue };
            if group.exhausted && self.fresh_room.is_empty() {
                continue;
            }
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

    fn head(&self, key: GroupKey) -> Option<i64> {
        self.groups.get(&key)?.tasks.first_key_value().map(|(order, _)| *order)
    }

    fn take_turn(
        &mut self,
        now: Moment,
        key: GroupKey,
        candidates: &mut BTreeMap<GroupKey, Candidates>,
        actions: &mut Vec<Action>,
    ) -> Turn {
        if let Some((container, task)) = self.reusable(now, key) {
            self.assign(now, task, container, false, actions);
            return Turn::Served;
        }
        let Some(stub) = self.stubs.get(&key.stub) else { return Turn::NoRoom };
        if !stub.wants_container(now) {
            if let Some(group) = self.groups.get_mut(&key) {
                group.exhausted = false;
                group.blocked_since = None;
            }
            return Turn::Enough;
        }
        let heap = candidates.entry(key).or_insert_with(|| self.candidates(key));
        if let Some((worker, spot)) = self.best(key, heap) {
            self.start_on(now, key, worker, spot, actions);
            if let Some(score) = self.workers.get(&worker).and_then(|w| self.score(key, w)) {
                heap.push(Reverse((score, worker)));
            }
            return Turn::Served;
        }
        if self.make_room(now, key, actions) { Turn::Reserved } else { Turn::NoRoom }
    }

    fn candidates(&self, key: GroupKey) -> Candidates {
        self.to_look_at(key)
            .filter_map(|worker| Some(Reverse((self.score(key, worker)?, worker.id))))
            .collect()
    }

    /// The workers on which a group may find what it did not find before.
    fn to_look_at(&self, key: GroupKey) -> Box<dyn Iterator<Item = &Worker> + '_> {
        if self.groups.get(&key).is_some_and(|group| group.exhausted) {
            Box::new(self.fresh_room.iter().filter_map(|id| self.workers.get(id)))
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

    fn best(&self, key: GroupKey, heap: &mut Candidates) -> Option<(WorkerId, Spot)> {
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
    fn make_room(&mut self, now: Moment, key: GroupKey, actions: &mut Vec<Action>) -> bool {
        let Some(group) = self.groups.get(&key) else { return false };
        if group.reservations.len() >= group.tasks.len() {
            return false;
        }
        let best = self
            .to_look_at(key)
            .filter(|worker| self.may_make_room(key, worker))
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

    /// A worker with room that only starts too many containers needs none made.
    fn may_make_room(&self, key: GroupKey, worker: &Worker) -> bool {
        let stopping = worker.returning != Resources::default();
        worker.takes_work()
            && worker.starting < worker.start_limit(&self.config)
            && (stopping || !worker.idle.is_empty())
            && worker.reservations.iter().filter(|r| r.group == key).count()
                < worker.containers.len()
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
        let there = worker.free().saturating_add(worker.returning);
        let coming = saturating_sub(there, worker.reserved(None));
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
