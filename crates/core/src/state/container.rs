//! A container on a worker.

use metal9_types::{AttemptId, ContainerId, Moment, Resources, StubId, WorkerId, WorkspaceId};

/// A container. It holds its resources and devices until it is gone.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: ContainerId,
    pub(crate) stub: StubId,
    pub(crate) worker: WorkerId,
    /// Whose call it runs, or ran last.
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) resources: Resources,
    /// Its accelerators, as places in the worker's list.
    pub(crate) devices: Vec<usize>,
    /// How far down the stub's list of accelerators those are; 0 is the first choice.
    pub(crate) rank: usize,
    pub(crate) state: ContainerState,
    /// Since when it is in this state.
    pub(crate) since: Moment,
    /// Whether it was told to end in the middle of a call, and may have yet to send what that wrote.
    pub(crate) cut_short: bool,
    /// When its call began or is thought to begin.
    pub(crate) call_began: Moment,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerState {
    /// Being made ready for its first call.
    Starting(AttemptId),
    /// Running a call.
    Busy(AttemptId),
    /// Ready for a call.
    Idle,
    /// Told to end.
    Stopping,
}

impl ContainerState {
    pub(crate) fn attempt(self) -> Option<AttemptId> {
        match self {
            Self::Starting(attempt) | Self::Busy(attempt) => Some(attempt),
            Self::Idle | Self::Stopping => None,
        }
    }
}
