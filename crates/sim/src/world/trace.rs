//! Telling a run line by line, with the names of its script.

use std::collections::BTreeMap;

use metal9_core::{Action, AttemptReport, Input};
use metal9_types::{AttemptId, ContainerId, Moment, TaskStatus};

use super::{World, index_of};

/// The lines told so far.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    on: bool,
    pub(crate) lines: Vec<String>,
    attempts: BTreeMap<AttemptId, String>,
    containers: BTreeMap<ContainerId, String>,
}

/// Short names for ids.
pub(crate) struct Names<'a>(&'a World);

impl Names<'_> {
    pub(crate) fn worker(&self, worker: usize) -> &str {
        &self.0.workers[worker].name
    }

    pub(crate) fn task(&self, task: usize) -> &str {
        &self.0.ledger.tasks[task].name
    }

    pub(crate) fn attempt(&self, attempt: AttemptId) -> String {
        self.0.trace.attempt(attempt)
    }

    pub(crate) fn container(&self, container: ContainerId) -> String {
        self.0.trace.container(container)
    }
}

impl Trace {
    pub(super) fn new(on: bool) -> Self {
        Self { on, ..Self::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    fn attempt(&self, attempt: AttemptId) -> String {
        self.attempts.get(&attempt).cloned().unwrap_or_else(|| format!("attempt {attempt}"))
    }

    fn container(&self, container: ContainerId) -> String {
        self.containers.get(&container).cloned().unwrap_or_else(|| format!("container {container}"))
    }

    /// What an input is about, for those that may well have no effect.
    pub(super) fn input(&self, input: &Input) -> Option<String> {
        match input {
            Input::Attempt { attempt, report: AttemptReport::Started } => {
                Some(format!("{} has begun", self.attempt(*attempt)))
            }
            Input::Attempt { attempt, .. } => Some(format!("{} has ended", self.attempt(*attempt))),
            Input::ContainerGone { container } => {
                Some(format!("{} is gone", self.container(*container)))
            }
            Input::Cancel { .. } => Some("cancel".to_owned()),
            _ => None,
        }
    }
}

impl World {
    /// Tells a line, if anybody listens.
    pub(super) fn say(&mut self, line: impl FnOnce(&Names<'_>) -> String) {
        if self.trace.on {
            let line = line(&Names(self));
            let now = self.now;
            self.trace.lines.push(format!("{}  {line}", clock(now)));
        }
    }

    pub(super) fn trace_action(&mut self, action: &Action) {
        if !self.trace.on {
            return;
        }
        match action {
            Action::Assign { worker, attempt, task, container, fresh, .. } => {
                let task = index_of(task.0);
                let number = self.ledger.tasks[task].assigned + 1;
                let name = format!("{}#{number}", self.ledger.tasks[task].name);
                self.trace.attempts.insert(*attempt, name);
                let count = self.trace.containers.len() + 1;
                self.trace.containers.entry(*container).or_insert_with(|| format!("c{count}"));
                let (worker, attempt) = (index_of(worker.0), *attempt);
                let (container, how) = (*container, if *fresh { "new" } else { "warm" });
                self.say(|names| {
                    let (attempt, container) = (names.attempt(attempt), names.container(container));
                    format!("assign {attempt} to {} in {container} ({how})", names.worker(worker))
                });
            }
            Action::StopAttempt { attempt, reason, .. } => {
                self.say(|names| format!("stop {} ({reason:?})", names.attempt(*attempt)));
            }
            Action::StopContainer { container, .. } => {
                self.say(|names| format!("stop {}", names.container(*container)));
            }
            Action::Welcome { worker, drop_attempts, drop_containers, .. } => {
                self.say(|names| {
                    let mut line = format!("welcome {}", names.worker(index_of(worker.0)));
                    let attempts = drop_attempts.iter().map(|id| names.attempt(*id));
                    let containers = drop_containers.iter().map(|id| names.container(*id));
                    let drops: Vec<String> = attempts.chain(containers).collect();
                    if !drops.is_empty() {
                        line = format!("{line}, drop {}", drops.join(" "));
                    }
                    line
                });
            }
            Action::Transition(transition) if transition.status == TaskStatus::Retry => {
                let task = index_of(transition.task.0);
                let why = transition.failure.as_ref().map(|failure| failure.message.clone());
                let why = why.unwrap_or_default();
                self.say(|names| format!("retry {}: {why}", names.task(task)));
            }
            Action::Transition(transition) if transition.status.is_terminal() => {
                let task = index_of(transition.task.0);
                if let Some(failure) = &transition.failure {
                    self.say(|names| format!("fail {}: {}", names.task(task), failure.message));
                }
            }
            Action::Transition(_) => {}
            Action::Waiting { task, sentence } if !sentence.is_empty() => {
                self.say(|names| format!("tell {}: {sentence}", names.task(index_of(task.0))));
            }
            Action::Waiting { .. } => {}
            Action::WorkerLeft { worker } => {
                self.say(|names| format!("{} has left", names.worker(index_of(worker.0))));
            }
            Action::WorkerLost { worker } => {
                self.say(|names| format!("{} is lost", names.worker(index_of(worker.0))));
            }
        }
    }
}

/// A moment as seconds with three places.
pub(crate) fn clock(moment: Moment) -> String {
    format!("{:>4}.{:03}", moment.0 / 1_000_000, moment.0 / 1000 % 1000)
}
