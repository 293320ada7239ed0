//! The gateway: the store, the driver around the scheduler, and its end of the sessions.
//!
//! Modelled on the real driver: transitions reach the disk in order, an end is told and a report
//! acknowledged once it is durable, and a report that changes nothing is acknowledged at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use metal9_core::{Action, AttemptReport, Config, Core, Input, TaskSpec, Transition, check};
use metal9_types::{AttemptId, FailureKind, Moment, SessionId, TaskId, TaskStatus, WorkspaceId};
use rand::RngExt as _;

use super::event::{Assignment, Event, ToGateway, ToWorker};
use super::ledger::Limits;
use super::{World, id_of, index_of};
use crate::Flaw;
use crate::draw::{self, Stream};

/// The gateway's process and its disk.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) core: Core,
    pub(crate) epoch: u32,
    pub(crate) up: bool,
    /// When the process began: its clock starts then.
    born: Moment,
    /// What is on its way to the disk.
    pub(crate) writes: VecDeque<Write>,
    last_commit: Moment,
    /// The disk, by task.
    pub(crate) rows: Vec<Option<Row>>,
    /// The disk: workers that get nothing new, with until when they may still run something.
    pub(super) standing: BTreeMap<usize, Option<Moment>>,
    /// How rows were before changes that a power cut would take back, the newest last.
    unsynced: Vec<(usize, Row)>,
    inputs: u64,
    timers: (Moment, u32),
}

/// Something on its way to the disk.
#[derive(Debug)]
pub(crate) enum Write {
    Accept(usize),
    Change { transition: Transition, acknowledge: Option<(SessionId, AttemptId)> },
}

/// A task on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    created: Moment,
    status: TaskStatus,
    attempts_used: u32,
    attempt: Option<AttemptId>,
    failure: Option<FailureKind>,
}

impl Gateway {
    pub(super) fn new() -> Self {
        Self {
            core: Core::new(Config::default()),
            epoch: 1,
            up: true,
            born: Moment::ZERO,
            writes: VecDeque::new(),
            last_commit: Moment::ZERO,
            rows: Vec::new(),
            standing: BTreeMap::new(),
            unsynced: Vec::new(),
            inputs: 0,
            timers: (Moment::ZERO, 0),
        }
    }

    /// The time on the clock of this process.
    pub(crate) fn clock(&self, now: Moment) -> Moment {
        Moment(now.0 - self.born.0)
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let deadline = self.core.next_deadline().filter(|_| self.up)?;
        Some(Moment(self.born.0.saturating_add(deadline.0)))
    }
}

impl World {
    pub(super) fn on_deadline(&mut self) {
        let (last, count) = self.gateway.timers;
        self.gateway.timers = if last == self.now { (last, count + 1) } else { (self.now, 0) };
        if count > 10_000 {
            self.fail("deadlines come to an end", format!("{:?}", self.gateway.deadline()));
            return;
        }
        self.feed(Input::Timer, None);
    }

    /// Something happens to the scheduler. `finished` is the report that says so, if it is the end
    /// of an attempt.
    pub(super) fn feed(&mut self, input: Input, finished: Option<(SessionId, AttemptId)>) {
        if self.failure.is_some() {
            return;
        }
        let now = self.gateway.clock(self.now);
        let mut actions = Vec::new();
        let told = self.trace.is_on().then(|| self.trace.input(&input)).flatten();
        let result = self.gateway.core.handle(now, input, &mut actions);
        self.gateway.inputs += 1;
        self.summary.inputs += 1;
        self.mix(actions.len() as u64);
        if let Err(ignored) = result {
            self.summary.ignored += 1;
            if let Some(told) = told {
                self.say(|_| format!("ignored: {told}: {ignored}"));
            }
        }
        if self.gateway.inputs.is_multiple_of(self.options.check_every)
            && let Err(violation) = check(&self.gateway.core)
        {
            self.fail(violation.invariant, violation.subject);
        }
        let mut finished = finished;
        for action in actions {
            self.carry_out(action, &mut finished);
        }
        if let Some((session, attempt)) = finished {
            self.send_down(session, ToWorker::FinishedAck(attempt));
        }
    }

    fn carry_out(&mut self, action: Action, finished: &mut Option<(SessionId, AttemptId)>) {
        self.trace_action(&action);
        match action {
            Action::Assign {
                worker,
                session,
                attempt,
                attempt_number,
                task,
                container,
                fresh,
                ..
            } => {
                let task = index_of(task.0);
                self.is_in_service(index_of(worker.0));
                let retries = self.stubs[self.ledger.tasks[task].stub].line.retries;
                let restarts = self.gateway.epoch - 1;
                let broken = self.ledger.assign(task, attempt, attempt_number, retries, restarts);
                self.broken(broken);
                self.summary.attempts += 1;
                let number = attempt_number;
                let assignment = Assignment { attempt, number, task, container, fresh };
                self.order(session, ToWorker::Assign(assignment));
            }
            Action::StopAttempt { session, attempt, .. } => {
                self.order(session, ToWorker::StopAttempt(attempt));
            }
            Action::StopContainer { session, container, .. } => {
                if self.options.flaw != Some(Flaw::ForgetsToStopContainers) {
                    self.order(session, ToWorker::StopContainer(container));
                }
            }
            Action::Welcome { session, drop_attempts, drop_containers, .. } => {
                self.order(session, ToWorker::Welcome { drop_attempts, drop_containers });
            }
            Action::Transition(transition) => self.change(transition, finished),
            Action::Waiting { .. } | Action::WorkerLeft { .. } => {}
            Action::WorkerLost { worker } => {
                self.summary.workers_lost += 1;
                // It may still hold its session, and must say hello to be known again.
                if self.options.flaw != Some(Flaw::KeepsSessionsOfLostWorkers) {
                    let sessions = self.workers[index_of(worker.0)].sessions.clone();
                    for session in sessions {
                        if self.sessions.get(&session).is_some_and(|known| known.gateway_open) {
                            self.gateway_closes(session);
                        }
                    }
                }
            }
        }
    }

    fn order(&mut self, session: SessionId, order: ToWorker) {
        if self.sessions.get(&session).is_some_and(|known| known.gateway_open) {
            self.send_down(session, order);
        }
    }

    fn change(&mut self, transition: Transition, finished: &mut Option<(SessionId, AttemptId)>) {
        let task = index_of(transition.task.0);
        self.mix(task as u64 ^ (transition.status as u64) << 48);
        if transition.status == TaskStatus::Retry {
            self.summary.retries += 1;
            self.spare_if_taken_back(&transition);
        }
        if self.options.flaw == Some(Flaw::TellsBeforeItIsDurable)
            && transition.status.is_terminal()
        {
            self.tell(task, transition.status, transition.attempt, None);
        }
        let is_it = finished.is_some_and(|(_, attempt)| {
            transition.attempt == Some(attempt) && transition.status != TaskStatus::Running
        });
        let acknowledge = if is_it { finished.take() } else { None };
        self.write(Write::Change { transition, acknowledge });
    }

    fn write(&mut self, write: Write) {
        self.summary.writes += 1;
        let mut draw = draw::about(self.seed, Stream::Store, self.summary.writes, 0);
        let takes = draw::duration(&mut draw, self.network.commit);
        let at = self.now.after(takes).max(self.gateway.last_commit);
        self.gateway.last_commit = at;
        self.gateway.writes.push_back(write);
        self.queue.push(at, Event::Commit { epoch: self.gateway.epoch });
    }

    /// The oldest write is durable: now it may be told.
    pub(super) fn on_commit(&mut self, epoch: u32) {
        if !self.gateway.up || epoch != self.gateway.epoch {
            return;
        }
        let Some(write) = self.gateway.writes.pop_front() else { return };
        self.make_durable(&write);
        match write {
            Write::Accept(task) => self.accepted(task),
            Write::Change { transition, acknowledge } => {
                if let Some((session, attempt)) = acknowledge {
                    self.send_down(session, ToWorker::FinishedAck(attempt));
                }
                let task = index_of(transition.task.0);
                if transition.status.is_terminal()
                    && self.options.flaw != Some(Flaw::TellsBeforeItIsDurable)
                {
                    let failure = transition.failure.map(|failure| failure.kind);
                    self.tell(task, transition.status, transition.attempt, failure);
                }
            }
        }
    }

    fn make_durable(&mut self, write: &Write) {
        match write {
            Write::Accept(task) => {
                let row = Row {
                    created: self.now,
                    status: TaskStatus::Pending,
                    attempts_used: 0,
                    attempt: None,
                    failure: None,
                };
                self.gateway.rows[*task] = Some(row);
                self.gateway.unsynced.clear();
                self.summary.accepted += 1;
                self.ledger.tasks[*task].accepted = Some(self.now);
                self.ledger.open.insert(*task);
            }
            Write::Change { transition, .. } => {
                let task = index_of(transition.task.0);
                let Some(row) = self.gateway.rows[task].as_mut() else {
                    let name = self.ledger.tasks[task].name.clone();
                    return self.fail("a task that changes is on disk", name);
                };
                if row.status.is_terminal() {
                    let text = format!("{} {}", self.ledger.tasks[task].name, transition.status);
                    return self.fail("a task that has ended does not change", text);
                }
                if transition.status.is_terminal() {
                    // The disk is waited for, so nothing older can be lost either.
                    self.gateway.unsynced.clear();
                } else {
                    self.gateway.unsynced.push((task, row.clone()));
                }
                row.status = transition.status;
                row.attempts_used = transition.attempts_used;
                row.attempt = transition.attempt;
                row.failure = transition.failure.as_ref().map(|failure| failure.kind);
            }
        }
    }

    /// A task is durable: its client learns its id, and the scheduler of it.
    fn accepted(&mut self, task: usize) {
        let spec = self.task_spec(task);
        let stub = self.stubs[self.ledger.tasks[task].stub].spec.clone();
        self.feed(Input::DefineStub(stub), None);
        self.feed(Input::Submit(spec), None);
    }

    fn task_spec(&self, task: usize) -> TaskSpec {
        let facts = &self.ledger.tasks[task];
        let line = &self.stubs[facts.stub].line;
        TaskSpec {
            task: TaskId(id_of(super::TASKS, task)),
            workspace: WorkspaceId(id_of(super::WORKSPACES, facts.workspace)),
            stub: self.stubs[facts.stub].spec.stub,
            attempts_used: 0,
            max_retries: line.retries,
            timeout: line.timeout,
            ttl: line.ttl,
            recovered: None,
            warm_up: false,
        }
    }

    fn tell(
        &mut self,
        task: usize,
        status: TaskStatus,
        attempt: Option<AttemptId>,
        failure: Option<FailureKind>,
    ) {
        let line = &self.stubs[self.ledger.tasks[task].stub].line;
        let limits = Limits { retries: line.retries, timeout: line.timeout.is_some() };
        self.say(|names| format!("{} {status}", names.task(task)));
        *self.summary.ends.entry(status.as_str()).or_default() += 1;
        let broken = self.ledger.tell(self.now, task, status, attempt, failure, limits);
        self.broken(broken);
    }

    /// A worker says something in a session that the gateway holds open.
    pub(super) fn receive(&mut self, session: SessionId, message: ToGateway) {
        let Some(known) = self.sessions.get(&session) else { return };
        let worker = self.workers[known.worker].id;
        let alive = Input::WorkerAlive { worker, session };
        match message {
            ToGateway::Heartbeat => self.feed(alive, None),
            ToGateway::Started(attempt) => {
                self.feed(alive, None);
                self.feed(Input::Attempt { attempt, report: AttemptReport::Started }, None);
            }
            ToGateway::Finished { attempt, outcome, reusable } => {
                self.feed(alive, None);
                if self.options.flaw == Some(Flaw::BelievesEveryEnd)
                    && self.gateway.core.attempt_task(attempt).is_none()
                    && let Some(&(task, _)) = self.ledger.given.get(&attempt)
                {
                    self.tell(task, TaskStatus::Complete, Some(attempt), None);
                }
                let report = AttemptReport::Finished { outcome, reusable };
                self.feed(Input::Attempt { attempt, report }, Some((session, attempt)));
            }
            ToGateway::Gone(container) => self.feed(Input::ContainerGone { container }, None),
            // Said in a session that is no more, it was meant by a worker that has ended since.
            ToGateway::Leaving => {
                let newer = self.sessions.range(session..).skip(1);
                let index = index_of(worker.0);
                if !newer.into_iter().any(|(_, other)| other.worker == index && other.gateway_open)
                {
                    self.feed(Input::WorkerLeaving { worker }, None);
                }
            }
            ToGateway::Hello(_) | ToGateway::Close => {}
        }
    }

    // ---- restarts ----

    /// The process dies. Of what was on its way to the disk, some has arrived and nobody was told.
    pub(super) fn restart(&mut self, lasts: Duration, power: bool) {
        if !self.gateway.up {
            return;
        }
        let mut draw = draw::about(self.seed, Stream::Store, u64::from(self.gateway.epoch), 1);
        let arrived = draw.random_range(0..=self.gateway.writes.len());
        let writes: Vec<Write> = self.gateway.writes.drain(..).collect();
        for (index, write) in writes.iter().enumerate() {
            if index < arrived {
                self.make_durable(write);
            } else if let Write::Accept(task) = write {
                // Its client gets an error, and tries again.
                self.queue.push(self.now.after(CLIENT_PAUSE), Event::Submit { task: *task });
            }
        }
        if power {
            for (task, row) in self.gateway.unsynced.drain(..).rev() {
                self.gateway.rows[task] = Some(row);
            }
        }
        self.gateway.up = false;
        let open: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in open {
            self.gateway_closes(session);
        }
        self.queue.push(self.now.after(lasts), Event::GatewayUp);
    }

    /// The process begins and reads back what has not ended.
    pub(super) fn on_gateway_up(&mut self) {
        self.gateway.up = true;
        self.gateway.epoch += 1;
        self.gateway.born = self.now;
        self.gateway.unsynced.clear();
        let config = Config { epoch: self.gateway.epoch, ..Config::default() };
        self.gateway.core = Core::new(config);
        self.summary.restarts += 1;
        self.say(|_| "the gateway is back".to_owned());
        self.recall_standing();
        for task in 0..self.gateway.rows.len() {
            let Some(row) = self.gateway.rows[task].clone() else { continue };
            if row.status.is_terminal() {
                // Its client, if it does not know yet, asks again and reads the end.
                if self.ledger.open.contains(&task) {
                    self.tell(task, row.status, row.attempt, row.failure);
                }
                continue;
            }
            let mut spec = self.task_spec(task);
            spec.attempts_used = row.attempts_used;
            spec.recovered = Some(self.now.since(row.created));
            let stub = self.stubs[self.ledger.tasks[task].stub].spec.clone();
            self.feed(Input::DefineStub(stub), None);
            self.feed(Input::Submit(spec), None);
        }
    }

    // ---- clients ----

    pub(super) fn on_submit(&mut self, task: usize) {
        if self.gateway.rows[task].is_some() {
            return;
        }
        if self.gateway.up {
            self.write(Write::Accept(task));
        } else {
            self.queue.push(self.now.after(CLIENT_PAUSE), Event::Submit { task });
        }
    }

    pub(super) fn on_cancel(&mut self, task: usize) {
        let facts = &self.ledger.tasks[task];
        if facts.told.is_some() {
            return;
        }
        let known = facts.accepted.is_some_and(|at| at < self.now);
        if !self.gateway.up || !known {
            self.queue.push(self.now.after(CLIENT_PAUSE), Event::Cancel { task });
            return;
        }
        self.ledger.tasks[task].cancelled = true;
        let failure = metal9_types::Failure::new(FailureKind::Cancelled, "cancelled");
        self.feed(Input::Cancel { task: TaskId(id_of(super::TASKS, task)), failure }, None);
    }
}

/// How long a client waits before it tries again.
const CLIENT_PAUSE: Duration = Duration::from_millis(200);
