//! One stub's requests and holds.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Instant;

use metal9_types::{AttemptId, ContainerId, Failure, Serving, TaskId, WorkerId};

use super::{LONGEST_PAUSE, Refusal, Step, Wait, pause_after};

/// One stub.
#[derive(Debug)]
pub(super) struct Stub {
    pub(super) serving: Serving,
    pub(super) waiting: VecDeque<TaskId>,
    pub(super) holds: BTreeMap<TaskId, Hold>,
    /// Containers that are kept whatever the requests.
    pub(super) floor: u32,
    /// It has one container, which no other could stand in for.
    pub(super) single: bool,
    /// Set after containers that did not start.
    pub(super) failing: Option<Failing>,
}

/// Containers that did not start, one after the other.
#[derive(Debug)]
pub(super) struct Failing {
    count: u32,
    at: Instant,
    until: Instant,
    last: Failure,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum State {
    /// The scheduler has yet to find a place for it.
    #[default]
    Asked,
    /// Its container is being made.
    Assigned,
    /// Its container takes requests.
    Ready,
    /// Its worker was told that it is over.
    Releasing,
    /// Its container is being ended.
    Condemned,
}

/// A container that serves requests, or will.
#[derive(Debug, Default)]
pub(super) struct Hold {
    pub(super) state: State,
    pub(super) attempt: Option<AttemptId>,
    pub(super) worker: Option<WorkerId>,
    pub(super) container: Option<ContainerId>,
    /// Requests in each process.
    lanes: Vec<u32>,
    pub(super) idle_since: Option<Instant>,
    /// It gets no requests before.
    pub(super) not_before: Option<Instant>,
}

impl Hold {
    pub(super) fn assign(
        &mut self,
        attempt: AttemptId,
        worker: WorkerId,
        container: ContainerId,
        processes: u32,
    ) {
        if self.attempt == Some(attempt) {
            return;
        }
        *self = Self {
            state: State::Assigned,
            attempt: Some(attempt),
            worker: Some(worker),
            container: Some(container),
            lanes: vec![0; processes.max(1) as usize],
            ..Self::default()
        };
    }

    pub(super) fn running(&self) -> u32 {
        self.lanes.iter().sum()
    }

    pub(super) fn has_served(&self) -> bool {
        matches!(self.state, State::Ready | State::Releasing | State::Condemned)
    }

    /// One more request for a process; gives where that is.
    pub(super) fn take(&mut self, process: u32) -> Option<(ContainerId, WorkerId)> {
        *self.lanes.get_mut(process as usize)? += 1;
        self.idle_since = None;
        self.container.zip(self.worker)
    }

    pub(super) fn give_back(&mut self, process: u32) {
        if let Some(lane) = self.lanes.get_mut(process as usize) {
            *lane = lane.saturating_sub(1);
        }
    }

    pub(super) fn release(&self, hold: TaskId) -> Option<Step> {
        Some(Step::Release { hold, attempt: self.attempt?, worker: self.worker? })
    }

    fn takes_requests(&self, now: Instant, away: &HashSet<WorkerId>) -> bool {
        self.state == State::Ready && self.is_reachable(now, away)
    }

    fn is_reachable(&self, now: Instant, away: &HashSet<WorkerId>) -> bool {
        self.not_before.is_none_or(|at| now >= at)
            && self.worker.is_none_or(|worker| !away.contains(&worker))
    }
}

impl Stub {
    pub(super) fn new(serving: Serving) -> Self {
        Self {
            serving,
            waiting: VecDeque::new(),
            holds: BTreeMap::new(),
            floor: 0,
            single: false,
            failing: None,
        }
    }

    /// Why one more request is not taken.
    pub(super) fn refuses(&self, now: Instant) -> Option<Refusal> {
        if let Some(failing) = self.failing.as_ref().filter(|failing| failing.until > now)
            && self.holds.is_empty()
        {
            return Some(Refusal::Pausing(failing.last.clone(), failing.until - now));
        }
        let most = self.serving.max_pending;
        (self.waiting.len() >= most as usize).then_some(Refusal::Full(most))
    }

    /// What a request waits for.
    pub(super) fn wait(
        &self,
        now: Instant,
        away: &HashSet<WorkerId>,
        request: TaskId,
    ) -> Option<Wait> {
        let ahead = self.waiting.iter().position(|waiting| *waiting == request)?;
        let holds = |state| self.holds.iter().filter(move |(_, hold)| hold.state == state);
        let ids = |state| holds(state).map(|(task, _)| *task).collect();
        Some(Wait {
            ahead,
            serving: holds(State::Ready).filter(|(_, hold)| hold.takes_requests(now, away)).count(),
            starting: ids(State::Assigned),
            asked: ids(State::Asked),
        })
    }

    /// A container did not start. Gives the requests that waited for it, unless there is another.
    pub(super) fn failed(&mut self, now: Instant, failure: &Failure) -> Vec<TaskId> {
        let count = self.failing.as_ref().map_or(0, |failing| failing.count) + 1;
        let until = now + pause_after(count);
        self.failing = Some(Failing { count, at: now, until, last: failure.clone() });
        let others = self.holds.values().any(|hold| hold.state != State::Asked);
        if others { Vec::new() } else { self.waiting.drain(..).collect() }
    }

    /// `true` if containers are worth trying.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        self.failing.as_ref().is_none_or(|failing| now >= failing.until)
    }

    pub(super) fn running(&self) -> usize {
        self.holds.values().map(|hold| hold.running() as usize).sum()
    }

    /// The process for one more request: in the container that is fullest, so that others may go,
    /// the process that has least to do.
    pub(super) fn pick(&self, now: Instant, away: &HashSet<WorkerId>) -> Option<(TaskId, u32)> {
        let each = self.serving.per_process();
        let free = |hold: &Hold| {
            hold.running() < self.serving.concurrency && hold.lanes.iter().any(|lane| *lane < each)
        };
        // Of those that are too many since it was told to have fewer, the newest go.
        let most = self.serving.max_containers.max(1) as usize;
        let usable = self.holds.iter().filter(|(_, hold)| hold.takes_requests(now, away));
        let open = usable.take(most).filter(|(_, hold)| free(hold));
        let (task, hold) = open.max_by_key(|(_, hold)| hold.running())?;
        let (process, _) = hold.lanes.iter().enumerate().min_by_key(|(_, lane)| **lane)?;
        Some((*task, u32::try_from(process).ok()?))
    }

    /// How many holds take requests, or will, and how many requests they have.
    pub(super) fn usable(&self, now: Instant, away: &HashSet<WorkerId>) -> (u32, usize) {
        let counts = |hold: &&Hold| {
            !matches!(hold.state, State::Releasing | State::Condemned)
                && hold.is_reachable(now, away)
        };
        self.holds
            .values()
            .filter(counts)
            .fold((0, 0), |(holds, running), hold| (holds + 1, running + hold.running() as usize))
    }

    /// Takes back so many holds that have no container yet.
    pub(super) fn withdraw(&mut self, most: u32) -> Vec<TaskId> {
        let asked = self.holds.iter_mut().rev().filter(|(_, hold)| hold.state == State::Asked);
        let withdrawn = asked.take(most as usize).map(|(task, hold)| {
            hold.state = State::Releasing;
            *task
        });
        withdrawn.collect()
    }

    /// Until when no container is tried, if that is so.
    pub(super) fn pausing_until(&self, now: Instant) -> Option<Instant> {
        self.failing.as_ref().map(|failing| failing.until).filter(|until| *until > now)
    }

    /// Holds without a request, but for those that are to be kept.
    pub(super) fn resting(
        &mut self,
        now: Instant,
        away: &HashSet<WorkerId>,
    ) -> Vec<(TaskId, &mut Hold)> {
        let floor = self.floor as usize;
        let mut kept = 0;
        let mut resting = Vec::new();
        for (task, hold) in &mut self.holds {
            let ready = hold.state == State::Ready;
            let usable = ready && hold.is_reachable(now, away);
            if usable && kept < floor {
                kept += 1;
                hold.idle_since = None;
            } else if ready && hold.running() == 0 {
                resting.push((*task, hold));
            }
        }
        resting
    }

    pub(super) fn is_unused(&self, now: Instant) -> bool {
        let failing =
            self.failing.as_ref().is_some_and(|it| now < it.until.max(it.at + LONGEST_PAUSE));
        self.waiting.is_empty() && self.holds.is_empty() && self.floor == 0 && !failing
    }
}
