//! A fleet that does what it is told, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metal9_types::{CallOutcome, ContainerId, Moment, StubId, TaskId, TaskStatus};

use super::env::TestEnv;
use crate::{Action, AttemptReport, Input};

/// How long things take.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    /// From assignment to the user's code in a new container.
    pub(super) start: Duration,
    /// One call.
    pub(super) call: Duration,
}

pub(super) struct Sim {
    pub(super) env: TestEnv,
    paces: BTreeMap<StubId, Pace>,
    sessions: Vec<(u64, u64)>,
    /// What will happen, in order of time and of becoming known.
    agenda: BTreeMap<(Moment, u64), Input>,
    counter: u64,
    /// When each task ended.
    pub(super) ended: BTreeMap<TaskId, Moment>,
    /// When each task began.
    pub(super) begun: BTreeMap<TaskId, Moment>,
    pub(super) containers: BTreeMap<StubId, BTreeSet<ContainerId>>,
    next_alive: Moment,
}

impl Sim {
    pub(super) fn new(mut env: TestEnv, sessions: &[(u64, u64)]) -> Self {
        env.check_every = 16;
        Self {
            next_alive: env.now,
            env,
            paces: BTreeMap::new(),
            sessions: sessions.to_vec(),
            agenda: BTreeMap::new(),
            counter: 0,
            ended: BTreeMap::new(),
            begun: BTreeMap::new(),
            containers: BTreeMap::new(),
        }
    }

    pub(super) fn pace(&mut self, stub: StubId, start: u64, call: u64) {
        let (start, call) = (Duration::from_millis(start), Duration::from_millis(call));
        self.paces.insert(stub, Pace { start, call });
    }

    fn later(&mut self, delay: Duration, input: Input) {
        self.counter += 1;
        self.agenda.insert((self.env.now.after(delay), self.counter), input);
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.env.actions.pop_front() {
            match action {
                Action::Assign { attempt, task, stub, container, fresh, .. } => {
                    let pace = self.paces[&stub];
                    let start = if fresh { pace.start } else { Duration::ZERO };
                    let report = AttemptReport::Started;
                    self.later(start, Input::Attempt { attempt, report });
                    let outcome = CallOutcome::Returned;
                    let report = AttemptReport::Finished { outcome, reusable: true };
                    self.later(start + pace.call, Input::Attempt { attempt, report });
                    self.begun.insert(task, self.env.now);
                    self.containers.entry(stub).or_default().insert(container);
                }
                Action::StopContainer { container, .. } => {
                    self.later(Duration::from_millis(20), Input::ContainerGone { container });
                }
                Action::Transition(transition) if transition.status.is_terminal() => {
                    assert_eq!(transition.status, TaskStatus::Complete);
                    let before = self.ended.insert(transition.task, self.env.now);
                    assert_eq!(before, None, "a task ended twice");
                }
                Action::Transition(_) | Action::Waiting { .. } => {}
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// Runs until so many tasks have ended, or the time is over; how long that took.
    pub(super) fn run(&mut self, tasks: usize, at_most: Duration) -> Duration {
        let began = self.env.now;
        let until = began.after(at_most);
        self.carry_out();
        while self.ended.len() < tasks {
            let agenda = self.agenda.first_key_value().map(|(key, _)| key.0);
            let deadline = self.env.core.next_deadline();
            let alive = Some(self.next_alive);
            let next = [agenda, deadline, alive].into_iter().flatten().min().unwrap_or(until);
            if next > until {
                break;
            }
            self.env.now = self.env.now.max(next);
            if alive == Some(next) {
                self.next_alive = next.after(Duration::from_secs(1));
                for (number, session) in self.sessions.clone() {
                    self.env.alive(number, session);
                }
            } else if deadline == Some(next) {
                self.env.ok(Input::Timer);
            } else if let Some((_, input)) = self.agenda.pop_first() {
                self.env.ok(input);
            }
            self.carry_out();
        }
        self.env.now.since(began)
    }

    pub(super) fn container_count(&self, stub: StubId) -> usize {
        self.containers.get(&stub).map_or(0, BTreeSet::len)
    }
}
