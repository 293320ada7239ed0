//! Something is due.

use metal9_types::{Failure, FailureKind, Moment, TaskId, TaskStatus};

use crate::Action;
use crate::core::Core;
use crate::state::{Deadline, TaskState};

impl Core {
    pub(crate) fn on_timer(&mut self, now: Moment, actions: &mut Vec<Action>) {
        while let Some(deadline) = self.deadlines.pop(now) {
            match deadline {
                Deadline::Recovery => self.on_recovery_over(now, actions),
                Deadline::Worker(worker) => self.on_worker_check(now, worker, actions),
                Deadline::Ttl(task) => self.on_expired(task, actions),
                Deadline::Timeout(attempt) => self.on_timeout(now, attempt, actions),
                Deadline::Retry(task) => self.on_rested(now, task),
                Deadline::Drain(worker) => self.on_drain_over(now, worker, actions),
                Deadline::KeepWarm(container) => self.on_keep_warm(now, container, actions),
                Deadline::Scale(stub) => {
                    self.changes.stubs.insert(stub);
                }
                Deadline::Tell(group) => self.tell_group(now, group, actions),
                Deadline::Reasons => self.find_reasons(now, actions),
            }
        }
    }

    /// A task was not begun within its time to live.
    fn on_expired(&mut self, id: TaskId, actions: &mut Vec<Action>) {
        let Some(task) = self.tasks.get(&id) else { return };
        if !matches!(task.state, TaskState::Queued(_)) {
            return;
        }
        let ttl = task.spec.ttl.as_secs_f64();
        let text = format!("the task was not begun within {ttl} s (its time to live)");
        let failure = Failure::new(FailureKind::Expired, text);
        self.end_task(id, TaskStatus::Timeout, Some(failure), actions);
    }

    /// The workers that have not come back by now are not going to: what they ran is lost.
    fn on_recovery_over(&mut self, now: Moment, actions: &mut Vec<Action>) {
        while let Some(id) = self.recovering.pop_first() {
            let Some(task) = self.tasks.get(&id) else { continue };
            if task.attempts_used == 0 {
                self.enqueue(now, id, false);
                continue;
            }
            let text = "the worker did not come back after the gateway restarted";
            self.fail_attempt(now, id, Failure::new(FailureKind::WorkerLost, text), actions);
        }
    }
}
