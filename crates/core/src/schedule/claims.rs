//! Queues that have been kept waiting too long are promised room that others are about to reuse.
//!
//! A stub with a long queue reuses its containers the moment they are free, so nothing ever
//! becomes idle for somebody else. A queue that has found no room for a while may therefore take
//! such a container's place, if whoever used it holds more than the queue's own workspace (or, in
//! one workspace, stub). Where one container's room is not enough, the promise stands and takes
//! in what becomes idle on that worker until it is. A worker that keeps nothing idle is promised
//! likewise, if the calls on it end soon: what becomes free there is kept until it is enough.

use std::ops::Bound;
use std::time::Duration;

use metal9_types::{ContainerId, Moment, Resources, WorkerId, WorkspaceId};

use super::Round;
use super::room::Ending;
use crate::Action;
use crate::core::Core;
use crate::place;
use crate::state::worker::saturating_sub;
use crate::state::{Container, ContainerState, GroupKey, Reservation, Worker};

/// How long a queue waits before it takes others' places; at least twice what starting its
/// container takes, so that machines do not do nothing but start containers.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_MICROS: u64 = 1_000_000;

/// A worker on which no place could be taken is left alone for this long: with many queues, the
/// look costs more than the call that ended.
const LEAVE_ALONE: Duration = Duration::from_millis(100);

/// Calls that take longer than this are not waited for with room kept free.
const SOON: Duration = Duration::from_secs(60);

/// Queues looked at that have waited longest, and as many others.
const AT_A_TIME: usize = 4;

/// Queues of higher priority that are looked at before one that has waited long enough.
const AHEAD: usize = 16;

/// What a queue takes that was kept waiting.
struct Claim {
    /// Places in the worker's list of devices.
    devices: Vec<usize>,
    /// Promises to others that end, as places in the worker's list of them, the last one first.
    outbid: Vec<usize>,
}

impl Core {
    pub(super) fn claim_room(&mut self, now: Moment, round: &Round, actions: &mut Vec<Action>) {
        let mut workers: Vec<WorkerId> = round.rooms.iter().copied().collect();
        for &worker in &workers {
            self.cover(now, worker, actions);
        }
        if self.kept_waiting.first().is_none_or(|(since, _)| now.since(*since) < PATIENCE) {
            return;
        }
        workers.retain(|id| self.workers.get(id).is_some_and(|worker| may_look(now, worker)));
        if workers.is_empty() {
            return;
        }
        let impatient = self.impatient(now);
        for &key in &impatient {
            if !self.is_impatient(now, key) {
                continue;
            }
            let claimants: Vec<_> = self.ahead_of(key).chain([key]).collect();
            let claimed = claimants.into_iter().find_map(|claimant| {
                workers.iter().find_map(|&id| {
                    let worker = self.workers.get(&id)?;
                    Some((claimant, id, self.claimable(now, claimant, worker)?))
                })
            });
            if let Some((claimant, worker, claim)) = claimed {
                self.claim(now, claimant, worker, claim, actions);
            }
        }
        for id in workers {
            // A container of a queue's own stub is none that it could take: calls that keep step with
            // each other would else end unseen, each time just after one of the queue's own.
            let own = |id: &ContainerId| {
                let stub = self.containers.get(id).map(|container| container.stub);
                impatient.iter().any(|key| Some(key.stub) == stub)
            };
            let looked = |worker: &Worker| !worker.idle.iter().all(|(_, id)| own(id));
            if self.workers.get(&id).is_some_and(looked)
                && let Some(worker) = self.workers.get_mut(&id)
            {
                worker.looked_at = Some(now);
            }
        }
    }

    /// Queues that have waited long enough, those that waited longest first. Of very many, the
    /// first few and, each in its turn, as many others.
    fn impatient(&mut self, now: Moment) -> Vec<GroupKey> {
        let end = (Moment(now.0.saturating_sub(PATIENCE_MICROS)), GroupKey::LAST);
        let mut found: Vec<_> = self.kept_waiting.range(..=end).take(AT_A_TIME).copied().collect();
        if let (Some(&last), true) = (found.last(), found.len() == AT_A_TIME) {
            let from = self.looked_at.filter(|looked_at| *looked_at > last).unwrap_or(last);
            let rest = (Bound::Excluded(from), Bound::Included(end));
            let rest = self.kept_waiting.range(rest).take(AT_A_TIME);
            found.extend(rest);
            self.looked_at = found.last().copied().filter(|_| found.len() == 2 * AT_A_TIME);
        }
        found.into_iter().map(|(_, key)| key).collect()
    }

    /// Queues of the same workspace that come before an impatient one by their priority: what it has
    /// waited for is theirs first, however long they have waited themselves.
    fn ahead_of(&self, key: GroupKey) -> impl Iterator<Item = GroupKey> {
        let mine = self.place(key);
        let blocked = self.shares.get(&key.workspace).into_iter().flat_map(|share| &share.blocked);
        blocked
            .take_while(move |place| mine.is_some_and(|mine| **place < mine))
            .take(AHEAD)
            .map(|place| place.key)
            .filter(move |other| self.comes_first(*other, key) == Some(true))
    }

    /// `true` if the queue has waited for long enough to take others' places.
    fn is_impatient(&self, now: Moment, key: GroupKey) -> bool {
        let Some(group) = self.groups.get(&key) else { return false };
        let Some(stub) = self.stubs.get(&key.stub) else { return false };
        let patience = PATIENCE.max(stub.start_time.saturating_mul(2));
        group.blocked_since.is_some_and(|since| now.since(since) >= patience)
    }

    /// `true` if the queue could use room that nothing was promised it for.
    fn wants_room(&self, now: Moment, key: GroupKey) -> bool {
        let Some(group) = self.groups.get(&key) else { return false };
        let Some(stub) = self.stubs.get(&key.stub) else { return false };
        group.reservations.is_empty()
            && !stub.is_at_limit()
            && self.is_within_rules(key)
            && stub.wants_container(now)
    }

    /// What the group would take on this worker, if it may claim room there.
    fn claimable(&self, now: Moment, key: GroupKey, worker: &Worker) -> Option<Claim> {
        let shape = &self.shapes[self.stubs.get(&key.stub)?.shape];
        if !shape.classes.contains(&worker.class) || !self.wants_room(now, key) {
            return None;
        }
        let victims: Vec<&Container> = match worker.idle.is_empty() {
            true => self.ending_soon(worker, key).collect(),
            false => self.victims(worker, key).collect(),
        };
        if victims.is_empty() {
            return None;
        }
        let spec = &self.stubs.get(&key.stub)?.spec;
        let memory = spec.resources.memory_mib;
        let comes = |device: usize| {
            worker.device_fits(device, memory, |id| !self.is_stopping(id), |_, _| true)
        };
        let enough = worker.coming().fits(spec.resources)
            && place::pick_devices(spec, &worker.offer, comes).is_some();
        if enough || place::obstacle(spec, worker).is_some() {
            return None;
        }
        let mut outbid = self.outbid(key, worker)?;
        let ends = |id| victims.iter().any(|victim| victim.id == id);
        let holds = |id| !ends(id) && !self.is_stopping(id);
        let spot = place::pick_devices(spec, &worker.offer, |device| {
            worker.device_fits(device, memory, holds, |index, _| !outbid.contains(&index))
        });
        if let Some(spot) = spot {
            return Some(Claim { devices: spot.devices, outbid });
        }
        let weaker = |promise: &Reservation| self.may_outbid(key, promise.group);
        let devices = place::pick_devices(spec, &worker.offer, |device| {
            let counts =
                |index, promise: &Reservation| !outbid.contains(&index) && !weaker(promise);
            worker.device_fits(device, memory, holds, counts)
        })?
        .devices;
        let on_them = |promise: &Reservation| promise.devices.iter().any(|d| devices.contains(d));
        let promises = worker.reservations.iter().enumerate();
        let further = promises.filter(|(_, promise)| on_them(promise) && weaker(promise));
        outbid.extend(further.map(|(index, _)| index));
        outbid.sort_unstable_by(|one, other| other.cmp(one));
        outbid.dedup();
        Some(Claim { devices, outbid })
    }

    /// The promises on a worker that the group would take the place of, as few as will do, the
    /// newest first; nothing if it may not take as many as stand in its way.
    ///
    /// All that is promised must be there once the worker is empty but for what the group's own
    /// stub keeps there, which makes no room for itself; or everybody waits for ever.
    fn outbid(&self, key: GroupKey, worker: &Worker) -> Option<Vec<usize>> {
        let resources = self.stubs.get(&key.stub)?.spec.resources;
        let kept = worker
            .containers
            .iter()
            .filter_map(|id| self.containers.get(id))
            .filter(|kept| kept.stub == key.stub && kept.state != ContainerState::Stopping)
            .fold(Resources::default(), |sum, kept| sum.saturating_add(kept.resources));
        let mut needed = worker.reserved(None).saturating_add(resources).saturating_add(kept);
        let mut outbid = Vec::new();
        for (index, promise) in worker.reservations.iter().enumerate().rev() {
            if worker.offer.capacity.fits(needed) {
                break;
            }
            if self.may_outbid(key, promise.group) {
                needed = saturating_sub(needed, promise.resources);
                outbid.push(index);
            }
        }
        worker.offer.capacity.fits(needed).then_some(outbid)
    }

    fn claim(
        &mut self,
        now: Moment,
        key: GroupKey,
        worker: WorkerId,
        claim: Claim,
        actions: &mut Vec<Action>,
    ) {
        let Claim { devices, outbid } = claim;
        let Some(resources) = self.stubs.get(&key.stub).map(|stub| stub.spec.resources) else {
            return;
        };
        let Some(host) = self.workers.get(&worker) else { return };
        let holders: Vec<ContainerId> = self
            .victims(host, key)
            .filter(|victim| victim.devices.iter().any(|device| devices.contains(device)))
            .map(|victim| victim.id)
            .collect();
        // From the last one on, so that the places of the others hold.
        for index in outbid {
            self.remove_reservation(worker, index);
        }
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
            let mut promises = worker.reservations.iter();
            let victim = if worker.is_overdrawn() {
                promises.find_map(|promise| self.victims(worker, promise.group).next())
            } else {
                promises.enumerate().find_map(|(index, _)| self.holder_to_end(worker, index))
            };
            let Some(victim) = victim.map(|victim| victim.id) else { return };
            self.stop_container(now, victim, actions);
        }
    }

    /// The idle container that keeps a device from coming free for whom it was promised, if that
    /// may take its place.
    fn holder_to_end<'a>(&'a self, worker: &'a Worker, index: usize) -> Option<&'a Container> {
        let promise = worker.reservations.get(index)?;
        let memory = promise.resources.memory_mib;
        let holds = |id| !self.is_stopping(id);
        let others = |other, _: &Reservation| other != index;
        let fits = |device: usize| worker.device_fits(device, memory, holds, others);
        let device = promise.devices.iter().copied().find(|device| !fits(*device))?;
        self.victims(worker, promise.group).find(|victim| victim.devices.contains(&device))
    }

    /// The idle containers of a worker whose place the group may take, the longest idle first.
    fn victims<'a>(
        &'a self,
        worker: &'a Worker,
        key: GroupKey,
    ) -> impl Iterator<Item = &'a Container> {
        let mut ending = Ending::default();
        let idle = worker.idle.iter().filter_map(|(_, id)| self.containers.get(id));
        idle.filter(move |victim| {
            victim.stub != key.stub && self.may_take(key, victim) && ending.take(self, victim)
        })
    }

    /// The running containers of a worker whose place the group may take when their calls end,
    /// which will be soon.
    fn ending_soon<'a>(
        &'a self,
        worker: &'a Worker,
        key: GroupKey,
    ) -> impl Iterator<Item = &'a Container> {
        let soon = |stub| {
            let call_time = self.stubs.get(&stub).and_then(|stub| stub.call_time);
            call_time.is_some_and(|call_time| call_time <= SOON)
        };
        worker
            .containers
            .iter()
            .filter_map(|id| self.containers.get(id))
            .filter(|running| running.state.attempt().is_some())
            .filter(move |running| soon(running.stub))
            .filter(move |victim| victim.stub != key.stub && self.may_take(key, victim))
    }

    /// `true` if the container's user holds so much more than the group's, by their weights, that
    /// taking one from the former does not just turn the tables.
    ///
    /// In one workspace the stub of higher priority comes first, until the other has waited for
    /// long enough; between equals, the one with fewer calls.
    fn may_take(&self, key: GroupKey, victim: &Container) -> bool {
        let Some(user) = victim.workspace else { return true };
        if user == key.workspace {
            return self.may_take_within(key, victim);
        }
        let Some(cost) = self.stubs.get(&key.stub).map(|stub| self.shapes[stub.shape].cost) else {
            return false;
        };
        let theirs = self.stubs.get(&victim.stub).map_or(0, |stub| self.shapes[stub.shape].cost);
        // An idle container is the last of theirs that is not counted among the calls.
        let theirs = if victim.state.attempt().is_some() { 0 } else { theirs };
        self.held(key.workspace) == 0 || self.holds_less((key.workspace, cost), (user, theirs))
    }

    fn held(&self, workspace: WorkspaceId) -> u64 {
        self.shares.get(&workspace).map_or(0, |share| share.held)
    }

    /// `true` if what one workspace holds and so much more is less than what another and so much
    /// more is, by their weights.
    fn holds_less(&self, one: (WorkspaceId, u64), other: (WorkspaceId, u64)) -> bool {
        let held = |(workspace, more)| u128::from(self.held(workspace).saturating_add(more));
        let weight = |(workspace, _)| u128::from(self.rules(workspace).weight.max(1));
        held(one) * weight(other) < held(other) * weight(one)
    }

    /// `true` if a promise to another group is the group's to take: like an idle container of that
    /// group, except that nobody takes from those who have nothing.
    fn may_outbid(&self, key: GroupKey, other: GroupKey) -> bool {
        if other.stub == key.stub {
            return false;
        }
        if other.workspace != key.workspace {
            return self.holds_less((key.workspace, 0), (other.workspace, 0));
        }
        let calls = |stub| self.stubs.get(&stub).map_or(0, |stub| stub.calls.len());
        self.comes_first(key, other).unwrap_or_else(|| calls(key.stub) < calls(other.stub))
    }

    fn may_take_within(&self, key: GroupKey, victim: &Container) -> bool {
        let theirs = GroupKey { workspace: key.workspace, stub: victim.stub };
        if let Some(first) = self.comes_first(key, theirs) {
            return first;
        }
        let calls = |stub| self.stubs.get(&stub).map_or(0, |stub| stub.calls.len());
        let idle = usize::from(victim.state.attempt().is_none());
        let (mine, theirs) = (calls(key.stub), calls(victim.stub) + idle);
        mine == 0 || mine + 1 < theirs
    }

    /// Whether one queue of a workspace comes before another by priority; nothing if they have the
    /// same.
    fn comes_first(&self, one: GroupKey, other: GroupKey) -> Option<bool> {
        let priority = |key: GroupKey| self.stubs.get(&key.stub).map_or(0, |s| s.spec.priority);
        if priority(one) == priority(other) {
            return None;
        }
        let (one, other) = (self.place(one), self.place(other));
        Some(other.is_none_or(|other| one.is_some_and(|one| one < other)))
    }
}

fn may_look(now: Moment, worker: &Worker) -> bool {
    let lately = worker.looked_at.is_some_and(|looked_at| now.since(looked_at) < LEAVE_ALONE);
    !lately
}
