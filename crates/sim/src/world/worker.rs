//! A worker: what it has, and what it does about an order.
//!
//! Modelled on the daemon: its manager, its outbox and its session. An end is kept until it is
//! acknowledged and said again in each session; a container is said to be gone after the end of
//! the call that ran in it last; nobody hears the end of an attempt that was stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metal9_types::{
    AttemptId, CallOutcome, ContainerId, Failure, FailureKind, Moment, Offer, Resources, SessionId,
    WorkerId,
};
use rand::RngExt as _;

use super::World;
use super::event::{Assignment, Event, Fault, Timer, ToGateway, ToWorker};
use super::ledger::Luck;
use crate::draw::{self, Stream};
use crate::script::Span;

/// How much longer than its timeout a call may run before its worker ends it by itself.
const TIMEOUT_GRACE: Duration = Duration::from_secs(5);
/// How long an idle container takes to end, and one whose call is cancelled.
const STOP: Span = Span::millis(5, 1000);
const CANCEL: Span = Span::millis(5, 3000);
/// How long after its last call a container that cannot go on is gone.
const END: Span = Span::millis(1, 50);
/// From an assignment to the user's code in a container that is there.
const WARM: Duration = Duration::from_micros(500);
/// How long the end of a worker may take.
const FAREWELL: Duration = Duration::from_secs(8);

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) id: WorkerId,
    pub(crate) offer: Offer,
    /// `false` while its process does not run.
    pub(crate) on: bool,
    /// Counts its starts, so that timers of an earlier one mean nothing.
    pub(crate) life: u32,
    pub(crate) frozen: bool,
    /// What happened to it while it was frozen.
    pub(crate) held: Vec<Event>,
    /// It cannot dial.
    pub(crate) cut: bool,
    pub(crate) up_blocked: bool,
    pub(crate) down_blocked: bool,
    /// Counts changes of what messages can get through.
    pub(crate) trouble: u32,
    /// Counts faults of each kind, so that the end of an earlier one does not end a later one.
    pub(crate) faults: [u32; 4],
    /// Its sessions that at least one side holds open.
    pub(crate) sessions: Vec<SessionId>,
    /// Its own one.
    pub(crate) session: Option<SessionId>,
    pub(crate) welcomed: bool,
    pub(crate) session_began: Moment,
    pub(crate) backoff: Duration,
    /// It is ending; then, how long it stays away.
    pub(crate) leaving: Option<Option<Duration>>,
    pub(crate) containers: BTreeMap<ContainerId, Hull>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    /// Reports that belong to no unacknowledged end.
    pub(crate) control: Vec<ToGateway>,
    pub(crate) cached: BTreeSet<String>,
    /// Counts what was drawn for it.
    pub(crate) draws: u64,
}

/// A container on a worker.
#[derive(Debug)]
pub(crate) struct Hull {
    pub(crate) stub: usize,
    pub(crate) resources: Resources,
    pub(crate) devices: u32,
    pub(crate) current: Option<AttemptId>,
    pub(crate) last: AttemptId,
    pub(crate) stopping: bool,
}

/// An attempt on a worker.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) task: usize,
    pub(crate) number: u32,
    pub(crate) container: ContainerId,
    pub(crate) state: State,
    /// It is listed in a hello.
    pub(crate) listed: bool,
}

#[derive(Debug)]
pub(crate) enum State {
    Assigned,
    Started,
    /// Not yet acknowledged; with what is to be said after it.
    Finished {
        outcome: CallOutcome,
        reusable: bool,
        then: Vec<ContainerId>,
    },
    Stopped,
}

impl Attempt {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.state, State::Assigned | State::Started)
    }
}

impl Worker {
    pub(crate) fn new(name: String, id: WorkerId, offer: Offer) -> Self {
        Self {
            name,
            id,
            offer,
            on: true,
            life: 0,
            frozen: false,
            held: Vec::new(),
            cut: false,
            up_blocked: false,
            down_blocked: false,
            trouble: 0,
            faults: [0; 4],
            sessions: Vec::new(),
            session: None,
            welcomed: false,
            session_began: Moment::ZERO,
            backoff: super::link::FIRST_BACKOFF,
            leaving: None,
            containers: BTreeMap::new(),
            attempts: BTreeMap::new(),
            control: Vec::new(),
            cached: BTreeSet::new(),
            draws: 0,
        }
    }

    /// The number of a new fault of this kind.
    pub(crate) fn count_fault(&mut self, fault: Fault) -> u32 {
        self.faults[fault as usize] += 1;
        self.faults[fault as usize]
    }

    /// `true` if messages get through both ways and it answers them.
    pub(crate) fn is_reachable(&self) -> bool {
        self.on && !self.frozen && !self.up_blocked && !self.down_blocked
    }
}

impl World {
    pub(super) fn draw_for(&mut self, worker: usize, of: Stream) -> draw::Draw {
        let number = self.workers[worker].draws;
        self.workers[worker].draws += 1;
        draw::about(self.seed, of, worker as u64, number)
    }

    pub(super) fn set_timer(&mut self, worker: usize, after: Duration, timer: Timer) {
        let life = self.workers[worker].life;
        self.queue.push(self.now.after(after), Event::Timer { worker, life, timer });
    }

    pub(super) fn on_timer(&mut self, worker: usize, life: u32, timer: Timer) {
        if self.workers[worker].life != life || !self.workers[worker].on {
            return;
        }
        match timer {
            Timer::Dial => self.dial(worker),
            Timer::DialTimeout(session) => {
                let waits =
                    self.workers[worker].session == Some(session) && !self.workers[worker].welcomed;
                if waits {
                    self.worker_closes(worker);
                }
            }
            Timer::Heartbeat(session) => {
                if self.workers[worker].session == Some(session) {
                    self.send_up(session, ToGateway::Heartbeat);
                    self.set_timer(worker, self.heartbeat(), Timer::Heartbeat(session));
                }
            }
            Timer::Begin(attempt) => self.begin(worker, attempt),
            Timer::Done(attempt) => self.done(worker, attempt),
            Timer::Gone(container) => self.gone(worker, container),
            Timer::Farewell => {
                if self.workers[worker].leaving.is_some() {
                    self.end_worker(worker);
                }
            }
        }
    }

    pub(super) fn obey(&mut self, worker: usize, session: SessionId, order: ToWorker) {
        match order {
            ToWorker::Welcome { drop_attempts, drop_containers } => {
                self.welcomed(worker, session, &drop_attempts, &drop_containers);
            }
            ToWorker::Assign(assignment) => self.take_on(worker, assignment),
            ToWorker::StopAttempt(attempt) => self.stop_attempt(worker, attempt),
            ToWorker::StopContainer(container) => {
                if !self.stop_container(worker, container) {
                    self.report(worker, ToGateway::Gone(container));
                }
            }
            ToWorker::FinishedAck(attempt) => self.forget(worker, attempt),
            ToWorker::Close => self.worker_closes(worker),
        }
    }

    fn take_on(&mut self, worker: usize, assignment: Assignment) {
        let Assignment { attempt, number, task, container, fresh } = assignment;
        let it = &self.workers[worker];
        if it.attempts.contains_key(&attempt) {
            return;
        }
        if it.leaving.is_some() {
            return self.refuse(worker, assignment, FailureKind::WorkerLost);
        }
        let known = it.containers.get(&container);
        let free = known.map(|hull| hull.current.is_none() && !hull.stopping);
        let stub = self.ledger.tasks[task].stub;
        let begins_in = match free {
            None if fresh => {
                self.make_container(worker, container, stub, attempt);
                let of_stub = &self.stubs[stub];
                let mut draw = draw::about(self.seed, Stream::Containers, container.0, 0);
                draw::duration(&mut draw, of_stub.line.start)
            }
            Some(true) => WARM,
            _ => return self.refuse(worker, assignment, FailureKind::Internal),
        };
        let it = &mut self.workers[worker];
        if let Some(hull) = it.containers.get_mut(&container) {
            hull.current = Some(attempt);
            hull.last = attempt;
        }
        let state = State::Assigned;
        it.attempts.insert(attempt, Attempt { task, number, container, state, listed: true });
        self.set_timer(worker, begins_in, Timer::Begin(attempt));
    }

    fn make_container(&mut self, worker: usize, id: ContainerId, stub: usize, attempt: AttemptId) {
        let spec = &self.stubs[stub].spec;
        let (resources, devices) = (spec.resources, spec.gpu.count);
        let cached = [spec.image.clone(), spec.object.clone()];
        let hull = Hull { stub, resources, devices, current: None, last: attempt, stopping: false };
        let it = &mut self.workers[worker];
        it.cached.extend(cached);
        it.containers.insert(id, hull);
        let used = it
            .containers
            .values()
            .fold(Resources::default(), |sum, hull| sum.saturating_add(hull.resources));
        let held: usize = it.containers.values().map(|hull| hull.devices as usize).sum();
        if !it.offer.capacity.fits(used) {
            let text = format!("{} has {:?} and runs {used:?}", it.name, it.offer.capacity);
            self.fail("no worker runs more than it has", text);
        } else if held > it.offer.devices.len() {
            let text = format!("{} has {} and runs {held}", it.name, it.offer.devices.len());
            self.fail("no worker runs more than it has accelerators for", text);
        }
    }

    fn refuse(&mut self, worker: usize, assignment: Assignment, kind: FailureKind) {
        let Assignment { attempt, number, task, container, .. } = assignment;
        let outcome = CallOutcome::Failed(Failure::new(kind, "the worker cannot run it"));
        let state = State::Assigned;
        let known = Attempt { task, number, container, state, listed: true };
        self.workers[worker].attempts.insert(attempt, known);
        let there = self.workers[worker].containers.contains_key(&container);
        let then = if there { Vec::new() } else { vec![container] };
        self.finish(worker, attempt, outcome, false, then);
    }

    /// The user's code begins.
    fn begin(&mut self, worker: usize, attempt: AttemptId) {
        let Some(known) = self.workers[worker].attempts.get_mut(&attempt) else { return };
        if !matches!(known.state, State::Assigned) {
            return;
        }
        known.state = State::Started;
        let (task, number) = (known.task, known.number);
        self.ledger.begin(task, attempt, worker, self.now);
        self.say(|names| format!("{} begins {}", names.worker(worker), names.attempt(attempt)));
        self.report(worker, ToGateway::Started(attempt));
        let (mut lasts, _) = self.luck(task, number);
        let limit = self.stubs[self.ledger.tasks[task].stub].line.timeout;
        if let Some(limit) = limit {
            lasts = lasts.min(limit + TIMEOUT_GRACE);
        }
        self.set_timer(worker, lasts, Timer::Done(attempt));
    }

    /// How long a call takes and how it ends.
    fn luck(&self, task: usize, number: u32) -> (Duration, Luck) {
        let line = &self.stubs[self.ledger.tasks[task].stub].line;
        let mut draw = draw::about(self.seed, Stream::Calls, task as u64, u64::from(number));
        let lasts = draw::duration(&mut draw, line.call);
        if draw::happens(&mut draw, line.crash) {
            (lasts / 2, Luck::Crashes)
        } else if draw::happens(&mut draw, line.raise) {
            (lasts, Luck::Raises)
        } else {
            (lasts, Luck::Returns)
        }
    }

    /// The user's code is over.
    fn done(&mut self, worker: usize, attempt: AttemptId) {
        let Some(known) = self.workers[worker].attempts.get(&attempt) else { return };
        if !matches!(known.state, State::Started) {
            return;
        }
        let (task, number, container) = (known.task, known.number, known.container);
        let (lasts, luck) = self.luck(task, number);
        let line = &self.stubs[self.ledger.tasks[task].stub].line;
        let late = line.timeout.is_some_and(|limit| lasts > limit + TIMEOUT_GRACE);
        let failed = |kind, text: &str| CallOutcome::Failed(Failure::new(kind, text));
        let (outcome, reusable) = match luck {
            _ if late => (failed(FailureKind::Timeout, "the call took too long"), false),
            Luck::Crashes => (failed(FailureKind::Crash, "the process ended"), false),
            Luck::Raises => (failed(FailureKind::Exception, "the function raised"), true),
            Luck::Returns => {
                self.ledger.returned(task, attempt);
                (CallOutcome::Returned, true)
            }
        };
        self.finish(worker, attempt, outcome, reusable, Vec::new());
        if !reusable {
            self.end_container(worker, container, END);
        }
    }

    /// An attempt is over: said now and in each session until it is acknowledged.
    fn finish(
        &mut self,
        worker: usize,
        attempt: AttemptId,
        outcome: CallOutcome,
        mut reusable: bool,
        then: Vec<ContainerId>,
    ) {
        let it = &mut self.workers[worker];
        let Some(known) = it.attempts.get_mut(&attempt) else { return };
        if let Some(hull) = it.containers.get_mut(&known.container)
            && hull.current == Some(attempt)
        {
            hull.current = None;
            hull.stopping |= !reusable;
            reusable &= !hull.stopping;
        }
        let task = known.task;
        known.state = State::Finished { outcome: outcome.clone(), reusable, then };
        self.ledger.end_execution(task, attempt);
        self.say(|names| {
            let how = match &outcome {
                CallOutcome::Returned => "returned".to_owned(),
                CallOutcome::Failed(failure) => failure.message.clone(),
            };
            format!("{} ends {}: {how}", names.worker(worker), names.attempt(attempt))
        });
        self.say_finished(worker, attempt);
    }

    /// Says how an attempt ended, and what comes after that.
    fn say_finished(&mut self, worker: usize, attempt: AttemptId) {
        let it = &self.workers[worker];
        let Some(session) = it.session.filter(|_| it.welcomed) else { return };
        let Some(known) = it.attempts.get(&attempt) else { return };
        let State::Finished { outcome, reusable, then } = &known.state else { return };
        let (outcome, reusable, then) = (outcome.clone(), *reusable, then.clone());
        self.send_up(session, ToGateway::Finished { attempt, outcome, reusable });
        for container in then {
            self.send_up(session, ToGateway::Gone(container));
        }
    }

    /// Says something now, or in the next session.
    pub(super) fn report(&mut self, worker: usize, report: ToGateway) {
        let it = &mut self.workers[worker];
        match it.session.filter(|_| it.welcomed) {
            Some(session) => self.send_up(session, report),
            None => it.control.push(report),
        }
    }

    fn stop_attempt(&mut self, worker: usize, attempt: AttemptId) {
        let it = &mut self.workers[worker];
        let Some(known) = it.attempts.get_mut(&attempt) else { return };
        let before = std::mem::replace(&mut known.state, State::Stopped);
        let (task, container) = (known.task, known.container);
        match before {
            State::Assigned | State::Started => {
                self.ledger.stop(task, attempt);
                self.end_container(worker, container, CANCEL);
            }
            State::Finished { then, .. } => {
                // Its end crossed with this order, so the gateway takes the container for lost.
                it.attempts.remove(&attempt);
                let idle = it
                    .containers
                    .get(&container)
                    .is_some_and(|hull| hull.current.is_none() && hull.last == attempt);
                for container in then {
                    self.report(worker, ToGateway::Gone(container));
                }
                if idle {
                    self.stop_container(worker, container);
                }
            }
            State::Stopped => {}
        }
    }

    /// Ends a container; `false` if there is none of this id. What runs in it ends unheard, unless
    /// the worker itself is ending.
    pub(super) fn stop_container(&mut self, worker: usize, container: ContainerId) -> bool {
        let it = &mut self.workers[worker];
        let Some(hull) = it.containers.get_mut(&container) else { return false };
        let current = hull.current.filter(|_| it.leaving.is_none());
        let running = hull.current.is_some();
        if let Some(known) = current.and_then(|current| it.attempts.get_mut(&current))
            && known.is_running()
        {
            known.state = State::Stopped;
            let (task, attempt) = (known.task, current.unwrap_or(hull.last));
            self.ledger.stop(task, attempt);
        }
        self.end_container(worker, container, if running { CANCEL } else { STOP });
        true
    }

    fn end_container(&mut self, worker: usize, container: ContainerId, takes: Span) {
        let Some(hull) = self.workers[worker].containers.get_mut(&container) else { return };
        if std::mem::replace(&mut hull.stopping, true) && takes != END {
            return;
        }
        let mut draw = draw::about(self.seed, Stream::Containers, container.0, 1);
        let takes = draw::duration(&mut draw, takes);
        self.set_timer(worker, takes, Timer::Gone(container));
    }

    /// A container has ended.
    fn gone(&mut self, worker: usize, container: ContainerId) {
        let it = &mut self.workers[worker];
        let Some(hull) = it.containers.remove(&container) else { return };
        let last = hull.last;
        let leaving = it.leaving.is_some();
        self.say(|names| {
            format!("{} has ended {}", names.worker(worker), names.container(container))
        });
        if self.workers[worker].attempts.get(&last).is_some_and(Attempt::is_running) {
            let (kind, text) = if leaving {
                (FailureKind::WorkerLost, "the worker was shut down")
            } else {
                (FailureKind::Internal, "the container ended")
            };
            let outcome = CallOutcome::Failed(Failure::new(kind, text));
            self.finish(worker, last, outcome, false, Vec::new());
        }
        let it = &mut self.workers[worker];
        match it.attempts.get_mut(&last).map(|known| (known.task, &mut known.state)) {
            Some((_, State::Finished { then, .. })) => then.push(container),
            Some((task, State::Stopped)) => {
                it.attempts.remove(&last);
                self.ledger.end_execution(task, last);
            }
            _ => {}
        }
        self.report(worker, ToGateway::Gone(container));
        self.end_if_empty(worker);
    }

    /// The gateway has heard the end of an attempt.
    fn forget(&mut self, worker: usize, attempt: AttemptId) {
        let finished = self.workers[worker]
            .attempts
            .get(&attempt)
            .is_some_and(|known| matches!(known.state, State::Finished { .. }));
        if finished {
            self.workers[worker].attempts.remove(&attempt);
        }
        self.end_if_empty(worker);
    }

    /// The gateway took the hello: drop what it does not want, and say what waits.
    fn welcomed(
        &mut self,
        worker: usize,
        session: SessionId,
        drop_attempts: &[AttemptId],
        drop_containers: &[ContainerId],
    ) {
        if std::mem::replace(&mut self.workers[worker].welcomed, true) {
            return;
        }
        self.workers[worker].session_began = self.now;
        if self.options.flaw != Some(crate::Flaw::KeepsWhatIsNotWanted) {
            for &attempt in drop_attempts {
                self.drop_attempt(worker, attempt);
            }
            for &container in drop_containers {
                self.stop_container(worker, container);
            }
        }
        for report in std::mem::take(&mut self.workers[worker].control) {
            self.send_up(session, report);
        }
        let waiting: Vec<AttemptId> = self.workers[worker].attempts.keys().copied().collect();
        for attempt in waiting {
            self.say_finished(worker, attempt);
        }
        self.set_timer(worker, self.heartbeat(), Timer::Heartbeat(session));
    }

    fn drop_attempt(&mut self, worker: usize, attempt: AttemptId) {
        let it = &mut self.workers[worker];
        it.control.retain(|report| !matches!(report, ToGateway::Started(of) if *of == attempt));
        let Some(known) = it.attempts.get_mut(&attempt) else { return };
        known.listed = false;
        let (task, container) = (known.task, known.container);
        match std::mem::replace(&mut known.state, State::Stopped) {
            State::Assigned | State::Started => {
                self.ledger.stop(task, attempt);
                self.end_container(worker, container, CANCEL);
            }
            State::Finished { then, .. } => {
                it.attempts.remove(&attempt);
                it.control.extend(then.into_iter().map(ToGateway::Gone));
            }
            State::Stopped => {}
        }
    }

    /// The worker is asked to end.
    pub(super) fn leave(&mut self, worker: usize, lasts: Option<Duration>) {
        if !self.workers[worker].on || self.workers[worker].leaving.is_some() {
            return;
        }
        self.workers[worker].leaving = Some(lasts);
        self.report(worker, ToGateway::Leaving);
        let containers: Vec<ContainerId> =
            self.workers[worker].containers.keys().copied().collect();
        for container in containers {
            self.stop_container(worker, container);
        }
        self.set_timer(worker, FAREWELL, Timer::Farewell);
        self.end_if_empty(worker);
    }

    fn end_if_empty(&mut self, worker: usize) {
        let it = &self.workers[worker];
        let told = !it.welcomed || it.attempts.is_empty();
        if it.leaving.is_some() && it.containers.is_empty() && told {
            self.end_worker(worker);
        }
    }

    fn end_worker(&mut self, worker: usize) {
        let lasts = self.workers[worker].leaving.take().flatten();
        self.turn_off(worker, lasts, true);
    }

    /// How often a worker says something.
    fn heartbeat(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// A wait before dialling again.
    pub(super) fn next_backoff(&mut self, worker: usize) -> Duration {
        let step = self.workers[worker].backoff;
        self.workers[worker].backoff = (step * 2).min(super::link::MOST_BACKOFF);
        let mut draw = self.draw_for(worker, Stream::Sessions);
        step.mul_f64(draw.random_range(0.5..=1.0))
    }
}
