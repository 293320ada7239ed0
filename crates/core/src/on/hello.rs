//! A worker connects and says what it has.
//!
//! Both sides compare notes. What the worker has and the scheduler wants is kept or adopted; what
//! the scheduler does not want is named in the answer, to be stopped; what the scheduler thought
//! was there and the worker does not have is lost. Containers that are to be stopped hold their
//! room until the worker says that they are gone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{AttemptId, ContainerId, Failure, FailureKind, Moment, StubId, WorkerId};

use crate::core::Core;
use crate::place::{self, Spot};
use crate::state::{Assigned, ContainerState, Deadline, Holder, TaskState, Worker};
use crate::{Action, Reattach, StubSpec, WorkerHello};

/// What is found out while notes are compared.
#[derive(Default)]
struct Notes {
    /// Listed attempts that stay.
    kept: BTreeSet<AttemptId>,
    /// Containers of attempts that stay.
    hosts: BTreeSet<ContainerId>,
    /// Containers of attempts that do not: nobody knows what still runs in them.
    tainted: BTreeSet<ContainerId>,
    drop_attempts: Vec<AttemptId>,
    drop_containers: Vec<ContainerId>,
    /// The worker's process is the one that said hello before.
    same_process: bool,
    /// The devices that containers were given.
    given: BTreeMap<ContainerId, Vec<usize>>,
}

/// Where a container is that a worker has: on the devices it was given, if it could be there, else
/// on any that it could be on.
fn found(spec: &StubSpec, worker: &Worker, given: Option<&Vec<usize>>) -> Option<Spot> {
    let memory = spec.resources.memory_mib;
    let free = |device: usize| worker.device_fits(device, memory, |_| true, |_, _| false);
    let given = given.filter(|given| !given.is_empty()).and_then(|given| {
        place::pick_devices(spec, &worker.offer, |device| given.contains(&device) && free(device))
    });
    given.or_else(|| place::pick_devices(spec, &worker.offer, free))
}

impl Core {
    pub(crate) fn on_hello(&mut self, now: Moment, hello: &WorkerHello, actions: &mut Vec<Action>) {
        let welcome_at = actions.len();
        let before = self.workers.get(&hello.worker).map(|worker| worker.process);
        let same_process = hello.process != 0 && before == Some(hello.process);
        let given = hello.devices.clone();
        let mut notes = Notes { given, same_process, ..Notes::default() };
        self.connect(now, hello);
        for reattach in &hello.attempts {
            self.compare_attempt(now, hello.worker, *reattach, &mut notes, actions);
        }
        for &(container, stub) in &hello.containers {
            self.compare_container(now, hello.worker, container, stub, &mut notes);
        }
        self.lose_unlisted(now, hello, &mut notes, actions);
        // A list that names one attempt twice must not end the one that stays.
        notes.drop_attempts.retain(|attempt| !notes.kept.contains(attempt));
        let welcome = Action::Welcome {
            worker: hello.worker,
            session: hello.session,
            drop_attempts: notes.drop_attempts,
            drop_containers: notes.drop_containers,
        };
        actions.insert(welcome_at, welcome);
        if let Some(worker) = self.workers.get_mut(&hello.worker) {
            worker.shrunk = !worker.offer.capacity.fits(worker.used);
        }
        self.mark_room(hello.worker);
        self.watch(hello.worker);
    }

    /// Makes the session the worker's present one.
    fn connect(&mut self, now: Moment, hello: &WorkerHello) {
        let id = hello.worker;
        if let Entry::Vacant(vacant) = self.workers.entry(id) {
            vacant.insert(Worker::new(id, hello.offer.clone()));
            self.enter_class(id);
        }
        self.drop_reservations(id);
        let cordoned = self.cordoned.contains(&id);
        let known = self.workers.get(&id).map(|worker| &worker.offer);
        let devices_changed = known.is_some_and(|known| known.devices != hello.offer.devices);
        let offer = (known != Some(&hello.offer)).then_some(&hello.offer);
        if self.workers.get(&id).is_some_and(|worker| worker.leaving) {
            self.deadlines.disarm(Deadline::Drain(id));
        }
        self.change_offer(now, id, offer, |worker| {
            if worker.leaving || !cordoned {
                worker.drain_until = None;
            }
            worker.cordoned = cordoned;
            worker.session = Some(hello.session);
            worker.process = hello.process;
            worker.last_heard = now;
            worker.suspect = false;
            worker.leaving = false;
            worker.set_condition(hello.thermal, hello.power);
            worker.cached = hello.cached.iter().cloned().collect();
        });
        if devices_changed {
            self.deal_devices_again(id, &hello.devices);
        }
    }

    /// The worker's list of devices is another one: what its containers hold is found anew. One
    /// that finds nothing keeps running; it was given its device by the worker, not by us.
    fn deal_devices_again(&mut self, id: WorkerId, given: &BTreeMap<ContainerId, Vec<usize>>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.holders = vec![Vec::new(); worker.offer.devices.len()];
        for container in worker.containers.clone() {
            let Some(container) = self.containers.get_mut(&container) else { continue };
            let Some(stub) = self.stubs.get(&container.stub) else { continue };
            let spot = found(&stub.spec, worker, given.get(&container.id));
            container.devices = spot.map(|spot| spot.devices).unwrap_or_default();
            let memory_mib = container.resources.memory_mib;
            for &device in &container.devices {
                worker.take_device(device, Holder { container: container.id, memory_mib });
            }
        }
    }

    fn compare_attempt(
        &mut self,
        now: Moment,
        worker: WorkerId,
        listed: Reattach,
        notes: &mut Notes,
        actions: &mut Vec<Action>,
    ) {
        let known = self.assigned(listed.attempt).filter(|known| {
            known.worker == worker
                && known.container == listed.container
                && self.attempts.get(&listed.attempt) == Some(&listed.task)
        });
        let given = notes.given.get(&listed.container);
        if known.is_some() || self.adopt_attempt(now, worker, listed, given, actions) {
            notes.kept.insert(listed.attempt);
            notes.hosts.insert(listed.container);
        } else {
            notes.drop_attempts.push(listed.attempt);
            notes.tainted.insert(listed.container);
        }
    }

    /// Takes over an attempt whose task waits for nothing better.
    fn adopt_attempt(
        &mut self,
        now: Moment,
        worker: WorkerId,
        listed: Reattach,
        given: Option<&Vec<usize>>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(task) = self.tasks.get(&listed.task) else { return false };
        let stub = task.stub();
        let free = !matches!(task.state, TaskState::Assigned(_));
        let fresh_id = self.ids.was_given_attempt(listed.attempt)
            && !self.attempts.contains_key(&listed.attempt);
        if !free || !fresh_id {
            return false;
        }
        let hosted = match self.containers.get(&listed.container) {
            Some(host) => {
                host.worker == worker && host.stub == stub && host.state == ContainerState::Idle
            }
            None => self.adopt_container(now, worker, listed.container, stub, given),
        };
        if !hosted {
            return false;
        }
        let assigned = Assigned {
            attempt: listed.attempt,
            worker,
            container: listed.container,
            since: now,
            started: Some(now),
            adopted: true,
        };
        self.attach(now, listed.task, assigned, false);
        self.arm_timeout(now, listed.attempt);
        if let Some(task) = self.tasks.get_mut(&listed.task) {
            task.attempts_used = task.attempts_used.max(1);
            task.begun = true;
        }
        self.say_running(listed.task, actions);
        true
    }

    /// Takes over a container nobody here knew, as one that is stopping: the caller says what it
    /// does instead. Room is not asked for, since the container is there already.
    fn adopt_container(
        &mut self,
        now: Moment,
        worker: WorkerId,
        id: ContainerId,
        stub: StubId,
        given: Option<&Vec<usize>>,
    ) -> bool {
        if !self.ids.was_given_container(id) || self.containers.contains_key(&id) {
            return false;
        }
        let (Some(stub), Some(host)) = (self.stubs.get(&stub), self.workers.get(&worker)) else {
            return false;
        };
        let spot = found(&stub.spec, host, given);
        let fits = spot.is_some();
        let spot = spot.unwrap_or(Spot { rank: 0, devices: Vec::new() });
        let stub = stub.spec.stub;
        self.add_container(now, id, stub, worker, spot);
        fits
    }

    fn compare_container(
        &mut self,
        now: Moment,
        worker: WorkerId,
        id: ContainerId,
        stub: StubId,
        notes: &mut Notes,
    ) {
        if notes.hosts.contains(&id) {
            return;
        }
        match self.containers.get(&id).map(|known| (known.worker, known.state)) {
            Some((on, ContainerState::Idle)) if on == worker => return,
            // Its attempt was not listed: `lose_unlisted` sees to it.
            Some((on, state)) if on == worker && state.attempt().is_some() => return,
            Some(_) => {}
            None => {
                let keep_warm = self.stubs.get(&stub).map(|stub| stub.spec.keep_warm);
                let empties = self.workers.get(&worker).is_none_or(|worker| worker.empties());
                let wanted = keep_warm.is_some_and(|time| !time.is_zero())
                    && !empties
                    && !notes.tainted.contains(&id);
                let fits = self.has_room_for(worker, stub);
                let given = notes.given.get(&id);
                if self.adopt_container(now, worker, id, stub, given) && wanted && fits {
                    self.set_idle(now, id);
                    return;
                }
            }
        }
        notes.drop_containers.push(id);
    }

    fn has_room_for(&self, worker: WorkerId, stub: StubId) -> bool {
        let worker = self.workers.get(&worker);
        let stub = self.stubs.get(&stub);
        worker.zip(stub).is_some_and(|(worker, stub)| worker.free().fits(stub.spec.resources))
    }

    /// Takes back an attempt of which its worker, which has lost nothing, never heard.
    fn take_back_unheard(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        text: &str,
        actions: &mut Vec<Action>,
    ) {
        let Some(assigned) = self.assigned(attempt).filter(|it| it.started.is_none()) else {
            return;
        };
        let Some(&task) = self.attempts.get(&attempt) else { return };
        self.take_back(now, task, Failure::new(FailureKind::WorkerLost, text), actions);
        self.set_stopping(now, assigned.container);
    }

    /// What was thought to be on the worker and is not.
    fn lose_unlisted(
        &mut self,
        now: Moment,
        hello: &WorkerHello,
        notes: &mut Notes,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.workers.get(&hello.worker) else { return };
        let mut text = format!("worker `{}` came back without the call", worker.offer.hostname);
        if !hello.interruption.is_empty() {
            text += &format!(": {}", hello.interruption);
        }
        let listed: BTreeSet<ContainerId> = hello.containers.iter().map(|(id, _)| *id).collect();
        let known: Vec<ContainerId> = worker.containers.iter().copied().collect();
        for id in known {
            let Some(state) = self.containers.get(&id).map(|container| container.state) else {
                continue;
            };
            let attempt = state.attempt();
            if attempt.is_some_and(|attempt| notes.kept.contains(&attempt)) {
                continue;
            }
            if let Some(attempt) = attempt.filter(|_| notes.same_process) {
                self.take_back_unheard(now, attempt, &text, actions);
            }
            // The list of containers is complete, so one that is not on it holds nothing any more.
            if !listed.contains(&id) {
                self.lose_container(now, id, &text, actions);
                continue;
            }
            if let Some(task) = attempt.and_then(|attempt| self.attempts.get(&attempt).copied()) {
                let failure = Failure::new(FailureKind::WorkerLost, text.clone());
                self.fail_attempt(now, task, failure, actions);
                self.set_stopping(now, id);
            }
            let stopping = self
                .containers
                .get(&id)
                .is_some_and(|container| container.state == ContainerState::Stopping);
            if stopping && !notes.drop_containers.contains(&id) {
                notes.drop_containers.push(id);
            }
        }
    }
}
