//! Everything that can happen to the scheduler.

use std::collections::BTreeMap;
use std::time::Duration;

use metal9_types::{
    AttemptId, CallOutcome, ContainerId, Failure, GpuRequest, Offer, Power, Resources, RootSource,
    Runtime, SessionId, StubId, TaskId, Thermal, WorkerId, WorkspaceId,
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
    /// Waiting this long makes up for one step of priority.
    pub ageing: Duration,
    /// A task whose container crashed more than once waits this long before it is tried again,
    /// doubled each time.
    pub retry_pause: Duration,
    /// The longest such wait.
    pub retry_pause_most: Duration,
    /// What workspaces may have, where it is not [`WorkspaceRules::default`].
    pub workspaces: BTreeMap<WorkspaceId, WorkspaceRules>,
}

impl Config {
    /// How long a task waits after so many crashes in a row. One may be bad luck.
    pub(crate) fn pause_after(&self, crashes: u32) -> Duration {
        match crashes.checked_sub(2) {
            None => Duration::ZERO,
            Some(more) => {
                let factor = 2_u32.saturating_pow(more);
                self.retry_pause.saturating_mul(factor).min(self.retry_pause_most)
            }
        }
    }
}

/// What a workspace may have of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceRules {
    /// Its part of the fleet where several workspaces want it, in relation to the weights of the
    /// others; 0 counts as 1.
    pub weight: u32,
    /// Processor that its calls may use together.
    pub max_cpu_millicores: Option<u64>,
    /// MiB of memory that its calls may use together.
    pub max_memory_mib: Option<u64>,
    /// Accelerators that its calls may use together.
    pub max_gpus: Option<u64>,
    /// Calls that it may have running.
    pub max_containers: Option<u64>,
}

impl Default for WorkspaceRules {
    fn default() -> Self {
        Self {
            weight: 1,
            max_cpu_millicores: None,
            max_memory_mib: None,
            max_gpus: None,
            max_containers: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epoch: 1,
            suspect_after: Duration::from_secs(5),
            lost_after: Duration::from_secs(15),
            recovery_grace: Duration::from_secs(15),
            starts_per_core: 2,
            ageing: Duration::from_secs(30),
            retry_pause: Duration::from_secs(1),
            retry_pause_most: Duration::from_secs(60),
            workspaces: BTreeMap::new(),
        }
    }
}

/// What the scheduler must know of a stub.
#[derive(Clone, Debug, PartialEq)]
pub struct StubSpec {
    /// Its id.
    pub stub: StubId,
    /// What people call it, for explanations.
    pub name: String,
    /// Processor and memory of one container.
    pub resources: Resources,
    /// Accelerators of one container.
    pub gpu: GpuRequest,
    /// The pool it must run in.
    pub pool: Option<String>,
    /// How its containers are isolated; nothing for any way.
    pub runtime: Option<Runtime>,
    /// What its containers need for a root filesystem.
    pub root: RootSource,
    /// Whether they must be held to a list of networks.
    pub allow_list: bool,
    /// How long an idle container is kept; zero for a fresh container each call.
    pub keep_warm: Duration,
    /// What makes a worker's caches useful for it: image id and object id as texts.
    pub image: String,
    /// The code object.
    pub object: String,
    /// Its tasks go before those of the workspace's stubs with a lower number.
    pub priority: i32,
    /// Containers it may have at a time. This and what follows may change.
    pub max_containers: Option<u32>,
    /// So many containers stay when they are idle, and do not make room for others.
    pub min_containers: u32,
    /// How its containers follow its tasks; nothing for one for each.
    pub pace: Option<Pace>,
}

/// How many containers so many tasks are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// For each so many tasks that wait or run …
    pub tasks: u32,
    /// … there may be so many containers.
    pub containers: u32,
}

impl Pace {
    pub(crate) fn containers_for(self, tasks: usize) -> u32 {
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        tasks.div_ceil(self.tasks.max(1)).saturating_mul(self.containers.max(1))
    }
}

impl StubSpec {
    /// A stub that asks for nothing, runs anywhere and keeps no idle containers.
    #[must_use]
    pub fn new(stub: StubId) -> Self {
        Self {
            stub,
            name: String::new(),
            resources: Resources::default(),
            gpu: GpuRequest::default(),
            pool: None,
            runtime: None,
            root: RootSource::Host,
            allow_list: false,
            keep_warm: Duration::ZERO,
            image: String::new(),
            object: String::new(),
            priority: 0,
            max_containers: None,
            min_containers: 0,
            pace: None,
        }
    }
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
    /// For a task read back from the store at start-up, how long it has been there: a worker may
    /// still be running it.
    pub recovered: Option<Duration>,
    /// `true` if it is there to have a container started, and no call: it never takes one that is
    /// idle, and goes behind calls.
    pub warm_up: bool,
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
    /// Names the worker's process: if it is the one of the hello before, then what the worker does
    /// not have it was never given. 0 names none.
    pub process: u64,
    /// Attempts it has.
    pub attempts: Vec<Reattach>,
    /// All containers it has, with their stubs, ending ones too. The container of an attempt that
    /// has ended unacknowledged may be missing.
    pub containers: Vec<(ContainerId, StubId)>,
    /// The devices that its containers were given, as places in its list; those without are
    /// missing.
    pub devices: BTreeMap<ContainerId, Vec<usize>>,
    /// How hot its machine is, where known.
    pub thermal: Option<Thermal>,
    /// What its machine runs on, where known.
    pub power: Option<Power>,
    /// Object and image ids it has cached.
    pub cached: Vec<String>,
    /// What ended an earlier run of it while calls ran, for people; empty if nothing did.
    pub interruption: String,
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
    /// A stub becomes known. Repeating it changes how many containers it may have, and nothing
    /// else.
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
    WorkerHello(Box<WorkerHello>),
    /// A worker said something on this session.
    WorkerAlive {
        /// The worker.
        worker: WorkerId,
        /// The session it spoke on.
        session: SessionId,
    },
    /// How a worker's machine is doing has changed. What runs on it goes on; whether it gets more
    /// may depend on it.
    WorkerCondition {
        /// The worker.
        worker: WorkerId,
        /// The session it spoke on.
        session: SessionId,
        /// How hot its machine is, where known.
        thermal: Option<Thermal>,
        /// What its machine runs on, where known.
        power: Option<Power>,
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
    /// A worker is to get nothing new, or may again. Holds for workers that are not there too, and
    /// until it is taken back; taking it back ends draining as well.
    Cordon {
        /// The worker.
        worker: WorkerId,
        /// `true` for nothing new.
        on: bool,
    },
    /// A worker is to become empty: it is cordoned and its idle containers end. Calls that still
    /// run when the time is over are stopped and made elsewhere, which does not count as a retry.
    Drain {
        /// The worker.
        worker: WorkerId,
        /// How long running calls may go on.
        within: Duration,
    },
    /// A worker will leave within this time, as with [`Input::WorkerLeaving`]; calls that still
    /// run by then are stopped and made elsewhere, which does not count as a retry.
    WorkerLeavingWithin {
        /// The worker.
        worker: WorkerId,
        /// How long running calls may go on.
        within: Duration,
    },
    /// What a workspace may have of the fleet changes.
    SetWorkspace {
        /// The workspace.
        workspace: WorkspaceId,
        /// What it may have.
        rules: WorkspaceRules,
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
