//! Looking at the scheduler without changing it.

use std::collections::BTreeSet;
use std::time::Duration;

use metal9_types::{
    AttemptId, ContainerId, Moment, Offer, Resources, SessionId, StubId, TaskId, TaskStatus,
    WorkerId, WorkspaceId,
};
use serde::Serialize;

use crate::core::Core;
use crate::state::{Container, ContainerState, Reason, TaskState, Worker};

/// How long a container that was told to end in the middle of a call may take to send what that wrote.
const SENT_WITHIN: Duration = Duration::from_secs(600);

/// A task that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskView {
    /// The task.
    pub task: TaskId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Its stub.
    pub stub: StubId,
    /// `Pending`, `Running` or `Retry`.
    pub status: TaskStatus,
    /// The live attempt.
    pub attempt: Option<AttemptId>,
    /// The worker of the live attempt.
    pub worker: Option<WorkerId>,
    /// The container of the live attempt.
    pub container: Option<ContainerId>,
    /// Attempts begun so far.
    pub attempts_used: u32,
    /// When the user's code of the live attempt started.
    pub started: Option<Moment>,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerPhase {
    /// Being made ready for its first call.
    Starting,
    /// Running a call.
    Busy,
    /// Ready for a call.
    Idle,
    /// Told to end; still holds its resources.
    Stopping,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerView {
    /// The container.
    pub container: ContainerId,
    /// Its stub.
    pub stub: StubId,
    /// Its worker.
    pub worker: WorkerId,
    /// Whose call it runs, or ran last; nothing for one that a worker brought along.
    pub workspace: Option<WorkspaceId>,
    /// What it is doing.
    pub phase: ContainerPhase,
    /// The attempt in it.
    pub attempt: Option<AttemptId>,
    /// The task of that attempt.
    pub task: Option<TaskId>,
    /// Since when it is doing that; for a call, since it was assigned.
    pub since: Moment,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerView {
    /// The worker.
    pub worker: WorkerId,
    /// Its connection, while it has one.
    pub session: Option<SessionId>,
    /// `true` if it has been silent for too long to be given work.
    pub suspect: bool,
    /// `true` if it wants to go.
    pub leaving: bool,
    /// `true` if it is to get nothing new until that is taken back.
    pub cordoned: bool,
    /// Until when its running calls may go on, if it is being emptied.
    pub drain_until: Option<Moment>,
    /// When it last said something, or its connection ended.
    pub last_heard: Moment,
    /// What it offers.
    pub offer: Offer,
    /// The containers that use each of its devices.
    pub device_users: Vec<Vec<ContainerId>>,
    /// `true` if nothing is to begin on it because it is too hot, or runs on a battery.
    pub rests: bool,
    /// `true` if nothing that uses an accelerator is.
    pub gpus_rest: bool,
    /// What no container holds.
    pub free: Resources,
    /// Its containers.
    pub containers: Vec<ContainerView>,
    /// How many of those have a call.
    pub running: usize,
}

/// How much there is of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Tasks in queues.
    pub queued: usize,
    /// Recovered tasks that wait for the worker that may be running them.
    pub recovering: usize,
    /// Tasks on workers.
    pub assigned: usize,
    /// Workers that are not lost.
    pub workers: usize,
    /// Those that are connected.
    pub connected: usize,
    /// Containers in any phase.
    pub containers: usize,
    /// Those that are being made ready.
    pub starting: usize,
    /// Those that run a call.
    pub busy: usize,
    /// Those that are ready for a call.
    pub idle: usize,
    /// Those that are ending.
    pub stopping: usize,
}

impl Core {
    /// A task; nothing for one that is unknown or has ended.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<TaskView> {
        let task = self.tasks.get(&id)?;
        let assigned = task.assigned();
        Some(TaskView {
            task: id,
            workspace: task.spec.workspace,
            stub: task.stub(),
            status: task.status(),
            attempt: assigned.map(|assigned| assigned.attempt),
            worker: assigned.map(|assigned| assigned.worker),
            container: assigned.map(|assigned| assigned.container),
            attempts_used: task.attempts_used,
            started: assigned.and_then(|assigned| assigned.started),
        })
    }

    /// All workers that are not lost, by id.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerView> {
        let mut views: Vec<_> =
            self.workers.values().map(|worker| self.worker_view(worker)).collect();
        views.sort_unstable_by_key(|view| view.worker);
        views
    }

    fn worker_view(&self, worker: &Worker) -> WorkerView {
        let containers: Vec<_> = worker
            .containers
            .iter()
            .filter_map(|id| self.containers.get(id))
            .map(|container| self.container_view(container))
            .collect();
        WorkerView {
            worker: worker.id,
            session: worker.session,
            suspect: worker.suspect,
            leaving: worker.leaving,
            cordoned: worker.cordoned,
            drain_until: worker.drain_until,
            last_heard: worker.last_heard,
            offer: worker.offer.clone(),
            device_users: worker
                .holders
                .iter()
                .map(|holders| holders.iter().map(|holder| holder.container).collect())
                .collect(),
            rests: worker.rests,
            gpus_rest: worker.gpus_rest,
            free: worker.free(),
            running: containers.iter().filter(|container| container.attempt.is_some()).count(),
            containers,
        }
    }

    /// All containers that are not gone, by id.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerView> {
        let mut views: Vec<_> =
            self.containers.values().map(|container| self.container_view(container)).collect();
        views.sort_unstable_by_key(|view| view.container);
        views
    }

    /// How many containers of a stub are there or begin, of those that were not told to end.
    #[must_use]
    pub fn containers_of(&self, stub: StubId) -> u32 {
        self.stubs.get(&stub).map_or(0, |stub| stub.live)
    }

    /// How many calls of a stub wait for a container or have one.
    #[must_use]
    pub fn calls_of(&self, stub: StubId) -> usize {
        self.stubs.get(&stub).map_or(0, |stub| stub.waiting + stub.calls.len())
    }

    /// A container; nothing for one that is unknown or gone.
    #[must_use]
    pub fn container(&self, id: ContainerId) -> Option<ContainerView> {
        self.containers.get(&id).map(|container| self.container_view(container))
    }

    fn container_view(&self, container: &Container) -> ContainerView {
        let attempt = container.state.attempt();
        ContainerView {
            container: container.id,
            stub: container.stub,
            worker: container.worker,
            workspace: container.workspace,
            phase: match container.state {
                ContainerState::Starting(_) => ContainerPhase::Starting,
                ContainerState::Busy(_) => ContainerPhase::Busy,
                ContainerState::Idle => ContainerPhase::Idle,
                ContainerState::Stopping => ContainerPhase::Stopping,
            },
            attempt,
            task: attempt.and_then(|attempt| self.attempts.get(&attempt).copied()),
            since: container.since,
        }
    }

    /// The worker a container is on.
    #[must_use]
    pub fn container_worker(&self, id: ContainerId) -> Option<WorkerId> {
        self.containers.get(&id).map(|container| container.worker)
    }

    /// The task of a live attempt.
    #[must_use]
    pub fn attempt_task(&self, id: AttemptId) -> Option<TaskId> {
        self.attempts.get(&id).copied()
    }

    /// The stubs whose calls a worker prepares, runs or was just told to end: what those may reach, it
    /// may. Nothing for a worker that has not said what it has.
    #[must_use]
    pub fn stubs_at_work(&self, now: Moment, worker: WorkerId) -> Option<BTreeSet<StubId>> {
        let containers = self.workers.get(&worker)?.containers.iter();
        let at_work = containers.filter_map(|id| self.containers.get(id)).filter(|container| {
            let cut_short = container.cut_short && now < container.since.after(SENT_WITHIN);
            container.state.attempt().is_some() || cut_short
        });
        Some(at_work.map(|container| container.stub).collect())
    }

    /// How much there is of everything. Looks at every container, not at every task.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            queued: self.tasks.len() - self.recovering.len() - self.attempts.len(),
            recovering: self.recovering.len(),
            assigned: self.attempts.len(),
            workers: self.workers.len(),
            connected: self.workers.values().filter(|w| w.session.is_some()).count(),
            containers: self.containers.len(),
            ..Counts::default()
        };
        for container in self.containers.values() {
            match container.state {
                ContainerState::Starting(_) => counts.starting += 1,
                ContainerState::Busy(_) => counts.busy += 1,
                ContainerState::Idle => counts.idle += 1,
                ContainerState::Stopping => counts.stopping += 1,
            }
        }
        counts
    }

    /// `true` if the task waits and no worker there is could ever run it.
    #[must_use]
    pub fn is_unplaceable(&self, id: TaskId) -> bool {
        let Some(task) = self.tasks.get(&id) else { return false };
        let Some(stub) = self.stubs.get(&task.stub()) else { return false };
        let waits = matches!(task.state, TaskState::Queued(_));
        waits && matches!(self.look_out(stub.shape).reason, Reason::Unplaceable(_))
    }

    /// `true` if the task waits for the worker that may be running it since before a restart.
    #[must_use]
    pub fn is_recovering(&self, id: TaskId) -> bool {
        self.tasks.get(&id).is_some_and(|task| task.state == TaskState::Recovering)
    }
}
