//! Containers end.

use metal9_types::{ContainerId, Failure, FailureKind, Moment, TaskStatus};

use crate::core::Core;
use crate::state::ContainerState;
use crate::{Action, Ignored};

impl Core {
    /// The one thing, beside losing the worker, that gives a container's room back.
    pub(crate) fn on_container_gone(
        &mut self,
        now: Moment,
        id: ContainerId,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        let container = self.containers.get(&id).ok_or(Ignored::UnknownContainer)?;
        let worker = container.worker;
        if let Some(attempt) = container.state.attempt()
            && let Some(&task) = self.attempts.get(&attempt)
        {
            let text = "the container ended before the call returned";
            self.fail_attempt(now, task, Failure::new(FailureKind::Crash, text), actions);
        }
        self.remove_container(id);
        self.forget_if_left(worker, actions);
        Ok(())
    }

    pub(crate) fn on_stop_container(
        &mut self,
        now: Moment,
        id: ContainerId,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        let container = self.containers.get(&id).ok_or(Ignored::UnknownContainer)?;
        let assigned = container.state.attempt().and_then(|attempt| self.assigned(attempt));
        let Some(assigned) = assigned else {
            self.stop_container(now, id, actions);
            return Ok(());
        };
        let task = self.attempts.get(&assigned.attempt).copied();
        self.stop_attempt(now, assigned, FailureKind::Cancelled, actions);
        if let Some(task) = task {
            let failure = Failure::new(FailureKind::Cancelled, "the container was stopped");
            self.end_task(task, TaskStatus::Cancelled, Some(failure), actions);
        }
        Ok(())
    }

    /// A container may have been idle for long enough.
    pub(crate) fn on_keep_warm(&mut self, now: Moment, id: ContainerId, actions: &mut Vec<Action>) {
        let Some(container) = self.containers.get(&id) else { return };
        if container.state != ContainerState::Idle {
            return;
        }
        let Some(stub) = self.stubs.get(&container.stub) else { return };
        let mut until = container.since.after(stub.spec.keep_warm);
        if now >= until && !stub.can_spare(0) {
            until = now.after(stub.spec.keep_warm);
        }
        if now >= until {
            self.stop_container(now, id, actions);
        } else {
            self.deadlines.arm(crate::state::Deadline::KeepWarm(id), until);
        }
    }
}
