//! What containers tell.

use metal9_types::{AttemptId, ContainerId, Failure, FailureKind};
use tokio::time::Instant;

use crate::manager::{AttemptEntry, Manager, SHORT_CALL, State};
use crate::report::{Ended, Report};

impl Manager {
    pub(super) fn started(&mut self, attempt: AttemptId) {
        if let Some(entry) = self.attempts.get_mut(&attempt)
            && entry.state == State::Assigned
        {
            entry.state = State::Started;
            self.starts.push_back((Instant::now() + SHORT_CALL, attempt));
        }
    }

    /// Reports the calls that have run for a while.
    pub(super) fn tell_starts(&mut self) {
        let now = Instant::now();
        while let Some((_, attempt)) = self.starts.pop_front_if(|(at, _)| *at <= now) {
            let runs = |entry: &AttemptEntry| entry.state == State::Started;
            if self.attempts.get(&attempt).is_some_and(runs) {
                self.control.push_back(Report::Started(attempt));
            }
        }
    }

    pub(super) fn ended(&mut self, attempt: AttemptId, mut ended: Ended) {
        let Some(entry) = self.attempts.get_mut(&attempt) else { return };
        let container = self.containers.get_mut(&entry.container);
        if let Some(container) = container.filter(|container| container.current == Some(attempt)) {
            container.current = None;
            container.stopping |= !ended.reusable;
            ended.reusable &= !container.stopping;
        }
        if entry.state.is_running() {
            entry.state = State::Finished;
            if let Some(at) = self.starts.iter().position(|(_, started)| *started == attempt) {
                self.starts.remove(at);
                self.outbox.leave_start_to_end(attempt);
            }
            self.outbox.finish(attempt, ended);
        }
    }

    pub(super) fn gone(&mut self, container: ContainerId, reason: String) {
        let Some(entry) = self.containers.remove(&container) else { return };
        let running = self.attempts.get(&entry.last).filter(|last| last.state.is_running());
        if running.is_some() {
            let failure = if self.deadline.is_some() {
                Failure::new(FailureKind::WorkerLost, "the worker was shut down")
            } else {
                Failure::new(FailureKind::Internal, format!("the container ended: {reason}"))
            };
            self.ended(entry.last, Ended::failed(failure, Vec::new()));
        }
        let report = Report::ContainerGone { container, reason };
        self.control.extend(self.outbox.follow(entry.last, report));
        if self.attempts.get(&entry.last).is_some_and(|last| last.state == State::Stopped) {
            self.outbox.close(entry.last);
            self.forget_if_over(entry.last);
        }
    }

    /// Says that a container is gone that this worker knows nothing of.
    pub(super) fn tell_gone(&mut self, container: ContainerId, reason: String) {
        self.control.push_back(Report::ContainerGone { container, reason });
    }

    /// Forgets an attempt that is neither running nor has anything to be acknowledged.
    pub(super) fn forget_if_over(&mut self, attempt: AttemptId) {
        let Some(entry) = self.attempts.get(&attempt) else { return };
        let container = self.containers.get(&entry.container);
        let ending = container.is_some_and(|container| container.current == Some(attempt));
        if !entry.state.is_running() && !ending && !self.outbox.contains(attempt) {
            self.attempts.remove(&attempt);
        }
    }
}
