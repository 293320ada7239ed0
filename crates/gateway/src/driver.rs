//! The driver: owns the scheduler, feeds it what happens and carries out what it wants.
//!
//! One task, one queue. Everything that changes the scheduler's mind is a [`Command`]; nothing
//! here waits for a disk or a worker except that the queue of changes to persist is bounded, which
//! slows the driver to the pace of the store.

mod actions;
mod clock;
mod handle;
mod notes;
mod persist;
mod recover;

use std::time::Duration;

use metal9_core::{AttemptReport, Config, Core, Input, Reattach};
use metal9_tasks::CancellationToken;
use metal9_types::Moment;
use tokio::sync::mpsc;

pub(crate) use actions::Finished;
pub(crate) use handle::{Command, DriverHandle};
pub(crate) use persist::Change;
pub(crate) use recover::{RUNTIME_VARIABLE, stub_spec, task_spec, workspace_input};

use crate::shared::SharedRef;

/// Commands that may wait for the driver; callers wait when it is full.
pub(crate) const QUEUE: usize = 4096;

/// The driver's own state.
pub(crate) struct Driver {
    shared: SharedRef,
    core: Core,
    commands: mpsc::Receiver<Command>,
    changes: mpsc::Sender<Change>,
    notes: notes::Notes,
    clock: clock::Clock,
    /// What the worker that is being welcomed has.
    reattaching: Vec<Reattach>,
    actions: Vec<metal9_core::Action>,
    checked: u64,
}

/// How often the scheduler's invariants are checked while it runs.
const CHECK_EVERY: u64 = if cfg!(fuzzing) { 1 } else { 4096 };

impl Driver {
    /// A driver with an empty scheduler.
    pub(crate) fn new(shared: SharedRef, commands: mpsc::Receiver<Command>) -> Self {
        let options = &shared.options;
        let config = Config {
            epoch: shared.store.epoch(),
            suspect_after: Duration::from_secs_f32(options.worker_suspect_seconds),
            lost_after: Duration::from_secs_f32(options.worker_lost_seconds),
            recovery_grace: Duration::from_secs_f32(options.worker_lost_seconds),
            ..Config::default()
        };
        let changes = persist::start(SharedRef::clone(&shared));
        let notes = notes::Notes::start(SharedRef::clone(&shared));
        let core = Core::new(config);
        Self {
            shared,
            core,
            commands,
            changes,
            notes,
            clock: clock::Clock::new(),
            reattaching: Vec::new(),
            actions: Vec::new(),
            checked: 0,
        }
    }

    fn now(&mut self) -> Moment {
        self.clock.now()
    }

    /// Runs until the gateway stops.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let pulse = self.now().after(clock::PULSE);
            let deadline = self.core.next_deadline().map_or(pulse, |due| due.min(pulse));
            let timer = tokio::time::sleep_until(self.clock.at(deadline));
            tokio::select! {
                () = shutdown.cancelled() => return,
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return,
                },
                () = timer => self.input(Input::Timer, None).await,
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Input(input) => self.input(input, None).await,
            Command::Submit(stub, task) => {
                self.input(Input::DefineStub(*stub), None).await;
                self.input(Input::Submit(task), None).await;
            }
            Command::Hello(hello, drain_until) => self.hello(hello, drain_until).await,
            Command::Finished(finished) if self.is_anothers(&finished) => {
                let (worker, attempt) = (finished.worker, finished.attempt);
                tracing::warn!(%worker, %attempt, "a worker reports the end of another's attempt");
                self.shared.acknowledge_finished(finished.session, attempt);
            }
            Command::Finished(finished) => {
                if finished.started_unsaid {
                    let report = AttemptReport::Started;
                    self.input(Input::Attempt { attempt: finished.attempt, report }, None).await;
                }
                let report = AttemptReport::Finished {
                    outcome: finished.outcome.clone(),
                    reusable: finished.reusable,
                };
                let input = Input::Attempt { attempt: finished.attempt, report };
                self.input(input, Some(finished)).await;
            }
            Command::Gone(worker, container) => {
                if self.core.container_worker(container).is_some_and(|owner| owner != worker) {
                    tracing::warn!(%worker, %container, "a worker reports the end of another's container");
                    return;
                }
                self.input(Input::ContainerGone { container }, None).await;
            }
            Command::Query(query) => {
                let now = self.now();
                query(&self.core, now);
            }
        }
    }

    /// `true` if the attempt runs on another worker than the one that reports its end.
    fn is_anothers(&self, finished: &Finished) -> bool {
        let task = self.core.attempt_task(finished.attempt).and_then(|task| self.core.task(task));
        task.and_then(|task| task.worker).is_some_and(|worker| worker != finished.worker)
    }

    async fn input(&mut self, input: Input, finished: Option<Finished>) {
        let now = self.now();
        self.tell_endpoints(&input);
        let mut actions = std::mem::take(&mut self.actions);
        if let Err(ignored) = self.core.handle(now, input, &mut actions) {
            ::metrics::counter!(crate::metrics::IGNORED_INPUTS, "reason" => format!("{ignored:?}"))
                .increment(1);
            tracing::debug!(?ignored, "an input had no effect");
        }
        self.sample_invariants();
        self.carry_out(&mut actions, finished).await;
        actions.clear();
        self.actions = actions;
    }

    /// Requests go to no worker that leaves or is gone.
    fn tell_endpoints(&self, input: &Input) {
        let (worker, away) = match input {
            Input::WorkerHello(hello) => (hello.worker, false),
            Input::Cordon { worker, on: false } => (*worker, false),
            Input::WorkerDisconnected { worker, .. }
            | Input::WorkerLeaving { worker }
            | Input::WorkerLeavingWithin { worker, .. }
            | Input::Drain { worker, .. } => (*worker, true),
            _ => return,
        };
        self.shared.endpoints.set_away(worker, away);
    }

    /// Checks now and then that the scheduler's books balance; a violation is a bug to be seen.
    fn sample_invariants(&mut self) {
        self.checked += 1;
        if self.checked.is_multiple_of(CHECK_EVERY)
            && let Err(violation) = metal9_core::check(&self.core)
        {
            ::metrics::counter!(crate::metrics::INVARIANT_VIOLATIONS).increment(1);
            tracing::error!(?violation, "the scheduler's books do not balance");
            #[cfg(fuzzing)]
            panic!("the scheduler's books do not balance: {violation:?}");
        }
    }
}
