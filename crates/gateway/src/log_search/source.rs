//! Where output is.

use metal9_store::{ServedContainer, TaskRow, UnixMicros};
use metal9_types::TaskId;

/// Something that writes, or wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    /// What names its output.
    pub(crate) log: TaskId,
    /// The task; empty for a container that takes requests.
    pub(crate) task: String,
    pub(crate) container: String,
    pub(crate) stub: String,
    pub(crate) created_at: UnixMicros,
    /// When it wrote its last, if it has.
    pub(crate) ended_at: Option<UnixMicros>,
}

impl Source {
    pub(crate) fn of_task(task: &TaskRow) -> Self {
        let container = task.container.map(|container| container.api_name(task.kind, task.stub));
        Self {
            log: task.id,
            task: task.id.to_string(),
            container: container.unwrap_or_default(),
            stub: task.stub.to_string(),
            created_at: task.created_at,
            ended_at: task.ended_at,
        }
    }

    pub(crate) fn of_container(container: &ServedContainer) -> Self {
        Self {
            log: container.log,
            task: String::new(),
            container: container.container.api_name(container.kind, container.stub),
            stub: container.stub.to_string(),
            created_at: container.created_at,
            ended_at: container.ended_at,
        }
    }
}
