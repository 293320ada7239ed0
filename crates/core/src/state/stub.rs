//! A stub and how its calls have gone so far.

use std::collections::BTreeSet;
use std::time::Duration;

use metal9_types::{ContainerId, Moment};

use super::GroupKey;
use crate::StubSpec;

/// How long a new container is thought to take before one was seen.
const FIRST_START: Duration = Duration::from_millis(400);

/// No call keeps its container for less.
const SHORTEST: Duration = Duration::from_micros(500);

/// How long it is remembered how quick calls were.
const REMEMBERED: Duration = Duration::from_secs(30);

/// A stub.
#[derive(Debug)]
pub(crate) struct Stub {
    pub(crate) spec: StubSpec,
    /// Its shape.
    pub(crate) shape: usize,
    /// Its containers that were not told to end.
    pub(crate) live: u32,
    /// Queued tasks in all workspaces.
    pub(crate) waiting: usize,
    /// Its queues.
    pub(crate) groups: BTreeSet<GroupKey>,
    /// Idle containers on workers that take work: place in the list of accelerators, since when,
    /// id.
    pub(crate) idle: BTreeSet<(usize, Moment, ContainerId)>,
    /// Busy and starting containers on workers that take work, with when their call began.
    pub(crate) calls: BTreeSet<(Moment, ContainerId)>,
    /// Average duration of a call; nothing before one has ended.
    pub(crate) call_time: Option<Duration>,
    /// How long a call keeps a container when nothing slows it down, as far as was seen lately.
    quickest: Option<Duration>,
    /// When a call was last seen.
    last_seen: Moment,
    /// Average time from assignment to the user's code in a new container.
    pub(crate) start_time: Duration,
}

impl Stub {
    pub(crate) fn new(spec: StubSpec, shape: usize) -> Self {
        Self {
            spec,
            shape,
            live: 0,
            waiting: 0,
            groups: BTreeSet::new(),
            idle: BTreeSet::new(),
            calls: BTreeSet::new(),
            call_time: None,
            quickest: None,
            last_seen: Moment::ZERO,
            start_time: FIRST_START,
        }
    }

    /// How many containers it may have for the tasks there are; nothing for any number.
    pub(crate) fn most(&self) -> Option<u32> {
        let pace = self.spec.pace.map(|pace| {
            pace.containers_for(self.waiting + self.calls.len()).max(self.spec.min_containers)
        });
        let most = self.spec.max_containers.into_iter().chain(pace).min();
        most.map(|most| most.max(1))
    }

    /// `true` if it may not have another container.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.most().is_some_and(|most| self.live >= most)
    }

    /// `true` if it has fewer containers than are to be there whatever the tasks.
    pub(crate) fn is_short(&self) -> bool {
        self.live < self.spec.min_containers
    }

    /// `true` if an idle container may end after so many others.
    pub(crate) fn can_spare(&self, others: u32) -> bool {
        self.live > self.spec.min_containers.saturating_add(others)
    }

    pub(crate) fn saw_call(&mut self, now: Moment, duration: Duration) {
        self.call_time = Some(self.call_time.map_or(duration, |mean| blend(mean, duration)));
        let kept = duration.max(SHORTEST);
        let quickest = self.quickest.unwrap_or(kept);
        // Down at once, and up as time passes.
        let passed = now.since(std::mem::replace(&mut self.last_seen, now));
        let part = (passed.as_secs_f64() / REMEMBERED.as_secs_f64()).min(1.0);
        self.quickest = Some(kept.min(quickest + kept.saturating_sub(quickest).mul_f64(part)));
    }

    pub(crate) fn saw_start(&mut self, duration: Duration) {
        self.start_time = blend(self.start_time, duration);
    }

    /// `true` if the queue would wait longer for the containers there are than for a new one.
    pub(crate) fn wants_container(&self, now: Moment) -> bool {
        // Calls that are slow because the machines are full would not be quicker in more
        // containers, so what counts is how quick they can be. Long ones show by their age, which
        // must be worth something beside a start.
        let Some(call_time) = self.quickest else { return true };
        if self.calls.is_empty() || self.spec.keep_warm.is_zero() {
            return true;
        }
        let longest = self.oldest_call(now);
        let call = if longest * 4 > self.start_time { call_time.max(longest) } else { call_time };
        let queue = multiply(call, self.waiting) / count(self.calls.len());
        // Calls that began together end together, so the queue moves no sooner than the oldest.
        queue.max(call.saturating_sub(longest)) > self.start_time
    }

    /// When [`Stub::wants_container`] may become true although nothing happens.
    pub(crate) fn wants_container_at(&self) -> Option<Moment> {
        let (began, _) = self.calls.first()?;
        let age = multiply(self.start_time, self.calls.len()) / count(self.waiting);
        Some(began.after(age.max(self.start_time / 4) + Duration::from_millis(1)))
    }

    fn oldest_call(&self, now: Moment) -> Duration {
        self.calls.first().map_or(Duration::ZERO, |(began, _)| now.since(*began))
    }
}

/// A moving average in which the newest value weighs 3 in 10.
fn blend(mean: Duration, value: Duration) -> Duration {
    multiply(mean, 7).saturating_add(multiply(value, 3)) / 10
}

fn multiply(duration: Duration, times: usize) -> Duration {
    duration.saturating_mul(count(times))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).max(1)
}
