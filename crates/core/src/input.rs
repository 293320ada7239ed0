//! Everything that can happen to the scheduler.

use std::time::Duration;

use metal9_types::{
    AttemptId, CallOutcome, ContainerId, Failure, GpuRequest, Offer, Resources, SessionId, StubId,
    TaskId, WorkerId, WorkspaceId,
};

/// The scheduler's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gateway's start count; the upper half of attempt and container ids.
    pub epoch: u32,
    /// A connected worker that says nothing for this long gets nothing new.
    pub suspect_after: Duration,
    /// A worker that says nothing, or is disconnected, for this long is lost.
    pub lost_after: Duration,
    /// After a restart, recovered tasks wait this long for the workers that may be running them.
    pub recovery_grace: Duration,
    /// Containers that one worker may be starting at a time, per core it offers.
    pub starts_per_core: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epoch: 1,
            suspect_after: Duration::from_secs(5),
            lost_after: Duration::from_secs(15),
            recovery_grace: Duration::from_secs(15),
            starts_per_core: 2,
        }
    }
}

/// What the scheduler must know of a stub.
#[derive(Clone, Debug, PartialEq)]
pub struct StubSpec {
    /// Its id.
    pub stub: StubId,
    /// Processor and memory of one container.
    pub resources: Resources,
    /// Accelerators of one container.
    pub gpu: GpuRequest,
    /// The pool it must run in.
    pub pool: Option<String>,
    /// How long an idle container is kept; zero for a fresh container each call.
    pub keep_warm: Duration,
    /// What makes a worker's caches useful for it: image id and object id as texts.
    pub image: String,
    /// The code object.
    pub object: String,
}

/// A task as it is handed in.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSpec {
    /// Its id.
    pub task: TaskId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its stub, defined before with [`Input::DefineStub`].
    pub stub: StubId,
    /// Attempts already begun; 0 for a new task.
    pub attempts_used: u32,
    /// Further attempts allowed after the first.
    pub max_retries: u32,
    /// How long one attempt may run, counted from when the user's code starts; nothing for no limit.
    pub timeout: Option<Duration>,
    /// How long the task may wait for its first attempt.
    pub ttl: Duration,
    /// `true` for a task read back from the store at start-up: a worker may still be running it.
    pub recovered: bool,
}

/// An attempt that a worker says it has, when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reattach {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its task.
    pub task: TaskId,
    /// Its container.
    pub container: ContainerId,
}

/// What a worker says when it connects.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerHello {
    /// Who it is.
    pub worker: WorkerId,
    /// The new connection. A hello replaces the worker's earlier session.
    pub session: SessionId,
    /// What it offers.
    pub offer: Offer,
    /// Attempts it has.
    pub attempts: Vec<Reattach>,
    /// All containers it has, with their stubs, ending ones too. The container of an attempt that
    /// has ended unacknowledged may be missing.
    pub containers: Vec<(ContainerId, StubId)>,
    /// Object and image ids it has cached.
    pub cached: Vec<String>,
}

/// A report about one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum AttemptReport {
    /// The user's code is about to run; the timeout counts from here.
    Started,
    /// The attempt is over.
    Finished {
        /// How.
        outcome: CallOutcome,
        /// `true` if its container can take another call.
        reusable: bool,
    },
}

/// Everything that can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A stub becomes known. Repeating it changes nothing.
    DefineStub(StubSpec),
    /// A task was accepted and is durable.
    Submit(TaskSpec),
    /// A task is to end with this failure (`Cancelled`, usually) unless it already has.
    Cancel {
        /// The task.
        task: TaskId,
        /// What it ends with.
        failure: Failure,
    },
    /// A worker connected.
    WorkerHello(WorkerHello),
    /// A worker said something on this session.
    WorkerAlive {
        /// The worker.
        worker: WorkerId,
        /// The session it spoke on.
        session: SessionId,
    },
    /// A session ended. The worker may come back.
    WorkerDisconnected {
        /// The worker.
        worker: WorkerId,
        /// The session that ended.
        session: SessionId,
    },
    /// A worker was shut out: what it was given is lost at once.
    WorkerRevoked {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker will leave: it gets nothing new, and is forgotten once it is empty. After another
    /// hello it must say so again.
    WorkerLeaving {
        /// The worker.
        worker: WorkerId,
    },
    /// A worker reports on an attempt.
    Attempt {
        /// The attempt. Unknown and superseded ones are ignored.
        attempt: AttemptId,
        /// The report.
        report: AttemptReport,
    },
    /// A container has ended, whoever asked: its room is free. An attempt in it that was not
    /// reported before counts as crashed.
    ContainerGone {
        /// The container.
        container: ContainerId,
    },
    /// Somebody asks for a container to be stopped; a call in it ends as cancelled.
    StopContainer {
        /// The container.
        container: ContainerId,
    },
    /// The deadline of [`crate::Core::next_deadline`] has come.
    Timer,
}
