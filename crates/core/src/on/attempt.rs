//! A worker reports on an attempt.

use metal9_types::{AttemptId, CallOutcome, FailureKind, Moment, TaskStatus};

use crate::core::Core;
use crate::state::{Assigned, ContainerState, Deadline};
use crate::{Action, AttemptReport, Ignored};

impl Core {
    pub(crate) fn on_attempt(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        report: AttemptReport,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        let assigned = self.assigned(attempt).ok_or(Ignored::StaleAttempt)?;
        match report {
            AttemptReport::Started => self.on_started(now, assigned),
            AttemptReport::Finished { outcome, reusable } => {
                self.on_finished(now, assigned, outcome, reusable, actions);
            }
        }
        Ok(())
    }

    /// Said twice it counts once, except that an adopted attempt's start was only a guess.
    fn on_started(&mut self, now: Moment, assigned: Assigned) {
        if assigned.started.is_some() && !assigned.adopted {
            return;
        }
        let started = Assigned { started: Some(now), adopted: false, ..assigned };
        self.set_assigned(started);
        self.arm_timeout(now, started.attempt);
        let Some(container) = self.containers.get(&assigned.container) else { return };
        let fresh = matches!(container.state, ContainerState::Starting(_));
        if fresh && let Some(stub) = self.stubs.get_mut(&container.stub) {
            stub.saw_start(now.since(assigned.since));
        }
        // A warm container's call began, as far as its container goes, when it was given it.
        if fresh || assigned.adopted {
            self.change_container(assigned.container, |container| {
                container.state = ContainerState::Busy(assigned.attempt);
                container.call_began = now;
            });
        }
        if fresh {
            self.learn_cached(assigned.container);
            self.mark_room(assigned.worker);
        }
    }

    fn on_finished(
        &mut self,
        now: Moment,
        assigned: Assigned,
        outcome: CallOutcome,
        reusable: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(task) = self.attempts.get(&assigned.attempt).copied() else { return };
        // A short call of a warm container says that it has begun only with its end, so its container
        // knows when that was.
        if let Some(container) = self.containers.get(&assigned.container)
            && matches!(container.state, ContainerState::Busy(_))
            && let Some(stub) = self.stubs.get_mut(&container.stub)
            && self.tasks.get(&task).is_some_and(|task| !task.spec.warm_up)
        {
            stub.saw_call(now, now.since(container.call_began));
        }
        match outcome {
            CallOutcome::Returned => self.end_task(task, TaskStatus::Complete, None, actions),
            // A worker that ends says so of what it could not do any more.
            CallOutcome::Failed(failure)
                if failure.kind == FailureKind::WorkerLost && self.is_leaving(assigned.worker) =>
            {
                self.take_back(now, task, failure, actions);
            }
            CallOutcome::Failed(failure) => self.fail_attempt(now, task, failure, actions),
        }
        self.release_container(now, assigned.container, reusable, actions);
    }

    fn is_leaving(&self, worker: metal9_types::WorkerId) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.leaving)
    }

    /// An attempt has run for as long as its function may.
    pub(crate) fn on_timeout(
        &mut self,
        now: Moment,
        attempt: AttemptId,
        actions: &mut Vec<Action>,
    ) {
        let Some(assigned) = self.assigned(attempt) else { return };
        let Some(&id) = self.attempts.get(&attempt) else { return };
        let Some(limit) = self.tasks.get(&id).and_then(|task| task.spec.timeout) else { return };
        self.stop_attempt(now, assigned, FailureKind::Timeout, actions);
        let failure = metal9_types::Failure::new(
            FailureKind::Timeout,
            format!("the call timed out after {} s (the function's timeout)", limit.as_secs_f64()),
        );
        self.end_task(id, TaskStatus::Timeout, Some(failure), actions);
    }

    pub(crate) fn arm_timeout(&mut self, now: Moment, attempt: AttemptId) {
        let task = self.attempts.get(&attempt).and_then(|task| self.tasks.get(task));
        if let Some(limit) = task.and_then(|task| task.spec.timeout) {
            self.deadlines.arm(Deadline::Timeout(attempt), now.after(limit));
        }
    }
}
