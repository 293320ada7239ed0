//! Ending idle containers of other stubs to make room.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{ContainerId, Moment, StubId, WorkerId};

use super::Round;
use crate::Action;
use crate::core::Core;
use crate::place::{self, Candidate, Clearing};
use crate::state::{Container, ContainerState, GroupKey, Reservation, Worker};

/// Workers of a class on which room could be made that are compared before the best is taken. They
/// are looked at in order of how long their containers have been idle.
const PER_CLASS: usize = 16;

/// Room that could be made: how good it is (the lowest is the best), where, and by what.
type Offer = ((usize, usize, Option<Moment>, WorkerId), Clearing, Vec<ContainerId>);

/// Idle containers that may be ended together.
#[derive(Debug, Default)]
pub(super) struct Ending(BTreeMap<StubId, u32>);

impl Ending {
    /// One more; `false` if its stub cannot spare it beside those before.
    pub(super) fn take(&mut self, core: &Core, container: &Container) -> bool {
        match core.stubs.get(&container.stub) {
            // Most stubs can spare all.
            Some(stub) if stub.spec.min_containers > 0 => {
                let others = self.0.entry(container.stub).or_default();
                let spared = stub.can_spare(*others);
                *others += u32::from(spared);
                spared
            }
            _ => true,
        }
    }
}

impl Core {
    /// Has idle containers of other stubs ended so that one more task of the group has room, and
    /// reserves it. While the shape is full, only workers on which room has appeared are looked at.
    pub(super) fn make_room(
        &mut self,
        now: Moment,
        key: GroupKey,
        shape: usize,
        round: &Round,
        actions: &mut Vec<Action>,
    ) -> bool {
        let best = if self.shapes[shape].full {
            let workers = round.rooms.iter().filter_map(|id| self.workers.get(id));
            workers.filter_map(|worker| self.offer(key, worker)).min_by_key(|offer| offer.0)
        } else {
            self.best_offer(key, shape)
        };
        let Some(((.., worker), clearing, victims)) = best else { return false };
        let Some(stub) = self.stubs.get(&key.stub) else { return false };
        let resources = stub.spec.resources;
        self.reserve(worker, Reservation { group: key, resources, devices: clearing.spot.devices });
        for victim in victims {
            self.stop_container(now, victim, actions);
        }
        true
    }

    fn best_offer(&self, key: GroupKey, shape: usize) -> Option<Offer> {
        let mut best: Option<Offer> = None;
        let classes = self.shapes[shape].classes.iter();
        for class in classes.filter_map(|number| self.classes.get(number)) {
            // What is ending anyway costs nothing; then what was used least lately.
            let idle = class.idle.iter().filter_map(|(_, id)| self.containers.get(id));
            let workers = class.returning.iter().copied().chain(idle.map(|idle| idle.worker));
            let mut seen = BTreeSet::new();
            let offers = workers
                .filter(|id| seen.insert(*id))
                .filter_map(|id| self.offer(key, self.workers.get(&id)?))
                .take(PER_CLASS);
            let offer = offers.min_by_key(|offer| offer.0);
            if let Some(offer) = offer
                && best.as_ref().is_none_or(|best| offer.0 < best.0)
            {
                best = Some(offer);
            }
        }
        best
    }

    /// `true` if room could be made on the worker.
    pub(super) fn could_make(&self, key: GroupKey, worker: &Worker) -> bool {
        self.offer(key, worker).is_some()
    }

    fn offer(&self, key: GroupKey, worker: &Worker) -> Option<Offer> {
        // A worker that starts as many containers as it may needs no room made now.
        let may = worker.takes_work()
            && worker.starting < worker.start_limit(&self.config)
            && (worker.has_returning() || !worker.idle.is_empty());
        if !may {
            return None;
        }
        let (clearing, victims) = self.clearing(key, worker)?;
        let last_used = victims.iter().filter_map(|id| self.containers.get(id));
        let last_used = last_used.map(|container| container.since).max();
        Some(((clearing.spot.rank, victims.len(), last_used, worker.id), clearing, victims))
    }

    /// Which idle containers of a worker to end for one more task of the group.
    fn clearing(&self, key: GroupKey, worker: &Worker) -> Option<(Clearing, Vec<ContainerId>)> {
        let spec = &self.stubs.get(&key.stub)?.spec;
        let rests = worker.gpus_rest && !spec.gpu.is_none();
        if rests || !place::is_for(spec, &worker.offer) {
            return None;
        }
        let mut ending = Ending::default();
        let idle: Vec<_> = worker
            .idle
            .iter()
            .filter_map(|(_, id)| self.containers.get(id))
            .filter(|container| container.stub != key.stub && ending.take(self, container))
            .collect();
        let coming = worker.coming();
        let most = idle.iter().fold(coming, |sum, idle| sum.saturating_add(idle.resources));
        if !most.fits(spec.resources) {
            return None;
        }
        let candidates: Vec<Candidate> =
            idle.iter().map(|idle| Candidate { resources: idle.resources }).collect();
        let memory = spec.resources.memory_mib;
        let is_coming = |device: usize, victims: &[usize]| {
            let ends = |id| victims.iter().any(|&victim| idle[victim].id == id);
            let holds = |id| !ends(id) && !self.is_stopping(id);
            worker.device_fits(device, memory, holds, |_, _| true)
        };
        let clearing = place::clearing(spec, worker, &candidates, coming, is_coming)?;
        let victims = clearing.victims.iter().map(|&index| idle[index].id).collect();
        Some((clearing, victims))
    }

    /// `true` if a small job could have the device once stopping containers are gone, and idle ones
    /// too.
    pub(super) fn device_can_come_free(&self, worker: &Worker, device: usize) -> bool {
        let holds = |id| {
            self.containers.get(&id).is_some_and(|container| container.state.attempt().is_some())
        };
        !worker.gpus_rest && worker.device_fits(device, 0, holds, |_, _| true)
    }

    pub(super) fn is_stopping(&self, id: ContainerId) -> bool {
        self.containers
            .get(&id)
            .is_some_and(|container| container.state == ContainerState::Stopping)
    }
}
