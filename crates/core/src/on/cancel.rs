//! Somebody wants a task to end.

use metal9_types::{Failure, Moment, TaskId};

use crate::core::Core;
use crate::state::TaskState;
use crate::{Action, Ignored};

impl Core {
    /// The task ends at once; its container follows when the worker has ended it.
    pub(crate) fn on_cancel(
        &mut self,
        now: Moment,
        task: TaskId,
        failure: Failure,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        let known = self.tasks.get(&task).ok_or(Ignored::UnknownTask)?;
        if let TaskState::Assigned(assigned) = known.state {
            self.stop_attempt(now, assigned, failure.kind, actions);
        }
        self.end_task(task, failure.kind.terminal_status(), Some(failure), actions);
        Ok(())
    }
}
