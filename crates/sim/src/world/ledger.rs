//! What the outside has seen, and what it may rightly expect.
//!
//! The scheduler checks its own books. This one is kept by the simulation without a look at them:
//! what was accepted, which attempts were given away, which of them really ran, and what clients
//! were told.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{AttemptId, FailureKind, Moment, TaskStatus};

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    Returns,
    Raises,
    Crashes,
}

/// A task as seen from outside.
#[derive(Debug)]
pub(crate) struct TaskFacts {
    pub(crate) name: String,
    pub(crate) stub: usize,
    pub(crate) workspace: usize,
    /// It is durable, and its client knows its id.
    pub(crate) accepted: Option<Moment>,
    pub(crate) cancelled: bool,
    /// Attempts given to workers, over all starts of the gateway.
    pub(crate) assigned: u32,
    /// Those that ended because their worker was asked to: they need not count.
    pub(crate) spared: u32,
    /// The number of its latest attempt, as its worker was told.
    pub(crate) number: u32,
    /// When the user's code first began.
    pub(crate) begun: Option<Moment>,
    /// Attempts that ran to the end and returned.
    pub(crate) returned: BTreeSet<AttemptId>,
    /// What its client was told, and when.
    pub(crate) told: Option<(Moment, TaskStatus)>,
}

/// An attempt that runs somewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Execution {
    pub(crate) attempt: AttemptId,
    pub(crate) worker: usize,
    /// Its worker was told to end it.
    pub(crate) stopped: bool,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) tasks: Vec<TaskFacts>,
    /// Accepted tasks whose clients wait.
    pub(crate) open: BTreeSet<usize>,
    /// What runs, by task.
    pub(crate) running: BTreeMap<usize, Vec<Execution>>,
    /// Every attempt ever given away, with its task and its number among that task's.
    pub(crate) given: BTreeMap<AttemptId, (usize, u32)>,
    /// Since when attempts that should not run any more have been seen running.
    pub(crate) zombies: BTreeMap<AttemptId, Moment>,
    /// Attempts that ran at a time with another of the same task.
    pub(crate) doubles: u64,
}

/// A rule, and what it was broken by.
pub(crate) type Broken = (&'static str, String);

impl Ledger {
    /// An attempt goes to a worker. `restarts` of the gateway may each have forgotten one.
    pub(crate) fn assign(
        &mut self,
        task: usize,
        attempt: AttemptId,
        number: u32,
        retries: u32,
        restarts: u32,
    ) -> Result<(), Broken> {
        let facts = &mut self.tasks[task];
        facts.assigned += 1;
        facts.number = number;
        let name = &facts.name;
        if self.given.insert(attempt, (task, facts.assigned)).is_some() {
            return Err(("no attempt id is given twice", format!("{name} {attempt}")));
        }
        if facts.told.is_some() {
            return Err(("a task that has ended is not tried again", name.clone()));
        }
        if number > retries + 1 || facts.assigned > retries + 1 + restarts + facts.spared {
            let text = format!("{name} of {retries} retries, attempt {number}");
            return Err(("no task is tried more often than it may be", text));
        }
        Ok(())
    }

    pub(crate) fn begin(&mut self, task: usize, attempt: AttemptId, worker: usize, now: Moment) {
        let facts = &mut self.tasks[task];
        facts.begun.get_or_insert(now);
        let running = self.running.entry(task).or_default();
        running.push(Execution { attempt, worker, stopped: false });
        if running.len() > 1 {
            self.doubles += 1;
        }
    }

    /// Its worker was told to end it, and is about to.
    pub(crate) fn stop(&mut self, task: usize, attempt: AttemptId) {
        let running = self.running.get_mut(&task).into_iter().flatten();
        for execution in running.filter(|execution| execution.attempt == attempt) {
            execution.stopped = true;
        }
    }

    pub(crate) fn end_execution(&mut self, task: usize, attempt: AttemptId) {
        if let Some(running) = self.running.get_mut(&task) {
            running.retain(|execution| execution.attempt != attempt);
            if running.is_empty() {
                self.running.remove(&task);
            }
        }
        self.zombies.remove(&attempt);
    }

    pub(crate) fn returned(&mut self, task: usize, attempt: AttemptId) {
        self.tasks[task].returned.insert(attempt);
    }

    /// A client is told how its task ended.
    pub(crate) fn tell(
        &mut self,
        now: Moment,
        task: usize,
        status: TaskStatus,
        attempt: Option<AttemptId>,
        failure: Option<FailureKind>,
        limits: Limits,
    ) -> Result<(), Broken> {
        let facts = &mut self.tasks[task];
        let name = facts.name.clone();
        if let Some((_, before)) = facts.told {
            return Err(("a task ends once", format!("{name} was {before} and is {status}")));
        }
        if facts.accepted.is_none() {
            return Err(("only an accepted task ends", name));
        }
        facts.told = Some((now, status));
        self.open.remove(&task);
        let returned = attempt.is_some_and(|attempt| facts.returned.contains(&attempt));
        match (status, failure) {
            (TaskStatus::Complete, _) if !returned => {
                return Err(("a task that completed has returned", name));
            }
            (TaskStatus::Cancelled, _) if !facts.cancelled => {
                return Err(("only who asks for it is cancelled", name));
            }
            (TaskStatus::Timeout, Some(FailureKind::Timeout)) if !limits.timeout => {
                return Err(("only a call with a limit times out", name));
            }
            (_, Some(FailureKind::WorkerLost)) if facts.assigned <= limits.retries => {
                let text = format!("{name} after {} attempts", facts.assigned);
                return Err(("a lost attempt is tried again while it may be", text));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a task's stub says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) retries: u32,
    pub(crate) timeout: bool,
}
