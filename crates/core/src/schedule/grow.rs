//! Workspaces take turns to start containers.

use metal9_types::{Moment, WorkerId};

use super::Round;
use super::fair::Contest;
use crate::Action;
use crate::core::Core;
use crate::place::{self, Score, Spot};
use crate::state::{Class, Deadline, GroupKey, Reservation, Worker};

/// Workers of a class that are compared before the best of them is taken. They are looked at in
/// order of how tightly the task fits, and alike in everything but that and their caches.
const PER_CLASS: usize = 16;
/// Workers compared in all.
const AT_MOST: usize = 48;

/// So many queues are looked at one by one; of more, only those whose turn it is.
const FEW: usize = 32;

/// How a turn ended.
enum Turn {
    /// A task was given away.
    Served,
    /// Room is being made for a task.
    Reserved,
    /// The containers there are will do.
    Enough,
    /// The stub has as many containers as it may.
    AtLimit,
    /// The workspace has as much as it may.
    Capped,
    /// There is no room; room is being made for every task.
    Promised,
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
        let mut contest = self.contest(round);
        while let Some(turn) = self.next_in_turn(&contest) {
            let workspace = turn.workspace;
            // The first task of the workspace that can be served is; those that cannot do not
            // stand in the way.
            while let Some(key) = self.first_of(workspace, &mut contest, round) {
                let paid = |core: &Self| core.groups.get(&key).map_or(0, |group| group.paid);
                let before = paid(self);
                if self.take_turn_or_pass(now, key, round, actions) {
                    // What was promised and is now given had its turn then.
                    if before == 0 || paid(self) > before {
                        self.settle_turn(turn, &contest);
                    }
                    if let Some(place) = self.place(key) {
                        contest.enter(place);
                    }
                    break;
                }
                contest.pass(key);
            }
        }
    }

    /// The queues worth a look.
    fn contest(&self, round: &Round) -> Contest {
        let mut contest = Contest::default();
        for &key in round.groups.iter().chain(&round.promised) {
            if let Some(place) = self.place(key) {
                contest.enter(place);
            }
        }
        let blocked = |shape: &usize| self.shapes[*shape].blocked.len();
        let all: usize = round.fitting.iter().map(blocked).sum();
        contest.open = all > FEW;
        if contest.open {
            let waiting = self.shares.iter().filter(|(_, share)| !share.blocked.is_empty());
            for (&workspace, _) in waiting {
                contest.admit(workspace);
            }
        } else {
            let blocked = round.fitting.iter().flat_map(|shape| &self.shapes[*shape].blocked);
            for place in blocked.filter_map(|&key| self.place(key)) {
                contest.enter(place);
            }
        }
        contest
    }

    /// Finds out for which of the queues that found no room before another look is worth while.
    fn measure_reach(&self, round: &mut Round) {
        round.fitting.clear();
        round.promised.clear();
        for worker in round.rooms.iter().filter_map(|id| self.workers.get(id)) {
            if !worker.takes_work() || worker.starting >= worker.start_limit(&self.config) {
                continue;
            }
            round.promised.extend(worker.reservations.iter().map(|promise| promise.group));
            let idle = worker.idle.iter().filter_map(|(_, id)| self.containers.get(id));
            let room = idle.fold(worker.coming(), |sum, idle| sum.saturating_add(idle.resources));
            let Some(class) = self.classes.get(&worker.class) else { continue };
            let mut device = None;
            for asking in &class.asking {
                if asking.cpu > room.cpu_millicores {
                    break;
                }
                if asking.memory > room.memory_mib {
                    continue;
                }
                let comes = |device| self.device_can_come_free(worker, device);
                let fits = self.shapes[asking.shape].spec.gpu.is_none()
                    || *device.get_or_insert_with(|| (0..worker.holders.len()).any(comes));
                if fits {
                    round.fitting.push(asking.shape);
                }
            }
        }
        round.fitting.sort_unstable();
        round.fitting.dedup();
    }

    /// Serves the first task of a group, or takes note of why not.
    fn take_turn_or_pass(
        &mut self,
        now: Moment,
        key: GroupKey,
        round: &mut Round,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(shape) = self.groups.get(&key).map(|group| group.shape) else { return false };
        let turn = self.take_turn(now, key, shape, round, actions);
        match turn {
            Turn::Served => {
                self.measure_reach(round);
                return true;
            }
            Turn::Reserved => {
                self.measure_reach(round);
                // Paid for now, so that it is the others' turn.
                self.charge(key);
                if let Some(group) = self.groups.get_mut(&key) {
                    group.paid += 1;
                }
                return true;
            }
            Turn::Enough | Turn::AtLimit | Turn::Capped => {
                self.unblock(key, shape);
                self.set_kept_waiting(key, |_| None);
                match turn {
                    Turn::Enough => self.arm_scale(key),
                    Turn::Capped => {
                        self.capped.insert(key);
                        self.drop_reservations_for(key);
                    }
                    _ => self.drop_reservations_for(key),
                }
            }
            Turn::Promised | Turn::NoRoom => {
                self.block(key, shape);
                // Room that a queue has no use for now is there for the next one of its shape.
                let unused = |id| self.workers.get(id).is_some_and(|on| self.could_make(key, on));
                let full = match turn {
                    Turn::NoRoom => true,
                    _ => self.shapes[shape].full && !round.rooms.iter().any(unused),
                };
                self.shapes[shape].full = full;
                self.set_kept_waiting(key, |since| since.or(Some(now)));
            }
        }
        false
    }

    fn drop_reservations_for(&mut self, key: GroupKey) {
        let count = self.groups.get(&key).map_or(0, |group| group.reservations.len());
        for _ in 0..count {
            self.drop_one_reservation(key);
        }
    }

    fn take_turn(
        &mut self,
        now: Moment,
        key: GroupKey,
        shape: usize,
        round: &Round,
        actions: &mut Vec<Action>,
    ) -> Turn {
        if let Some((container, task)) = self.reusable(now, key) {
            self.assign(now, task, container, false, actions);
            return Turn::Served;
        }
        if !self.is_within_rules(key) {
            return Turn::Capped;
        }
        let Some(stub) = self.stubs.get(&key.stub) else { return Turn::NoRoom };
        if stub.is_at_limit() {
            return Turn::AtLimit;
        }
        if !stub.is_short() {
            if self.first_call(key).is_none() {
                // What is to be warmed up has been, by a call.
                return Turn::AtLimit;
            }
            if !stub.wants_container(now) {
                return Turn::Enough;
            }
        }
        if let Some((worker, spot)) = self.best(key, shape, round) {
            self.start_on(now, key, worker, spot, actions);
            return Turn::Served;
        }
        self.make_room_or_wait(now, key, shape, round, actions)
    }

    fn make_room_or_wait(
        &mut self,
        now: Moment,
        key: GroupKey,
        shape: usize,
        round: &Round,
        actions: &mut Vec<Action>,
    ) -> Turn {
        let Some(group) = self.groups.get(&key) else { return Turn::NoRoom };
        let Some(stub) = self.stubs.get(&key.stub) else { return Turn::NoRoom };
        let promised = group.reservations.len();
        let coming = stub.live.saturating_add(u32::try_from(promised).unwrap_or(u32::MAX));
        let at_limit = stub.most().is_some_and(|most| coming >= most);
        if promised >= group.tasks.len() || at_limit {
            return Turn::Promised;
        }
        if self.make_room(now, key, shape, round, actions) { Turn::Reserved } else { Turn::NoRoom }
    }

    /// The best worker for one more container of the group, and where on it. While the shape is
    /// full, only workers on which room has appeared are looked at.
    fn best(&self, key: GroupKey, shape: usize, round: &Round) -> Option<(WorkerId, Spot)> {
        let shape = &self.shapes[shape];
        let mut best: Option<(Score, WorkerId, Spot)> = None;
        let mut consider = |worker: &Worker| -> bool {
            let Some((score, spot)) = self.score(key, worker) else { return false };
            let better = best.as_ref().is_none_or(|(s, id, _)| (score, worker.id) < (*s, *id));
            if better {
                best = Some((score, worker.id, spot));
            }
            true
        };
        if shape.full {
            for worker in round.rooms.iter().filter_map(|id| self.workers.get(id)) {
                consider(worker);
            }
        } else {
            // A task that has a promise goes where that was made, if it can.
            let promised = self.groups.get(&key).map(|group| group.reservations.as_slice());
            for worker in promised.into_iter().flatten().filter_map(|id| self.workers.get(id)) {
                consider(worker);
            }
            let mut found = 0;
            for class in shape.classes.iter().filter_map(|number| self.classes.get(number)) {
                let least = (shape.spec.resources.cpu_millicores, WorkerId(uuid::Uuid::nil()));
                let free = class.with_room(&shape.spec).range(least..);
                let fitting = free
                    .filter_map(|(_, id)| self.workers.get(id))
                    .filter(|worker| consider(worker))
                    .take(PER_CLASS)
                    .count();
                found += fitting;
                if found >= AT_MOST {
                    break;
                }
            }
        }
        best.map(|(_, worker, spot)| (worker, spot))
    }

    fn score(&self, key: GroupKey, worker: &Worker) -> Option<(Score, Spot)> {
        if !worker.takes_work() || worker.starting >= worker.start_limit(&self.config) {
            return None;
        }
        let spec = &self.stubs.get(&key.stub)?.spec;
        let spot = place::spot(spec, worker, key)?;
        Some((place::score(spec, worker, &spot), spot))
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
        self.set_kept_waiting(key, |_| None);
        let any = || self.groups.get(&key)?.tasks.values().next().map(|first| first.task);
        let Some(task) = self.first_call(key).or_else(any) else { return };
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
}

impl Class {
    /// The workers on which a container of such a stub could start, were it small enough.
    fn with_room(&self, spec: &crate::StubSpec) -> &std::collections::BTreeSet<(u64, WorkerId)> {
        if spec.gpu.is_none() { &self.free } else { &self.free_devices }
    }
}
