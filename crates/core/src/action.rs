//! Everything the scheduler can want done.

use metal9_types::{
    AttemptId, ContainerId, Failure, FailureKind, SessionId, StubId, TaskId, TaskStatus, WorkerId,
};

/// A task's new state, to be persisted and told.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The task.
    pub task: TaskId,
    /// Its new state.
    pub status: TaskStatus,
    /// The attempt that brought it there, if one did.
    pub attempt: Option<AttemptId>,
    /// Attempts begun so far.
    pub attempts_used: u32,
    /// The worker of the attempt.
    pub worker: Option<WorkerId>,
    /// The container of the attempt.
    pub container: Option<ContainerId>,
    /// Why, for `Retry` and the terminal states other than `Complete`.
    pub failure: Option<Failure>,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send an attempt to a worker.
    Assign {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionId,
        /// The new attempt.
        attempt: AttemptId,
        /// 1 for the first attempt of the task.
        attempt_number: u32,
        /// The task.
        task: TaskId,
        /// The task's stub.
        stub: StubId,
        /// The container to run it in.
        container: ContainerId,
        /// `true` if the container is to be made.
        fresh: bool,
        /// The accelerators of a container that is to be made, as places in the worker's list.
        devices: Vec<usize>,
    },
    /// Tell a worker to end an attempt, and with it the container it runs in. The task's own
    /// transition is a separate action.
    ///
    /// The container keeps its room until [`crate::Input::ContainerGone`], whether or not the
    /// worker still reports how the attempt ended: a process that is being killed still uses
    /// memory. So a worker says that a container is gone whoever asked for its end, and says it
    /// again when it is told to end one it does not have.
    StopAttempt {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionId,
        /// The attempt.
        attempt: AttemptId,
        /// Why, for the worker's log.
        reason: FailureKind,
    },
    /// Tell a worker to end a container that runs no call. It keeps its room until
    /// [`crate::Input::ContainerGone`].
    StopContainer {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionId,
        /// The container.
        container: ContainerId,
    },
    /// Answer a worker's hello: these of its attempts and containers are not wanted. The first
    /// action of each hello.
    Welcome {
        /// The worker.
        worker: WorkerId,
        /// Its session.
        session: SessionId,
        /// Attempts to forget; one that still runs is stopped first.
        drop_attempts: Vec<AttemptId>,
        /// Containers to stop. Those of stubs that are defined keep their room until
        /// [`crate::Input::ContainerGone`].
        drop_containers: Vec<ContainerId>,
    },
    /// Persist and tell a task's new state.
    Transition(Transition),
    /// The sentence that says why a task waits has changed; empty when it is assigned after all.
    /// The end of a task is not announced by an empty sentence.
    Waiting {
        /// The task.
        task: TaskId,
        /// One sentence for a person.
        sentence: String,
    },
    /// A worker that wanted to leave is empty, and forgotten.
    WorkerLeft {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker is gone for good, although nobody asked.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
    },
}

/// Why an input had no effect. Normal in a system where messages cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ignored {
    /// No such task, or it has ended.
    #[error("no such task, or it has ended")]
    UnknownTask,
    /// A task with this id is already there.
    #[error("a task with this id is already there")]
    DuplicateTask,
    /// The task's stub was not defined.
    #[error("the task's stub was not defined")]
    UnknownStub,
    /// No such attempt, or another has taken its place.
    #[error("no such attempt, or another has taken its place")]
    StaleAttempt,
    /// The session has been replaced by a newer one.
    #[error("the session is not the worker's present one")]
    StaleSession,
    /// No such worker.
    #[error("no such worker")]
    UnknownWorker,
    /// No such container.
    #[error("no such container")]
    UnknownContainer,
}
