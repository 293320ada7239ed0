//! Which request goes to which container, and how many containers there should be.
//!
//! The scheduler knows calls, one at a time to a container. Here a *hold* is a call that stands for
//! "this container serves requests": it is asked for when requests wait, and released a moment
//! after the last of them is over, when its container becomes idle as after any call. This is what
//! decides, without waiting for anything: what is to be done comes out as steps.

mod stub;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use metal9_types::{
    AttemptId, ContainerId, Failure, FailureKind, Serving, StubId, TaskId, WorkerId,
};

use stub::{Hold, State, Stub};

/// How long a container without requests is held: a client that asks again and again should not
/// have to wait for the scheduler each time.
const LINGER: Duration = Duration::from_secs(1);

/// How long a container that could not be reached gets no requests, unless its worker comes back.
const UNREACHED: Duration = Duration::from_millis(500);

/// The longest pause after containers that did not start.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) stub: StubId,
    pub(crate) hold: TaskId,
    pub(crate) container: ContainerId,
    pub(crate) worker: WorkerId,
    pub(crate) process: u32,
}

/// Why a request goes nowhere.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Refusal {
    /// As many wait as may.
    Full(u32),
    /// Its container did not start.
    Failed(Failure),
    /// The last containers did not start, and the next is not tried before so long.
    Pausing(Failure, Duration),
    /// Nobody tries the stub out any more.
    Unserved,
}

/// What is to be done.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Step {
    /// Hand a hold to the scheduler.
    Ask { stub: StubId, hold: TaskId },
    /// Take one back that has no container yet.
    Withdraw(TaskId),
    /// Tell the worker that a hold is over.
    Release { hold: TaskId, attempt: AttemptId, worker: WorkerId },
    /// A request has a place.
    Give { request: TaskId, place: Place },
    /// A request gets none.
    Refuse { request: TaskId, refusal: Refusal },
}

/// What a request waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    /// Requests that get a place first.
    pub(crate) ahead: usize,
    /// Containers that serve, with as many requests as they take.
    pub(crate) serving: usize,
    /// Holds whose containers are being made.
    pub(crate) starting: Vec<TaskId>,
    /// Holds that the scheduler has yet to find a place for.
    pub(crate) asked: Vec<TaskId>,
}

/// All stubs that have requests or containers that serve.
#[derive(Debug, Default)]
pub(crate) struct Book {
    stubs: HashMap<StubId, Stub>,
    holds: HashMap<TaskId, StubId>,
    /// Workers that get no requests, as they are gone for now or leave.
    away: HashSet<WorkerId>,
    /// When to look at a stub again.
    looks: BTreeSet<(Instant, StubId)>,
    steps: Vec<Step>,
    /// Stubs that are here no more.
    gone: Vec<StubId>,
}

impl Book {
    /// Stubs that have neither requests nor containers any more, since this was last asked.
    pub(crate) fn take_gone(&mut self) -> Vec<StubId> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|id| !self.stubs.contains_key(id));
        gone
    }

    /// A request arrives, which waits until a step gives or refuses it a place.
    pub(crate) fn arrive(
        &mut self,
        now: Instant,
        id: StubId,
        serving: Serving,
        request: TaskId,
    ) -> Result<(), Refusal> {
        let stub = self.stubs.entry(id).or_insert_with(|| Stub::new(serving));
        if let Some(refusal) = stub.refuses(now) {
            self.settle(now, id);
            return Err(refusal);
        }
        // It may have been told to have another number of containers since.
        stub.serving = serving;
        stub.waiting.push_back(request);
        self.settle(now, id);
        Ok(())
    }

    /// A stub has another number of containers from now on; those that are too many get no further
    /// requests.
    pub(crate) fn set_serving(&mut self, now: Instant, id: StubId, serving: Serving) {
        if let Some(stub) = self.stubs.get_mut(&id) {
            stub.serving = serving;
            self.settle(now, id);
        }
    }

    /// A request that waited does so no more.
    pub(crate) fn left(&mut self, now: Instant, id: StubId, request: TaskId) {
        if let Some(stub) = self.stubs.get_mut(&id) {
            stub.waiting.retain(|waiting| *waiting != request);
            self.settle(now, id);
        }
    }

    /// A request is over.
    pub(crate) fn done(&mut self, now: Instant, place: &Place) {
        if let Some(hold) = self.hold_of(place) {
            hold.give_back(place.process);
            self.settle(now, place.stub);
        }
    }

    /// A container is being ended, as it does not answer any more.
    pub(crate) fn condemned(&mut self, now: Instant, place: &Place) {
        if let Some(hold) = self.hold_of(place) {
            hold.give_back(place.process);
            hold.state = State::Condemned;
            self.settle(now, place.stub);
        }
    }

    /// A container could not be reached; the request is over there.
    pub(crate) fn unreached(&mut self, now: Instant, place: &Place) {
        if let Some(hold) = self.hold_of(place) {
            hold.give_back(place.process);
            hold.not_before = Some(now + UNREACHED);
            self.looks.insert((now + UNREACHED, place.stub));
            self.settle(now, place.stub);
        }
    }

    fn hold_of(&mut self, place: &Place) -> Option<&mut Hold> {
        let hold = self.stubs.get_mut(&place.stub)?.holds.get_mut(&place.hold)?;
        (hold.container == Some(place.container)).then_some(hold)
    }

    /// So many containers are kept whatever the requests.
    pub(crate) fn set_floor(&mut self, now: Instant, id: StubId, serving: Serving, floor: u32) {
        self.stubs.entry(id).or_insert_with(|| Stub::new(serving)).floor = floor;
        self.settle(now, id);
    }

    /// One container is kept whatever the requests, and never another beside it, however long it
    /// cannot be reached.
    pub(crate) fn keep_one(&mut self, now: Instant, id: StubId, serving: Serving) {
        self.stubs.entry(id).or_insert_with(|| Stub::new(serving)).single = true;
        self.set_floor(now, id, serving, 1);
    }

    /// The stub takes no requests any more, and needs no container.
    pub(crate) fn close(&mut self, now: Instant, id: StubId) {
        let Some(stub) = self.stubs.get_mut(&id) else { return };
        stub.floor = 0;
        let refuse = |request| Step::Refuse { request, refusal: Refusal::Unserved };
        self.steps.extend(stub.waiting.drain(..).map(refuse));
        self.settle(now, id);
    }

    /// The stub of a hold.
    pub(crate) fn stub_of(&self, hold: TaskId) -> Option<StubId> {
        self.holds.get(&hold).copied()
    }

    /// A stub's first container: its hold, where that is, and whether it takes requests.
    pub(crate) fn first(&self, id: StubId) -> Option<(Place, bool)> {
        let holds = &self.stubs.get(&id)?.holds;
        holds.iter().find_map(|(task, hold)| {
            let (container, worker) = hold.container.zip(hold.worker)?;
            let place = Place { stub: id, hold: *task, container, worker, process: 0 };
            Some((place, hold.state == State::Ready))
        })
    }

    /// Requests of a stub that wait or run.
    pub(crate) fn requests(&self, id: StubId) -> usize {
        self.stubs.get(&id).map_or(0, |stub| stub.waiting.len() + stub.running())
    }

    /// `true` for what is no task but a hold.
    pub(crate) fn is_hold(&self, task: TaskId) -> bool {
        self.holds.contains_key(&task)
    }

    /// The scheduler gave a hold to a worker.
    pub(crate) fn assigned(
        &mut self,
        hold: TaskId,
        attempt: AttemptId,
        worker: WorkerId,
        container: ContainerId,
    ) {
        let Some(stub) = self.holds.get(&hold).and_then(|id| self.stubs.get_mut(id)) else {
            return;
        };
        if let Some(hold) = stub.holds.get_mut(&hold) {
            hold.assign(attempt, worker, container, stub.serving.workers);
        }
    }

    /// The container of an attempt takes requests.
    pub(crate) fn started(&mut self, now: Instant, hold: TaskId, attempt: AttemptId) {
        let Some(&id) = self.holds.get(&hold) else { return };
        let Some(stub) = self.stubs.get_mut(&id) else { return };
        if let Some(hold) = stub.holds.get_mut(&hold).filter(|it| it.attempt == Some(attempt)) {
            if hold.state == State::Assigned {
                hold.state = State::Ready;
            }
            stub.failing = None;
        }
        self.settle(now, id);
    }

    /// The scheduler took a hold back and gives it away anew.
    pub(crate) fn requeued(&mut self, now: Instant, hold: TaskId) {
        let Some(&id) = self.holds.get(&hold) else { return };
        let Some(stub) = self.stubs.get_mut(&id) else { return };
        if let Some(hold) = stub.holds.get_mut(&hold) {
            *hold = Hold::default();
        }
        self.settle(now, id);
    }

    /// A hold is over, with a failure if it did not end as it should.
    pub(crate) fn ended(&mut self, now: Instant, hold: TaskId, failure: Option<Failure>) {
        let Some(id) = self.holds.remove(&hold) else { return };
        let Some(stub) = self.stubs.get_mut(&id) else { return };
        let began = stub.holds.remove(&hold).is_some_and(|hold| hold.has_served());
        let failure = failure
            .filter(|it| !matches!(it.kind, FailureKind::Cancelled | FailureKind::WorkerLost));
        if let Some(failure) = failure.filter(|_| !began) {
            let refused = stub.failed(now, &failure);
            self.looks.insert((now + LONGEST_PAUSE, id));
            let refuse =
                |request| Step::Refuse { request, refusal: Refusal::Failed(failure.clone()) };
            self.steps.extend(refused.into_iter().map(refuse));
        }
        self.settle(now, id);
    }

    /// A worker gets no requests, or does again. One that comes back hears again what it may have
    /// missed.
    pub(crate) fn set_away(&mut self, now: Instant, worker: WorkerId, away: bool) {
        let changed = if away { self.away.insert(worker) } else { self.away.remove(&worker) };
        let mut touched = Vec::new();
        for (&id, stub) in &mut self.stubs {
            for (&task, hold) in &mut stub.holds {
                if hold.worker != Some(worker) {
                    continue;
                }
                touched.push(id);
                hold.not_before = None;
                if !away && hold.state == State::Releasing {
                    self.steps.extend(hold.release(task));
                }
            }
        }
        if changed {
            for id in touched {
                self.settle(now, id);
            }
        }
    }

    /// When to call [`Book::look`] next.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub(crate) fn look(&mut self, now: Instant) {
        while let Some(&(at, stub)) = self.looks.first() {
            if at > now {
                return;
            }
            self.looks.pop_first();
            self.settle(now, stub);
        }
    }

    /// What is to be done, in order.
    pub(crate) fn take_steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// Requests that wait and that run.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.stubs.values().fold((0, 0), |(waiting, running), stub| {
            (waiting + stub.waiting.len(), running + stub.running())
        })
    }

    /// The holds of a stub, with their containers where they have one.
    pub(crate) fn holds(&self, id: StubId) -> Vec<(TaskId, Option<ContainerId>)> {
        let holds = self.stubs.get(&id).into_iter().flat_map(|stub| &stub.holds);
        holds.map(|(task, hold)| (*task, hold.container)).collect()
    }

    /// What a request waits for; nothing if it does not wait.
    pub(crate) fn wait(&self, now: Instant, id: StubId, request: TaskId) -> Option<Wait> {
        self.stubs.get(&id)?.wait(now, &self.away, request)
    }

    /// Gives places to those that wait, and asks for as many containers as there should be.
    fn settle(&mut self, now: Instant, id: StubId) {
        let Some(stub) = self.stubs.get_mut(&id) else { return };
        while let Some(&request) = stub.waiting.front() {
            let Some((hold, process)) = stub.pick(now, &self.away) else { break };
            let Some(taken) = stub.holds.get_mut(&hold) else { break };
            let Some((container, worker)) = taken.take(process) else { break };
            stub.waiting.pop_front();
            let place = Place { stub: id, hold, container, worker, process };
            self.steps.push(Step::Give { request, place });
        }
        // What runs where nothing new goes needs no room elsewhere.
        let (have, running) = stub.usable(now, &self.away);
        let wanted = stub.serving.containers_for(running + stub.waiting.len());
        let wanted = wanted.max(stub.floor);
        let has_its_own = stub.single && !stub.holds.is_empty();
        if have < wanted && stub.may_ask(now) && !has_its_own {
            for _ in have..wanted {
                let hold = TaskId(uuid::Uuid::now_v7());
                stub.holds.insert(hold, Hold::default());
                self.holds.insert(hold, id);
                self.steps.push(Step::Ask { stub: id, hold });
            }
        }
        for hold in stub.withdraw(have.saturating_sub(wanted)) {
            self.steps.push(Step::Withdraw(hold));
        }
        if let Some(until) = stub.pausing_until(now).filter(|_| have < wanted) {
            self.looks.insert((until, id));
        }
        for (task, hold) in stub.resting(now, &self.away) {
            let leaves = hold.worker.is_some_and(|worker| self.away.contains(&worker));
            let since = *hold.idle_since.get_or_insert(now);
            if now >= since + LINGER || leaves {
                hold.state = State::Releasing;
                self.steps.extend(hold.release(task));
            } else {
                self.looks.insert((since + LINGER, id));
            }
        }
        if stub.is_unused(now) {
            self.stubs.remove(&id);
            self.gone.push(id);
        }
    }
}

/// How long to wait after so many containers in a row that did not start.
pub(crate) fn pause_after(failures: u32) -> Duration {
    match failures.checked_sub(2) {
        None => Duration::ZERO,
        Some(more) => {
            let factor = 2_u32.saturating_pow(more);
            Duration::from_secs(1).saturating_mul(factor).min(LONGEST_PAUSE)
        }
    }
}

#[cfg(test)]
mod tests;
