//! Requests to stubs that answer HTTP: which container they go to, and the way there.
//!
//! `book` decides, `holds` does what it decided with the scheduler and the workers, `tunnels` and
//! `connection` are the way to a container, `forward` takes a request there and its answer back,
//! and `record` writes down what became of it.

mod book;
mod connection;
mod deaths;
mod developed;
mod exchange;
mod explain;
mod forward;
mod headers;
mod holds;
mod queue;
mod record;
mod refusal;
mod target;
mod tunnels;
mod websocket;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metal9_core::Transition;
use metal9_store::{RequestRow, StubRow};
use metal9_tasks::CancellationToken;
use metal9_types::{
    AttemptId, ContainerId, Failure, FailureKind, Serving, StubId, TaskId, TaskStatus, WorkerId,
};
use tokio::sync::{Notify, oneshot, watch};

use book::{Book, Refusal, Step, Wait};
pub(crate) use book::{Place, pause_after};
use connection::Pool;
use deaths::Deaths;
pub(crate) use developed::take_changes_at;
pub(crate) use explain::explain;
pub(crate) use forward::{forward, until, warm_up};
pub(crate) use holds::{FOR_EVER, run};
pub(crate) use queue::put;
use record::Records;
pub(crate) use target::{Access, named_stub, own_stub, public_stub};
use tunnels::Tunnels;

/// How long after a container has broken off it may take until its worker says why.
const ENDS_WITHIN: Duration = Duration::from_secs(2);

type Waiter = oneshot::Sender<Result<Place, Refusal>>;

/// All that serves requests.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    state: Mutex<State>,
    /// There is something to do, or another time to do it.
    changed: Notify,
    pub(crate) tunnels: Tunnels,
    pool: Pool,
    records: Records,
    /// Requests that have not ended.
    requests: Mutex<HashMap<TaskId, Underway>>,
    /// The request that a hold has, or had last, where it has one at a time.
    latest: Mutex<HashMap<TaskId, TaskId>>,
    deaths: Deaths,
    /// Something became of a hold.
    progress: watch::Sender<()>,
}

/// A request that has not ended.
#[derive(Debug)]
struct Underway {
    /// By which its user cancels it.
    token: CancellationToken,
    /// The hold of the container that it is in, and what is to be written down of it.
    served: Option<(TaskId, RequestRow)>,
}

#[derive(Debug, Default)]
struct State {
    book: Book,
    waiters: HashMap<TaskId, Waiter>,
    stubs: HashMap<StubId, Arc<StubRow>>,
    /// Those of the stubs that somebody tries out.
    developed: HashSet<StubId>,
    /// Why holds wait, as the scheduler says it.
    reasons: HashMap<TaskId, String>,
    /// What the scheduler and the workers are to be told: at most a few things for each hold.
    todo: VecDeque<Step>,
}

/// A request that waits for a place; when dropped, it does so no more.
#[derive(Debug)]
struct Waiting<'a> {
    endpoints: &'a Endpoints,
    stub: StubId,
    request: TaskId,
    answer: oneshot::Receiver<Result<Place, Refusal>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let known = self.endpoints.change(|state, now| {
            let waits = state.waiters.remove(&self.request).is_some();
            if waits {
                state.book.left(now, self.stub, self.request);
            }
            waits
        });
        // It was given a place that nobody has taken.
        if !known && let Ok(Ok(place)) = self.answer.try_recv() {
            self.endpoints.done(&place);
        }
    }
}

impl Waiting<'_> {
    async fn place(&mut self) -> Result<Place, Refusal> {
        (&mut self.answer).await.unwrap_or_else(|_| {
            let text = "the gateway lost the request";
            Err(Refusal::Failed(Failure::new(FailureKind::Internal, text)))
        })
    }
}

impl Endpoints {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and sees to what comes of it.
    fn change<T>(&self, change: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.lock();
        let before = state.book.next_look();
        let result = change(&mut state, Instant::now());
        let mut told = false;
        loop {
            let steps = state.book.take_steps();
            if steps.is_empty() {
                break;
            }
            for step in steps {
                told |= state.carry_out(step);
            }
        }
        for id in state.book.take_gone() {
            if !state.developed.contains(&id) {
                state.stubs.remove(&id);
            }
        }
        if told || state.book.next_look() != before {
            self.changed.notify_one();
        }
        result
    }

    /// Waits for a place for a request.
    fn ask(
        &self,
        stub: &Arc<StubRow>,
        serving: Serving,
        request: TaskId,
    ) -> Result<Waiting<'_>, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.change(|state, now| {
            if stub.config.is_developed() && !state.developed.contains(&stub.id) {
                return Err(Refusal::Unserved);
            }
            state.stubs.entry(stub.id).or_insert_with(|| Arc::clone(stub));
            state.waiters.insert(request, sender);
            let arrived = state.book.arrive(now, stub.id, serving, request);
            if arrived.is_err() {
                state.waiters.remove(&request);
            }
            arrived
        })?;
        Ok(Waiting { endpoints: self, stub: stub.id, request, answer })
    }

    /// A request is over at its place.
    fn done(&self, place: &Place) {
        self.change(|state, now| state.book.done(now, place));
    }

    /// A place is being ended.
    fn condemned(&self, place: &Place) {
        self.change(|state, now| state.book.condemned(now, place));
    }

    /// A place could not be reached.
    fn unreached(&self, place: &Place) {
        self.change(|state, now| state.book.unreached(now, place));
    }

    /// A stub may have another number of containers from now on.
    pub(crate) fn rescale(&self, stub: StubId, serving: Serving) {
        self.change(|state, now| state.book.set_serving(now, stub, serving));
    }

    /// Keeps as many containers of these stubs as is said, whatever the requests; of others none.
    pub(crate) fn keep_only(&self, kept: &HashMap<StubId, (Arc<StubRow>, Serving)>) {
        self.change(|state, now| {
            let others = state
                .stubs
                .iter()
                .filter(|(id, _)| !kept.contains_key(*id) && !state.developed.contains(*id));
            let others: Vec<_> = others.map(|(id, stub)| (*id, stub.config.serving)).collect();
            for (id, serving) in others {
                state.book.set_floor(now, id, serving, 0);
            }
            for (id, (stub, serving)) in kept {
                state.stubs.entry(*id).or_insert_with(|| Arc::clone(stub));
                state.book.set_floor(now, *id, *serving, serving.min_containers);
            }
        });
    }

    /// `true` for what looks like a task and is a container that serves.
    pub(crate) fn is_hold(&self, task: TaskId) -> bool {
        self.lock().book.is_hold(task)
    }

    /// The stub of a hold.
    pub(crate) fn stub_of(&self, hold: TaskId) -> Option<StubId> {
        self.lock().book.stub_of(hold)
    }

    /// The scheduler brought a hold into a new state.
    pub(crate) fn transition(&self, transition: &Transition) {
        let hold = transition.task;
        if transition.status.is_terminal() || transition.status == TaskStatus::Retry {
            self.pool.forget(hold);
            if let Some(failure) = &transition.failure {
                self.deaths.note(hold, failure.clone());
            }
        }
        self.change(|state, now| match transition.status {
            TaskStatus::Running => {
                let (Some(attempt), Some(worker), Some(container)) =
                    (transition.attempt, transition.worker, transition.container)
                else {
                    return;
                };
                state.reasons.remove(&hold);
                state.book.assigned(hold, attempt, worker, container);
            }
            status if status.is_terminal() => {
                state.reasons.remove(&hold);
                // Another container would not have the changes that this one was given.
                state.close_developed(now, hold);
                state.book.ended(now, hold, transition.failure.clone());
            }
            _ => {
                let developed = state.close_developed(now, hold);
                state.book.requeued(now, hold);
                if let Some(stub) = developed {
                    state.book.close(now, stub);
                }
            }
        });
        if transition.status.is_terminal() {
            self.latest().remove(&hold);
        }
        self.progress.send_replace(());
    }

    /// Why the container of a hold has ended, once that is known; nothing if it does not end soon.
    async fn why_ended(&self, hold: TaskId) -> Option<(FailureKind, String)> {
        let mut progress = self.progress.subscribe();
        let told = async {
            loop {
                if let Some(failure) = self.deaths.find(hold) {
                    return Some(failure);
                }
                progress.changed().await.ok()?;
            }
        };
        let ended: Failure = tokio::time::timeout(ENDS_WITHIN, told).await.ok().flatten()?;
        Some((ended.kind, format!("the container ended: {}", ended.message)))
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, TaskId>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request that what a hold writes belongs to, where that can be told.
    pub(crate) fn writes(&self, hold: TaskId) -> Option<TaskId> {
        self.latest().get(&hold).copied()
    }

    /// The container of an attempt takes requests; nothing happens for an attempt of a task.
    pub(crate) fn started(&self, hold: TaskId, attempt: AttemptId) {
        self.change(|state, now| state.book.started(now, hold, attempt));
        self.progress.send_replace(());
    }

    /// The scheduler says why a hold waits.
    pub(crate) fn waits(&self, hold: TaskId, sentence: &str) {
        let mut state = self.lock();
        if state.book.is_hold(hold) {
            state.reasons.insert(hold, sentence.to_owned());
        }
    }

    /// A worker is to get no requests, or may again.
    pub(crate) fn set_away(&self, worker: WorkerId, away: bool) {
        self.change(|state, now| state.book.set_away(now, worker, away));
    }

    /// Ends a request for its user; `false` if there is none.
    pub(crate) fn cancel(&self, request: TaskId) -> bool {
        self.underway().get(&request).inspect(|it| it.token.cancel()).is_some()
    }

    fn underway(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, Underway>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written down of a request that the container of a hold is serving.
    pub(crate) fn served_by(&self, hold: TaskId, request: TaskId) -> Option<RequestRow> {
        let (by, row) = self.underway().get(&request)?.served.clone()?;
        (by == hold).then_some(row)
    }

    /// Where a hold is.
    pub(crate) fn container_of(&self, hold: TaskId) -> Option<ContainerId> {
        let state = self.lock();
        let holds = state.book.holds(state.book.stub_of(hold)?);
        holds.into_iter().find(|(task, _)| *task == hold)?.1
    }

    /// What a request waits for; nothing if it does not wait.
    fn wait(&self, stub: StubId, request: TaskId) -> Option<Wait> {
        self.lock().book.wait(Instant::now(), stub, request)
    }

    /// Why the containers of a stub wait, if they do.
    fn reason(&self, stub: StubId) -> Option<String> {
        let state = self.lock();
        let holds = state.book.holds(stub);
        holds.iter().find_map(|(hold, _)| state.reasons.get(hold).cloned())
    }

    /// The holds of a stub with their containers, where they have one.
    pub(crate) fn holds(&self, stub: StubId) -> Vec<(TaskId, Option<ContainerId>)> {
        self.lock().book.holds(stub)
    }

    /// Requests that wait, and that run.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.lock().book.counts()
    }
}

impl State {
    /// If a hold is that of a stub that somebody tries out, the stub, which takes no more requests.
    fn close_developed(&mut self, now: Instant, hold: TaskId) -> Option<StubId> {
        let stub = self.book.stub_of(hold).filter(|stub| self.developed.remove(stub))?;
        self.book.close(now, stub);
        Some(stub)
    }

    /// `true` if somebody else has something to do.
    fn carry_out(&mut self, step: Step) -> bool {
        match step {
            Step::Give { request, place } => {
                let taken = self.waiters.remove(&request).map(|waiter| waiter.send(Ok(place)));
                if !matches!(taken, Some(Ok(()))) {
                    self.book.done(Instant::now(), &place);
                }
                false
            }
            Step::Refuse { request, refusal } => {
                if let Some(waiter) = self.waiters.remove(&request) {
                    let _ = waiter.send(Err(refusal));
                }
                false
            }
            step => {
                self.todo.push_back(step);
                true
            }
        }
    }
}
