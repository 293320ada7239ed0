//! The scheduler's state and its one entry point.

use std::collections::{BTreeMap, BTreeSet};

use metal9_types::{AttemptId, ContainerId, Moment, StubId, TaskId, WorkerId, WorkspaceId};

use crate::state::{
    Changes, Class, ClassKey, Container, Deadline, Deadlines, Group, GroupKey, Ids, Map, Shape,
    ShapeKey, Share, Stub, Task, Worker,
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
    pub(crate) stubs: Map<StubId, Stub>,
    pub(crate) tasks: Map<TaskId, Task>,
    /// Recovered tasks that no worker has claimed yet.
    pub(crate) recovering: BTreeSet<TaskId>,
    /// The live attempts.
    pub(crate) attempts: Map<AttemptId, TaskId>,
    pub(crate) workers: Map<WorkerId, Worker>,
    pub(crate) containers: Map<ContainerId, Container>,
    /// The queues; none is empty.
    pub(crate) groups: Map<GroupKey, Group>,
    /// What workspaces have that have a call or a queue.
    pub(crate) shares: Map<WorkspaceId, Share>,
    /// Queues of workspaces that may not have more.
    pub(crate) capped: BTreeSet<GroupKey>,
    /// Workers that are to get nothing new, whether they are there or not.
    pub(crate) cordoned: BTreeSet<WorkerId>,
    /// Stubs that are alike, by number.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) shape_numbers: Map<ShapeKey, usize>,
    /// Workers that are alike; none is empty.
    pub(crate) classes: BTreeMap<usize, Class>,
    pub(crate) class_numbers: Map<ClassKey, usize>,
    pub(crate) next_class: usize,
    /// Counts changes to the set of workers.
    pub(crate) fleet: u64,
    pub(crate) deadlines: Deadlines,
    /// The workspace whose turn it is.
    pub(crate) turn: Option<WorkspaceId>,
    /// What the next round of scheduling must look at.
    pub(crate) changes: Changes,
    /// Queues that no worker has had room for, with since when.
    pub(crate) kept_waiting: BTreeSet<(Moment, GroupKey)>,
    /// The one of them that was looked at last.
    pub(crate) looked_at: Option<(Moment, GroupKey)>,
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
            stubs: Map::default(),
            tasks: Map::default(),
            recovering: BTreeSet::new(),
            attempts: Map::default(),
            workers: Map::default(),
            containers: Map::default(),
            groups: Map::default(),
            shares: Map::default(),
            capped: BTreeSet::new(),
            cordoned: BTreeSet::new(),
            shapes: Vec::new(),
            shape_numbers: Map::default(),
            classes: BTreeMap::new(),
            class_numbers: Map::default(),
            next_class: 0,
            fleet: 0,
            deadlines: Deadlines::default(),
            turn: None,
            changes: Changes::default(),
            kept_waiting: BTreeSet::new(),
            looked_at: None,
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
            Input::WorkerCondition { worker, session, thermal, power } => {
                self.on_condition(now, worker, session, thermal, power)?;
            }
            Input::WorkerDisconnected { worker, session } => {
                self.on_disconnected(now, worker, session, actions)?;
            }
            Input::WorkerRevoked { worker } => self.on_revoked(now, worker, actions)?,
            Input::WorkerLeaving { worker } => self.on_leaving(now, worker, None, actions)?,
            Input::WorkerLeavingWithin { worker, within } => {
                self.on_leaving(now, worker, Some(within), actions)?;
            }
            Input::Cordon { worker, on } => self.on_cordon(now, worker, on),
            Input::Drain { worker, within } => self.on_drain(now, worker, within, actions)?,
            Input::SetWorkspace { workspace, rules } => self.on_set_workspace(workspace, rules),
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
        self.fleet += 1;
        if !self.groups.is_empty() {
            self.deadlines.arm_by(Deadline::Reasons, now.after(SETTLE));
        }
    }
}
