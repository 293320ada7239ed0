//! The scheduler's state and its one entry point.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{AttemptId, ContainerId, Moment, StubId, TaskId, WorkerId, WorkspaceId};

use crate::state::{
    Changes, Container, Deadline, Deadlines, Group, GroupKey, Ids, Stub, Task, Worker,
};
use crate::{Action, Config, Ignored, Input};

/// The scheduler.
#[derive(Debug)]
pub struct Core {
    pub(crate) config: Config,
    pub(crate) ids: Ids,
    /// The latest moment heard of.
    pub(crate) now: Moment,
    /// Until when recovered tasks wait for their workers; nothing before the first input.
    pub(crate) recovery_until: Option<Moment>,
    pub(crate) stubs: BTreeMap<StubId, Stub>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    /// Recovered tasks that no worker has claimed yet.
    pub(crate) recovering: BTreeSet<TaskId>,
    /// The live attempts.
    pub(crate) attempts: BTreeMap<AttemptId, TaskId>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    pub(crate) containers: BTreeMap<ContainerId, Container>,
    /// The queues; none is empty.
    pub(crate) groups: BTreeMap<GroupKey, Group>,
    /// Containers with a call, by workspace; none is zero.
    pub(crate) held: BTreeMap<WorkspaceId, usize>,
    pub(crate) deadlines: Deadlines,
    /// The workspace that was served last, for taking turns.
    pub(crate) served: Option<WorkspaceId>,
    /// What the next round of scheduling must look at.
    pub(crate) changes: Changes,
    /// Queues for which all workers were looked at and none had room: only workers where room has
    /// appeared since need another look.
    pub(crate) exhausted: BTreeSet<GroupKey>,
    /// Workers on which a container could start now, were it small enough.
    pub(crate) roomy: BTreeSet<WorkerId>,
    /// `true` if some stub asks for no processor or no memory, so that a full worker has room.
    pub(crate) room_in_full: bool,
    /// Places for tasks at the back of a queue, and at the front.
    pub(crate) next_order: i64,
    pub(crate) next_front: i64,
}

impl Core {
    /// A scheduler that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            ids: Ids::new(config.epoch),
            config,
            now: Moment::ZERO,
            recovery_until: None,
            stubs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            recovering: BTreeSet::new(),
            attempts: BTreeMap::new(),
            workers: BTreeMap::new(),
            containers: BTreeMap::new(),
            groups: BTreeMap::new(),
            held: BTreeMap::new(),
            deadlines: Deadlines::default(),
            served: None,
            changes: Changes::default(),
            exhausted: BTreeSet::new(),
            roomy: BTreeSet::new(),
            room_in_full: false,
            next_order: 0,
            next_front: -1,
        }
    }

    /// Takes in one thing that happened and appends what is to be done about it, in order.
    ///
    /// A clock that goes backwards is taken to stand still.
    ///
    /// # Errors
    /// When the input has no effect, as a late or repeated message has. Nothing has changed then.
    pub fn handle(
        &mut self,
        now: Moment,
        input: Input,
        actions: &mut Vec<Action>,
    ) -> Result<(), Ignored> {
        let now = self.now.max(now);
        self.now = now;
        let grace = self.config.recovery_grace;
        self.recovery_until.get_or_insert_with(|| now.after(grace));
        match input {
            Input::DefineStub(spec) => self.on_define_stub(spec),
            Input::Submit(spec) => self.on_submit(now, spec)?,
            Input::Cancel { task, failure } => self.on_cancel(now, task, failure, actions)?,
            Input::WorkerHello(hello) => self.on_hello(now, &hello, actions),
            Input::WorkerAlive { worker, session } => self.on_alive(now, worker, session)?,
            Input::WorkerDisconnected { worker, session } => {
                self.on_disconnected(now, worker, session, actions)?;
            }
            Input::WorkerRevoked { worker } => self.on_revoked(now, worker, actions)?,
            Input::WorkerLeaving { worker } => self.on_leaving(now, worker, actions)?,
            Input::Attempt { attempt, report } => self.on_attempt(now, attempt, report, actions)?,
            Input::ContainerGone { container } => {
                self.on_container_gone(now, container, actions)?;
            }
            Input::StopContainer { container } => {
                self.on_stop_container(now, container, actions)?;
            }
            Input::Timer => self.on_timer(now, actions),
        }
        self.schedule(now, actions);
        Ok(())
    }

    /// When it next wants to hear [`Input::Timer`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.deadlines.next()
    }

    /// Takes note that workers came, went or changed: the reasons why tasks wait may have changed.
    pub(crate) fn fleet_changed(&mut self, now: Moment) {
        const SETTLE: std::time::Duration = std::time::Duration::from_millis(250);
        if !self.groups.is_empty() {
            self.deadlines.arm_by(Deadline::Reasons, now.after(SETTLE));
        }
    }
}
