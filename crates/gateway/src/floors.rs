//! Containers that deployed queues keep, calls or not.
//!
//! The scheduler does not end them, and others do not take their place; what is here has them
//! started. A *warm-up* is a task that is not stored and makes no call: it is over when its
//! container could take one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metal9_core::{TaskSpec, Transition};
use metal9_store::StubRow;
use metal9_types::{Failure, FailureKind, StubId, TaskId, TaskStatus};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::driver::{Command, stub_spec, task_spec};
use crate::endpoints::pause_after;
use crate::shared::SharedRef;

/// How often it is looked whether they are all there.
const LOOK: Duration = Duration::from_secs(1);

/// What queues keep.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    stubs: HashMap<StubId, Kept>,
    rows: HashMap<StubId, Arc<StubRow>>,
    warm_ups: HashMap<TaskId, WarmUp>,
}

/// A queue that keeps containers.
#[derive(Debug, Default)]
struct Kept {
    count: u32,
    failures: u32,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct WarmUp {
    stub: StubId,
    /// Its container counts as one that is there.
    begun: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
struct Todo {
    ask: Vec<(TaskId, StubId)>,
    withdraw: Vec<TaskId>,
}

impl State {
    /// What is to be done, with so many containers there.
    fn look(&mut self, now: Instant, there: &HashMap<StubId, u32>) -> Todo {
        let mut todo = Todo::default();
        let mut asked: HashMap<StubId, Vec<TaskId>> = HashMap::new();
        for (task, warm_up) in self.warm_ups.iter().filter(|(_, warm_up)| !warm_up.begun) {
            asked.entry(warm_up.stub).or_default().push(*task);
        }
        for (id, kept) in &self.stubs {
            let there = there.get(id).copied().unwrap_or(0);
            let missing = kept.count.saturating_sub(there) as usize;
            let asked = asked.remove(id).unwrap_or_default();
            todo.withdraw.extend(asked.iter().skip(missing));
            if kept.not_before.is_some_and(|at| now < at) {
                continue;
            }
            for _ in asked.len()..missing {
                todo.ask.push((TaskId(uuid::Uuid::now_v7()), *id));
            }
        }
        todo.withdraw.extend(asked.into_values().flatten());
        for &(task, stub) in &todo.ask {
            self.warm_ups.insert(task, WarmUp { stub, begun: false });
        }
        todo
    }

    fn ended(&mut self, now: Instant, task: TaskId, failure: Option<&Failure>) {
        let Some(warm_up) = self.warm_ups.remove(&task) else { return };
        let Some(kept) = self.stubs.get_mut(&warm_up.stub) else { return };
        let lost = |kind| matches!(kind, FailureKind::Cancelled | FailureKind::WorkerLost);
        match failure {
            Some(failure) if lost(failure.kind) => {}
            Some(_) => {
                kept.failures += 1;
                kept.not_before = Some(now + pause_after(kept.failures));
            }
            None => (kept.failures, kept.not_before) = (0, None),
        }
    }
}

impl Floors {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These queues keep so many processes each, and no others any.
    pub(crate) fn keep_only(&self, kept: Vec<(Arc<StubRow>, u32)>) {
        let mut state = self.lock();
        let mut before = std::mem::take(&mut state.stubs);
        state.rows.clear();
        for (row, count) in kept {
            let known = before.remove(&row.id).unwrap_or_default();
            state.stubs.insert(row.id, Kept { count, ..known });
            state.rows.insert(row.id, row);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// `true` for what looks like a task and only starts a container.
    pub(crate) fn is_warm_up(&self, task: TaskId) -> bool {
        self.lock().warm_ups.contains_key(&task)
    }

    /// The scheduler brought a warm-up into a new state.
    pub(crate) fn transition(&self, transition: &Transition) {
        let mut state = self.lock();
        match transition.status {
            TaskStatus::Running => {
                if let Some(warm_up) = state.warm_ups.get_mut(&transition.task) {
                    warm_up.begun = true;
                }
            }
            status if status.is_terminal() => {
                state.ended(Instant::now(), transition.task, transition.failure.as_ref());
                drop(state);
                self.changed.notify_one();
            }
            _ => {
                if let Some(warm_up) = state.warm_ups.get_mut(&transition.task) {
                    warm_up.begun = false;
                }
            }
        }
    }
}

/// Sees to it until the gateway stops.
pub(crate) async fn run(shared: SharedRef) {
    let floors = &shared.floors;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = floors.changed.notified() => {}
            _ = looks.tick() => {}
            () = shared.shutdown.cancelled() => return,
        }
        let stubs: Vec<_> = {
            let state = floors.lock();
            if state.stubs.is_empty() && state.warm_ups.is_empty() {
                continue;
            }
            state.stubs.keys().copied().collect()
        };
        let count = move |core: &metal9_core::Core, _| {
            stubs.into_iter().map(|id| (id, core.containers_of(id))).collect::<HashMap<_, _>>()
        };
        let Ok(there) = shared.driver.query(count).await else { return };
        let todo = floors.lock().look(Instant::now(), &there);
        for task in todo.withdraw {
            let failure = Failure::new(FailureKind::Cancelled, "the container is not needed");
            if shared.driver.cancel(task, failure).await.is_err() {
                return;
            }
        }
        for (task, stub) in todo.ask {
            let row = floors.lock().rows.get(&stub).cloned();
            match row {
                Some(row) => ask(&shared, task, &row).await,
                // It was stopped just now.
                None => drop(floors.lock().warm_ups.remove(&task)),
            }
        }
    }
}

/// Hands a warm-up to the scheduler, as a task that is not stored.
async fn ask(shared: &SharedRef, task: TaskId, row: &StubRow) {
    let claim = shared.admission.known_task(row.workspace, 0);
    shared.hub.open(claim, task, row.workspace, true, TaskStatus::Pending, 0);
    let spec = TaskSpec {
        max_retries: 0,
        timeout: None,
        ttl: crate::endpoints::FOR_EVER,
        warm_up: true,
        ..task_spec(task, row)
    };
    let stub = Box::new(stub_spec(shared, row));
    if shared.driver.send(Command::Submit(stub, spec)).await.is_err() {
        tracing::debug!("the gateway is stopping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> StubId {
        StubId(uuid::Uuid::from_u128(number))
    }

    fn state(count: u32) -> State {
        let stubs = HashMap::from([(id(1), Kept { count, ..Kept::default() })]);
        State { stubs, ..State::default() }
    }

    fn look(state: &mut State, now: Instant, there: u32) -> (Vec<TaskId>, Vec<TaskId>) {
        let todo = state.look(now, &HashMap::from([(id(1), there)]));
        (todo.ask.into_iter().map(|(task, _)| task).collect(), todo.withdraw)
    }

    #[test]
    fn what_is_missing_is_asked_for_once() {
        let (mut state, now) = (state(3), Instant::now());
        let (asked, _) = look(&mut state, now, 1);
        assert_eq!(asked.len(), 2);
        assert_eq!(look(&mut state, now, 1), (vec![], vec![]));
        // One has a container now, which counts.
        state.warm_ups.get_mut(&asked[0]).unwrap().begun = true;
        assert_eq!(look(&mut state, now, 2), (vec![], vec![]));
    }

    #[test]
    fn what_is_not_missing_any_more_is_taken_back() {
        let (mut state, now) = (state(1), Instant::now());
        let (asked, _) = look(&mut state, now, 0);
        assert_eq!(look(&mut state, now, 1), (vec![], asked.clone()));
        state.stubs.clear();
        assert_eq!(look(&mut state, now, 0).1, asked, "its queue was stopped");
    }

    #[test]
    fn containers_that_do_not_start_are_tried_less_and_less_often() {
        let (mut state, now) = (state(1), Instant::now());
        let failure = Failure::new(FailureKind::Setup, "no such module");
        for _ in 0..3 {
            let later = now + Duration::from_secs(3600);
            let (asked, _) = look(&mut state, later, 0);
            state.ended(now, asked[0], Some(&failure));
        }
        assert!(look(&mut state, now, 0).0.is_empty());
        let (asked, _) = look(&mut state, now + Duration::from_secs(60), 0);
        state.ended(now, asked[0], None);
        assert_eq!(look(&mut state, now, 0).0.len(), 1, "one that starts is forgiven");
    }

    #[test]
    fn a_lost_worker_is_no_failure() {
        let (mut state, now) = (state(1), Instant::now());
        let (asked, _) = look(&mut state, now, 0);
        let lost = Failure::new(FailureKind::WorkerLost, "gone");
        state.ended(now, asked[0], Some(&lost));
        assert_eq!(look(&mut state, now, 0).0.len(), 1);
    }
}
