//! A stub and how its calls have gone so far.

use std::collections::BTreeSet;
use std::time::Duration;

use metal9_types::{ContainerId, Moment};

use super::GroupKey;
use crate::StubSpec;

/// How long a new container is thought to take before one was seen.
const FIRST_START: Duration = Duration::from_millis(400);

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
            start_time: FIRST_START,
        }
    }

    /// `true` if it may not have another container.
    pub(crate) fn is_at_limit(&self) -> bool {
        self.spec.max_containers.is_some_and(|most| self.live >= most.max(1))
    }

    pub(crate) fn saw_call(&mut self, duration: Duration) {
        self.call_time = Some(self.call_time.map_or(duration, |mean| blend(mean, duration)));
    }

    pub(crate) fn saw_start(&mut self, duration: Duration) {
        self.start_time = blend(self.start_time, duration);
    }

    /// `true` if the queue would wait longer for the containers there are than for a new one.
    pub(crate) fn wants_container(&self, now: Moment) -> bool {
        let Some(call_time) = self.call_time else { return true };
        if self.calls.is_empty() || self.spec.keep_warm.is_zero() {
            return true;
        }
        let longest = self.oldest_call(now);
        let call = call_time.max(longest);
        let queue = multiply(call, self.waiting) / count(self.calls.len());
        // Calls that began together end together, so the queue moves no sooner than the oldest.
        queue.max(call.saturating_sub(longest)) > self.start_time
    }

    /// When [`Stub::wants_container`] may become true although nothing happens.
    pub(crate) fn wants_container_at(&self) -> Option<Moment> {
        let (began, _) = self.calls.first()?;
        let age = multiply(self.start_time, self.calls.len()) / count(self.waiting);
        Some(began.after(age + Duration::from_millis(1)))
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
